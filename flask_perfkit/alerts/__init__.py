"""Alerts from inside: what is watched over a window of time, and whom to tell."""

from flask_perfkit.alerts.conditions import P95, Condition, ErrorRate, Findings, MemoryGrowth, Slot
from flask_perfkit.alerts.monitor import Alert, Rule

__all__ = [
    "P95",
    "Alert",
    "Condition",
    "ErrorRate",
    "Findings",
    "MemoryGrowth",
    "Rule",
    "Slot",
]
