"""Which loader option cures a lazy load, and at which line it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flask_perfkit.detectors.wording import line
from flask_perfkit.profile import Cause, Profile
from flask_perfkit.reason import Reason, Step

_DEEPEST = 8


class Loading(NamedTuple):
    """A loader option as code, the advice around it, and the line where it goes."""

    code: str
    advice: str
    origin: tuple[str, int] | None


def loading_fix(cause: Cause, profile: Profile) -> Loading:
    """Return the cure for a cause that loads a relationship or a column.

    A loader option is a chain from the entity that the code selects, because SQLAlchemy
    refuses an inner option alone.
    """
    steps, source = _way_to(cause, profile)
    origin = None
    if source is not None and source.filename is not None and source.lineno is not None:
        origin = (source.filename, source.lineno)
    if cause.reason.loads == "expired":
        return Loading(*_refresh_at_once(cause), origin)
    code = ".".join(_options(steps, cause.reason, _descends(cause, source)))
    where = f"the select at {line(*origin)}" if origin else "the select of the parents"
    return Loading(code, f"add {code} to {where} (instead of {cause.count} queries)", origin)


def _descends(cause: Cause, source: Cause | None) -> bool:
    """Tell whether a tree is walked down: more nodes were asked than the code selected."""
    reason = cause.reason
    if not (reason.kind == "lazy" and reason.entity[0] in reason.parents):
        return False
    return source is not None and cause.count > max(source.rows, 1)


def _refresh_at_once(cause: Cause) -> tuple[str, str]:
    entity = cause.reason.subject.partition(".")[0]
    code = f"session.scalars(select({entity}).where({entity}.id.in_(ids))).all()"
    advice = (
        f"a commit or expire made the {entity} objects forget their columns: read them again "
        f"at once with {code}, or make the session with expire_on_commit=False"
    )
    return code, advice


def _way_to(cause: Cause, profile: Profile) -> tuple[tuple[Step, ...], Cause | None]:
    """Follow the objects back to the statement that the code wrote itself."""
    steps = cause.reason.steps
    source = _bringer(cause, profile)
    for _ in range(_DEEPEST):
        if source is None or source.reason.kind == "statement":
            break
        if source.reason.steps:
            steps = source.reason.steps + steps
        source = _bringer(source, profile)
    return steps, source


def _bringer(cause: Cause, profile: Profile) -> Cause | None:
    """Return the cause that brought the objects whose attribute was touched."""
    candidates = [
        other
        for other in profile.causes
        if other is not cause
        and other.operation == "SELECT"
        and other.started < cause.started
        and other.reason.kind != "column"
        and _brings(other.reason, cause.reason)
    ]
    return max(candidates, key=lambda other: other.started, default=None)


def _brings(source: Reason, touched: Reason) -> bool:
    """Tell whether a statement's rows can be the objects: a base class brings subclasses."""
    if not (source.entity and touched.parents):
        return False
    return source.entity[0] in touched.parents or touched.parents[0] in source.entity


def _options(steps: tuple[Step, ...], reason: Reason, descends: bool) -> Iterator[str]:
    for step in steps:
        if descends and step is steps[-1]:
            yield f"selectinload({step}, recursion_depth=-1)"
        else:
            yield f"{'selectinload' if step.to_many else 'joinedload'}({step})"
    if reason.loads == "deferred":
        yield f"undefer({reason.subject})"
    elif reason.loads == "polymorphic":
        subclass = reason.subject.partition(".")[0]
        base = reason.parents[-1].rpartition(".")[2]
        yield f"selectin_polymorphic({base}, [{subclass}])"
