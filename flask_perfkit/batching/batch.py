"""One statement that loads a relationship for an object and for siblings of it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, FrozenResult, Result, Row
from sqlalchemy.orm import InstanceState, ORMExecuteState, RelationshipProperty, Session
from sqlalchemy.orm.attributes import instance_state

from flask_perfkit.batching.advance import Advance, Loaded
from flask_perfkit.batching.growth import CHUNK, MOST_ROWS, room
from flask_perfkit.batching.siblings import (
    Siblings,
    loads_alike,
    note_order,
    rows_of,
    siblings_of,
)
from flask_perfkit.batching.statement import Key, Lookup, are_told_apart, lookup_of, shape_of
from flask_perfkit.recording.reason import AUTO_BATCH
from flask_perfkit.recording.recorder import current

_MOST_BEGUN = 10_000


class _Known:
    """What a session is known to have loaded lazily.

    ``begun`` are relationships of which one object of a query was loaded, by the query's number;
    ``given_up`` those of which a batch brought too many rows, or failed.
    """

    def __init__(self) -> None:
        self.begun: set[tuple[int | None, RelationshipProperty[Any]]] = set()
        self.given_up: set[RelationshipProperty[Any]] = set()

    def shows_loop(self, run: int | None, relationship: RelationshipProperty[Any]) -> bool:
        """Tell whether an object of the same query was loaded before, and note that one is."""
        if relationship in self.given_up:
            return False
        if (run, relationship) in self.begun:
            return True
        if len(self.begun) >= _MOST_BEGUN:
            self.begun.clear()
        self.begun.add((run, relationship))
        return False


_known: WeakKeyDictionary[Session, _Known] = WeakKeyDictionary()


class Batch:
    """The batch that a lazy load becomes, where it can."""

    def __init__(
        self,
        execution: ORMExecuteState,
        state: InstanceState[Any],
        relationship: RelationshipProperty[Any],
        connection: Connection,
        advance: Advance,
    ) -> None:
        self._execution = execution
        self._state = state
        self._relationship = relationship
        self._connection = connection
        self._advance = advance
        self._known = _known.setdefault(execution.session, _Known())

    def load(self) -> Result[Any] | None:
        """Return the rows of the object, and keep those of the siblings.

        None where the object is to be loaded alone.
        """
        statement: Any = self._execution.statement
        if not self._known.shows_loop(self._state.runid, self._relationship):
            return None
        key = self._relationship.key
        siblings = siblings_of(self._state, key, self._execution.session)
        if not siblings.touched:
            return None
        lookup = lookup_of(self._relationship, self._state, statement)
        shape = shape_of(statement)
        if lookup is None or shape is None:
            return None
        states = self._by_key(lookup, siblings)
        if len(states) < 2 or not are_told_apart(states):
            return None
        rows = self._rows(lookup, list(states))
        if rows is None:
            return None
        for value, owners in states.items():
            parameters = self._parameters | lookup.parameters_for(value)
            loaded = Loaded(self._state.runid, shape, parameters, rows[value])
            for owner in owners:
                self._advance.setdefault(owner, {})[key] = loaded
        return self._advance[self._state].pop(key).rows()

    @property
    def _parameters(self) -> dict[str, Any]:
        return dict(self._execution.parameters or {})  # type: ignore[arg-type]

    def _by_key(self, lookup: Lookup, siblings: Siblings) -> dict[Key, list[InstanceState[Any]]]:
        """Return for which objects to load, by their keys, those of the object itself first."""
        own = lookup.key_of(self._state)
        if own is None or self._parameters | lookup.parameters_for(own) != self._parameters:
            return {}
        if len(own) > 1 and self._connection.dialect.name == "mssql":
            return {}  # it has no IN for several columns
        states: dict[Key, list[InstanceState[Any]]] = {own: [self._state]}
        most = min(self._room(siblings), CHUNK // len(own))
        for other in siblings.untouched:
            if len(states) >= most:
                break
            key = lookup.key_of(other)
            if key is None or not loads_alike(other, self._state):
                continue
            if key in states:
                states[key].append(other)
            elif not self._is_at_hand(other, key, lookup):
                states[key] = [other]
        return states

    def _room(self, siblings: Siblings) -> int:
        key = self._relationship.key
        rows = rows_of(siblings.touched, key) if self._relationship.uselist else 0
        waiting = {
            id(loaded[key])
            for other, loaded in self._advance.items()
            if key in loaded and loaded[key].run == self._state.runid and key not in other.dict
        }
        return room(len(siblings.touched), len(waiting), rows)

    def _is_at_hand(self, sibling: InstanceState[Any], key: Key, lookup: Lookup) -> bool:
        """Tell whether a sibling's load would send no statement anyway."""
        mapper = self._relationship.mapper
        return self._relationship.key in self._advance.get(sibling, ()) or (
            lookup.is_by_primary_key(mapper)
            and mapper.identity_key_from_primary_key(key) in self._execution.session.identity_map
        )

    def _rows(self, lookup: Lookup, keys: list[Key]) -> dict[Key, FrozenResult[Any]] | None:
        """Load for some keys; None where the rows are too many, or are nobody's."""
        self._known.given_up.add(self._relationship)  # unless this goes well
        one_each = lookup.is_by_primary_key(self._relationship.mapper)
        brought = 0

        def count(row: Row[Any]) -> tuple[Any, ...]:
            nonlocal brought
            brought += 1
            return (id(row[0]), *row[1:])

        recorder = current()
        if recorder is not None:
            recorder.fold()  # few statements are left of a loop: it is to be judged all the same
        result = self._execution.invoke_statement(
            lookup.for_many(keys, None if one_each else MOST_ROWS + 1),
            execution_options={AUTO_BATCH: True},
        )
        found = result.unique(count).freeze()
        groups: defaultdict[Key, list[Row[Any]]] = defaultdict(list)
        for row in found.data:
            groups[tuple(row[1:])].append(row)
        if brought > MOST_ROWS or not groups.keys() <= set(keys):
            return None
        self._known.given_up.discard(self._relationship)
        note_order(instance_state(row[0]) for key in keys for row in groups[key])
        return {key: found.with_new_rows(groups[key]) for key in keys}
