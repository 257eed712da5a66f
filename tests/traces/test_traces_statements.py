"""The spans and measurements of statements."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from archive import names_of_owners
from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import create_async_engine
from traced import Points, Spans

tracer = trace.get_tracer("tests")


@pytest.fixture
def engine(app: Flask, tmp_path: Any) -> Iterator[Engine]:
    """An engine that no application owns; the fixture ``app`` has turned traces on."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'own.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE notes (id INTEGER PRIMARY KEY, title TEXT)"))
    yield engine
    engine.dispose()


def statements(spans: Spans) -> list[ReadableSpan]:
    return [span for span in spans() if span.kind is SpanKind.CLIENT]


def test_a_statement_is_a_client_span_of_its_request(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/owners", view_func=lambda: str(names_of_owners()))
    app.test_client().get("/owners")
    server, *found = spans()
    assert [span.name for span in found] == ["SELECT document", *["SELECT user"] * 10]
    assert all(span.parent == server.context for span in found)
    attributes = dict(found[1].attributes or {})
    text = attributes.pop("db.query.text")
    assert str(text).endswith(" FROM user WHERE user.id = ?")
    assert attributes == {
        "db.system.name": "sqlite",
        "db.operation.name": "SELECT",
        "db.collection.name": "user",
        "db.query.summary": "SELECT user",
    }
    assert found[1].status.status_code is StatusCode.UNSET


def test_a_statement_belongs_to_the_span_around_it(engine: Engine, spans: Spans) -> None:
    with tracer.start_as_current_span("job") as job, engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    (statement,) = statements(spans)
    assert statement.parent == job.get_span_context()
    assert statement.name == "SELECT"


def test_a_statement_outside_of_a_trace_has_no_span(engine: Engine, spans: Spans) -> None:
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    assert spans() == []


def test_no_value_leaves(engine: Engine, spans: Spans) -> None:
    with tracer.start_as_current_span("job"), engine.begin() as connection:
        connection.execute(sa.text("SELECT * FROM notes WHERE title = 'hunter2'"))
        connection.execute(sa.text("INSERT INTO notes (title) VALUES (:t)"), {"t": "hunter2"})
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.text("SELECT * FROM none WHERE title = 'hunter2'"))
    assert len(statements(spans)) == 3
    assert not any("hunter2" in span.to_json() for span in spans())


def test_a_long_statement_is_cut(engine: Engine, spans: Spans) -> None:
    long = "SELECT title FROM notes WHERE title IN (" + ", ".join(["'hunter2'"] * 9_000) + ")"
    numbers = "SELECT " + ", ".join(f"{number} AS n{number}" for number in range(1_500))
    with tracer.start_as_current_span("job"), engine.connect() as connection:
        connection.execute(sa.text(long))
        connection.execute(sa.text(numbers))
    texts = [str((span.attributes or {})["db.query.text"]) for span in statements(spans)]
    assert texts[0] == "SELECT title FROM notes WHERE title IN ("
    assert 1_000 < len(texts[1]) <= 4_000


def test_a_failing_statement_is_an_error(engine: Engine, spans: Spans) -> None:
    with (
        tracer.start_as_current_span("job"),
        engine.connect() as connection,
        pytest.raises(sa.exc.OperationalError),
    ):
        connection.execute(sa.text("SELECT * FROM none"))
    (span,) = statements(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "sqlite3.OperationalError"


def test_many_sets_of_parameters_are_a_batch(engine: Engine, spans: Spans) -> None:
    insert = sa.text("INSERT INTO notes (title) VALUES (:title)")
    with tracer.start_as_current_span("job"), engine.begin() as connection:
        connection.execute(insert, [{"title": str(number)} for number in range(3)])
        connection.execute(insert, [{"title": "one"}])
    sizes = [(span.attributes or {}).get("db.operation.batch.size") for span in statements(spans)]
    assert sizes == [3, None]


def test_a_statement_without_parameters_is_traced(engine: Engine, spans: Spans) -> None:
    with tracer.start_as_current_span("job"), engine.connect() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql("SELECT 1 -- %")
    assert [span.name for span in statements(spans)] == ["SELECT"]


def test_an_asynchronous_engine_is_traced(app: Flask, spans: Spans) -> None:
    async def ask() -> None:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))
        await engine.dispose()

    with tracer.start_as_current_span("job") as job:
        asyncio.run(ask())
    assert [span.parent for span in statements(spans)] == [job.get_span_context()]


def test_who_executes_by_itself_is_asked_once(engine: Engine, spans: Spans) -> None:
    asked = []

    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        asked.append(statement)
        cursor.execute(statement, parameters)
        return True

    sa.event.listen(engine, "do_execute", execute)
    with tracer.start_as_current_span("job"), engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    assert asked == ["SELECT 1"]
    assert len(statements(spans)) == 1


def test_statements_and_pools_are_measured(engine: Engine, spans: Spans, points: Points) -> None:
    with engine.connect() as connection:
        for number in range(3):
            connection.execute(sa.text("SELECT title FROM notes WHERE id = :id"), {"id": number})
        database = {"db.system.name": "sqlite", "db.namespace": engine.url.database}
        (point,) = (
            point
            for point in points("db.client.operation.duration")
            if dict(point.attributes)
            == {**database, "db.operation.name": "SELECT", "db.collection.name": "notes"}
        )
        assert point.count == 3
        name = {"db.client.connection.pool.name": f"sqlite:///{engine.url.database}"}
        counts = {
            point.attributes["db.client.connection.state"]: point.value
            for point in points("db.client.connection.count")
            if name.items() <= dict(point.attributes).items()
        }
        assert counts == {"used": 1, "idle": 0}
    most = [p for p in points("db.client.connection.max") if dict(p.attributes) == name]
    assert [point.value for point in most] == [15]


def test_what_cannot_be_traced_is_executed_all_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_perfkit.traces.statements.tracer", None)
    monkeypatch.setattr("flask_perfkit.traces.statements._duration", None)
    with tracer.start_as_current_span("job"), engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1


def test_postgresql_says_where_and_why(app: Flask, spans: Spans, postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url)
    with (
        tracer.start_as_current_span("job"),
        engine.connect() as connection,
        pytest.raises(sa.exc.ProgrammingError),
    ):
        connection.execute(sa.text("SELECT * FROM nothing"))
    engine.dispose()
    attributes = dict(statements(spans)[-1].attributes or {})
    assert attributes["db.system.name"] == "postgresql"
    assert attributes["db.namespace"] == engine.url.database
    assert attributes["server.address"] == engine.url.query["host"]
    assert attributes["db.response.status_code"] == "42P01"
    assert attributes["error.type"] == "psycopg.errors.UndefinedTable"
