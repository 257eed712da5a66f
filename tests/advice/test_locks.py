"""Tables that others hold are asked for twice, and then said to be locked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from advised_shop import Customer, Order
from flask import Flask
from sqlalchemy.orm import Session

from flask_perfkit import PerfKit
from flask_perfkit.advice.advice import Advice
from flask_perfkit.advice.output.report import lines_of
from flask_perfkit.advice.planners import locks


@pytest.fixture
def other(shop: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Connection]:
    """One who has begun a transaction of his own."""
    monkeypatch.setattr(locks, "TIMEOUT", "20ms")
    with shop.connect() as connection:
        yield connection


def ask(session: Any) -> None:
    session.execute(sa.select(Order).where(Order.customer_id == 21000)).all()
    session.execute(sa.select(Customer).where(Customer.name == "x")).all()


@pytest.mark.parametrize("mode", ["ROW EXCLUSIVE", "ACCESS EXCLUSIVE"])
def test_a_table_that_stays_locked_is_said(
    advised: Callable[..., Advice], app: Flask, other: sa.Connection, mode: str
) -> None:
    """A writer keeps indexes from being built, a migration even plans from being made."""

    def then_locked(session: Any) -> None:
        ask(session)
        session.rollback()
        other.exec_driver_sql(f"LOCK TABLE orders IN {mode} MODE")

    advice = advised(then_locked)
    assert [one.table for one in advice.create] == ["customer"]
    assert advice.locked == ("orders",)
    (reason,) = (one.reason for one in advice.refused if one.sql.endswith("orders (customer_id)"))
    assert reason.startswith("locked: ")
    assert "  LOCKED: others held orders while indexes were to be tried: run it again" in (
        list(lines_of(advice))
    )


def test_a_lock_that_goes_changes_nothing(
    advised: Callable[..., Advice], shop: sa.Engine, other: sa.Connection
) -> None:
    """As that of autovacuum, which gives way."""
    other.exec_driver_sql("LOCK TABLE orders IN ROW EXCLUSIVE MODE")

    def give_way(context: Any) -> None:
        other.rollback()

    sa.event.listen(shop, "handle_error", give_way)
    try:
        advice = advised(ask)
    finally:
        sa.event.remove(shop, "handle_error", give_way)
    assert {one.table for one in advice.create} == {"orders", "customer"}
    assert advice.locked == ()


def test_an_audit_fails_where_a_lock_keeps_it_from_advice(
    app: Flask, shop: sa.Engine, other: sa.Connection
) -> None:
    """On a sequence, which no statement names: what the rest would tell is not known."""
    PerfKit(app)

    @app.get("/orders")
    def orders() -> list[int]:
        with Session(shop) as session:
            return [*session.scalars(sa.select(Order.id).where(Order.customer_id == 21000))]

    other.exec_driver_sql("ALTER SEQUENCE orders_id_seq RENAME TO numbers")
    result = app.test_cli_runner().invoke(args=["perfkit", "audit"])
    assert result.exit_code == 1
    assert "audit failed: LOCKED: others held the database while" in result.stderr
    assert "LOCKED: others held the database" in result.stdout
    indexed = next(line for line in result.stdout.splitlines() if line.startswith("orders "))
    assert indexed.split()[5] == "-"
