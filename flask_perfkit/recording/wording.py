"""How findings speak: places, times and numbers in one wording."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import Finding, allow_covered
from flask_perfkit.recording.libraries import acting_library
from flask_perfkit.recording.profile import Profile, View


def finding_of(
    kind: str, cause: Cause | Call, profile: Profile, *, message: str, fix: str, **more: Any
) -> Finding:
    """Return a finding about one cause, with all that the cause tells.

    Where no application code was on the stack, as when a response is made of what a view
    returned, the finding names the view.
    """
    at: Cause | Call | View | None = cause if cause.filename is not None else profile.view
    values: dict[str, Any] = {
        "count": cause.count,
        "filename": at.filename if at is not None else None,
        "lineno": at.lineno if at is not None else None,
        "function": at.function if at is not None else None,
        "callers": cause.common_callers,
        "endpoint": profile.endpoint,
    }
    if isinstance(cause, Cause):
        values |= {"subject": cause.reason.subject, "duration": cause.time, "sql": cause.sql}
        values["library"] = acting_library(cause, profile)
    else:
        values |= {"subject": cause.name, "duration": cause.duration}
    finding = Finding(kind=kind, message=f"{kind}: {message}", fix=fix, **(values | more))
    return allow_covered(finding, cause.allowances)


def finding_of_request(kind: str, profile: Profile, message: str, fix: str) -> Finding:
    """Return a finding about a request as a whole; it names the view."""
    view = profile.view
    finding = Finding(
        kind=kind,
        subject=profile.endpoint or profile.path or "request",
        message=f"{kind}: {profile.endpoint or profile.path or 'request'}: {message}",
        fix=fix,
        filename=view.filename if view is not None else None,
        lineno=view.lineno if view is not None else None,
        function=view.function if view is not None else None,
        endpoint=profile.endpoint,
    )
    return allow_covered(finding, profile.allowances)


def place(cause: Cause | Call, profile: Profile) -> str:
    """Say where a cause lies: ``at views.py:41 in list_documents``, and from where.

    Where a library asked, it is named: the line that left it to do so may not show that.
    """
    library = cause.library if isinstance(cause, Cause) else None
    if cause.filename is None:
        view = profile.view
        if view is None:
            where = f"in {library}" if library else "outside of the application's code"
            if profile.endpoint:
                where += f", for {profile.endpoint}"
            if isinstance(cause, Cause) and acting_library(cause, profile) is not None:
                where += f" ({library}'s own code and tables: report it there)"
            return where
        who = library or "what makes the response"
        return f"in {who}, of what {line(view.filename, view.lineno)} in {view.function} returned"
    text = f"at {line(cause.filename, cause.lineno)} in {cause.function}"
    if library is not None:
        text += f", by {library}"
    callers = cause.common_callers
    if callers:
        named = ", ".join(f"{line(name, number)} ({count}x)" for name, number, count in callers[:3])
        text += f", called from {named}"
        if len(callers) > 3:
            text += f" and {counted(len(callers) - 3, 'more line')}"
    return text


@lru_cache(maxsize=1_000)
def line(filename: str, lineno: int | None) -> str:
    """Return a source line as ``views.py:41``, the path as short as the directory allows."""
    return f"{short_path(filename)}:{lineno}"


def select_at(filename: str, lineno: int | None) -> str:
    """Name the select that a line sent; a template can have sent one only that was built before."""
    where = line(filename, lineno)
    is_code = filename.endswith(".py") or filename.startswith("<")
    return f"the select at {where}" if is_code else f"the query that {where} goes through"


def short_path(filename: str) -> str:
    """Return a file's path as short as the directory allows."""
    short = os.path.relpath(filename) if os.path.isabs(filename) else filename
    return filename if short.startswith("..") else short


def milliseconds(seconds: float) -> str:
    """Return a duration for reading: ``0.45 ms``, ``12.3 ms``, ``1,234 ms``."""
    value = seconds * 1000
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def size(number: int) -> str:
    """Return a number of bytes for reading: ``512 bytes``, ``24 kB``, ``1.5 MB``."""
    if number < 1_000:
        return counted(number, "byte")
    return f"{number / 1_000:,.0f} kB" if number < 1_000_000 else f"{number / 1_000_000:,.1f} MB"


def statement_count(profile: Profile) -> str:
    """Return how many statements there were, for reading: ``1 statement``, ``12 statements``."""
    return counted(profile.query_count, "statement")


def counted(number: float, one: str, many: str | None = None) -> str:
    """Return how many there are, for reading: ``1 line``, ``1,500 lines``, ``2 queries``.

    :param many: what several are called, where that is not ``one`` with an s.
    """
    return f"{number:,.0f} {one if number == 1 else many or f'{one}s'}"


def queries(number: float) -> str:
    """Return how many queries there are, for reading: ``1 query``, ``11 queries``."""
    return counted(number, "query", "queries")


def short_sql(sql: str, length: int = 160) -> str:
    """Return the beginning of a shape; the values are not in it to begin with."""
    return sql if len(sql) <= length else sql[: length - 3] + "..."
