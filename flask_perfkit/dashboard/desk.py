"""What the pages of one application's dashboard work with: its store, and what it saw last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy.engine import Engine

    from flask_perfkit.advice.advice import Advice
    from flask_perfkit.recording.findings import Finding
    from flask_perfkit.recording.issued import Issued
    from flask_perfkit.recording.profile import Profile
    from flask_perfkit.state import State

_MOST_KEPT = 500

K = TypeVar("K")
V = TypeVar("V")

Place = tuple[str, str, str | None, int | None]


def place_of(finding: Any) -> Place:
    """Return what makes a finding the same one, as it is stored and as it is found."""
    return finding.kind, finding.subject, finding.filename, finding.lineno


class Latest(Generic[K, V]):
    """The values that were seen last, by their keys; a bounded number of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: OrderedDict[K, V] = OrderedDict()

    def keep(self, values: Iterable[tuple[K, V]]) -> None:
        """Keep values; those that were seen longest ago go."""
        with self._lock:
            for key, value in values:
                self._values[key] = value
                self._values.move_to_end(key)
            while len(self._values) > _MOST_KEPT:
                self._values.popitem(last=False)

    def get(self, key: K) -> V | None:
        """Return a value, if it is kept."""
        return self._values.get(key)


@dataclass
class Tools:
    """What the dashboard has others do: they lie above it, so they are given to it.

    ``advise`` asks each endpoint and advises on indexes; ``patch`` writes a fix and tries it.
    """

    advise: Callable[[Flask], Advice]
    patch: Callable[[Flask, Finding], Any]


@dataclass
class Desk:
    """The dashboard of one application.

    What a store cannot hold is kept in memory: findings with their cures, and statements as
    SQLAlchemy holds them.
    """

    app: Flask
    state: State
    tools: Tools
    findings: Latest[Place, Finding] = field(default_factory=Latest)
    statements: Latest[str, Issued] = field(default_factory=Latest)

    def keep(self, profile: Profile) -> None:
        """Keep what the pages may be asked to try: a sink."""
        self.findings.keep((place_of(finding), finding) for finding in profile.findings)
        self.statements.keep(
            (cause.sql, cause.issued) for cause in profile.causes if cause.issued is not None
        )

    @property
    def engines(self) -> list[Engine]:
        """The engines of Flask-SQLAlchemy, in an application context."""
        return list(getattr(self.app.extensions.get("sqlalchemy"), "engines", {}).values())
