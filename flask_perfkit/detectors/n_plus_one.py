"""n_plus_one: one statement asked again and again with other parameters."""

from __future__ import annotations

from flask_perfkit.batching.growth import statements
from flask_perfkit.config import Settings
from flask_perfkit.cures.selects import (
    Prefetch,
    aggregates,
    is_limited,
    is_tree,
    keyed_select,
    prefetch_of,
    written,
)
from flask_perfkit.detectors.loading import loading_fix
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.issued import known
from flask_perfkit.recording.profile import Cause, Profile
from flask_perfkit.recording.reason import is_of_catalog
from flask_perfkit.recording.wording import finding_of, milliseconds, place, short_sql

_GOING_ON = {"OFFSET", "LIMIT", "<", ">", "<=", ">=", "BETWEEN"}
_FEW_KEYS = 4
_FEW_VALUES = 3


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find causes that sent one statement for each of many objects."""
    threshold = settings.n_plus_one_threshold
    return [
        _finding(cause, profile, settings)
        for cause in profile.causes
        if (cause.acts >= threshold and is_loop(cause))
        or (cause.keys >= threshold and cause.reason.kind == "auto_batch")
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
    if cause.keys > _FEW_KEYS * cause.count:
        return False
    return not _is_paging(cause)


def _is_paging(cause: Cause) -> bool:
    """Tell whether each execution goes on where the one before ended, with many rows each."""
    ranges = {column for column, operator in cause.moves if operator in _GOING_ON}
    equal = {column for column, operator in cause.moves if operator not in _GOING_ON}
    # "day < ? OR (day = ? AND id < ?)" is a keyset spelled out: what is equal is a range too.
    if not ranges or not equal <= ranges:
        return False
    if any(operator == "OFFSET" for _, operator in cause.moves):
        return True
    goes_on = any(cause.moves[move] for move in cause.moves if move.operator in _GOING_ON)
    return cause.most_rows > 1 and goes_on


def _finding(cause: Cause, profile: Profile, settings: Settings) -> Finding:
    cure: object = None
    if cause.reason.kind == "statement":
        (fix, cure), origin = _statement_fix(cause), None
        advice = f"ask once before the loop: {fix} (1 query)"
        what = f"{cause.count} executions of {short_sql(cause.sql)}"
    else:
        loading = loading_fix(cause, profile)
        fix, advice, origin, cure = loading.code, loading.advice, loading.origin, loading.cure
        what = f"{cause.reason.subject} loaded {cause.count} times"
        if cause.reason.kind == "auto_batch":
            what += f" by auto-batching, for {cause.keys} objects"
        elif cause.reason.kind == "lazy" and loading.at_once and settings.auto_batch is False:
            advice += f", or set PERFKIT_AUTO_BATCH (about {statements(cause.count)} queries)"
    message = f"{what} ({milliseconds(cause.time)}) {place(cause)}; {advice}"
    return finding_of(
        "n_plus_one", cause, profile, message=message, fix=fix, origin=origin, cure=cure
    )


def _statement_fix(cause: Cause) -> tuple[str, Prefetch | None]:
    """Return what asks for all keys at once, in code or in words."""
    issued = known(cause.issued)
    if issued is None or not is_tree(issued.statement):
        return "one statement for all keys, with IN, and its rows by key in a dictionary", None
    select = keyed_select(issued, cause.varying)
    code = written(select) if select is not None else None
    if select is not None and code is not None:
        return code, prefetch_of(select)
    if is_limited(issued.statement):
        return (
            "one select that numbers the rows of each key, with func.row_number() over a "
            "partition by the key, and keeps the first ones of each"
        ), None
    if aggregates(issued.statement):
        return "one select of the key and the value, with .in_(keys) and .group_by(key)", None
    return "one select with .in_(keys) and all other conditions as they are", None
