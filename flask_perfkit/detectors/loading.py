"""Which loader option cures a lazy load, and at which line it goes."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise
from typing import NamedTuple

from flask_perfkit.recording.profile import Cause, Profile
from flask_perfkit.recording.reason import Reason, Step, code_of
from flask_perfkit.recording.wording import line

ONE_COMMIT = "session.commit() once, after the loop"
"""The cure where a loop commits, and so loads again what each commit made it forget."""

_DEEPEST = 8
_FORGETS = "each commit in the loop makes the session forget what it has loaded"
_OR_KEEP = "or make the session with expire_on_commit=False"


class Loading(NamedTuple):
    """A loader option as code, the advice around it, and the line where it goes.

    ``at_once`` says that one statement brought the objects that the code started from.
    """

    code: str
    advice: str
    origin: tuple[str, int] | None
    at_once: bool = False


def loading_fix(cause: Cause, profile: Profile) -> Loading:
    """Return the cure for a cause that loads a relationship or a column.

    A loader option is a chain from the entity that the code selects, because SQLAlchemy
    refuses an inner option alone.
    """
    steps, source = _way_to(cause, profile)
    steps = _as_loaded(steps, source, cause.reason)
    origin = None
    if source is not None and source.filename is not None and source.lineno is not None:
        origin = (source.filename, source.lineno)
    if cause.reason.loads == "expired":
        if forgets_in_loop(cause, profile):
            return Loading(ONE_COMMIT, f"{_FORGETS}: {ONE_COMMIT}, {_OR_KEEP}", None)
        return Loading(*_refresh_at_once(cause), origin)
    code = ".".join(_options(steps, cause.reason, _descends(cause, source)))
    where = f"the select at {line(*origin)}" if origin else "the select of the parents"
    if source is not None and source.filename is None and profile.view is not None:
        # As a decorator does that pages the query which a view returns.
        origin = (profile.view.filename, profile.view.lineno)
        where = f"the select that {profile.view.function} returns"
    advice = f"add {code} to {where} (instead of {cause.count} queries)"
    if cause.flushing:
        advice += ', or set passive_deletes="all" where the database itself cascades'
    return Loading(code, advice, origin, source is not None and source.count == 1)


def _descends(cause: Cause, source: Cause | None) -> bool:
    """Tell whether a tree is walked down: more nodes were asked than the code selected."""
    reason = cause.reason
    if not (reason.kind in ("lazy", "auto_batch") and reason.entity[0] in reason.parents):
        return False
    return source is not None and cause.count > max(source.rows, 1)


def forgets_in_loop(cause: Cause, profile: Profile) -> bool:
    """Tell whether the loop itself makes the session forget, since it commits each time.

    A commit is no statement; that something was written between most executions shows it.
    """
    started = sorted(chain.from_iterable(some.started for some in cause.executions))
    written = profile.written
    before = [bisect(written, moment) for moment in started]
    gaps = sum(one < other for one, other in pairwise(before))
    return 2 * gaps >= len(started) - 1 > 0


def _refresh_at_once(cause: Cause) -> tuple[str, str]:
    entity = cause.reason.subject.partition(".")[0]
    code = f"session.scalars(select({entity}).where({code_of('', entity)}.in_(ids))).all()"
    advice = (
        f"a commit or expire made the {entity} objects forget their columns: read them again "
        f"at once with {code}, {_OR_KEEP}"
    )
    return code, advice


def _way_to(cause: Cause, profile: Profile) -> tuple[tuple[Step, ...], Cause | None]:
    """Follow the objects back to the statement that the code wrote itself."""
    steps, wanted = cause.reason.steps, cause.reason
    source, prefix = _bringer(cause, wanted, profile)
    for _ in range(_DEEPEST):
        steps = prefix + steps
        if source is None or source.reason.kind == "statement":
            break
        steps, wanted = source.reason.steps + steps, source.reason
        source, prefix = _bringer(source, wanted, profile)
    return steps, source


def _as_loaded(steps: tuple[Step, ...], source: Cause | None, reason: Reason) -> tuple[Step, ...]:
    """Name for each step the loader that the statement has for it already.

    What is loaded lazily has none, or one that does not do.
    """
    eager = source.reason.eager if source is not None else ()
    loaders = {str(each.steps[-1]): each.steps[-1].loader for each in reversed(eager) if each.steps}
    if reason.kind in ("lazy", "auto_batch"):
        loaders.pop(reason.subject, None)
    if not eager and not any(step.loader for step in steps):
        return steps
    return tuple(replace(step, loader=loaders.get(str(step), "")) for step in steps)


def _bringer(
    cause: Cause, wanted: Reason, profile: Profile
) -> tuple[Cause | None, tuple[Step, ...]]:
    """Return the cause that brought the objects, and the way that it loaded along to them.

    The ORM knows it by the moment of the load. Where it does not tell, that is the last one
    before with rows for all of them, or the one with the most rows.
    """
    for source in profile.brought_by(cause.brought_at):
        way = source.reason.way_to(wanted.parents)
        if way is not None and source is not cause:
            return source, way
    before = profile.bringers(wanted.parents, cause.started)
    enough = next((each for each in before if each.cause.rows >= len(cause.values)), None)
    most = enough or max(before, key=lambda each: each.cause.rows, default=None)
    return (most.cause, most.way) if most is not None else (None, ())


def _options(steps: tuple[Step, ...], reason: Reason, descends: bool) -> Iterator[str]:
    for step in steps:
        if descends and step is steps[-1]:
            yield f"selectinload({step}, recursion_depth=-1)"
        else:
            loader = step.loader or ("selectinload" if step.to_many else "joinedload")
            yield f"{loader}({step})"
    if reason.loads == "deferred":
        yield f'undefer_group("{reason.group}")' if reason.group else f"undefer({reason.subject})"
    elif reason.loads == "polymorphic":
        subclass = reason.subject.partition(".")[0]
        base = "" if steps else reason.entity[-1].rpartition(".")[2] + ", "
        yield f"selectin_polymorphic({base}[{subclass}])"
