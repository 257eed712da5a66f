"""The choice: few indexes that save the whole workload the most, each weighed against its writes.

Greedy with lazy evaluation (Minoux 1978): what an index saves only falls when others are chosen
before it, so a stale gain is an upper bound and few indexes are tried twice.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

from sqlalchemy import Table

from flask_perfkit.advice.asked import Asked, Writes
from flask_perfkit.advice.index import Index
from flask_perfkit.advice.planners.planner import Outcome, Planner
from flask_perfkit.advice.workload import RecordedStatement

FACTOR = 2.0
"""How many times cheaper at least one statement must become than it is beside those chosen."""

_DECLARED = 1.25
"""The same for an index of the models: somebody wants it, and the next revision will build it.

A table of a development database is too small to show all that one is for.
"""

LEAST_SAVED = {"cost": 10.0, "steps": 1_000.0}
"""What must be saved of one statement, in each unit: less is not felt."""

_WORTH = 0.05
"""The part of what a statement costs without indexes that one more must save, or else"""

FELT = {"cost": 1_000.0, "steps": 5_000.0}
"""so much, in each unit: a millisecond or two of a server, a tenth of one in the process."""

_NEARLY = 1.5
"""A smaller index stands in for a larger one where no statement gets dearer than by this factor,
or by a part of what one more would have to save.
"""
_UNFELT = 0.4

_INVERTED = 10.0
"""How much dearer an entry of an inverted index is: one value has many."""

Move = frozenset[Index]
Costs = Mapping[RecordedStatement, Outcome]


@dataclass
class Trial:
    """What came of one move: what it saves in all, net of writes, and its best single saving.

    ``best`` is the factor of the statement that gains most, if that is felt; ``factor`` is the
    greatest of any statement.
    """

    gain: float
    writes: float
    costs: dict[RecordedStatement, Outcome]
    best: float = 0.0
    factor: float = 1.0
    is_declared: bool = False

    @property
    def is_worth_it(self) -> bool:
        """Whether one statement at least gets much cheaper, and the writes do not undo it."""
        is_much = self.best >= FACTOR or (self.is_declared and self.factor >= _DECLARED)
        return self.gain > 0 and is_much


@dataclass
class Choice:
    """The indexes chosen, and what each candidate came to when it was tried alone."""

    chosen: list[Index] = field(default_factory=list)
    alone: dict[Index, Trial] = field(default_factory=dict)
    before: dict[RecordedStatement, Outcome] = field(default_factory=dict)
    after: dict[RecordedStatement, Outcome] = field(default_factory=dict)


class Chooser:
    """Chooses among indexes that the planner has built."""

    def __init__(self, planner: Planner, asked: Iterable[Asked], writes: Writes) -> None:
        self._planner = planner
        self._asked = list(asked)
        self._writes = writes
        self._least = LEAST_SAVED[planner.unit]
        self._known: dict[tuple[RecordedStatement, Move], Outcome | None] = {}
        self._before = self.costs(self._asked, ())
        self._bare = self._without_any()
        self._sizes: dict[Index, int] = {}

    def _without_any(self) -> Costs:
        """Return the costs without the indexes that only make statements quicker.

        What is felt is judged by these too: what was too little beside an index that is to be
        created is too little once it is there.
        """
        tables = {table for one in self._asked for table in one.tables}
        known = [facts for table in tables if (facts := self._planner.facts(table)) is not None]
        there = frozenset(
            one.identifier
            for facts in known
            for one in facts.indexes
            if one.valid and not one.unique and not one.pinned
        )
        recorded = [one.recorded for one in self._asked]
        return self._planner.costs(recorded, (), there) if there else self._before

    @property
    def before(self) -> dict[RecordedStatement, Outcome]:
        """What each statement costs as things are."""
        return self._before

    def costs(
        self, asked: Iterable[Asked], shown: Collection[Index]
    ) -> dict[RecordedStatement, Outcome]:
        """Ask the planner for costs, once for the indexes that a statement's plan could use."""
        usable = {one.recorded: frozenset(filter(one.may_use, shown)) for one in asked}
        missing = [key for key in usable.items() if key not in self._known]
        if missing:
            found = self._planner.costs([recorded for recorded, _ in missing], shown)
            self._known |= {key: found.get(key[0]) for key in missing}
        known = {recorded: self._known[recorded, move] for recorded, move in usable.items()}
        return {recorded: outcome for recorded, outcome in known.items() if outcome is not None}

    def is_costly(self, asked: Asked) -> bool:
        """Tell whether a statement costs enough for an index to be felt."""
        known = self._before.get(asked.recorded)
        return known is not None and known.cost >= self._least

    def weight(self, asked: Asked) -> float:
        """Return what a statement costs in all."""
        known = self._before.get(asked.recorded)
        return known.cost * asked.count if known else 0.0

    def choose(self, built: Collection[Index]) -> Choice:
        """Choose from the indexes that were built; those of several tables may need each other."""
        choice = Choice(before=self._before, after=dict(self._before))
        for index in built:
            self._sizes[index] = self._planner.size(index)
        numbers = count()
        heap = []
        for move in self._moves(built):
            trial = self._try(move, choice)
            if len(move) == 1:
                choice.alone[next(iter(move))] = trial
            heap.append((-trial.gain, next(numbers), move, trial))
        heapq.heapify(heap)
        while heap:
            _, number, move, _ = heapq.heappop(heap)
            trial = self._try(move - set(choice.chosen), choice)
            if heap and trial.gain < -heap[0][0]:
                if trial.gain > 0:
                    heapq.heappush(heap, (-trial.gain, number, move, trial))
                continue
            if not trial.is_worth_it:
                continue
            move, trial = self._smallest(move, trial, heap, choice)
            choice.chosen += sorted(move - set(choice.chosen), key=lambda one: one.name)
            choice.after |= trial.costs
        self._leave_out_spare(choice)
        return choice

    def _moves(self, built: Collection[Index]) -> list[Move]:
        """Return each index alone, and what each statement would use if it could choose freely."""
        moves = {frozenset({index}) for index in built}
        names = {index.name: index for index in built}
        free = self.costs(self._asked, built)
        for outcome in free.values():
            move = frozenset(names[name] for name in outcome.used if name in names)
            if len(move) > 1:
                moves.add(move)
        return sorted(moves, key=lambda move: sorted(index.name for index in move))

    def _try(self, move: Move, choice: Choice) -> Trial:
        asked = [one for one in self._asked if any(one.may_use(index) for index in move)]
        shown = [*choice.chosen, *move]
        costs = self.costs(asked, shown)
        writes = sum(self.write_cost(index) for index in move)
        is_declared = all(index.declared is not None for index in move)
        trial = Trial(-writes, writes, costs, is_declared=is_declared)
        for one in asked:
            known, now = self._before.get(one.recorded), costs.get(one.recorded)
            if known is None or now is None:
                continue
            saved = choice.after[one.recorded].cost - now.cost
            trial.gain += one.count * saved
            factor = choice.after[one.recorded].cost / max(now.cost, 1e-9)
            trial.factor = max(trial.factor, factor)
            if saved >= max(self._least, self._felt(one.recorded)):
                trial.best = max(trial.best, factor)
        return trial

    def write_cost(self, index: Index) -> float:
        """Return what the writes of the workload pay for an index."""
        part = self._planner.fraction(index.table, index.where) if index.where else 1.0
        dearer = _INVERTED if index.method == "gin" else 1.0 + len(index.include) / 4
        entries = self._writes.entries(index.table, index.columns)
        return entries * part * dearer * self._planner.entry

    def _smallest(
        self, move: Move, trial: Trial, heap: list[tuple[float, int, Move, Trial]], choice: Choice
    ) -> tuple[Move, Trial]:
        """Return the smallest move that does nearly as well for every statement."""
        tables = {index.table for index in move}
        best, size = (move, trial), self._bytes(move)
        for _, _, other, known in sorted(heap, key=lambda entry: self._bytes(entry[2])):
            if self._bytes(other) >= size:
                break
            if {index.table for index in other} != tables or known.gain < 0.5 * trial.gain:
                continue
            tried = self._try(other, choice)
            if tried.is_worth_it and self._stands_in({**choice.after, **tried.costs}, trial.costs):
                return other, tried
        return best

    def _stands_in(self, costs: Costs, others: Costs) -> bool:
        return all(
            costs[key].cost
            <= max(_NEARLY * other.cost, other.cost + max(self._least, _UNFELT * self._felt(key)))
            for key, other in others.items()
            if key in costs
        )

    def _felt(self, key: RecordedStatement) -> float:
        """Return what must be saved of a statement, whatever is there by now."""
        known = max(costs[key].cost for costs in (self._before, self._bare) if key in costs)
        return min(_WORTH * known, FELT[self._planner.unit])

    def _bytes(self, move: Move) -> int:
        return sum(self._sizes[index] for index in move)

    def _leave_out_spare(self, choice: Choice) -> None:
        """Leave out what later choices made superfluous, what saves least first."""
        while choice.chosen:
            marginal = {index: self._without(index, choice) for index in choice.chosen}
            spare = [index for index, (trial, _) in marginal.items() if not trial.is_worth_it]
            if not spare:
                return
            index = min(spare, key=lambda one: marginal[one][0].gain)
            choice.chosen.remove(index)
            choice.after |= marginal[index][1]

    def _without(self, index: Index, choice: Choice) -> tuple[Trial, Costs]:
        """Return what a chosen index saves beside the others, and the costs without it."""
        left = [one for one in choice.chosen if one is not index]
        costs = self.costs([one for one in self._asked if one.may_use(index)], left)
        return self._try(frozenset({index}), Choice(left, after={**choice.after, **costs})), costs

    def asking(self, table: Table) -> list[Asked]:
        """Return the statements that ask something of a table."""
        return [one for one in self._asked if table in one.tables]
