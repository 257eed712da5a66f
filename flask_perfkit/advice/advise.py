"""From a workload to advice: read, propose, build, choose, explain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import get_args

from sqlalchemy import Table
from sqlalchemy.engine import Engine

from flask_perfkit.advice.advice import Advice, Drop, Refused, Rewrite
from flask_perfkit.advice.asked import Asked, Writes, asked_of, one_of_each, writes_of
from flask_perfkit.advice.candidates import Means, candidates_of, declared_of
from flask_perfkit.advice.cascades import cascades_of, declared_cascades_of
from flask_perfkit.advice.check import Check
from flask_perfkit.advice.checks import checks_of
from flask_perfkit.advice.choice import Choice, Chooser
from flask_perfkit.advice.drift import drift_of
from flask_perfkit.advice.drops import drops_of
from flask_perfkit.advice.explanation import created, rewrite_of
from flask_perfkit.advice.guesses import Guesses
from flask_perfkit.advice.index import Index, schema_and_name
from flask_perfkit.advice.planners.access import Method, planner_for
from flask_perfkit.advice.planners.locks import wait_briefly
from flask_perfkit.advice.planners.planner import Planner
from flask_perfkit.advice.refusals import refusals_of, refused_for_locks, small_tables
from flask_perfkit.advice.rewrites import rewritten_of
from flask_perfkit.advice.shapes.texts import read_texts
from flask_perfkit.advice.unlimited import unlimited_of
from flask_perfkit.advice.workload import RecordedStatement, Workload, database_of
from flask_perfkit.errors import SettingsError
from flask_perfkit.recording.recorder import unrecorded

LARGEST_WHOLE = 1_000
"""The rows of a table from which on the detector of unbounded results finds it by itself."""

MOST_CANDIDATES = 60
FEWEST_CANDIDATES = 12
MOST_PLANS = 2_400
"""How many candidates of one table are built: fewer, where many statements ask it something."""


def advise(
    workload: Workload,
    *,
    verify: bool = False,
    method: Method | None = None,
    guessed: bool = False,
) -> Advice:
    """Advise on the indexes of what was recorded.

    Indexes are tried on PostgreSQL by building them in a transaction that is rolled back, or where
    that could disturb others by planning alone; on SQLite on a copy of the database.

    :param verify: execute the statements with and without the indexes, and say seconds. What
        they write is rolled back.
    :param method: the way to try them on PostgreSQL: ``"build"``, ``"hypopg"``, which plans with
        that extension, or ``"ghost"``, which plans in a scratch server on the schema and the
        statistics.
    :param guessed: the workload asked by GET for what it found first, as an audit does. So each
        statement is tried for the most common values as well, and a foreign key that says ON
        DELETE counts as used once a day.
    :raises TypeError: ``workload`` is something else.
    :raises SettingsError: an option has a value that is not allowed.
    :raises SetupError: the database is neither PostgreSQL nor SQLite, or others work on it and
        there is no way to try indexes that does not disturb them.
    """
    _check(workload, method, verify=verify, guessed=guessed)
    notes = read_texts(workload.app, workload.statements)
    if not workload.statements:
        notes.append("no statement was recorded: make the requests inside of the with block")
    by_database: dict[object, list[RecordedStatement]] = {}
    for recorded in workload.statements:
        by_database.setdefault(database_of(recorded.engine), []).append(recorded)
    harmless = bool(workload.app.debug or workload.app.testing)
    advice = Advice()
    for statements in by_database.values():
        engine = statements[0].engine
        with unrecorded(), planner_for(engine, harmless=harmless, method=method) as planner:
            found = _Adviser(planner, engine, statements, guessed).advise(verify=verify)
        advice = Advice(
            create=(*advice.create, *found.create),
            drop=(*advice.drop, *found.drop),
            refused=(*advice.refused, *found.refused),
            rewrites=(*advice.rewrites, *found.rewrites),
            checks=(*advice.checks, *found.checks),
            locked=(*advice.locked, *found.locked),
        )
    best_first = tuple(sorted(advice.create, key=lambda one: -one.saved))
    return replace(advice, create=best_first, notes=tuple(notes))


def _check(workload: object, method: object, **flags: object) -> None:
    if not isinstance(workload, Workload):
        raise TypeError(
            f"workload is {workload!r:.100}; allowed is a Workload, which has recorded requests: "
            "with Workload(app) as workload"
        )
    if method not in (None, *get_args(Method)):
        allowed = " or ".join(map(repr, get_args(Method)))
        raise SettingsError(f"method is {method!r:.100}; allowed is {allowed}, or None")
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise SettingsError(f"{name} is {value!r:.100}; allowed is True or False")


class _Adviser:
    """The advice on one database."""

    def __init__(
        self,
        planner: Planner,
        engine: Engine,
        statements: Sequence[RecordedStatement],
        guessed: bool,
    ) -> None:
        self._planner = planner
        self._engine = engine
        self._guessed = guessed
        # Not by the time that they took: what is advised must not hang on it.
        statements = sorted(statements, key=lambda one: (-one.count, one.sql, one.place))
        every = list(asked_of(statements))
        planner.hold(self._known(need.table for one in every for need in one.needs))
        self._writes: Writes = writes_of(statements, self._whole_of)
        every = list(map(self._of_wholes, every))
        self._unasked = [one for one in every if one.tables & planner.locked]
        every = [one for one in every if not one.tables & planner.locked]
        statements = [one.recorded for one in every]
        self._statements = statements
        self._rewritten = [
            found for one in statements if (found := rewritten_of(one, planner)) is not None
        ]
        instead = {one.original for one in self._rewritten}
        asked = [one for one in every if one.recorded not in instead]
        asked += self._asking(one.statement for one in self._rewritten)
        asked += self._asking(cascades_of(statements, planner))
        self._asked = list(one_of_each(asked))
        if guessed:
            guesses = Guesses(planner)
            guessed_for = [found for one in statements for found in guesses.of(one)]
            self._asked += self._asking(guessed_for)
            self._asked += self._asking(declared_cascades_of(self._all_tables(), engine, planner))

    def advise(self, *, verify: bool) -> Advice:
        """Choose indexes, then see which old ones can go, and explain both."""
        planner = self._planner
        small = small_tables(planner, sorted(self._tables(), key=lambda one: one.key))
        chooser = Chooser(planner, self._asked, self._writes)
        candidates = self._candidates(chooser, small)
        failed = dict(planner.build(candidates))
        choice = chooser.choose([one for one in candidates if one not in failed])
        return Advice(
            create=tuple(
                created(
                    choice,
                    chooser,
                    planner,
                    self._engine.dialect,
                    verify=verify,
                    unit_of_time="" if self._guessed else " a day",
                )
            ),
            drop=tuple(self._drops(choice)),
            refused=tuple(self._refusals(choice, failed)),
            rewrites=tuple(self._rewrites(choice)),
            checks=tuple(self._checks(choice)),
            locked=tuple(sorted(map(schema_and_name, planner.locked))),
        )

    def _checks(self, choice: Choice) -> Iterator[Check]:
        yield from unlimited_of(self._statements, self._planner, most=LARGEST_WHOLE)
        if self._engine.dialect.is_async or self._planner.locked:
            return
        advised = {one.name for one in choice.chosen}
        with self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                wait_briefly(connection)
            for metadata in {table.metadata for table in self._tables()}:
                yield from drift_of(connection, metadata, advised=advised)
                yield from checks_of(connection, metadata)

    def _tables(self) -> set[Table]:
        """Return the tables that statements name, and those that refer to them."""
        named = {table for one in self._asked for table in one.tables}
        named |= set(self._writes.inserted) | set(self._writes.updated) | self._writes.deleted
        return named

    def _all_tables(self) -> list[Table]:
        """Return all tables that the models of these statements know."""
        return self._known(self._tables())

    def _known(self, named: Iterable[Table]) -> list[Table]:
        metadatas = {table.metadata for table in named}
        known = {table for one in metadatas for table in one.tables.values()}
        return sorted(known, key=lambda table: table.key)

    def _asking(self, statements: Iterable[RecordedStatement]) -> Iterator[Asked]:
        return map(self._of_wholes, asked_of(statements))

    def _of_wholes(self, asked: Asked) -> Asked:
        """Let what a statement asks of a part of a partitioned table be asked of the whole."""
        for need in asked.needs:
            need.table = self._whole_of(need.table)
        return asked

    def _whole_of(self, table: Table) -> Table:
        """Return the partitioned table of the models that a table is a part of, or itself."""
        facts = self._planner.facts(table)
        schema, name = (facts.part_of if facts else None) or (None, None)
        wholes = (one for one in table.metadata.tables.values() if one.name == name)
        return next((one for one in wholes if one.schema in (None, schema)), table)

    def _candidates(self, chooser: Chooser, small: set[Table]) -> list[Index]:
        planner = self._planner
        means = Means(
            self._engine.dialect.name == "postgresql",
            self._engine.dialect.identifier_preparer.quote,
            planner.fraction,
            planner.values,
        )
        found: list[Index] = []
        for table in sorted(self._tables() - small, key=lambda one: one.key):
            costly = [one for one in chooser.asking(table) if chooser.is_costly(one)]
            weights = {
                need: chooser.weight(one)
                for one in costly
                for need in one.needs
                if need.table is table
            }
            ranked = candidates_of(list(weights), means)
            ranks = {index: sum(map(weights.__getitem__, set(of))) for index, of in ranked.items()}
            most = max(FEWEST_CANDIDATES, min(MOST_CANDIDATES, MOST_PLANS // max(len(costly), 1)))
            facts = planner.facts(table)
            there = {one.name for one in facts.indexes if one.valid} if facts else set()
            best_first = sorted(ranks, key=lambda one: -ranks[one])
            # First those that the models have already: with them nothing is left to migrate.
            declared = [
                one
                for one in declared_of(table, means.quote)
                if any(one.keys[0].columns <= need.named for need in weights)
            ]
            wanted = dict.fromkeys([*declared, *best_first])
            found += [one for one in wanted if one.name not in there][: most + len(declared)]
        return found

    def _drops(self, choice: Choice) -> Iterator[Drop]:
        for table in self._all_tables():
            if self._planner.facts(table) is not None:
                asked = [one for one in self._asked if table in one.tables]
                chosen = choice.chosen
                yield from drops_of(table, self._engine, self._planner, asked, chosen)

    def _refusals(self, choice: Choice, failed: dict[Index, str]) -> Iterator[Refused]:
        for table in self._all_tables():
            asked = [*self._asked, *self._unasked]
            needs = [need for one in asked for need in one.needs if need.table is table]
            if table in self._planner.locked:
                yield from refused_for_locks(table, needs, self._engine.dialect)
            facts = self._planner.facts(table)
            if facts is not None:
                yield from refusals_of(
                    table, facts, needs, choice, failed, self._engine.dialect, self._planner.unit
                )

    def _rewrites(self, choice: Choice) -> Iterator[Rewrite]:
        """Yield the rewrites that make a statement cheaper, with the chosen indexes."""
        for one in self._rewritten:
            found = rewrite_of(one, choice, self._planner)
            if found is not None:
                yield found
