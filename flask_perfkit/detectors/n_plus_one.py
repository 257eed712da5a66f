"""n_plus_one: one statement asked again and again with other parameters."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.cures.counting import select_of
from flask_perfkit.cures.selects import (
    aggregates,
    is_limited,
    is_tree,
    keyed_select,
    written,
)
from flask_perfkit.detectors.aggregation import aggregate_columns, aggregates_by
from flask_perfkit.detectors.loading import loading_fix
from flask_perfkit.detectors.usage import Aggregate
from flask_perfkit.detectors.walking import lets_go, waits
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.columns import is_primary_key
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.issued import commits_itself, known
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.tables import NO_TABLE, is_of_catalog
from flask_perfkit.recording.wording import (
    counted,
    finding_of,
    milliseconds,
    place,
    queries,
    short_sql,
)

_GOING_ON = {"OFFSET", "LIMIT", "<", ">", "<=", ">=", "BETWEEN"}
_MANY_OBJECTS = 1_000
_FEW_KEYS = 4
_LONG_CHAIN = 10
_LARGE_BATCH = 50
_SMALL_BATCH = 10
_FEW_VALUES = 3


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find causes that sent one statement for each of many objects."""
    threshold = settings.n_plus_one_threshold
    return [
        _finding(cause, profile, settings)
        for cause in profile.causes
        if (cause.acts >= threshold and is_loop(cause) and not is_scattered(cause, threshold))
        or (cause.keys >= threshold and cause.reason.kind == "auto_batch")
        or _is_chain(cause, profile, threshold)
    ]


def is_loop(cause: Cause) -> bool:
    """Tell whether a cause asks for one object at a time, and not in batches or pages."""
    if cause.operation != "SELECT" or cause.reason.kind in ("batch", "auto_batch"):
        return False
    if is_of_catalog(cause.sql):
        return False
    if len(cause.values) < min(_FEW_VALUES, cause.count):
        return False  # the same few answers again: duplicate_query
    if cause.reason.kind in ("lazy", "column"):
        return True
    if _is_of_batches(cause) or (cause.reason.volatile and cause.reason.subject == NO_TABLE):
        return False
    return not _is_paging(cause)


def is_scattered(cause: Cause, threshold: int) -> bool:
    """Tell whether a function that many lines call asked, and no line called it often."""
    if len(cause.callers) < threshold:
        return False
    counts = cause.callers.values()
    return (
        cause.reason.kind == "statement" and sum(counts) == cause.count and max(counts) < threshold
    )


def _is_chain(cause: Cause, profile: Profile, threshold: int) -> bool:
    """Tell whether a loader walks on from object to object, with a statement for each step.

    Its relationship leads back to its own class, and each statement asks for a few keys. The
    levels of a tree are fewer than the links of a chain.
    """
    if cause.reason.kind != "batch" or cause.count < max(threshold, _LONG_CHAIN):
        return False
    owner = cause.reason.steps[-1].owner
    if all(name.rpartition(".")[2] != owner for name in cause.reason.entity):
        return False
    if cause.keys >= _FEW_KEYS * cause.count:
        return False
    others = profile.bringers(cause.reason.parents, max(cause.ends))
    begun = sum(each.cause.count for each in others if each.cause is not cause)
    return cause.count - begun >= _LONG_CHAIN - 1


def _is_of_batches(cause: Cause) -> bool:
    """Tell whether each execution asks for a batch of keys.

    A batch is large, or the chunks are alike but for a rest: a few keys for each parent are not.
    """
    if cause.keys >= _LARGE_BATCH * cause.count:
        return True
    largest = max(cause.chunks, default=0)
    return largest >= _SMALL_BATCH and cause.count - cause.chunks[largest] <= 1


def _is_paging(cause: Cause) -> bool:
    """Tell whether each execution goes on where the one before ended."""
    ranges = {column for column, operator in cause.moves if operator in _GOING_ON}
    equal = {column for column, operator in cause.moves if operator not in _GOING_ON}
    # "day < ? OR (day = ? AND id < ?)" is a keyset spelled out: what is equal is a range too.
    if not ranges or not equal <= ranges:
        return False
    if any(operator == "OFFSET" for _, operator in cause.moves):
        return True
    goes_on = any(cause.moves[move] for move in cause.moves if move.operator in _GOING_ON)
    if not goes_on:
        return False
    return cause.most_rows > 1 or _is_window(cause) or _is_poll(cause) or is_waited_for(cause)


def _is_window(cause: Cause) -> bool:
    """Tell whether a range with two ends moves along one column, however many rows lie in it."""
    if cause.reason.one_row:
        return False  # a number for each window is a GROUP BY
    lower = {column for column, operator in cause.moves if operator in (">", ">=", "BETWEEN")}
    upper = {column for column, operator in cause.moves if operator in ("<", "<=", "BETWEEN")}
    return bool(lower & upper)


def is_waited_for(cause: Cause) -> bool:
    """Tell whether a loop asks again and again for what others do meanwhile."""
    return waits([(cause.filename, cause.lineno), *cause.callers])


def _is_poll(cause: Cause) -> bool:
    """Tell whether it asks for what comes after a primary key, a few rows at a time."""
    moved = [move for move in cause.moves if move.operator in (">", "<")]
    return (
        cause.reason.limited
        and len(moved) == len(cause.moves)
        and all(is_primary_key(cause.reason.entity, column) for column, _ in moved)
    )


def _finding(cause: Cause, profile: Profile, settings: Settings) -> Finding:
    cure: object = None
    if cause.reason.kind == "statement":
        fix, origin, cure = _statement_fix(cause), None, None
        advice = f"query once before the loop: {fix} (1 query)"
        if not _keys_given(cause):
            fix = advice = "fetch them all in one statement before the loop"
            cure = None
        what = f"{counted(cause.count, 'execution')} of {short_sql(cause.sql)}"
    elif cause.reason.kind == "batch":
        fix, origin = "read the whole chain at once, by a recursive CTE: select().cte()", None
        times = counted(cause.count, "time")
        what = f"{cause.reason.subject} loaded {times}, one step of a chain each"
        advice = f"{fix} (1 query, where the loader needs one for each step)"
    elif aggregates := _only_aggregated(cause):
        model = cause.reason.entity[0].rpartition(".")[2]
        what = f"{cause.reason.subject} loaded {counted(cause.count, 'time')}"
        groups, columns = aggregate_columns(model, cause.reason.owner_keys, aggregates)
        fix = select_of(columns, groups)
        origin = loading_fix(cause, profile).origin
        advice = (
            f"its {cause.rows:,} {model} objects are only counted or added up: let the database "
            f"do it with {fix} (1 query, where a loader option would still build each object)"
        )
    else:
        loading = loading_fix(cause, profile)
        fix, advice, origin, cure = loading.code, loading.advice, loading.origin, loading.cure
        what = f"{cause.reason.subject} loaded {counted(cause.count, 'time')}"
        if cause.reason.kind == "auto_batch":
            what += f" by auto-batching, for {cause.keys} objects"
        elif loading.at_once and settings.auto_batch is False and _would_batch(cause, profile):
            from flask_perfkit.batching.growth import statements

            advice += f", or set PERFKIT_AUTO_BATCH (about {queries(statements(cause.count))})"
    message = f"{what} ({milliseconds(cause.time)}) {place(cause, profile)}; {advice}"
    return finding_of(
        "n_plus_one", cause, profile, message=message, fix=fix, origin=origin, cure=cure
    )


def _only_aggregated(cause: Cause) -> tuple[Aggregate, ...]:
    """Return what the code makes of a collection's members, where it needs none of them.

    Where there are few, a loader option is the smaller change; of many, building the objects is
    what takes the time.
    """
    if cause.rows < _MANY_OBJECTS or cause.reason.kind != "lazy" or not cause.reason.owner_keys:
        return ()
    return aggregates_by(cause)


def _would_batch(cause: Cause, profile: Profile) -> bool:
    """Tell whether auto-batching would help.

    It loads for objects of one query at a time that are still there, by the columns of the
    relationship, outside of AUTOCOMMIT, and gives up what it has where something is written in
    between.
    """
    brought = cause.brought_at
    if cause.reason.kind != "lazy" or 2 * max(brought.values(), default=0) < brought.total():
        return False
    if not cause.reason.plain_join:
        return False
    if ("isolation_level", "AUTOCOMMIT") in cause.target or commits_itself(cause.issued):
        return False
    if lets_go([(cause.filename, cause.lineno), *cause.callers]):
        return False
    return not cause.has_between(profile.written)


def _keys_given(cause: Cause) -> bool:
    """Tell whether the loop asks by the values of a column, so that one IN can hold them."""
    return any(operator in ("=", "IN") for _, operator in cause.moves)


def _statement_fix(cause: Cause) -> str:
    """Return what asks for all keys at once, in code or in words."""
    issued = known(cause.issued)
    if issued is None or not is_tree(issued.statement):
        return "one statement for all keys, with IN, and its rows by key in a dictionary"
    select = keyed_select(issued, cause.varying)
    code = written(select) if select is not None else None
    if code is not None:
        return code
    if is_limited(issued.statement):
        return (
            "one select that numbers the rows of each key, with func.row_number() over a "
            "partition by the key, and keeps the first ones of each"
        )
    if aggregates(issued.statement):
        return "one select of the key and the value, with .in_(keys) and .group_by(key)"
    return "one select with .in_(keys) and all other conditions as they are"
