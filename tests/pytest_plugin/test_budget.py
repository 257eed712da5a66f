"""The text of a budget, and what of a statement it shows."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from flask_perfkit.measuring.block import Block
from flask_perfkit.recording.fingerprint import shape_of
from flask_perfkit.testing.budget import (
    Excess,
    brief,
    excesses,
    parse,
    render,
    statements_of,
)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ('SELECT "user".id, "user".name AS user_name FROM "user"', 'SELECT ... FROM "user"'),
        ("SELECT DISTINCT t.a, t.b FROM t", "SELECT DISTINCT ... FROM t"),
        ("SELECT t.a FROM t", "SELECT t.a FROM t"),
        ("SELECT t.a, count(*) AS n FROM t", "SELECT t.a, count(*) AS n FROM t"),
        (
            "SELECT x.a, x.b FROM (SELECT t.a AS a, t.b AS b FROM t LIMIT 5) AS x",
            "SELECT ... FROM (SELECT ... FROM t LIMIT ?) AS x",
        ),
        ("INSERT INTO t (a, b) VALUES (?, ?), (?, ?)", "INSERT INTO t (...) VALUES (...)"),
        (
            "INSERT INTO t (a) VALUES (%(a)s::VARCHAR) RETURNING t.id",
            "INSERT INTO t (...) VALUES (...) RETURNING t.id",
        ),
        (
            "UPDATE t SET a=%(a)s::VARCHAR(9) WHERE t.id = %(t_id)s",
            "UPDATE t SET a=? WHERE t.id = ?",
        ),
        ("DELETE FROM t WHERE t.id = :id_1", "DELETE FROM t WHERE t.id = ?"),
        ("SELECT t.a FROM t WHERE t.id = $1", "SELECT t.a FROM t WHERE t.id = ?"),
        (
            "SELECT t.a::text FROM t WHERE t.id IN (1, 2)",
            "SELECT t.a::text FROM t WHERE t.id IN (...)",
        ),
    ],
)
def test_brief(sql: str, expected: str) -> None:
    assert brief(shape_of(sql).text) == expected


def test_a_new_column_changes_no_budget() -> None:
    before = brief("SELECT t.id, t.a FROM t WHERE t.id = ?")

    assert brief("SELECT t.id, t.a, t.b FROM t WHERE t.id = ?") == before


def test_transactions_and_first_contact_do_not_count(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with Block() as block, engine.begin() as connection:
        with connection.begin_nested():
            connection.execute(sa.text("SELECT 1"))
        with connection.begin_nested() as savepoint:
            savepoint.rollback()
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys")
        connection.exec_driver_sql("/* a comment */ select 2")
    engine.dispose()

    assert statements_of(block.profile.causes) == {"SELECT ?": 1, "select ?": 1}


def test_excesses_put_first_what_is_new() -> None:
    allowed = {"a": 1, "b": 2, "c": 3}
    sent = {"a": 2, "b": 2, "c": 1, "d": 1}

    assert excesses(allowed, sent) == [Excess("d", 0, 1), Excess("a", 1, 2)]


def test_render_is_one_statement_a_line_in_one_order() -> None:
    budgets = {"t.py::b": {"SELECT b": 1, "SELECT a": 12}, "t.py::a[x y]": {"DELETE": 2}}

    assert render(budgets).splitlines()[2:] == [
        "",
        "t.py::a[x y]",
        "    2 DELETE",
        "",
        "t.py::b",
        "    12 SELECT a",
        "    1 SELECT b",
    ]


words = st.text("abc :#?=*().", min_size=1).map(str.strip).filter(bool)
statements = st.dictionaries(words, st.integers(1, 10_000), min_size=1)


@given(st.dictionaries(words.map(lambda name: f"t.py::{name}"), statements))
def test_parse_reads_what_render_writes(budgets: dict[str, dict[str, int]]) -> None:
    assert parse(render(budgets)) == budgets
