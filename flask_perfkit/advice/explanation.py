"""Explains a choice: for each index what it serves, what that costs before and after, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import Dialect

from flask_perfkit.advice.advice import Create, Rewrite
from flask_perfkit.advice.asked import Asked
from flask_perfkit.advice.choice import Choice, Chooser
from flask_perfkit.advice.index import TRIGRAMS, Index, schema_and_name
from flask_perfkit.advice.planners.planner import Planner
from flask_perfkit.advice.rewrites import Rewritten

_MOST_PLACES = 3


class Served(NamedTuple):
    """A statement that uses an index: its cost now and with all advised, what the index saves."""

    asked: Asked
    before: float
    after: float
    saved: float


def created(
    choice: Choice,
    chooser: Chooser,
    planner: Planner,
    dialect: Dialect,
    *,
    verify: bool,
    unit_of_time: str,
) -> Iterator[Create]:
    """Yield the chosen indexes with reasons and proofs; what saves nothing by now is left out.

    :param unit_of_time: what stands behind the number of executions, such as " a day".
    """
    for index in choice.chosen:
        served = _served(index, choice, chooser)
        if not served:
            continue
        best, before, after, _ = max(served, key=lambda one: one.before / max(one.after, 1e-9))
        if verify:
            before = planner.measure(best.recorded, ())
            after = planner.measure(best.recorded, choice.chosen)
        yield Create(
            name=index.name,
            sql=index.create(dialect),
            table=schema_and_name(index.table),
            reason=_reason(
                index,
                [one.asked for one in served],
                unit_of_time,
                needs_values=planner.needs_values(best.recorded, index),
            ),
            before=before,
            after=after,
            unit="seconds" if verify else planner.unit,
            proof=f"{planner.how}{', statements executed' if verify else ''}",
            saved=sum(one.saved for one in served) - chooser.write_cost(index),
            size=planner.size(index),
            plan_before=planner.plan(best.recorded, ()),
            plan_after=planner.plan(best.recorded, choice.chosen),
            extension=index.extension,
            dialect=dialect.name,
            endpoints=tuple(sorted({one.asked.recorded.endpoint or "" for one in served} - {""})),
            index=index,
            is_partitioned=getattr(planner.facts(index.table), "is_partitioned", False),
        )


def _served(index: Index, choice: Choice, chooser: Chooser) -> list[Served]:
    """Return the statements that use an index in the end."""
    asked = chooser.asking(index.table)
    others = [one for one in choice.chosen if one is not index]
    without = chooser.costs(asked, others)
    found = []
    for one in asked:
        key = one.recorded
        outcome = choice.after.get(key)
        if outcome is None or key not in without or index.name not in outcome.used:
            continue
        saved = (without[key].cost - outcome.cost) * one.count
        found.append(Served(one, chooser.before[key].cost, outcome.cost, saved))
    return found


def _reason(index: Index, served: list[Asked], unit_of_time: str, *, needs_values: bool) -> str:
    count = sum(one.count for one in served if not one.recorded.is_guess)
    places = dict.fromkeys(_place(one) for one in sorted(served, key=lambda one: -one.count))
    shown = [place for place in places if place][:_MOST_PLACES]
    more = len(places) - len(shown)
    times = f" {count:,} time{'s' if count != 1 else ''}{unit_of_time}" if count else ""
    said = f"asked{times} by {'; '.join(shown)}" if shown else f"asked{times}"
    said += f" and {more} more" if shown and more > 0 else ""
    notes = []
    if index.where:
        notes.append("holds only the rows that they select")
    if index.include:
        notes.append("answers from the index alone, which needs autovacuum to keep up")
    if any(key.operators == TRIGRAMS for key in index.keys):
        notes.append("needs the extension pg_trgm")
    if needs_values:
        notes.append(
            "is used by plans that are made for the values, so not where plan_cache_mode is"
            " force_generic_plan"
        )
    if index.shorter:
        notes.append(f"does the work of {' and '.join(index.shorter)} too")
    return "; ".join([said, *notes])


def _place(asked: Asked) -> str:
    recorded = asked.recorded
    path, colon, line = recorded.place.rpartition(":")
    place = f"{Path(path).name}:{line}" if colon and line.isdigit() else recorded.place
    if recorded.endpoint and place:
        return f"{recorded.endpoint} ({place})"
    return recorded.endpoint or place


def rewrite_of(rewritten: Rewritten, choice: Choice, planner: Planner) -> Rewrite | None:
    """Return a rewrite if it makes its statement cheaper, and what then serves it."""
    key, original = rewritten.statement, rewritten.original
    before = planner.costs([original], choice.chosen).get(original)
    after = choice.after.get(key)
    if before is None or after is None or after.cost > before.cost / 2:
        return None
    return Rewrite(
        table=schema_and_name(rewritten.table),
        from_=rewritten.before,
        to=rewritten.after,
        served_by=", ".join(sorted(after.used)),
        place=original.place,
        before=before.cost,
        after=after.cost,
        unit=planner.unit,
    )
