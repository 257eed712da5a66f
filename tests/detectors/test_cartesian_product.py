from __future__ import annotations

from hand_made import cause, profile

from flask_perfkit import Finding
from flask_perfkit.config import Settings
from flask_perfkit.detectors.cartesian_product import detect
from flask_perfkit.recording.cause import Cause

JOIN = "SELECT users.id FROM users JOIN documents ON documents.user_id = users.id"


def found(*causes: Cause) -> list[Finding]:
    return detect(profile(*causes), Settings())


def test_twice_the_rows_are_a_product() -> None:
    (finding,) = found(cause(JOIN, joined=(2_000, 1_000), collections=("User.a", "User.b")))
    assert (finding.kind, finding.severity, finding.lineno) == ("cartesian_product", "warning", 41)
    assert finding.fix == "selectinload() for User.b, in the place of its join"
    assert "2,000 rows fetched where 1,000 would do" in finding.message


def test_fewer_than_twice_are_none() -> None:
    assert found(cause(JOIN, joined=(1_999, 1_000))) == []


def test_without_a_join_there_is_none() -> None:
    assert found(cause("SELECT id FROM users", rows=5_000, most_rows=5_000)) == []


def test_without_a_relationship_the_cure_is_in_words() -> None:
    (finding,) = found(cause(JOIN, joined=(360, 60)))
    assert finding.fix.startswith("exists() where a join only filters")
