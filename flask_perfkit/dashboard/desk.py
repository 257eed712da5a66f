"""What the pages of one application's dashboard work with: its store, and what it saw last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from flask_perfkit.cache.process.fork import Lock

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy.engine import Engine

    from flask_perfkit.advice.advice import Advice
    from flask_perfkit.recording.findings import Finding
    from flask_perfkit.recording.issued import Issued
    from flask_perfkit.recording.profile import Profile
    from flask_perfkit.state import State
    from flask_perfkit.store.store import Store

_MOST_KEPT = 500

K = TypeVar("K")
V = TypeVar("V")


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


class Trial(Protocol):
    """What came of a fix that was written into the source and tried."""

    @property
    def holds(self) -> bool:
        """Whether it is better with it, and the response the same."""

    @property
    def message(self) -> str:
        """The result in one line."""

    @property
    def diff(self) -> str:
        """The fix as a unified diff; empty where there is none to be had."""


@dataclass(frozen=True)
class Tools:
    """What the dashboard has others do: they lie above it, so they are given to it.

    ``advise`` asks each endpoint and advises on indexes; ``patch`` writes a fix and tries it.
    """

    advise: Callable[[Flask], Advice]
    patch: Callable[[Flask, Finding], Trial]


@dataclass
class Desk:
    """The dashboard of one application.

    What a store cannot hold is kept in memory: statements as SQLAlchemy holds them, and the last
    ``advice`` on indexes, with ``advising`` held while another is made.
    """

    app: Flask
    state: State
    tools: Tools
    statements: Latest[str, Issued] = field(default_factory=Latest)
    advice: Advice | None = None
    advised_at: datetime | None = None
    advising: Lock = field(default_factory=Lock)

    @property
    def store(self) -> Store:
        """What the pages read."""
        store = self.state.store
        assert store is not None, "the dashboard is shown where there is a store"
        return store

    def keep(self, profile: Profile) -> None:
        """Keep the statements of a profile, to ask for their plans: a sink."""
        self.statements.keep(
            (cause.sql, cause.issued) for cause in profile.causes if cause.issued is not None
        )

    @property
    def engines(self) -> list[Engine]:
        """The engines of Flask-SQLAlchemy, in an application context."""
        return list(getattr(self.app.extensions.get("sqlalchemy"), "engines", {}).values())
