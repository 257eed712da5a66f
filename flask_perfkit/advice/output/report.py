"""Advice as text that reads well at 80 columns, and as DDL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill

from flask_perfkit.advice.advice import Advice, Create, Drop
from flask_perfkit.advice.check import Check
from flask_perfkit.recording.wording import counted

_WIDTH = 80


def lines_of(advice: Advice) -> Iterator[str]:
    """Yield the report: what to create, to rewrite, to drop, and what not to create."""
    yield (
        f"{len(advice.create)} to create, {len(advice.rewrites)} to rewrite, "
        f"{len(advice.drop)} to drop, {len(advice.refused)} not advised"
    )
    for create in advice.create:
        yield from ("", *_created(create))
    for one in advice.rewrites:
        yield from ("", f"REWRITE  {one.table}")
        yield from _wrapped(one.from_)
        yield from _wrapped(f"becomes {one.to}")
        yield from _wrapped(f"same rows, served by {one.served_by or 'no index'}; {one.place}")
        yield f"  {_figures(one.before, one.after, one.unit)}"
    for drop in advice.drop:
        yield from ("", f"DROP  {drop.table}", f"  {drop.sql};")
        yield from _wrapped(f"{drop.reason}: {drop.proof}")
        yield from _wrapped(f"undo: {drop.undo};")
    alike: dict[tuple[str, str], list[Check]] = {}
    for check in advice.checks:
        alike.setdefault((check.kind, check.fix), []).append(check)
    for (kind, fix), checks in alike.items():
        yield from ("", f"CHECK  {kind}")
        for check in checks:
            yield from _wrapped(f"{check.subject}: {check.message}")
        yield from _wrapped(fix)
    if advice.refused:
        yield from ("", "NOT ADVISED")
        for refused in advice.refused:
            if not refused.is_small:
                yield from _wrapped(f"{_without_name(refused.sql)}: {refused.reason}")
        if small := sum(refused.is_small for refused in advice.refused):
            columns = counted(small, "column")
            yield f"  {columns} of small tables, read whole as quickly (--json names them)"
    if advice.locked:
        yield ""
        yield from _wrapped(locked_words(advice.locked))
    if advice.notes:
        yield ""
        yield from advice.notes


def locked_words(locked: Sequence[str]) -> str:
    """Say which tables were locked, and what to do."""
    names = ", ".join(locked)
    return f"LOCKED: others held {names} while indexes were to be tried: run it again"


def statements_of(advice: Advice) -> Iterator[str]:
    """Yield the advice as DDL; on PostgreSQL so that writers go on meanwhile."""
    for extension in sorted({one.extension for one in advice.create if one.extension}):
        yield f"CREATE EXTENSION IF NOT EXISTS {extension};"
    for create in advice.create:
        if create.is_partitioned:
            yield f"-- {create.table} is partitioned: its writers wait meanwhile, and do not where"
            yield "-- --migration builds part by part"
            yield f"{create.sql};"
        else:
            yield f"{_beside_writers(create.sql, create)};"
    for drop in advice.drop:
        yield f"{_beside_writers(drop.sql, drop)};"


def _created(create: Create) -> Iterator[str]:
    yield f"CREATE  {create.table}  {_figures(create.before, create.after, create.unit)}"
    yield from _wrapped(f"{create.sql};")
    yield from _wrapped(create.reason)
    yield from _wrapped(f"before: {create.plan_before}")
    yield from _wrapped(f"after: {create.plan_after}")
    yield from _wrapped(f"{create.size / 1024:,.0f} kB; {create.proof}")


def _figures(before: float, after: float, unit: str) -> str:
    factor = before / max(after, 1e-9)
    if unit == "seconds":
        return f"{before * 1000:,.2f} ms -> {after * 1000:,.2f} ms ({factor:,.0f}x)"
    return f"{before:,.0f} -> {after:,.0f} {unit} ({factor:,.0f}x)"


def _wrapped(text: str) -> Iterator[str]:
    yield fill(
        text,
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _without_name(sql: str) -> str:
    """Return ``table (columns)`` of an index that there will not be."""
    return sql.partition(" ON ")[2]


def _beside_writers(sql: str, one: Create | Drop) -> str:
    word = "CONCURRENTLY " if one.dialect == "postgresql" else ""
    return sql.replace(" INDEX ", f" INDEX {word}", 1)
