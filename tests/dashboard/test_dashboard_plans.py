"""Plans of statements as SQLAlchemy holds them: without values, without execution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    bindparam,
    create_engine,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.engine import Engine

from flask_perfkit.dashboard.plans import NoPlan, plan_of
from flask_perfkit.recording.issued import Issued

METADATA = MetaData()
USERS = Table("users", METADATA, Column("id", Integer, primary_key=True), Column("name", String))
DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("users.id")),
    Column("title", String),
    Index("ix_documents_user_id", "user_id"),
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(USERS), [{"name": f"user {n}"} for n in range(50)])
        documents = [{"user_id": n % 50 + 1, "title": f"title {n}"} for n in range(5_000)]
        connection.execute(insert(DOCUMENTS), documents)
        connection.execute(text("ANALYZE"))
    yield engine
    engine.dispose()


def issued(statement: Any, engine: Engine) -> tuple[Issued, Any]:
    """Return a statement as a recorder keeps it, and what keeps it alive."""
    compiled = statement.compile(dialect=engine.dialect)
    return Issued(lambda: compiled), compiled


STATEMENTS: dict[str, tuple[Select[Any], str]] = {
    "a value": (select(DOCUMENTS).where(DOCUMENTS.c.user_id == 7), "ix_documents_user_id"),
    "a list": (select(USERS.c.name).where(USERS.c.id.in_([1, 2, 3])), "users"),
    "an empty list": (select(USERS.c.name).where(USERS.c.id.in_([])), ""),
    "a percent sign": (select(USERS).where(USERS.c.name.like("%r 1%")), "users"),
    "a literal percent": (select(literal_column("'100%'"), USERS.c.id), "users"),
    "a limit": (select(USERS).order_by(USERS.c.name).limit(3).offset(1), "users"),
    "a join": (
        select(func.count()).select_from(USERS.join(DOCUMENTS)).where(USERS.c.name == "ada"),
        "documents",
    ),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_a_select_has_a_plan(engine: Engine, case: str) -> None:
    statement, named = STATEMENTS[case]
    known, _alive = issued(statement, engine)
    lines = plan_of(known, [engine])
    assert any(named in line for line in lines), lines
    assert not any("ada" in line or "r 1" in line for line in lines), lines


def test_a_text_has_a_plan(engine: Engine) -> None:
    statement = text("SELECT name FROM users WHERE id = :id").bindparams(
        bindparam("id", 3, Integer)
    )
    known, _alive = issued(statement, engine)
    assert any("users" in line for line in plan_of(known, [engine]))


def test_nothing_is_executed_or_left_open(engine: Engine) -> None:
    known, _alive = issued(select(Table("missing", MetaData(), Column("id", Integer))), engine)
    with pytest.raises(NoPlan, match="The database says no"):
        plan_of(known, [engine])
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_why_there_is_no_plan(engine: Engine) -> None:
    known, _alive = issued(select(USERS), engine)
    with pytest.raises(NoPlan, match="engine is not known"):
        plan_of(known, [])
    with pytest.raises(NoPlan, match="has forgotten the statement"):
        plan_of(Issued(lambda: None), [engine])
