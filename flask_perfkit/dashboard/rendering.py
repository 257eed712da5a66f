"""Makes HTML of a page's data: in an environment of its own, which no application changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flask_perfkit.dashboard import plots
from flask_perfkit.dashboard.asked import RANGES, Asked
from flask_perfkit.dashboard.fixes import is_code
from flask_perfkit.dashboard.views.page import SECTIONS, Page
from flask_perfkit.recording.findings import SEVERITIES
from flask_perfkit.recording.wording import line

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.store.reading import RouteKey, StoredFinding

_CLAUSES = frozenset(
    {"FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "VALUES", "SET", "RETURNING"}
)
_LONGEST_LIST = 40
_LONGEST_SQL = 200
_JOINS = frozenset({"JOIN", "LEFT", "INNER", "CROSS", "FULL"})


def render(page: Page, asked: Asked, app: Flask, *, nonce: str, csrf: str) -> str:
    """Return a page as HTML; all that comes from requests and code is escaped."""
    return _environment.get_template(page.template).render(
        page.data,
        page=page,
        asked=asked,
        app_name=app.name,
        is_debug=app.debug,
        nonce=nonce,
        csrf=csrf,
    )


def duration(seconds: float) -> tuple[str, str]:
    """Return a duration for reading, in two parts: ``("12.3", "ms")``."""
    if seconds < 0.000_999_5:
        return f"{seconds * 1e6:.3g}" if seconds >= 1e-6 else "0", "µs"
    if seconds < 0.999_5:
        return f"{seconds * 1e3:.3g}", "ms"
    if seconds < 120:
        return f"{seconds:.3g}", "s"
    if seconds < 7_200:
        return f"{seconds / 60:.3g}", "min"
    return f"{seconds / 3600:,.3g}", "h"


def words(seconds: float) -> str:
    """Return a duration as one text."""
    return " ".join(duration(seconds))


def number(value: float, *, estimated: bool = False) -> str:
    """Return a count for reading: ``1,234``, and ``~1,234`` where it was scaled up."""
    text = f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"
    return f"~{text}" if estimated else text


def percent(share: float) -> str:
    """Return a share for reading: ``12.5%``."""
    value = share * 100
    return f"{value:.0f}%" if value >= 10 or value == 0 else f"{value:.1f}%"


def size(value: float) -> str:
    """Return a number of bytes for reading."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} TB"


def ago(moment: float) -> str:
    """Return how long a moment is over: ``3 min ago``."""
    seconds = max(time() - moment, 0)
    if seconds < 5:
        return "just now"
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < length * (60 if unit != "h" else 48):
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds / 86_400:.0f} days ago"


def moment(at: float) -> str:
    """Return a moment in the clock of this machine."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def sql_lines(sql: str) -> str:
    """Return a shape with a line for each of its outer clauses, for reading only."""
    lines: list[list[str]] = [[]]
    depth = 0
    before = ""
    for word in sql.split():
        begins = word in _CLAUSES or (word in _JOINS and before not in _JOINS and before != "OUTER")
        if begins and depth == 0 and lines[-1]:
            lines.append([])
        lines[-1].append(word)
        depth += word.count("(") - word.count(")")
        before = word
    return "\n".join(" ".join(words) for words in lines)


def short_sql(sql: str) -> str:
    """Return what a row of a table has room for: long lists of columns say least."""
    first, *rest = sql_lines(sql).split("\n")
    if rest and len(first) > _LONGEST_LIST:
        first = f"{first[:_LONGEST_LIST].rsplit(' ', 1)[0]} …"
    text = " ".join([first, *rest])
    return text if len(text) <= _LONGEST_SQL else f"{text[: _LONGEST_SQL - 1]}…"


def soft(text: str) -> Markup:
    """Return a path or name that may be broken where its parts meet."""
    parts = re.split(r"(?<=[/_.])(?=\w|<)", text)
    return Markup("<wbr>").join(parts)


def route_link(asked: Asked, key: RouteKey) -> str:
    """Return the address of a route's page."""
    return asked.link("/route", kind=key.kind, method=key.method, name=key.name)


def told(finding: StoredFinding) -> str:
    """Return a finding's message without its kind and its fix, which stand beside it."""
    return finding.message.removeprefix(f"{finding.kind}: ").removesuffix(f"; {finding.fix}")


def worst(kinds: Sequence[str]) -> str:
    """Return the worst severity of some kinds."""
    severities = {SEVERITIES.get(kind, "info") for kind in kinds}
    return next((each for each in ("error", "warning", "info") if each in severities), "")


def _make_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("flask_perfkit.dashboard"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    filters: dict[str, Any] = {
        "duration": duration,
        "words": words,
        "number": number,
        "percent": percent,
        "size": size,
        "ago": ago,
        "moment": moment,
        "sql_lines": sql_lines,
        "short_sql": short_sql,
        "is_code": is_code,
        "soft": soft,
        "told": told,
        "worst": worst,
        "short": lambda value: f"{value:.1f}".removesuffix(".0"),
    }
    environment.filters.update(filters)
    environment.globals.update(
        sections=SECTIONS,
        ranges=tuple(RANGES),
        line=line,
        route_link=route_link,
        plots=plots,
        words=words,
        number=number,
        size=size,
    )
    return environment


_environment = _make_environment()
