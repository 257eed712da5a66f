"""What the live database changes by itself, and no model declares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from cache_models import Counted

from flask_perfkit.cache.cache import Cache

POSTGRES = """
CREATE TABLE plain_parents (id int PRIMARY KEY, name text);
CREATE TABLE plain_children (id int PRIMARY KEY,
    parent_id int REFERENCES plain_parents ON DELETE CASCADE);
CREATE TABLE plain_grandchildren (id int PRIMARY KEY,
    child_id int REFERENCES plain_children ON DELETE SET NULL);
CREATE TABLE plain_log (id int);
CREATE TABLE plain_years (id int, year int) PARTITION BY LIST (year);
CREATE TABLE plain_years_2026 PARTITION OF plain_years FOR VALUES IN (2026);
CREATE VIEW plain_view AS SELECT id FROM plain_parents;
CREATE VIEW plain_view_of_view AS SELECT id FROM plain_view;
CREATE MATERIALIZED VIEW plain_totals AS SELECT count(*) FROM plain_parents;
CREATE FUNCTION plain_note() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO plain_log VALUES (1); RETURN NULL; END $$;
CREATE TRIGGER plain_trigger AFTER UPDATE ON plain_parents EXECUTE FUNCTION plain_note();
"""
SQLITE = """
CREATE TABLE plain_parents (id int PRIMARY KEY, name text);
CREATE TABLE plain_children (id int PRIMARY KEY,
    parent_id int REFERENCES plain_parents ON DELETE CASCADE);
CREATE TABLE plain_grandchildren (id int PRIMARY KEY,
    child_id int REFERENCES plain_children ON DELETE SET NULL);
CREATE TABLE plain_log (id int);
CREATE VIEW plain_view AS SELECT id FROM plain_parents;
CREATE VIEW plain_view_of_view AS SELECT id FROM plain_view;
CREATE TRIGGER plain_trigger AFTER UPDATE ON plain_parents
    BEGIN INSERT INTO plain_log VALUES (1)/**/; END
"""
parents = sa.table("plain_parents", sa.column("id"), sa.column("name"))
partition = sa.table("plain_years_2026", sa.column("id"), sa.column("year"))
years = sa.table("plain_years", sa.column("id"), sa.column("year"))


@pytest.fixture
def plain(engine: sa.Engine) -> Iterator[sa.Engine]:
    """The engine, with tables that no model knows."""
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.begin() as connection:
        for statement in SQLITE.split(";\n") if is_sqlite else [POSTGRES]:
            connection.exec_driver_sql(statement)
    yield engine
    if not is_sqlite:
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "DROP TABLE plain_parents, plain_children, plain_grandchildren, plain_log, "
                "plain_years CASCADE; DROP FUNCTION plain_note"
            )


CHANGES: dict[str, tuple[sa.Executable, set[str]]] = {
    "delete": (
        sa.delete(parents).where(parents.c.id == 0),
        {"plain_parents", "plain_children", "plain_grandchildren", "plain_view"},
    ),
    "delete by text": (
        sa.text("DELETE FROM plain_children WHERE id = 0"),
        {"plain_children", "plain_grandchildren"},
    ),
    "update": (
        sa.update(parents).values(name="new"),
        {"plain_parents", "plain_view", "plain_view_of_view", "plain_log"},
    ),
}
ON_POSTGRES: dict[str, tuple[sa.Executable, set[str]]] = {
    "partition": (
        sa.insert(partition).values(id=1, year=2026),
        {"plain_years_2026", "plain_years"},
    ),
    "partitioned": (
        sa.insert(years).values(id=1, year=2026),
        {"plain_years_2026", "plain_years"},
    ),
    "refresh": (sa.text("REFRESH MATERIALIZED VIEW plain_totals"), {"plain_totals"}),
    "view": (sa.text("INSERT INTO plain_view VALUES (7)"), {"plain_view", "plain_parents"}),
}
TABLES = (
    "plain_parents",
    "plain_children",
    "plain_grandchildren",
    "plain_log",
    "plain_view",
    "plain_view_of_view",
    "plain_years",
    "plain_years_2026",
    "plain_totals",
    "users",
)


@pytest.mark.parametrize("way", [*CHANGES, *ON_POSTGRES])
def test_what_the_database_changes_is_dropped(cache: Cache, plain: sa.Engine, way: str) -> None:
    if way in ON_POSTGRES and plain.dialect.name == "sqlite":
        return
    statement, expected = (CHANGES | ON_POSTGRES)[way]
    creators = {table: Counted(lambda: 1) for table in TABLES}

    def read() -> set[str]:
        for table, creator in creators.items():
            creator.runs = 0
            cache.get_or_create(table, creator, depends_on=[table])
        return {table for table, creator in creators.items() if creator.runs}

    read()
    assert read() == set()
    with plain.begin() as connection:
        connection.execute(statement)
    dropped = read()
    assert expected <= dropped
    assert "users" not in dropped
    assert (way != "update") or "plain_children" not in dropped
