"""The least that somebody could write by hand to see statements, times and lines by request."""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from time import perf_counter_ns
from typing import Any

from flask import Flask
from sqlalchemy import event
from sqlalchemy.engine import Engine

_HERE = os.path.dirname(__file__)

_records: ContextVar[list[Any] | None] = ContextVar("records", default=None)


def install(app: Flask) -> None:
    inner = app.wsgi_app

    def wsgi_app(environ: Any, start_response: Any) -> Any:
        token = _records.set([])
        try:
            return inner(environ, start_response)
        finally:
            _records.reset(token)

    app.wsgi_app = wsgi_app  # type: ignore[method-assign]
    event.listen(Engine, "do_execute", _on_execute)


def _on_execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    records = _records.get()
    if records is None:
        return None
    started = perf_counter_ns()
    context.dialect.do_execute(cursor, statement, parameters, context)
    ended = perf_counter_ns()
    frame: Any = sys._getframe(1)
    while not frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    records.append((statement, started, ended, frame.f_code, frame.f_lasti))
    return True
