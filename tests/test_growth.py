"""Nothing grows with the number of requests, of URLs or of SQL texts."""

from __future__ import annotations

import gc
import logging
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from archive import archive, database, db, names_of_owners
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from flask_perfkit import QueryCounter

pytestmark = pytest.mark.alone

LONGEST_KEPT = 10_000
"""Entries of a module's own dict, list or set: whatever is remembered has a bound of its own."""


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive(on_finding="ignore") as app:
        yield app


def growth_of(work: Callable[[int], object], times: int) -> int:
    """Return the bytes that a work leaves each time, once it is warm.

    Memory is traced from the start, so that what only takes the place of something older, in a
    cache that is full, counts for nothing.
    Of three stretches the middle one counts: a dict that is full and made larger, or emptied,
    shows in one only, what is lost each time shows in all. Nothing is logged meanwhile: pytest
    keeps what is.
    """
    logging.disable()
    tracemalloc.start()
    try:
        kept = []
        for stretch in range(4):
            for number in range(stretch * times, (stretch + 1) * times):
                work(number)
            gc.collect()
            kept.append(tracemalloc.get_traced_memory()[0])
        return sorted(after - before for before, after in pairwise(kept))[1] // times
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)


def kept_by_modules() -> dict[str, int]:
    """Return how much is in each container that a module of ours holds.

    An application that is forgotten refers to itself: what goes with it goes when it is collected.
    """
    gc.collect()
    sizes = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("flask_perfkit") and isinstance(module, ModuleType):
            for key, value in vars(module).items():
                if isinstance(value, dict | list | set) and not key.startswith("__"):
                    sizes[f"{name}.{key}"] = len(value)
    return sizes


def test_requests_leave_nothing(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: "ok")
    client = app.test_client()
    assert growth_of(lambda _: client.get("/"), 300) < 50


def test_requests_with_findings_leave_nothing(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: names_of_owners())
    client = app.test_client()
    assert growth_of(lambda _: client.get("/"), 25) < 700


def ask(app: Flask, path: str, method: str = "GET") -> None:
    """Ask without a client, which remembers URLs itself."""
    body, _, _ = run_wsgi_app(app, ENVIRON | {"PATH_INFO": path, "REQUEST_METHOD": method})
    assert list(body)


ENVIRON = create_environ("/")


@pytest.mark.parametrize("known", [True, False])
def test_urls_leave_nothing(app: Flask, known: bool) -> None:
    if known:
        app.add_url_rule("/<path:name>", view_func=lambda name: "ok")
    assert growth_of(lambda number: ask(app, f"/{number}/{'x' * 500}"), 300) < 50


def test_methods_leave_nothing(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: "ok")
    assert growth_of(lambda number: ask(app, "/", f"M{number}"), 300) < 50


def test_failing_requests_leave_nothing(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    app.add_url_rule("/", view_func=lambda: names_of_owners() and 1 / 0)
    app.logger.disabled = True
    client = app.test_client()
    try:
        assert growth_of(lambda _: client.get("/"), 25) < 700
    finally:
        app.logger.disabled = False


def test_what_is_remembered_of_sql_texts_is_bounded() -> None:
    with database() as engine, engine.connect() as connection:
        for number in range(2_500):
            with QueryCounter():
                connection.exec_driver_sql(f"SELECT {number} AS c{number}, 'text {number}'").all()
        many = kept_by_modules()
        for number in range(2_500, 3_000):
            with QueryCounter():
                connection.exec_driver_sql(f"SELECT {number} AS c{number}, 'text {number}'").all()
    assert max(many.values()) <= LONGEST_KEPT
    assert max(kept_by_modules().values()) <= LONGEST_KEPT
    assert many["flask_perfkit.recording.callsite.memory"] <= 1_000
    assert many["flask_perfkit.recording.fingerprint._shapes"] <= 1_000
    assert many["flask_perfkit.recording.causes._reasons"] <= 1_000


def test_long_sql_texts_are_not_remembered() -> None:
    def select(number: int) -> None:
        with QueryCounter():
            connection.exec_driver_sql(f"SELECT {number} /* {'x' * 200_000} */")

    # Of sqlite3's own, which remembers statements too, nothing is wanted here.
    engine = sa.create_engine("sqlite://", connect_args={"cached_statements": 0})
    with engine.connect() as connection:
        assert growth_of(select, 20) < 5_000
    engine.dispose()


def test_what_is_remembered_of_lines_is_bounded() -> None:
    from flask_perfkit.recording import callsite

    source = "\n".join(["c.exec_driver_sql('SELECT 1')"] * 3_000)
    with database() as engine, engine.connect() as connection:
        with QueryCounter() as counter:
            exec(compile(source, "/srv/shop/long.py", "exec"), {"c": connection})
        assert counter.count == 3_000
        assert len({query.lineno for query in counter.queries}) >= 2_000
    assert len(callsite._lines) <= 1_000
    assert len(callsite._sites) <= 1_000


def test_one_line_is_one_object_however_many_there_are() -> None:
    """Else a loop could be taken for several, each below the threshold."""
    source = "def ask(c, n):\n    c.exec_driver_sql('SELECT name FROM user WHERE id = ?', (n,))\n"
    others = "\n".join(["c.exec_driver_sql('SELECT 1')"] * 1_500)
    scope: dict[str, Any] = {}
    exec(compile(source, "/srv/shop/ask.py", "exec"), scope)
    with archive(on_finding=lambda finding: found.append(finding.kind)) as app:
        found: list[str] = []

        @app.get("/")
        def show() -> str:
            connection = db.session.connection()
            for number in range(6):
                scope["ask"](connection, number)
                if number == 2:
                    exec(compile(others, "/srv/shop/others.py", "exec"), {"c": connection})
            return "ok"

        app.test_client().get("/")
    assert "n_plus_one" in found


def test_applications_can_be_made_and_forgotten() -> None:
    def make(_: int) -> None:
        with archive() as app:
            app.add_url_rule("/", view_func=lambda: "ok")
            app.test_client().get("/")

    with sa.create_engine("sqlite://").connect():
        before = kept_by_modules()
    for number in range(5):
        make(number)
    after = kept_by_modules()
    for number in range(5):
        make(number)
    assert kept_by_modules() == after
    assert set(before) <= set(after)
