"""Advice as plain data: what to create, to drop, not to create, and to rewrite."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask_perfkit.advice.check import Check
from flask_perfkit.advice.index import Index

if TYPE_CHECKING:
    from sqlalchemy import Table


@dataclass(frozen=True)
class Create:
    """An index to create.

    ``before`` and ``after`` are what the statement that gains most costs now and with all that is
    advised, in ``unit``: seconds where it was measured, else the planner's cost (on SQLite the
    steps of its machine).
    ``gain`` is how many times cheaper it gets. ``saved`` is what the whole workload saves in the
    planner's unit, net of what its writes pay. ``proof`` says how the index was tried,
    ``endpoints`` which requests ask what it serves,
    ``is_partitioned`` that its table is, so that it is built beside writers part by part only.
    """

    name: str
    sql: str
    table: str
    reason: str
    before: float
    after: float
    unit: str
    proof: str
    saved: float
    size: int
    plan_before: str
    plan_after: str
    extension: str | None
    dialect: str
    endpoints: tuple[str, ...]
    index: Index = field(repr=False)
    is_partitioned: bool = False

    @property
    def gain(self) -> float:
        """How many times cheaper the statement gets that gains most."""
        return self.before / max(self.after, 1e-9)


@dataclass(frozen=True)
class Drop:
    """An index to drop, what does its work, and the statement that brings it back.

    ``before`` and ``after`` are what the statements of its table cost in all, with and without it.
    """

    name: str
    sql: str
    table: str
    reason: str
    before: float
    after: float
    unit: str
    proof: str
    undo: str
    dialect: str
    of: Table = field(repr=False)

    @property
    def beside_writers(self) -> str:
        """The word that lets PostgreSQL work beside writers."""
        return "CONCURRENTLY" if self.dialect == "postgresql" else ""


@dataclass(frozen=True)
class Refused:
    """An index that one might expect, and why it is not advised.

    ``is_small`` says that it is only because the table is.
    """

    sql: str
    table: str
    reason: str
    is_small: bool = False


@dataclass(frozen=True)
class Rewrite:
    """A condition to rewrite, and the index that then serves it.

    It was tried: both give the same rows.
    """

    table: str
    from_: str
    to: str
    served_by: str
    place: str
    before: float
    after: float
    unit: str


@dataclass(frozen=True)
class Advice:
    """The advice on a workload, what saves most first, and what its schema shows by itself.

    ``notes`` say what the advice knows nothing of, ``locked`` names the tables on which others
    held a lock, so that another run may advise more.
    """

    create: tuple[Create, ...] = ()
    drop: tuple[Drop, ...] = ()
    refused: tuple[Refused, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    locked: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold."""
        return {
            "create": [_plain(one) | {"gain": one.gain} for one in self.create],
            "drop": [_plain(one) for one in self.drop],
            "refused": [_plain(one) for one in self.refused],
            "rewrites": [_plain(one) for one in self.rewrites],
            "checks": [_plain(one) for one in self.checks],
            "notes": list(self.notes),
            "locked": list(self.locked),
        }


def _plain(one: Any) -> dict[str, Any]:
    return {
        name.rstrip("_"): value for name, value in vars(one).items() if name not in ("index", "of")
    }
