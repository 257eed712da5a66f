"""Which loader option cures a lazy load, and at which line it goes."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, pairwise
from typing import NamedTuple

from flask_perfkit.cures.loaders import (
    CommitOnce,
    LoaderOption,
    ReadAgain,
    Sent,
    class_of,
    column_step,
    loader_step,
    option_for,
)
from flask_perfkit.cures.selects import primary_key_in
from flask_perfkit.detectors.walking import commits
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.eager import Step
from flask_perfkit.recording.issued import Issued, known
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.reason import Reason
from flask_perfkit.recording.wording import counted, line, queries, select_at

ONE_COMMIT = "session.commit() once, after the loop"
"""The cure where a loop commits, and so loads again what each commit made it forget."""

DEEPEST_TREE = 10
"""Levels of a tree that an option loads; what lies deeper is loaded as before."""

_DEEPEST = 8
_FEWEST_A_SELECT = 2
_FORGETS = "each commit in the loop makes the session forget what it has loaded"
_OR_KEEP = "or make the session with expire_on_commit=False"


class Loading(NamedTuple):
    """A loader option as code, the advice around it, and the line where it goes.

    ``at_once`` says that one statement brought the objects that the code started from. Where no
    option can be put on that statement, ``code`` is words. ``cure`` is the option as an object.
    """

    code: str
    advice: str
    origin: tuple[str, int] | None
    at_once: bool = False
    cure: LoaderOption | ReadAgain | CommitOnce | None = None


def loading_fix(cause: Cause, profile: Profile) -> Loading:
    """Return the cure for a cause that loads a relationship or a column.

    A loader option is a chain from the entity that the code selects, because SQLAlchemy
    refuses an inner option alone.
    """
    steps, source, moments = _way_to(cause, profile)
    steps = _straight(_as_loaded(steps, source, cause.reason), source, cause)
    origin = None
    if source is not None and source.filename is not None and source.lineno is not None:
        origin = (source.filename, source.lineno)
    if cause.reason.loads == "expired":
        if forgets_in_loop(cause, profile):
            advice = f"{_FORGETS}: {ONE_COMMIT}, {_OR_KEEP}"
            return Loading(ONE_COMMIT, advice, None, cure=CommitOnce())
        return _refresh_at_once(cause, origin)
    where = select_at(*origin) if origin else "the select of the parents"
    sent = sent_by(source, moments) if source is not None else Sent()
    where += _for_whom(source, sent)
    if source is not None and source.filename is None and profile.view is not None:
        # As a decorator does that pages the query which a view returns.
        origin = (profile.view.filename, profile.view.lineno)
        where = f"the select that {profile.view.function} returns"
    at_once = source is not None and source.count == 1
    descends = steps[-1:] != steps[-2:-1] and _descends(cause, source)
    words = _hindrance(cause, source, steps, where, descends=descends)
    if words is not None:
        return Loading(words, words, origin, at_once)
    cure = None
    issued = known(source.issued) if source is not None else None
    if issued is not None:
        cure = _option(issued, steps, cause, descends=descends)
        cure = cure and replace(cure, sent=sent)
        if cure is None or cure.is_of_alias:
            words = f"load {cause.reason.subject} along with the objects, in an option of {where}"
            return Loading(words, words, origin, at_once, cure)
    code = cure.code if cure is not None else ".".join(_named(steps, cause.reason))
    instead = " in the place of the option that contradicts it" if cure and cure.replaces else ""
    advice = f"add {code} to {where}{instead} (instead of {queries(cause.count)})"
    if cause.flushing:
        advice += ', or set passive_deletes="all" where the database itself cascades'
    return Loading(code, advice, origin, at_once, cure)


def _hindrance(
    cause: Cause,
    source: Cause | None,
    steps: tuple[Step, ...],
    where: str,
    *,
    descends: bool,
) -> str | None:
    """Say in words what to do where no loader option would save anything, or end."""
    if source is not None and cause.count < _FEWEST_A_SELECT * source.count:
        return (
            f"{where} runs {counted(source.count, 'time')} itself: query once before that loop, "
            f"and load {cause.reason.subject} along there"
        )
    if descends:
        last = loader_step(steps[-1]) if steps else None
        if last is not None and last.relationship.secondary is not None:
            return (
                f"{cause.reason.subject} makes a graph, which may have circles: collect the keys "
                f"of one level, and select the next level with one IN query"
            )
        if last is not None and (not steps[-1].to_many or cause.most_rows <= 1):
            return (
                f"{cause.reason.subject} is followed from row to row, where an option would "
                f"query as often: select all rows of the way at once, with a recursive CTE"
            )
    return None


def _straight(steps: tuple[Step, ...], source: Cause | None, cause: Cause) -> tuple[Step, ...]:
    """Leave out a way that comes back to what the statement selects.

    The objects at its end were selected then, if the statement brought enough of them.
    """
    if source is None or source.rows < cause.count:
        return steps
    owner = source.reason.entity[0].rpartition(".")[2] if source.reason.entity else None
    starts = [place for place, step in enumerate(steps) if step.owner == owner]
    last = starts[-1] if starts else 0
    between = {str(step) for step in steps[:last]}
    return steps[last:] if last and str(steps[last]) not in between else steps


def _option(
    issued: Issued, steps: tuple[Step, ...], cause: Cause, *, descends: bool
) -> LoaderOption | None:
    way = [step for step in map(loader_step, steps) if step is not None]
    if len(way) < len(steps):
        return None
    if descends:
        way[-1] = way[-1]._replace(loader="selectinload", depth=DEEPEST_TREE)
    reason = cause.reason
    column = None
    late = known(cause.issued)
    if reason.kind == "column" and late is not None:
        name = reason.subject.partition(".")[2]
        column = column_step(late, name, reason.group, polymorphic=reason.loads != "deferred")
    return option_for(issued, tuple(way), column)


def _descends(cause: Cause, source: Cause | None) -> bool:
    """Tell whether a tree is walked down: more nodes were asked than the code selected."""
    reason = cause.reason
    if not (reason.kind in ("lazy", "auto_batch") and reason.entity[0] in reason.parents):
        return False
    if source is None or (source.issued is not None and source.issued.streams):
        return False  # how many rows came in portions is not seen
    return cause.count > max(source.rows, 1)


def forgets_in_loop(cause: Cause, profile: Profile) -> bool:
    """Tell whether the loop itself makes the session forget, since it commits each time.

    A commit is no statement; that something was written between most executions shows it, or the
    source.
    """
    if commits([(cause.filename, cause.lineno), *cause.callers]):
        return True
    started = sorted(chain.from_iterable(some.started for some in cause.executions))
    written = profile.written
    before = [bisect(written, moment) for moment in started]
    gaps = sum(one < other for one, other in pairwise(before))
    return 2 * gaps >= len(started) - 1 > 0


def _refresh_at_once(cause: Cause, origin: tuple[str, int] | None) -> Loading:
    entity = cause.reason.subject.partition(".")[0]
    issued = known(cause.issued)
    if issued is None:
        words = f"read the {entity} objects again with one select of all their keys"
        return Loading(words, f"{words}, {_OR_KEEP}", origin)
    code = f"session.scalars(select({entity}).where({primary_key_in(issued, 'ids')})).all()"
    advice = (
        f"a commit or expire made the {entity} objects forget their columns: read them again "
        f"at once with {code}, {_OR_KEEP}"
    )
    return Loading(code, advice, origin, cure=ReadAgain(class_of(issued)))


def sent_by(source: Cause, moments: Iterable[int] = ()) -> Sent:
    """Return where a cause sent its statement.

    :param moments: those after which it did, if not all count.
    """
    span = next(iter(source.spans)) if len(source.spans) == 1 else None
    return Sent(span, source.callers_at(moments) if moments else source.common_callers)


def _for_whom(source: Cause | None, sent: Sent) -> str:
    """Name the callers that need the option, and those that do not, where both called."""
    if source is None:
        return ""
    needs = {(filename, lineno) for filename, lineno, _ in sent.callers}
    others = [each for each in source.common_callers if each[:2] not in needs]
    if not needs or not others:
        return ""
    named = [f"{line(filename, lineno)} ({count}x)" for filename, lineno, count in sent.callers]
    rest = [f"{line(filename, lineno)} ({count}x)" for filename, lineno, count in others]
    return f" for {' and '.join(named)}, and not for {' and '.join(rest)}"


def _way_to(
    cause: Cause, profile: Profile
) -> tuple[tuple[Step, ...], Cause | None, Mapping[int, int]]:
    """Follow the objects back to the statement that the code wrote itself.

    Returns the way, the cause of that statement, and how many were loaded at which moment.
    """
    steps, loaded = cause.reason.steps, cause
    source, prefix = _bringer(cause, cause.reason, profile)
    for _ in range(_DEEPEST):
        steps = prefix + steps
        if source is None or source.reason.kind == "statement":
            break
        steps, loaded = source.reason.steps + steps, source
        source, prefix = _bringer(source, source.reason, profile)
    return steps, source, loaded.brought_at


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


def _named(steps: tuple[Step, ...], reason: Reason) -> Iterator[str]:
    """Yield an option by names alone, for a select that nobody has seen."""
    for step in steps:
        loader = step.loader or ("selectinload" if step.to_many else "joinedload")
        yield f"{loader}({step})"
    if reason.loads == "deferred":
        yield f'undefer_group("{reason.group}")' if reason.group else f"undefer({reason.subject})"
    elif reason.loads == "polymorphic":
        subclass = reason.subject.partition(".")[0]
        base = "" if steps else reason.entity[-1].rpartition(".")[2] + ", "
        yield f"selectin_polymorphic({base}[{subclass}])"
