"""Counts the Python instructions of requests, in a process of its own: ``instructions.py KIND``.

KIND is ``bare`` (no PerfKit in the process), ``watched``, ``measured`` (watched, and counted for
Prometheus), ``shared`` (the same, as one of several workers), ``traced``, ``passed`` and ``kept``
(watched, with a store that counts these requests, and one that keeps each) or ``unwatched``
(PerfKit is there and watches statements, but not these requests). Prints path -> instructions as
JSON.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Callable
from math import inf
from opcode import opmap
from types import FrameType
from typing import Any

import sqlalchemy as sa
from flask import Flask, jsonify
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column, relationship

_MARK = opmap.get("NOT_TAKEN")
"""What Python 3.14 has behind each branch: it does nothing."""

db = SQLAlchemy()


class User(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Document(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("user.id"))
    user: Mapped[User] = relationship()


def queries(count: int) -> str:
    """Ask one statement again and again: up to four times are no finding."""
    for number in range(count):
        by_id = sa.select(Document.id, Document.title).where(Document.id == number)
        db.session.execute(by_id).all()
    return "ok"


def n_plus_one() -> Any:
    """Send 101 statements: one for the documents, one for the owner of each."""
    documents = db.session.scalars(sa.select(Document))
    return jsonify([document.user.name for document in documents])


def make_app(kind: str) -> Flask:
    app = Flask("instructions", root_path=".")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["PERFKIT_SLOW_REQUEST"] = None  # counting makes requests slow
    app.config["PERFKIT_METRICS_PATH"] = "/metrics" if kind in ("measured", "shared") else None
    app.config["PERFKIT_SAMPLE_RATE"] = 0.0 if kind == "unwatched" else 1.0
    app.config["PERFKIT_TRACES"] = kind == "traced"
    app.config["PERFKIT_STORAGE_URL"] = "memory://" if kind in ("passed", "kept") else None
    if kind == "traced":
        collect_spans()
    db.init_app(app)
    app.add_url_rule("/plain", view_func=lambda: "ok")
    app.add_url_rule("/queries/<int:count>", view_func=queries)
    app.add_url_rule("/n_plus_one", view_func=n_plus_one)
    if kind != "bare":
        from flask_perfkit import PerfKit

        logger = logging.getLogger("flask_perfkit")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        PerfKit(app)
    with app.app_context():
        db.create_all()
        db.session.add_all(User(id=number, name=f"user {number}") for number in range(1, 101))
        db.session.add_all(
            Document(id=number, title=f"document {number}", user_id=number)
            for number in range(1, 101)
        )
        db.session.commit()
    return app


def collect_spans() -> None:
    """Set OpenTelemetry up as in production, but for the sending."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    trace.set_tracer_provider(provider)


def instructions_of(work: Callable[[], object]) -> int:
    counted = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal counted
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            counted += frame.f_code.co_code[frame.f_lasti] != _MARK
        return trace

    gc.disable()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
        gc.enable()
    return counted


def keep_each(app: Flask, kind: str) -> None:
    """Have the next request of each endpoint kept, or none."""
    if kind in ("passed", "kept"):
        keep_from = app.extensions["perfkit"].store.writer.keep_from
        keep_from.update(dict.fromkeys(app.view_functions, 0 if kind == "kept" else inf))


def main(kind: str) -> None:
    app = make_app(kind)
    client = app.test_client()
    figures = {}
    for path in ("/plain", "/queries/1", "/queries/3", "/queries/4", "/queries/20", "/n_plus_one"):

        def ask(path: str = path) -> None:
            response = client.get(path)
            _ = response.data
            response.close()

        for _ in range(3):
            ask()
        counted = []
        for _ in range(4):
            keep_each(app, kind)
            counted.append(instructions_of(ask))
        # The least: what is counted in which bucket depends on how long it took.
        figures[path] = min(counted[1:])
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
