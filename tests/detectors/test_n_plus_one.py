from __future__ import annotations

from typing import Any

import pytest
from archive import Document
from hand_made import (
    DOCUMENT,
    TAG,
    TO_MANY,
    TO_ONE,
    TO_TAGS,
    USER,
    VIEWS,
    cause,
    issued,
    lazy,
    profile,
)
from sqlalchemy import func, select, text

from flask_perfkit import Finding
from flask_perfkit.config import Settings
from flask_perfkit.detectors.n_plus_one import detect
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.reason import Reason

ONE = select(Document).where(Document.id == 1)
DOCUMENTS = "SELECT id, user_id FROM documents"
OWNER = "SELECT id, name FROM users WHERE users.id = ?"
OWNERS_DOCUMENTS = "SELECT id FROM documents WHERE ? = documents.user_id"
ONE_USER = lazy(TO_ONE, entity=USER, parents=DOCUMENT)
THEIR_DOCUMENTS = lazy(TO_MANY, entity=DOCUMENT, parents=USER)


def found(*causes: Cause, threshold: int = 5) -> list[Finding]:
    return detect(profile(*causes), Settings(n_plus_one_threshold=threshold))


# Threshold


@pytest.mark.parametrize(("count", "findings"), [(4, 0), (5, 1), (6, 1)])
def test_from_the_threshold_on(count: int, findings: int) -> None:
    assert len(found(cause(OWNER, ONE_USER, count=count))) == findings


def test_the_threshold_can_be_set() -> None:
    owners = cause(OWNER, ONE_USER, count=9)
    assert found(owners, threshold=10) == []
    assert len(found(owners, threshold=9)) == 1


# What a finding says


def test_a_lazy_load_is_told_with_its_loader_and_its_lines() -> None:
    (finding,) = found(
        cause(DOCUMENTS, at=30, started=0),
        cause(OWNER, ONE_USER, count=25, started=1, callers={50: 20, 51: 5}),
    )
    assert finding == Finding(
        kind="n_plus_one",
        subject="Document.user",
        count=25,
        duration=0.025,
        filename=VIEWS,
        lineno=41,
        function="show",
        callers=((VIEWS, 50, 20), (VIEWS, 51, 5)),
        origin=(VIEWS, 30),
        endpoint="shop.show",
        sql="SELECT id, name FROM users WHERE users.id = ?",
        fix="joinedload(Document.user)",
        message="n_plus_one: Document.user loaded 25 times (25 ms) at /srv/shop/views.py:41 "
        "in show, called from /srv/shop/views.py:50 (20x), /srv/shop/views.py:51 (5x); "
        "add joinedload(Document.user) to the select at /srv/shop/views.py:30 "
        "(instead of 25 queries), or set PERFKIT_AUTO_BATCH (about 3 queries)",
    )
    assert finding.severity == "error"


def test_fetching_is_part_of_the_time_that_it_cost() -> None:
    (finding,) = found(cause(OWNER, ONE_USER, count=5, fetch_duration=0.02))
    assert finding.duration == pytest.approx(0.025)


def test_a_collection_is_loaded_with_selectinload() -> None:
    (finding,) = found(
        cause("SELECT id FROM users", Reason("statement", "User", USER), at=30),
        cause(OWNERS_DOCUMENTS, THEIR_DOCUMENTS, count=25, started=1),
    )
    assert (finding.fix, finding.origin) == ("selectinload(User.documents)", (VIEWS, 30))


def test_without_the_select_of_the_parents_no_origin_is_named() -> None:
    (finding,) = found(cause(OWNER, ONE_USER, count=25))
    assert finding.origin is None
    assert "to the select of the parents" in finding.message


def test_the_origin_is_the_last_select_before_the_loop() -> None:
    (finding,) = found(
        cause(DOCUMENTS, at=20, started=0),
        cause("SELECT id, user_id FROM documents LIMIT ?", at=30, started=1),
        cause(OWNER, ONE_USER, count=25, started=2),
        cause("SELECT id, user_id FROM documents ORDER BY id", at=60, started=3),
    )
    assert finding.origin == (VIEWS, 30)


def test_a_nested_load_is_a_chain_from_what_the_code_selects() -> None:
    findings = found(
        cause("SELECT id FROM users", Reason("statement", "User", USER), at=30, started=0),
        cause(OWNERS_DOCUMENTS, THEIR_DOCUMENTS, count=25, started=1, at=41),
        cause(
            "SELECT id FROM tags JOIN document_tags ON tag_id = id WHERE ? = document_id",
            lazy(TO_TAGS, entity=TAG, parents=DOCUMENT),
            count=100,
            started=2,
            at=42,
        ),
    )
    assert {finding.subject: (finding.fix, finding.origin) for finding in findings} == {
        "User.documents": ("selectinload(User.documents)", (VIEWS, 30)),
        "Document.tags": (
            "selectinload(User.documents).selectinload(Document.tags)",
            (VIEWS, 30),
        ),
    }


def test_a_deferred_column_is_undeferred() -> None:
    column = Reason("column", "Document.content", DOCUMENT, DOCUMENT, loads="deferred")
    (finding,) = found(
        cause(DOCUMENTS, at=30),
        cause("SELECT content FROM documents WHERE id = ?", column, count=8, started=1),
    )
    assert (finding.subject, finding.fix) == ("Document.content", "undefer(Document.content)")


def test_expired_objects_are_read_again_at_once() -> None:
    expired = Reason("column", "Document.title", DOCUMENT, DOCUMENT, loads="expired")
    (finding,) = found(
        cause("SELECT title FROM documents WHERE id = ?", expired, count=8, issued=issued(ONE))
    )
    assert finding.fix == "session.scalars(select(Document).where(Document.id.in_(ids))).all()"
    assert "expire_on_commit=False" in finding.message


def test_a_query_in_a_loop_becomes_one_with_a_list() -> None:
    (finding,) = found(in_loop(select(Document).where(Document.user_id == 1)))
    assert finding.fix == "select(Document).where(Document.user_id.in_(keys))"
    assert finding.message == (
        "n_plus_one: 7 executions of SELECT id FROM documents WHERE documents.user_id = ? "
        "(7 ms) at /srv/shop/views.py:41 in show; query once before the loop: "
        "select(Document).where(Document.user_id.in_(keys)) (1 query)"
    )


THE_SAME = "the same select with Document.user_id.in_(keys) in the place of what compares"


@pytest.mark.parametrize(
    ("statement", "fix"),
    [
        (
            select(func.count()).select_from(Document).where(Document.user_id == 1),
            (
                "select(Document.user_id, func.count())"
                ".where(Document.user_id.in_(keys)).group_by(Document.user_id)"
            ),
        ),
        (
            select(func.count(Document.title.distinct())).where(Document.user_id == 1),
            (
                "select(Document.user_id, func.count(distinct(Document.title)))"
                ".where(Document.user_id.in_(keys)).group_by(Document.user_id)"
            ),
        ),
        (
            select(func.sum(Document.id * Document.user_id)).where(Document.user_id == 1),
            (
                "select(Document.user_id, func.sum(Document.id * Document.user_id))"
                ".where(Document.user_id.in_(keys)).group_by(Document.user_id)"
            ),
        ),
        (
            select(func.count()).where(Document.user_id == 1, Document.title == "a"),
            (
                f"{THE_SAME} Document.user_id, with Document.user_id among its columns "
                "and .group_by(Document.user_id)"
            ),
        ),
        (
            select(func.lower(Document.title)).where(Document.user_id == 1),
            (
                "select(func.lower(Document.title), Document.user_id)"
                ".where(Document.user_id.in_(keys))"
            ),
        ),
        (
            select(Document).where(Document.user_id == 1).with_for_update(nowait=True),
            "select(Document).where(Document.user_id.in_(keys)).with_for_update(nowait=True)",
        ),
        (
            select(Document).where(Document.user_id == 1).order_by(Document.title.desc()),
            "select(Document).where(Document.user_id.in_(keys)).order_by(Document.title.desc())",
        ),
        (
            select(Document).where(Document.user_id == 1).limit(1),
            (
                "one select that numbers the rows of each key, with func.row_number() over a "
                "partition by the key, and keeps the first ones of each"
            ),
        ),
        (
            select(Document).where(Document.id == 1).limit(1),
            "select(Document).where(Document.id.in_(keys))",
        ),
        (
            select(Document).where(Document.id == 1, Document.title == "a").limit(1),
            (
                "the same select with Document.id.in_(keys) in the place of what compares "
                "Document.id, without its limit"
            ),
        ),
        (
            select(Document).where(Document.user_id + 1 == 1),
            "one select with .in_(keys) and all other conditions as they are",
        ),
        (
            text("SELECT title FROM document WHERE user_id = :user_id"),
            "one statement for all keys, with IN, and its rows by key in a dictionary",
        ),
    ],
)
def test_the_select_for_all_keys_keeps_what_the_one_had(statement: Any, fix: str) -> None:
    (finding,) = found(in_loop(statement))
    assert finding.fix == fix


def in_loop(statement: Any) -> Cause:
    """Make a cause of seven executions that differ in the first value of the statement."""
    return cause(
        "SELECT id FROM documents WHERE documents.user_id = ?",
        count=7,
        moves=(("documents.user_id", "="),),
        issued=issued(statement),
        varying={0},
    )


def test_code_outside_of_the_application_is_said_to_be_so() -> None:
    (finding,) = found(cause(OWNER, ONE_USER, count=5, at=-1))
    assert (finding.filename, finding.lineno, finding.function) == (None, None, None)
    assert "outside of the application's code, for shop.show" in finding.message


def test_many_callers_are_counted_after_the_third() -> None:
    (finding,) = found(cause(OWNER, ONE_USER, count=20, callers=dict.fromkeys(range(50, 64), 1)))
    assert len(finding.callers) == 10
    assert "and 7 more lines" in finding.message


def test_each_cause_is_a_finding_of_its_own() -> None:
    findings = found(
        cause(OWNER, ONE_USER, count=5, at=41),
        cause(OWNER, ONE_USER, count=6, at=42),
        cause(OWNERS_DOCUMENTS, THEIR_DOCUMENTS, count=7, at=42),
    )
    assert [(finding.lineno, finding.count) for finding in findings] == [(41, 5), (42, 6), (42, 7)]


# What is none


@pytest.mark.parametrize(
    "batch",
    [
        Reason("batch", "User.documents", DOCUMENT, USER, (TO_MANY,)),
        Reason("statement", "Document", DOCUMENT),
    ],
    ids=["a loader's", "the code's"],
)
def test_batches_by_keys_are_none(batch: Reason) -> None:
    in_ten = f"SELECT id FROM documents WHERE user_id IN ({', '.join('?' * 10)})"
    assert found(cause(in_ten, batch, count=10)) == []


def test_few_keys_a_parent_are_one() -> None:
    in_two = "SELECT id FROM documents WHERE user_id IN (?, ?)"
    assert len(found(cause(in_two, count=10))) == 1


def test_the_same_parameters_again_are_none() -> None:
    assert found(cause(OWNER, ONE_USER, count=50, different=2)) == []
    assert len(found(cause(OWNER, ONE_USER, count=50, different=3))) == 1


def test_writes_are_none() -> None:
    assert found(cause("INSERT INTO documents VALUES (?)", count=50)) == []
    assert found(cause("UPDATE documents SET a = ?", count=50)) == []
    assert found(cause("SAVEPOINT a", count=50)) == []


@pytest.mark.parametrize(
    ("sql", "moves"),
    [
        ("SELECT id FROM documents LIMIT ? OFFSET ?", [("", "OFFSET")]),
        ("SELECT id FROM documents WHERE id > ? LIMIT ?", [("id", ">")]),
        (
            "SELECT id FROM documents WHERE day < ? OR (day = ? AND id < ?) LIMIT ?",
            [("day", "<"), ("day", "="), ("id", "<")],
        ),
        ("SELECT id FROM documents WHERE day BETWEEN ? AND ?", [("day", "BETWEEN")]),
    ],
)
def test_paging_is_none(sql: str, moves: list[tuple[str, str]]) -> None:
    assert found(cause(sql, count=30, moves=tuple(moves), rows=3000, most_rows=100)) == []


def test_one_row_each_by_a_range_is_no_paging() -> None:
    latest = "SELECT id FROM documents WHERE uploaded_at < ? ORDER BY uploaded_at LIMIT 1"
    (finding,) = found(cause(latest, count=30, moves=(("uploaded_at", "<"),), rows=30, most_rows=1))
    assert finding.count == 30


def test_a_range_that_goes_to_and_fro_is_no_paging() -> None:
    near = "SELECT id FROM documents WHERE size > ? LIMIT ?"
    moves = (("size", ">"),)
    to_and_fro = cause(near, count=30, moves=moves, most_rows=100)
    to_and_fro.moves = dict.fromkeys(to_and_fro.moves, False)
    assert len(found(to_and_fro)) == 1


def test_pages_of_one_parent_each_are_one() -> None:
    first_page = "SELECT id FROM documents WHERE user_id = ? AND id > ? LIMIT ?"
    moves = (("user_id", "="), ("id", ">"))
    assert len(found(cause(first_page, count=30, moves=moves, most_rows=100))) == 1


def test_nothing_is_found_in_nothing() -> None:
    assert found() == []
