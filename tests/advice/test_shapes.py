"""Statements that are known as text only: what is read of them, and that nothing else is asked."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from flask_perfkit import SetupError
from flask_perfkit.advice.asked import plain_dialect
from flask_perfkit.advice.shapes.expressions import Unreadable
from flask_perfkit.advice.shapes.file import read_shapes, write_shapes
from flask_perfkit.advice.shapes.reading import read
from flask_perfkit.advice.shapes.shape import StatementShape
from flask_perfkit.advice.statement.needs import needs_of
from flask_perfkit.advice.statement.terms import Scope

metadata = sa.MetaData()
sa.Table(
    "plant",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("bed_id", sa.ForeignKey("bed.id")),
    sa.Column("name", sa.String(50)),
    sa.Column("sown_at", sa.DateTime),
)
sa.Table("bed", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("soil", sa.Text))


def needs(sql: str, dialect: str = "postgresql") -> list[tuple[str, list[str], list[str]]]:
    """Return for each table of a statement what it compares, and its order."""
    scope = Scope(None, {}, plain_dialect(sa.make_url(f"{dialect}://").get_dialect()()))
    return [
        (
            need.table.name,
            [f"{one.kind.name} {one.term.sql}" for one in need.conditions],
            [f"{key.term.sql} {key.descending} {key.nulls_first}" for key in need.order],
        )
        for need in needs_of(read(sql, metadata, dialect).tree, scope)
    ]


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_a_page_of_a_list(dialect: str) -> None:
    sql = "SELECT p.* FROM plant AS p WHERE p.bed_id = ? AND p.name IN (?) ORDER BY p.sown_at DESC"
    assert needs(f"{sql}, p.id DESC LIMIT ? OFFSET ?", dialect) == [
        ("plant", ["EQUAL bed_id", "LISTED name"], ["sown_at False False", "id False False"])
    ]


def test_joins_functions_and_subqueries() -> None:
    found = needs(
        "SELECT plant.name, count(*) FROM plant LEFT OUTER JOIN bed ON bed.id = plant.bed_id "
        "WHERE lower(plant.name) = ? AND (? = bed.soil OR plant.sown_at >= ?::TIMESTAMP) "
        "AND NOT EXISTS (SELECT ? FROM plant AS other WHERE other.bed_id = bed.id) "
        "GROUP BY plant.name HAVING count(*) > ?"
    )
    assert ("plant", ["EQUAL lower(name)", "JOINED bed_id"], []) in found
    assert ("plant", ["JOINED bed_id"], []) in found
    assert any("EQUAL soil" in conditions for table, conditions, _ in found if table == "bed")


def test_where_nulls_come() -> None:
    (need,) = needs("SELECT id FROM plant ORDER BY sown_at DESC NULLS LAST LIMIT ?")
    assert need[2] == ["sown_at True False"]


def test_whether_a_pattern_is_a_prefix_is_not_guessed() -> None:
    assert needs("SELECT id FROM plant WHERE name LIKE ? || ?") == [("plant", ["OTHER name"], [])]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE plant",
        "SELECT id FROM plant; DELETE FROM plant",
        "SELECT pg_sleep(?) FROM plant",
        "SELECT load_extension(name) FROM plant",
        "SELECT * FROM pg_shadow",
        "SELECT secret FROM plant",
        "SELECT id FROM plant WHERE lower(pg_read_file(?)) = name",
        "WITH gone AS (DELETE FROM plant RETURNING id) SELECT id FROM gone",
        "SELECT id INTO copied FROM plant",
        "SELECT id FROM plant UNION SELECT id FROM bed",
        "COPY plant TO PROGRAM 'true'",
        "PRAGMA writable_schema = 1",
        "SELECT id FROM plant WHERE " + "(" * 5000 + "id" + ")" * 5000 + " = ?",
        "SELECT id FROM plant WHERE name = '",
        "",
        "x" * 30_000,
    ],
)
@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_what_is_not_known_is_not_asked(sql: str, dialect: str) -> None:
    with pytest.raises(Unreadable):
        read(sql, metadata, dialect)


def test_a_file_is_read_as_it_was_written(tmp_path: Any) -> None:
    shapes = [
        StatementShape("SELECT id FROM plant WHERE bed_id = ?", 7, 0.25, 70, "views.py:12"),
        StatementShape("SELECT id FROM bed", 1, 0.5, 3),
    ]
    assert write_shapes(tmp_path / "work.json", shapes) == 2
    assert read_shapes(tmp_path / "work.json") == [shapes[1], shapes[0]]


SOUND = '{"sql": "SELECT ?", "count": 1, "seconds": 0.1, "rows": 1, "place": ""}'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "is no workload"),
        ('{"file": "flask-perfkit workload", "version": 2}', "version 2, and 1 is known"),
        ('{"file": "flask-perfkit workload", "version": 1}', "allowed are up to"),
        *(
            (
                f'{{"file": "flask-perfkit workload", "version": 1, "statements": [{one}]}}',
                "statement 1",
            )
            for one in (
                "null",
                "{}",
                SOUND.replace('"rows": 1', '"rows": true'),
                SOUND.replace('"count": 1', '"count": "1"'),
                SOUND.replace('"count": 1', '"count": -1'),
                SOUND.replace('"place": ""', '"place": "", "more": 1'),
            )
        ),
    ],
)
def test_another_file_is_refused(tmp_path: Any, text: str, why: str) -> None:
    file = tmp_path / "work.json"
    file.write_text(text)
    with pytest.raises(SetupError, match=why):
        read_shapes(file)
