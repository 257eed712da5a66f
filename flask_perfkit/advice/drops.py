"""Indexes to drop: those whose work another one does, tried by doing without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Table
from sqlalchemy.engine import Engine

from flask_perfkit.advice.advice import Drop
from flask_perfkit.advice.asked import Asked
from flask_perfkit.advice.cascades import question_of
from flask_perfkit.advice.index import Index, schema_and_name
from flask_perfkit.advice.planners.planner import ExistingIndex, Planner
from flask_perfkit.advice.workload import RecordedStatement

_DEARER = 1.25
_LITTLE = {"cost": 2.0, "steps": 200.0}


def drops_of(
    table: Table,
    engine: Engine,
    planner: Planner,
    asked: Sequence[Asked],
    chosen: Sequence[Index],
) -> Iterator[Drop]:
    """Yield the indexes of a table that can go: none that is unique, pinned, or does work alone."""
    built = {index.name for index in chosen}
    facts = planner.facts(table)
    names = {one.name for one in facts.indexes} if facts else set()
    there = [one for one in planner.existing(table) if one.name in names or one.name in built]
    gone: set[str] = set()
    for one in there:
        if one.pinned or not one.valid or one.name not in names:
            continue
        left = [other for other in there if other is not one and other.identifier not in gone]
        wider = next((other for other in left if _does_the_work_of(other, one)), None)
        if wider is None:
            continue
        statements = [each.recorded for each in asked]
        statements += _references(table, one, engine, planner)
        before = _total(planner, statements, chosen, gone)
        after = _total(planner, statements, chosen, gone | {one.identifier})
        if all(
            cost <= max(_DEARER * before[key], before[key] + _LITTLE[planner.unit])
            for key, cost in after.items()
        ):
            gone.add(one.identifier)
            yield Drop(
                name=one.name,
                sql=f"DROP INDEX {one.identifier}",
                table=schema_and_name(table),
                reason=_reason(one, wider),
                before=sum(before.values()),
                after=sum(after.values()),
                unit=planner.unit,
                proof="the statements of its table were run without it",
                undo=one.sql,
                dialect=engine.dialect.name,
                of=table,
            )


def _does_the_work_of(other: ExistingIndex, one: ExistingIndex) -> bool:
    """Tell whether an index begins with another's keys, in every respect that planners look at."""
    if not other.valid or other.method != one.method or other.where != one.where:
        return False
    if one.method == "btree":
        begins = other.keys[: len(one.keys)] == one.keys
    else:
        begins = other.keys == one.keys
    return begins and one.include <= other.include | set(other.columns)


def _references(
    table: Table, one: ExistingIndex, engine: Engine, planner: Planner
) -> Iterator[RecordedStatement]:
    """Yield what cascades ask of the table by this index, whether or not one was seen."""
    for key in table.foreign_key_constraints:
        names = [column.name for column in key.columns]
        if set(one.columns[: len(names)]) == set(names):
            question = question_of(key, engine, planner, "a cascade")
            if question is not None:
                yield question


def _total(
    planner: Planner,
    statements: Sequence[RecordedStatement],
    chosen: Sequence[Index],
    hidden: set[str],
) -> dict[RecordedStatement, float]:
    costs = planner.costs(statements, chosen, frozenset(hidden))
    return {key: outcome.cost for key, outcome in costs.items()}


def _reason(one: ExistingIndex, wider: ExistingIndex) -> str:
    alike = "is the same" if wider.keys == one.keys else "begins with the same columns"
    return f"{wider.name} {alike} and does its work, also for foreign keys"
