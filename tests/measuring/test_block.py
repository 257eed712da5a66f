"""A block counts what happens inside it; requests in it are judged by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.pool import StaticPool

from flask_perfkit import PerfKit, QueryCounter
from flask_perfkit.measuring.block import Block


@pytest.fixture
def ask() -> Iterator[Callable[[int], Any]]:
    """Ask a table of seven rows for the one with a number."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE item (id INTEGER)"))
        connection.execute(sa.text("INSERT INTO item VALUES (1),(2),(3),(4),(5),(6),(7)"))

    def ask(number: int) -> Any:
        with engine.connect() as connection:
            statement = sa.text("SELECT id FROM item WHERE id = :id")
            return connection.scalar(statement, {"id": number})

    yield ask
    engine.dispose()


@pytest.fixture
def app(ask: Callable[[int], Any]) -> Flask:
    app = Flask(__name__)
    app.config["PERFKIT_N_PLUS_ONE_THRESHOLD"] = 7
    app.config["PERFKIT_SLOW_REQUEST"] = app.config["PERFKIT_SLOW_QUERY"] = None
    PerfKit(app)

    @app.get("/<int:number>")
    def one(number: int) -> str:
        return str(ask(number))

    @app.get("/all/<int:last>")
    def several(last: int) -> str:
        return str(sum(ask(number) for number in range(1, last + 1)))

    @app.cli.command("several")
    def several_by_command() -> None:
        for number in range(1, 8):
            ask(number)

    return app


def test_a_loop_of_requests_is_no_loop_of_statements(app: Flask) -> None:
    client = app.test_client()
    with QueryCounter() as counter:
        for number in range(1, 8):
            assert client.get(f"/{number}").text == str(number)

    assert (counter.count, len(counter.queries), counter.findings) == (7, 7, ())


def test_a_loop_inside_a_request_is_found_once_by_its_own_settings(app: Flask) -> None:
    client = app.test_client()
    with QueryCounter() as counter:
        client.get("/all/7")
        client.get("/all/7")
        client.get("/all/6")  # below the threshold of this application

    assert counter.count == 20
    assert [(found.kind, found.count) for found in counter.findings] == [("n_plus_one", 7)]


def test_a_loop_inside_a_command_is_found(app: Flask) -> None:
    with QueryCounter() as counter:
        app.test_cli_runner().invoke(args=["several"])

    assert [(found.kind, found.count) for found in counter.findings] == [("n_plus_one", 7)]


def test_a_loop_around_blocks_is_a_loop(ask: Callable[[int], Any]) -> None:
    with QueryCounter() as outer:
        for number in range(1, 8):
            with QueryCounter() as inner:
                ask(number)

    assert (inner.count, outer.count) == (1, 7)
    assert [found.count for found in outer.findings] == [7]


def test_what_requests_in_an_inner_block_show_reaches_the_outer_one(app: Flask) -> None:
    with QueryCounter() as outer, QueryCounter() as inner:
        app.test_client().get("/all/7")

    assert outer.findings == inner.findings
    assert outer.count == 7


def test_a_block_is_used_once() -> None:
    block = Block()
    with pytest.raises(RuntimeError, match="this Block counts inside its with block only"):
        block.count  # noqa: B018
    with block:
        pass
    with pytest.raises(RuntimeError, match="this Block was used already"), block:
        pass
