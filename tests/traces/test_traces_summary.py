"""The summary of a statement."""

from __future__ import annotations

import pytest

from flask_perfkit.traces.summary import summary_of


@pytest.mark.parametrize(
    ("sql", "text", "table"),
    [
        ("SELECT users.id FROM users WHERE users.id = ?", "SELECT users", "users"),
        ("SELECT a.id FROM a JOIN b ON b.a = a.id", "SELECT a b", None),
        ("SELECT a.id FROM a AS a_1, b, c x WHERE a.id IN (...)", "SELECT a b c", None),
        ('SELECT x FROM "Big Table" AS t', "SELECT Big Table", "Big Table"),
        ("SELECT x FROM audit.users", "SELECT audit.users", "audit.users"),
        ("SELECT x FROM a LEFT OUTER JOIN (SELECT y FROM b) AS s ON ?", "SELECT a SELECT b", None),
        ("SELECT x FROM a UNION ALL SELECT x FROM b", "SELECT a SELECT b", None),
        ("SELECT EXTRACT(year FROM day) FROM notes", "SELECT notes", "notes"),
        ("SELECT x FROM t WHERE x IS DISTINCT FROM y", "SELECT t", "t"),
        ("SELECT x FROM generate_series(?, ?) AS n", "SELECT", None),
        ("SELECT x FROM t FOR UPDATE OF t", "SELECT t", "t"),
        ("INSERT INTO notes (id, title) VALUES (?, ?), ...", "INSERT notes", "notes"),
        ("INSERT INTO old SELECT x FROM new", "INSERT old SELECT new", None),
        ("INSERT INTO t (x) VALUES (?) ON CONFLICT (x) DO UPDATE SET x = ?", "INSERT t", "t"),
        ("UPDATE notes SET title = ?, size = ? WHERE id = ?", "UPDATE notes", "notes"),
        ("DELETE FROM notes WHERE id = ?", "DELETE notes", "notes"),
        ("WITH w AS (SELECT x FROM a) SELECT x FROM w", "SELECT a SELECT", "a"),
        ("WITH RECURSIVE w(x) AS (SELECT ?) SELECT x FROM w", "SELECT SELECT", None),
        ("CREATE TABLE notes (id INTEGER)", "CREATE", None),
        ("PRAGMA foreign_keys=?", "PRAGMA", None),
        ("", "", None),
    ],
)
def test_summary(sql: str, text: str, table: str | None) -> None:
    summary = summary_of(sql)
    assert (summary.text, summary.table) == (text, table)


def test_a_write_names_the_operation() -> None:
    sql = "WITH w AS (SELECT x FROM a) UPDATE b SET x = ? FROM w"
    assert summary_of(sql)[:2] == ("SELECT a UPDATE b", "UPDATE")


def test_a_long_summary_is_cut() -> None:
    assert len(summary_of(f"SELECT x FROM {'t' * 1_000}").text) == 255
