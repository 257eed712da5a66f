from __future__ import annotations

from typing import Any

import pytest
from archive import Document
from hand_made import VIEWS, cause, issued, profile
from sqlalchemy import ColumnElement, delete, insert, text, update
from sqlalchemy.dialects import sqlite

from flask_perfkit import Finding
from flask_perfkit.config import Settings
from flask_perfkit.detectors.n_plus_one_write import detect
from flask_perfkit.recording.cause import Cause

INSERT = "INSERT INTO documents (title) VALUES (?)"
UPDATE = "UPDATE documents SET title = ? WHERE documents.id = ?"
DELETE = "DELETE FROM documents WHERE documents.id = ?"


def found(*causes: Cause, threshold: int = 5) -> list[Finding]:
    return detect(profile(*causes), Settings(n_plus_one_threshold=threshold))


def test_rows_written_one_by_one_are_found_with_a_cure() -> None:
    flushed = {"flushes": 25, "direct": 0, "issued": issued(insert(Document).values(title=""))}
    (finding,) = found(cause(INSERT, count=25, rows=25, **flushed))
    assert (finding.kind, finding.severity) == ("n_plus_one_write", "error")
    assert (finding.subject, finding.count, finding.duration) == ("Document", 25, 0.025)
    assert (finding.filename, finding.lineno) == (VIEWS, 41)
    assert "25 INSERTs of Document, one by one (25 ms)" in finding.message
    assert "add_all" in finding.fix


@pytest.mark.parametrize(
    ("sql", "statement", "varying", "fix"),
    [
        (INSERT, insert(Document).values(title=""), {0}, "session.execute(insert(Document), rows)"),
        (
            UPDATE,
            update(Document).where(Document.id == 1).values(title="a"),
            {1},
            "session.execute(update(Document).where(Document.id.in_(ids)).values(...))",
        ),
        (
            UPDATE,
            update(Document).where(Document.id == 1).values(title="a"),
            {0, 1},
            (
                "session.execute(update(Document), rows), with the primary key in each row, "
                "which has to be there"
            ),
        ),
        (
            DELETE,
            delete(Document).where(Document.id == 1),
            {0},
            "session.execute(delete(Document).where(Document.id.in_(ids)))",
        ),
        (
            DELETE,
            delete(Document).where(Document.user_id == 1, Document.title == "a"),
            {0, 1},
            (
                "session.execute(delete(Document)"
                ".where(tuple_(Document.user_id, Document.title).in_(ids)))"
            ),
        ),
        (
            INSERT,
            sqlite.insert(Document).values(title="").on_conflict_do_nothing(),
            {0},
            (
                "session.execute(statement, rows) once, with insert(Document) and its ON CONFLICT "
                "as the statement, and no values in it"
            ),
        ),
        (
            INSERT,
            text("INSERT INTO document VALUES (:a)"),
            {0},
            "give the statement a list of rows, as insert() takes one: execute(statement, rows)",
        ),
    ],
)
def test_the_cure_keeps_what_the_statement_does(
    sql: str, statement: Any, varying: set[int], fix: str
) -> None:
    (finding,) = found(cause(sql, count=5, rows=5, issued=issued(statement), varying=varying))
    assert finding.fix == fix


def test_the_threshold() -> None:
    assert found(cause(INSERT, count=4, rows=4)) == []
    assert found(cause(INSERT, count=9, rows=9), threshold=10) == []
    assert len(found(cause(INSERT, count=5, rows=5))) == 1


def test_one_flush_is_one_write() -> None:
    assert found(cause(INSERT, count=500, flushes=1, direct=0, rows=500)) == []
    assert found(cause(INSERT, count=500, flushes=4, direct=0, rows=500)) == []


def test_a_flush_a_row_is_found_once_for_all_its_tables() -> None:
    flushed = {"count": 7, "flushes": 7, "direct": 0}
    tags = "INSERT INTO tags (name) VALUES (?)"
    (finding,) = found(
        cause(tags, started=2, flushed_at={1, 2, 3}, **flushed),
        cause(INSERT, started=1, flushed_at={1, 2, 3}, **flushed),
    )
    assert "INTO documents" in str(finding.sql)
    assert len(found(cause(tags, flushed_at={4, 5}, **flushed), cause(INSERT, **flushed))) == 2


def test_flushes_at_two_lines_are_two() -> None:
    findings = found(
        cause(INSERT, count=7, flushes=7, direct=0, at=41),
        cause(INSERT, count=7, flushes=7, direct=0, at=42),
    )
    assert [finding.lineno for finding in findings] == [41, 42]


def test_a_purge_in_batches_is_none() -> None:
    assert found(cause("DELETE FROM documents WHERE day < ?", count=20, rows=20_000)) == []


def test_writes_of_two_rows_each_are_found() -> None:
    assert len(found(cause(DELETE, count=20, rows=40))) == 1


def test_a_driver_that_tells_no_rows_is_believed_to_write_one() -> None:
    assert len(found(cause(UPDATE, count=20, rows=0))) == 1


def test_reads_are_none() -> None:
    assert found(cause("SELECT id FROM documents WHERE id = ?", count=50)) == []


@pytest.mark.parametrize(
    ("condition", "rows", "is_found"),
    [
        (Document.user_id == 1, 36, True),
        (Document.user_id == 1, 360, False),
        (Document.id.in_([1, 2, 3]), 36, False),
        (Document.id > 3, 36, False),
    ],
    ids=["a few of each", "many of each", "chunks", "range"],
)
def test_a_few_rows_of_each_parent_are_no_batch(
    condition: ColumnElement[bool], rows: int, is_found: bool
) -> None:
    statement = issued(delete(Document).where(condition))
    assert (
        bool(found(cause("DELETE FROM documents", count=12, rows=rows, issued=statement)))
        is is_found
    )
