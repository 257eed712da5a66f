"""What statements in plain text, and text inside of other statements, write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import Base, Counted, Document, User
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache
from flask_perfkit.cache.writes.texts import fragment_writes, text_facts

NOTHING: set[str] = set()
ANYTHING = {"*"}

WRITTEN: dict[str, set[str]] = {
    "UPDATE /* which? */ papers SET a = 1": {"papers"},
    "UPDATE -- one line\n papers SET a = 1": {"papers"},
    "TRUNCATE papers, ONLY authors RESTART IDENTITY CASCADE": {"papers", "authors"},
    "UPDATE ONLY (papers) SET a = 1": {"papers"},
    'INSERT INTO "My Papers" VALUES (1)': {"my%20papers"},
    'DELETE FROM public."Pa""pers"': {"pa%22pers"},
    "INSERT INTO `papers` SELECT * FROM other": {"papers"},
    "DELETE FROM [papers]": {"papers"},
    "REPLACE INTO papers VALUES (1)": {"papers"},
    "INSERT OR REPLACE INTO papers VALUES (1)": {"papers"},
    "INSERT INTO papers VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 2": {"papers"},
    "INSERT INTO papers VALUES (1) ON DUPLICATE KEY UPDATE a = 2": {"papers"},
    "MERGE INTO papers p USING new n ON p.id = n.id WHEN MATCHED THEN UPDATE SET a = 1": {"papers"},
    "WITH gone AS (DELETE FROM papers RETURNING id) SELECT count(*) FROM gone": {"papers"},
    "WITH a AS (UPDATE papers SET b = 1 RETURNING id) INSERT INTO log SELECT id FROM a": {
        "papers",
        "log",
    },
    "UPDATE papers p JOIN authors a ON a.id = p.author SET p.a = 1, a.b = 2": {"papers", "authors"},
    "UPDATE p SET a = 1 FROM papers p": {"p", "papers"},
    "COPY papers (id, title) FROM STDIN": {"papers"},
    "COPY papers TO STDOUT": NOTHING,
    "COPY (SELECT * FROM papers) TO STDOUT": NOTHING,
    "EXPLAIN ANALYZE DELETE FROM papers": {"papers"},
    "REFRESH MATERIALIZED VIEW CONCURRENTLY totals": {"totals"},
    "DROP TABLE IF EXISTS papers, authors": {"papers", "authors"},
    "ALTER TABLE IF EXISTS ONLY papers ADD x int": {"papers"},
    "CREATE TABLE papers AS SELECT 1": {"papers"},
    "CREATE UNIQUE INDEX ix ON papers (a)": NOTHING,
    "SELECT * INTO papers FROM other": {"papers"},
    "SELECT 'UPDATE papers SET a = 1'": NOTHING,
    "SELECT 1 -- UPDATE papers SET a = 1": NOTHING,
    "SELECT * FROM papers FOR UPDATE": NOTHING,
    "SELECT * FROM papers FOR NO KEY UPDATE OF papers": NOTHING,
    "SELECT replace(title, 'a', 'b'), \"update\" FROM papers": NOTHING,
    "SELECT max(updated), count(*) FROM papers": NOTHING,
    "SELECT setval('papers_id_seq', 1)": NOTHING,
    "SELECT $tag$ DELETE FROM papers $tag$": NOTHING,
    "SET LOCAL statement_timeout = 5": NOTHING,
    "BEGIN": NOTHING,
    "BEGIN ISOLATION LEVEL SERIALIZABLE": NOTHING,
    "SELECT 1; DELETE FROM papers; SELECT 2": {"papers"},
    "CALL tidy_up()": ANYTHING,
    "EXEC tidy_up": ANYTHING,
    "DO $$ BEGIN DELETE FROM papers; END $$": ANYTHING,
    "SELECT tidy_up()": ANYTHING,
    "BEGIN tidy_up; END": ANYTHING,
    "IMPORT FOREIGN SCHEMA x": ANYTHING,
    "DROP SCHEMA old CASCADE": ANYTHING,
    "DELETE p, a FROM papers p JOIN authors a": ANYTHING,
    "/*! UPDATE papers SET a = 1 */": ANYTHING,
    "INSERT INTO papers VALUES ('it\\'s', 'DELETE FROM x')": ANYTHING | {"papers"},
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_text_writes(text: str) -> None:
    found = set(text_facts(text).writes)
    assert found == WRITTEN[text] or (found >= ANYTHING and WRITTEN[text] >= ANYTHING)


WORDS = """
select update delete from insert into papers , ( ) set a = 1 where for with as ; ' " $$ /* */ --
truncate only . * copy call
"""
words = st.sampled_from(WORDS.split())


@given(st.lists(words).map(" ".join) | st.text(max_size=60))
def test_no_text_is_too_much(text: str) -> None:
    assert isinstance(text_facts(text).writes, frozenset)
    assert isinstance(fragment_writes(text), frozenset)


UPDATE = "UPDATE documents SET title = 'new' WHERE id = 1"


def _changes_by_cte(session: Session) -> Any:
    changed = sa.text(f"{UPDATE} RETURNING id").columns(sa.column("id", sa.Integer)).cte("changed")
    return session.execute(sa.select(changed.c.id)).all()


BY_TEXT: dict[str, Callable[[Session], Any]] = {
    "comment": lambda s: s.execute(sa.text(UPDATE.replace("documents", "/* c */ documents"))),
    "columns": lambda s: s.execute(
        sa.text(f"{UPDATE} RETURNING id").columns(sa.column("id", sa.Integer))
    ).all(),
    "from_statement": lambda s: s.scalars(
        sa.select(Document).from_statement(sa.text(f"{UPDATE} RETURNING *"))
    ).all(),
    "DDL": lambda s: s.execute(sa.DDL(UPDATE)),
    "driver": lambda s: s.connection().exec_driver_sql(UPDATE),
}
POSTGRES_ONLY: dict[str, Callable[[Session], Any]] = {
    "text in a CTE": _changes_by_cte,
    "block": lambda s: s.execute(sa.text(f"DO $$ BEGIN {UPDATE}; END $$")),
    "quoted": lambda s: s.execute(sa.text(UPDATE.replace("documents", 'public."documents"'))),
    "only": lambda s: s.execute(sa.text(UPDATE.replace("documents", "ONLY (documents)"))),
    "truncate": lambda s: s.execute(sa.text("TRUNCATE users, documents")),
}


@pytest.mark.parametrize("way", [*BY_TEXT, *POSTGRES_ONLY])
def test_a_write_by_text_drops_what_depends_on_it(
    cache: Cache, engine: sa.Engine, way: str
) -> None:
    if way in POSTGRES_ONLY and engine.dialect.name != "postgresql":
        return
    creator = Counted(lambda: 1)
    for _ in range(2):
        cache.get_or_create("key", creator, depends_on=[Document])
    assert creator.runs == 1
    with Session(engine) as session:
        (BY_TEXT | POSTGRES_ONLY)[way](session)
        session.commit()
    cache.get_or_create("key", creator, depends_on=[Document])
    assert creator.runs == 2


def test_a_procedure_drops_everything_and_what_is_understood_only_its_own(
    cache: Cache, postgres_engine: sa.Engine
) -> None:
    with postgres_engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION tidy() RETURNS int LANGUAGE sql AS "
            "$$ UPDATE users SET name = 'x'; SELECT 1 $$"
        )
    creator = Counted(lambda: 1)

    def runs() -> int:
        cache.get_or_create("key", creator, depends_on=[User])
        return creator.runs

    assert [runs(), runs()] == [1, 1]
    for statement, expected in (
        (sa.text("INSERT INTO documents (id, title) VALUES (900, 'x')"), 1),
        (sa.select(sa.func.tidy()), 2),
        (sa.text("SELECT tidy()"), 3),
        (sa.select(sa.func.now()), 3),
    ):
        with postgres_engine.begin() as connection:
            connection.execute(statement)
        assert runs() == expected
    with postgres_engine.begin() as connection:
        connection.exec_driver_sql("DROP FUNCTION tidy()")
    assert Base.metadata.tables
