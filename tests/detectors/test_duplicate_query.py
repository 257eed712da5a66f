from __future__ import annotations

from hand_made import DOCUMENT, TO_ONE, USER, cause, lazy, profile

from flask_perfkit import Finding
from flask_perfkit.config import Settings
from flask_perfkit.detectors import duplicate_query, n_plus_one
from flask_perfkit.recording.cause import Cause

SETTING = "SELECT value FROM settings WHERE settings.name = ?"


def found(*causes: Cause, threshold: int = 5) -> list[Finding]:
    return duplicate_query.detect(profile(*causes), Settings(n_plus_one_threshold=threshold))


def test_the_same_answer_again_is_found() -> None:
    (finding,) = found(cause(SETTING, count=12, different=1))
    assert (finding.kind, finding.severity, finding.count) == ("duplicate_query", "warning", 12)
    assert "12 executions of SELECT value FROM settings" in finding.message
    assert "with the same parameters (12 ms)" in finding.message
    assert "keep the result" in finding.fix


def test_a_few_answers_again_and_again_are_found() -> None:
    (finding,) = found(cause(SETTING, count=50, different=2))
    assert "with only 2 sets of parameters" in finding.message


def test_the_threshold() -> None:
    assert found(cause(SETTING, count=4, different=1)) == []
    assert found(cause(SETTING, count=9, different=1), threshold=10) == []


def test_a_loop_over_other_objects_is_none() -> None:
    loop = cause(SETTING, count=50, different=40)
    assert found(loop) == []
    assert len(n_plus_one.detect(profile(loop), Settings())) == 1


def test_no_cause_is_both() -> None:
    reason = lazy(TO_ONE, entity=USER, parents=DOCUMENT)
    for different in range(1, 11):
        each = cause("SELECT id FROM users WHERE id = ?", reason, count=10, different=different)
        both = found(each) + n_plus_one.detect(profile(each), Settings())
        assert len(both) == 1, different


def test_reads_between_which_their_table_is_written_are_none() -> None:
    again = cause(SETTING, count=12, different=1)
    assert found(again, cause("UPDATE settings SET value = ?", started=6)) == []
    assert len(found(again, cause("UPDATE settings SET value = ?", started=20))) == 1
    assert len(found(again, cause("UPDATE users SET name = ?", started=6))) == 1


def test_what_reads_no_table_is_none() -> None:
    assert found(cause("SELECT nextval(?)", count=12, different=1)) == []


def test_writes_are_none() -> None:
    assert found(cause("INSERT INTO settings VALUES (?)", count=12, different=1)) == []


def test_more_pages_than_are_told_apart_are_no_duplicates() -> None:
    """Of a long job, 10,000 sets of parameters are told apart and no more."""
    pages = "SELECT id FROM documents WHERE id > ? LIMIT ?"
    moves = (("id", ">"),)
    assert found(cause(pages, count=50_000, different=10_500, moves=moves, most_rows=100)) == []
