"""Statements say in a comment which route and which view asked for them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from archive import Document, archive, db, profiles
from flask import Flask
from flask.views import MethodView
from opentelemetry import trace

from flask_perfkit import PerfKit
from tests.postgres import start_postgres

QUERY = sa.text("SELECT title FROM document WHERE id = :id")
TEXT = "SELECT title FROM document WHERE id = ?"
VIEW = f"function='{__name__}.ask',route='%2Fask%2F%3Cint%3Anumber%3E'"

_SAMPLED = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1))
SAMPLED = trace.NonRecordingSpan(_SAMPLED)


def ask(number: int = 1) -> str:
    return str(db.session.scalar(QUERY, {"id": number}))


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive(sql_comments=True) as app:
        app.add_url_rule("/ask/<int:number>", view_func=ask)
        yield app


@pytest.fixture
def sent(app: Flask) -> list[str]:
    """What SQLite's cursor got, in the place of a driver."""
    texts: list[str] = []

    def execute(cursor: Any, statement: str, *rest: Any) -> None:
        texts.append(statement)

    with app.app_context():
        for event in ("do_execute", "do_executemany", "do_execute_no_params"):
            sa.event.listen(db.engine, event, execute)
    return texts


def test_route_and_view_are_appended(app: Flask, sent: list[str]) -> None:
    assert app.test_client().get("/ask/1").text == "document 1"
    assert sent == [f"{TEXT} /*{VIEW}*/"]


def test_profiles_and_caches_know_the_statement_without_it(app: Flask) -> None:
    with profiles(app) as seen:
        for _ in range(2):
            app.test_client().get("/ask/1")
    assert [query.sql for profile in seen for query in profile.queries] == [TEXT, TEXT]


def test_outside_of_requests_nothing_is_appended(app: Flask, sent: list[str]) -> None:
    with app.app_context():
        ask()
    with app.test_request_context("/no/such/page"):
        ask()
    assert sent == [TEXT, TEXT]


def test_an_application_that_does_not_want_them_has_none(app: Flask) -> None:
    texts: list[str] = []
    with archive() as other:
        other.add_url_rule("/ask", view_func=ask)
        with other.app_context():
            sa.event.listen(db.engine, "do_execute", lambda *args: texts.append(args[1]))
        other.test_client().get("/ask")
    assert texts == [TEXT]


class Documents(MethodView):
    def get(self) -> str:
        return ask()


@pytest.mark.parametrize(
    ("view", "name"),
    [
        (Documents.as_view("documents"), f"{__name__}.Documents"),
        (functools.wraps(ask)(lambda: ask()), f"{__name__}.ask"),
        (functools.partial(ask, 1), "functools.partial"),
    ],
)
def test_views_of_every_sort_have_a_name(app: Flask, sent: list[str], view: Any, name: str) -> None:
    app.add_url_rule("/view", "view", view)
    app.test_client().get("/view")
    assert sent == [f"{TEXT} /*function='{name}',route='%2Fview'*/"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1;", "SELECT 1 /*{}*/;"),
        ("SELECT 1 \n;\n", "SELECT 1 \n /*{}*/;"),
        ("SELECT 1 /* mine */", "SELECT 1 /* mine */"),
        ("SELECT 1 -- mine", "SELECT 1 -- mine"),
    ],
)
def test_what_ends_a_statement_stays_its_end(
    app: Flask, sent: list[str], statement: str, expected: str
) -> None:
    def run() -> str:
        db.session.connection().exec_driver_sql(statement)
        return "ok"

    app.add_url_rule("/run", view_func=run)
    assert app.test_client().get("/run").status_code == 200
    name = quote(run.__qualname__)
    assert sent == [expected.format(f"function='{__name__}.{name}',route='%2Frun'")]


def test_every_way_to_execute_is_commented(app: Flask, sent: list[str]) -> None:
    def run() -> str:
        connection = db.session.connection()
        insert = sa.insert(Document)
        connection.execute(insert, [{"user_id": 1, "title": "a"}, {"user_id": 1, "title": "b"}])
        connection.execution_options(no_parameters=True).exec_driver_sql("SELECT 1")
        return "ok"

    app.add_url_rule("/run", view_func=run)
    assert app.test_client().get("/run").status_code == 200
    assert len(sent) == 2
    assert all(text.endswith("route='%2Frun'*/") for text in sent)


def test_a_fault_of_ours_leaves_the_statement_as_it_is(
    app: Flask, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_perfkit.hooks.comments._comment", None)
    assert app.test_client().get("/ask/1").text == "document 1"
    assert sent == [TEXT]


def test_a_trace_is_left_out_where_statements_are_prepared_by_their_text(
    app: Flask, sent: list[str]
) -> None:
    """The driver of SQLite keeps each connection's last 128 statements."""
    with trace.use_span(SAMPLED):
        app.test_client().get("/ask/1")
    assert sent == [f"{TEXT} /*{VIEW}*/"]


@contextmanager
def application(url: str, **engine_options: Any) -> Iterator[Flask]:
    """Make an application whose view returns the text of its own statement."""
    app = Flask("activity", root_path=".")
    app.config.update(TESTING=True, PERFKIT_SQL_COMMENTS=True)
    PerfKit(app)
    engine = sa.create_engine(url, pool_size=1, max_overflow=0, **engine_options)

    @app.get("/activity/<path>")
    def activity(path: str) -> str:
        with engine.begin() as connection:
            own = sa.text(
                "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid() AND :path <> ''"
            )
            return str(connection.execute(own, {"path": path}).scalar())

    @app.get("/prepared")
    def prepared() -> str:
        with engine.begin() as connection:
            count = sa.text(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%activity%'"
            )
            return str(connection.execute(count).scalar())

    try:
        yield app
    finally:
        engine.dispose()


def test_postgresql_gets_the_comment(postgres_url: str) -> None:
    with application(postgres_url) as app:
        text = app.test_client().get("/activity/x").text
    name = f"{__name__}.application.%3Clocals%3E.activity"
    assert text.endswith(f" /*function='{name}',route='%2Factivity%2F%3Cpath%3E'*/")


def test_postgresql_prepares_a_commented_statement_once(postgres_url: str) -> None:
    """The driver prepares what it gets the sixth time with the same text; a rollback drops it."""
    with application(postgres_url) as app, trace.use_span(SAMPLED):
        client = app.test_client()
        for _ in range(10):
            text = client.get("/activity/x").text
        assert client.get("/prepared").text == "1"
    assert "traceparent" not in text


def test_postgresql_gets_the_trace_where_nothing_is_prepared(postgres_url: str) -> None:
    connect_args = {"prepare_threshold": None}
    with application(postgres_url, connect_args=connect_args) as app, trace.use_span(SAMPLED):
        text = app.test_client().get("/activity/x").text
    assert text.endswith(f",traceparent='00-{0xABC:032x}-{0xDEF:016x}-01'*/")


@pytest.fixture
def statistics_url() -> Iterator[str]:
    """The URL of a PostgreSQL server with pg_stat_statements, which must be there at its start."""
    directory = Path(tempfile.mkdtemp(prefix="perfkit-statistics-"))
    server = start_postgres(directory, cleanup_mode="stop")
    server.psql("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    server.cleanup()
    with start_postgres(directory) as server:
        server.psql("CREATE EXTENSION pg_stat_statements")
        yield f"postgresql+psycopg://postgres@/?host={server.get_postmaster_info().socket_dir}"


@pytest.mark.slow
def test_statements_of_several_routes_are_one_in_pg_stat_statements(statistics_url: str) -> None:
    engine = sa.create_engine(statistics_url, poolclass=sa.NullPool)
    app = Flask("statistics", root_path=".")
    app.config["PERFKIT_SQL_COMMENTS"] = True
    PerfKit(app)

    def count() -> str:
        with engine.connect() as connection:
            return str(connection.execute(sa.text("SELECT :x + 41"), {"x": 1}).scalar())

    routes = ("/a", "/b", "/c")
    for route in routes:
        app.add_url_rule(route, route, count)
    for route in routes:
        for _ in range(4):
            assert app.test_client().get(route).text == "42"
    grouped = "SELECT calls FROM pg_stat_statements WHERE query LIKE 'SELECT $1%+ $2%'"
    with engine.connect() as connection:
        assert connection.execute(sa.text(grouped)).scalars().all() == [12]
