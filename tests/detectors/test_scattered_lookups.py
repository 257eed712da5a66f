from __future__ import annotations

import pytest
from hand_made import cause, profile

from flask_perfkit.config import Settings
from flask_perfkit.detectors.detection import detect

SETTING = "SELECT value FROM settings WHERE settings.name = ?"


@pytest.mark.parametrize(
    ("callers", "kind"),
    [
        (dict.fromkeys(range(50, 58), 1), "scattered_lookups"),
        ({50: 4, 51: 1, 52: 1, 53: 1, 54: 1}, "scattered_lookups"),
        ({50: 5, 51: 1, 52: 1, 53: 1}, "n_plus_one"),
        ({50: 4, 51: 4}, "n_plus_one"),
        ({}, "n_plus_one"),
    ],
    ids=["once each", "a few times", "one line often", "two lines of a loop", "by itself"],
)
def test_lookups_of_many_lines(callers: dict[int, int], kind: str) -> None:
    lookups = cause(SETTING, count=8, callers=callers, moves=(("settings.name", "="),))
    (finding,) = detect(profile(lookups), Settings())
    assert finding.kind == kind
    assert finding.severity == ("info" if kind == "scattered_lookups" else "error")


def test_what_is_said() -> None:
    lookups = cause(SETTING, count=8, callers=dict.fromkeys(range(50, 58), 1))
    (finding,) = detect(profile(lookups), Settings())
    assert finding.message.startswith(
        "scattered_lookups: 8 lookups by SELECT value FROM settings WHERE settings.name = ? "
        "from 8 lines (8 ms) at /srv/shop/views.py:41 in show, called from "
    )
    assert "one query" in finding.fix
