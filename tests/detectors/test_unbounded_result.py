from __future__ import annotations

import pytest
from hand_made import DOCUMENT, TO_MANY, USER, VIEWS, cause, lazy, profile

from flask_perfkit import Finding
from flask_perfkit.config import Settings
from flask_perfkit.detectors.unbounded_result import detect
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.reason import Reason

ALL = "SELECT id, title FROM documents ORDER BY id"


def found(*causes: Cause, limit: int | None = 1000) -> list[Finding]:
    return detect(profile(*causes), Settings(unbounded_rows=limit))


def test_a_select_that_only_the_data_bounds_is_found() -> None:
    (finding,) = found(cause(ALL, rows=100_000, most_rows=100_000))
    assert (finding.kind, finding.severity) == ("unbounded_result", "error")
    assert (finding.subject, finding.filename, finding.lineno) == ("Document", VIEWS, 41)
    assert finding.message.startswith(
        f"unbounded_result: 100,000 rows at once from {ALL} at {VIEWS}:41 in show; "
    )
    assert "paginate(select(Document), params)" in finding.fix


@pytest.mark.parametrize(("rows", "findings"), [(999, 0), (1000, 0), (1001, 1)])
def test_above_the_limit_only(rows: int, findings: int) -> None:
    assert len(found(cause(ALL, most_rows=rows))) == findings


def test_many_small_results_are_none() -> None:
    assert found(cause(ALL, count=100, rows=50_000, most_rows=500)) == []


def test_it_can_be_turned_off_and_set() -> None:
    assert found(cause(ALL, most_rows=10**6), limit=None) == []
    assert len(found(cause(ALL, most_rows=11), limit=10)) == 1


def test_a_select_with_a_limit_is_none() -> None:
    limited = Reason("statement", "Document", DOCUMENT, limited=True)
    assert found(cause(f"{ALL} LIMIT ?", limited, most_rows=5000)) == []


def test_a_loaders_batch_is_none() -> None:
    batch = Reason("batch", "User.documents", DOCUMENT, USER, (TO_MANY,))
    assert found(cause("SELECT id FROM documents", batch, most_rows=5000)) == []


def test_rows_asked_for_by_key_are_none() -> None:
    by_key = f"SELECT id FROM documents WHERE id IN ({', '.join('?' * 2000)})"
    assert found(cause(by_key, most_rows=2000)) == []
    assert len(found(cause(by_key, most_rows=2001))) == 1


def test_keys_of_many_executions_bound_none_of_them() -> None:
    by_key = f"SELECT id FROM documents WHERE user_id IN ({', '.join('?' * 500)})"
    assert len(found(cause(by_key, count=100, most_rows=5000))) == 1


def test_a_large_collection_of_one_parent_is_found() -> None:
    documents = lazy(TO_MANY, entity=DOCUMENT, parents=USER)
    (finding,) = found(
        cause("SELECT id FROM documents WHERE ? = user_id", documents, most_rows=5000)
    )
    assert finding.subject == "User.documents"
    assert "paginate" in finding.fix


def test_writes_are_none() -> None:
    assert found(cause("DELETE FROM documents", rows=5000, most_rows=5000)) == []
