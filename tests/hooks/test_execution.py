"""Who else listens to a dialect is known, however late they come."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import StaticPool

from flask_perfkit import QueryCounter


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    yield engine
    engine.dispose()


def ask(engine: sa.Engine) -> int:
    with QueryCounter() as counter, engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 7")) == 7
    return counter.count


@pytest.mark.parametrize(
    "target",
    [lambda engine: engine, lambda engine: engine.dialect, lambda engine: sa.Engine],
    ids=["engine", "dialect", "all engines"],
)
def test_who_begins_to_listen_later_is_asked_from_then_on(
    engine: sa.Engine, target: Callable[[sa.Engine], Any]
) -> None:
    heard = []

    def listener(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        heard.append(statement)
        cursor.execute(statement, parameters)
        return True

    assert ask(engine) == 1
    event.listen(target(engine), "do_execute", listener)
    try:
        assert (ask(engine), heard) == (1, ["SELECT 7"])
    finally:
        event.remove(target(engine), "do_execute", listener)
    assert (ask(engine), heard) == (1, ["SELECT 7"])


ALONE = """
import sqlalchemy as sa
from flask_perfkit import QueryCounter
from flask_perfkit.hooks.execution import alone

for number in range(30):
    engine = sa.create_engine("sqlite://")
    with QueryCounter() as counter, engine.connect() as connection:
        connection.execute(sa.text("SELECT 7"))
    assert counter.count == 1
    assert engine.dialect in alone
    assert len(alone) <= 10
    engine.dispose()
"""


def test_a_dialect_that_nobody_else_listens_to_is_remembered_with_few_others() -> None:
    """In a process of its own: once traces were on in this one, they listen to all engines."""
    subprocess.run([sys.executable, "-c", ALONE], timeout=60, check=True)
