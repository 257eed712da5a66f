"""A profile as it is stored: its repeated statements folded, no values, and bounded in size."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import AllowedFinding, Finding
from flask_perfkit.recording.methods import METHODS, OTHER_METHOD
from flask_perfkit.recording.profile import Profile
from flask_perfkit.store.identity import finding_id, fingerprint_of, new_id
from flask_perfkit.store.reading import (
    Kind,
    RouteKey,
    StoredCall,
    StoredFinding,
    StoredProfile,
    StoredStatement,
    Summary,
)

UNMATCHED = "(unmatched)"

_KINDS: dict[str | None, Kind] = {"JOB": "job", "CLI": "command"}
_SECRET = re.compile(r"<[^<>]*(?:token|secret|passw|key|code|sig|hash|nonce)[^<>]*>", re.IGNORECASE)
_FAILED = 500
_MOST_STATEMENTS = 300
_MOST_CALLS = 100
_MOST_FINDINGS = 50
_DIGITS = 6
_SECONDS = 1e-9
_FASTEST = 1

_to_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Packed:
    """A profile ready to be written.

    ``interest`` says how much it is worth to be kept: the greater, the longer. ``finding_ids``
    are those of its findings, the allowed ones too.
    """

    summary: Summary
    finding_ids: tuple[str, ...]
    interest: int
    body: bytes


def route_of(profile: Profile) -> RouteKey:
    """Return what a profile is counted under."""
    if profile.status is None:
        kind = _KINDS.get(profile.method, "job")
        return RouteKey(kind, profile.method or "JOB", profile.endpoint or kind)
    return request_key(profile.method or "", profile.rule)


def request_key(method: str, rule: str | None) -> RouteKey:
    """Return what a request is counted under; nothing of it is the client's own word."""
    return RouteKey("request", method if method in METHODS else OTHER_METHOD, rule or UNMATCHED)


def has_failed(profile: Profile) -> bool:
    """Tell whether it was answered with an error of the server's, or ended with one."""
    return profile.failed if profile.status is None else profile.status >= _FAILED


def packed(profile: Profile, interest: int) -> Packed:
    """Return a profile as it is written."""
    stored = stored_profile(profile)
    found = [each.id for each in (*stored.findings, *stored.allowed)]
    return Packed(stored.summary, tuple(dict.fromkeys(found)), interest, _encoded(stored))


def stored_profile(profile: Profile) -> StoredProfile:
    """Return what is stored of a profile."""
    found = [*profile.findings[:_MOST_FINDINGS], *profile.allowed[:_MOST_FINDINGS]]
    statements = [_statement(cause, profile.zero, found) for cause in _costly(profile.causes)]
    seen = (*profile.templates, *profile.cache_calls, *profile.blocking_calls)
    calls = [_call(call, profile.zero) for call in seen[:_MOST_CALLS]]
    return StoredProfile(
        summary=_summary(profile),
        statements=tuple(sorted(statements, key=lambda each: each.started)),
        calls=tuple(sorted(calls, key=lambda each: each.started)),
        findings=tuple(map(stored_finding, profile.findings[:_MOST_FINDINGS])),
        allowed=tuple(map(stored_finding, profile.allowed[:_MOST_FINDINGS])),
        memory_delta=profile.memory_delta,
    )


def _costly(causes: Sequence[Cause]) -> Sequence[Cause]:
    if len(causes) <= _MOST_STATEMENTS:
        return causes
    return sorted(causes, key=lambda cause: -cause.time)[:_MOST_STATEMENTS]


def _summary(profile: Profile) -> Summary:
    return Summary(
        id=profile.id or new_id(),
        route=route_of(profile),
        endpoint=profile.endpoint or "",
        path=_path(profile),
        status=profile.status,
        started_at=round(profile.started_at.timestamp(), _DIGITS),
        duration=round(profile.duration, _DIGITS),
        sql_duration=round(profile.sql_duration, _DIGITS),
        statements=profile.query_count,
        findings=tuple(dict.fromkeys(finding.kind for finding in profile.findings)),
    )


def _path(profile: Profile) -> str:
    """Return the path that was asked for; the rule where a part of it may be a secret."""
    if profile.status is None:
        return ""
    is_secret = profile.rule is not None and _SECRET.search(profile.rule)
    path = profile.rule if is_secret else profile.path
    return f"{profile.mount}{path or ''}"


def _statement(cause: Cause, zero: int, found: Iterable[Finding]) -> StoredStatement:
    started, ended = _bounds(cause, zero)
    was_fetched = any(any(some.fetched) for some in cause.executions)
    return StoredStatement(
        sql=cause.sql,
        fingerprint=fingerprint_of(cause.sql),
        operation=cause.operation,
        subject=cause.reason.subject,
        filename=cause.filename,
        lineno=cause.lineno,
        function=cause.function,
        library=cause.library,
        callers=cause.common_callers,
        count=cause.count,
        started=started,
        ended=ended,
        duration=round(cause.duration, _DIGITS),
        fetch_duration=round(cause.fetch_duration, _DIGITS) if was_fetched else None,
        rows=cause.rows if was_fetched or cause.rows else None,
        slowest=round(cause.slowest, _DIGITS),
        errors=cause.errors,
        finding_ids=tuple(finding_id(each) for each in found if _is_about(each, cause)),
    )


def _bounds(cause: Cause, zero: int) -> tuple[float, float]:
    """Return when the first execution began and the last one ended that were kept."""
    started = min((min(some.started) for some in cause.executions), default=zero)
    ended = max((max(some.ended) for some in cause.executions), default=started)
    fetched = max(
        (max(filter(None, some.fetched), default=0) for some in cause.executions), default=0
    )
    return _offset(started, zero), _offset(max(ended, fetched), zero)


def _offset(moment: int, zero: int) -> float:
    return round(max(moment - zero, 0) * _SECONDS, _DIGITS)


def _is_about(finding: Finding, cause: Cause) -> bool:
    if finding.sql != cause.sql:
        return False
    return cause.filename is None or (finding.filename, finding.lineno) == (
        cause.filename,
        cause.lineno,
    )


def _call(call: Call, zero: int) -> StoredCall:
    return StoredCall(
        kind=call.kind,
        name=call.name,
        filename=call.filename,
        lineno=call.lineno,
        function=call.function,
        count=call.count,
        started=_offset(call.started, zero),
        ended=_offset(call.ended, zero),
        duration=round(call.duration, _DIGITS),
    )


def stored_finding(finding: Finding) -> StoredFinding:
    """Return what is stored of a finding."""
    return StoredFinding(
        id=finding_id(finding),
        kind=finding.kind,
        subject=finding.subject,
        message=finding.message,
        fix=finding.fix,
        count=finding.count,
        duration=round(finding.duration, _DIGITS),
        filename=finding.filename,
        lineno=finding.lineno,
        function=finding.function,
        callers=finding.callers,
        origin=finding.origin,
        endpoint=finding.endpoint,
        sql=finding.sql,
        reason=finding.allowance.reason if isinstance(finding, AllowedFinding) else None,
        library=finding.library,
    )


def _encoded(profile: StoredProfile) -> bytes:
    values = (
        plain(profile.summary),
        [*map(plain, profile.statements)],
        [*map(plain, profile.calls)],
        [*map(plain, profile.findings)],
        [*map(plain, profile.allowed)],
        profile.memory_delta,
    )
    return zlib.compress(_to_json(values).encode(), _FASTEST)


_of_kind = {
    kind: attrgetter(*(item.name for item in fields(kind)))
    for kind in (Summary, StoredStatement, StoredCall, StoredFinding)
}


def plain(value: Summary | StoredStatement | StoredCall | StoredFinding) -> tuple[Any, ...]:
    """Return the values of the fields, as JSON can hold them."""
    values: tuple[Any, ...] = _of_kind[type(value)](value)
    return values


def unpacked(body: bytes) -> StoredProfile:
    """Return the profile that was written."""
    summary, statements, calls, findings, allowed, memory_delta = json.loads(zlib.decompress(body))
    return StoredProfile(
        summary=summary_of(summary),
        statements=tuple(StoredStatement(*map(_frozen, each)) for each in statements),
        calls=tuple(StoredCall(*each) for each in calls),
        findings=tuple(map(finding_of, findings)),
        allowed=tuple(map(finding_of, allowed)),
        memory_delta=memory_delta,
    )


def summary_of(values: Iterable[Any]) -> Summary:
    """Return the summary that :func:`plain` gave the values of."""
    frozen = [*map(_frozen, values)]
    frozen[1] = RouteKey(*frozen[1])
    return Summary(*frozen)


def finding_of(values: Sequence[Any]) -> StoredFinding:
    """Return the finding that :func:`plain` gave the values of."""
    return StoredFinding(*map(_frozen, values))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
