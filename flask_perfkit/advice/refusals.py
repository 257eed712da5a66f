"""Refusals: the indexes that one would expect to be advised, and why they are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Table
from sqlalchemy.engine import Dialect

from flask_perfkit.advice.advice import Refused
from flask_perfkit.advice.choice import FACTOR, Choice, Trial
from flask_perfkit.advice.index import Index, IndexKey, schema_and_name
from flask_perfkit.advice.planners.planner import Planner, TableFacts
from flask_perfkit.advice.statement.conditions import Condition, Kind
from flask_perfkit.advice.statement.needs import Need
from flask_perfkit.advice.statement.order import OrderKey
from flask_perfkit.recording.wording import counted

LEAST_ROWS = 1_000
LEAST_PAGES = 10

_SOUGHT = (Kind.EQUAL, Kind.LISTED, Kind.JOINED, Kind.RANGE, Kind.PREFIX)


def is_small(facts: TableFacts) -> bool:
    """Tell whether a table is read whole as quickly as through an index."""
    return facts.rows < LEAST_ROWS or facts.pages < LEAST_PAGES


def refusals_of(
    table: Table,
    facts: TableFacts,
    needs: Sequence[Need],
    choice: Choice,
    failed: dict[Index, str],
    dialect: Dialect,
    unit: str,
) -> Iterator[Refused]:
    """Yield the single columns that statements or foreign keys name and that get no own index."""
    chosen = [one for one in choice.chosen if one.table is table]
    reached = {one.columns[0] for one in facts.indexes if one.unique and one.columns}
    reached |= {column.name for column in list(table.primary_key.columns)[:1]}
    for name in _obvious(table, needs):
        index = _single(table, name, dialect)
        if name in reached or index in chosen:
            continue
        there = _there(name, facts)
        small = is_small(facts) and not there
        reason = there or (
            f"the table is small ({counted(facts.rows, 'row')}): it is read whole as quickly"
            if small
            else _reason(name, index, needs, chosen, choice, unit)
        )
        yield Refused(index.create(dialect), schema_and_name(table), reason, small)
    for index, why in failed.items():
        if index.table is table:
            yield Refused(index.create(dialect), schema_and_name(table), f"not built: {why}")


def refused_for_locks(table: Table, needs: Sequence[Need], dialect: Dialect) -> Iterator[Refused]:
    """Yield the single columns of a table of which nothing could be asked: it was locked."""
    for name in _obvious(table, needs):
        reason = "locked: others held the table, so that nothing could be tried; run it again"
        yield Refused(_single(table, name, dialect).create(dialect), schema_and_name(table), reason)


def _single(table: Table, name: str, dialect: Dialect) -> Index:
    quoted = dialect.identifier_preparer.quote(name)
    return Index(table, (IndexKey(quoted, name, frozenset({name})),))


def _obvious(table: Table, needs: Sequence[Need]) -> list[str]:
    names = [one.term.column for need in needs for one in need.of(*_SOUGHT)]
    names += [key.term.column for need in needs for key in need.order[:1]]
    for constraint in table.foreign_key_constraints:
        names += [column.name for column in list(constraint.columns)[:1]]
    return list(dict.fromkeys(name for name in names if name is not None))


def _there(name: str, facts: TableFacts) -> str:
    """Say which index that is there covers a column; nothing where none does."""
    for one in facts.indexes:
        if one.valid and one.where is None and one.method == "btree" and one.columns[:1] == (name,):
            return f"covered by {one.name}, which is there"
    return ""


def _reason(
    name: str,
    index: Index,
    needs: Sequence[Need],
    chosen: Sequence[Index],
    choice: Choice,
    unit: str,
) -> str:
    for one in chosen:
        if one.keys[0].column == name and one.where is None and one.method == "btree":
            return f"covered by {one.name} {one}"
    for one in chosen:
        if name in one.columns or name in _words(one.where):
            return f"the statements that name it are served by {one.name} {one}"
    if not any(name in one.term.columns for need in needs for one in _terms(need)):
        return "no statement looks for it, and no row that it refers to is deleted"
    trial = choice.alone.get(index)
    return (
        "the statements that name it are quick as they are"
        if trial is None
        else _weighed(trial, unit, chosen)
    )


def _weighed(trial: Trial, unit: str, chosen: Sequence[Index]) -> str:
    if trial.best >= FACTOR and trial.gain <= 0:
        return (
            f"writes would cost more than it saves: {trial.writes:.0f} of {unit} for its"
            f" entries, {trial.gain + trial.writes:.0f} saved"
        )
    if trial.best >= FACTOR:
        names = ", ".join(one.name for one in chosen) or "another index"
        return f"with {names} it saves too little"
    if trial.factor < 1.05:
        return "the planner does not use it: too many rows have the values that are looked for"
    return f"no statement gets even {FACTOR:.0f} times cheaper by it (at most {trial.factor:.1f})"


def _terms(need: Need) -> list[Condition | OrderKey]:
    return [*need.conditions, *need.order, *need.grouped]


def _words(where: str | None) -> set[str]:
    return set((where or "").replace("(", " ").replace(")", " ").split())


def small_tables(planner: Planner, tables: Sequence[Table]) -> set[Table]:
    """Return the tables that are too small for an index to help."""
    return {one for one in tables if (facts := planner.facts(one)) is None or is_small(facts)}
