"""Processes and machine over time."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from flask_perfkit.dashboard.views.page import Page

if TYPE_CHECKING:
    from flask_perfkit.dashboard.asked import Asked
    from flask_perfkit.dashboard.desk import Desk


def system(desk: Desk, asked: Asked) -> Page:
    """Show processor, memory, connections, disk and network."""
    points = desk.store.system(asked.period)
    data = {
        "points": points,
        "latest": points[-1] if points else None,
        "has_psutil": find_spec("psutil") is not None,
        "store": desk.store.info(),
    }
    return Page("system.html", "System", "/system", data)
