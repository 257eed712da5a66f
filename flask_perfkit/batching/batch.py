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
from flask_perfkit.batching.siblings import Siblings, note_order, rows_of, siblings_of
from flask_perfkit.batching.statement import (
    Key,
    Lookup,
    are_told_apart,
    lookup_of,
    shape_of,
    without_parent,
)

_given_up: WeakKeyDictionary[Session, set[RelationshipProperty[Any]]] = WeakKeyDictionary()
"""Relationships that a session loads one by one: a batch brought too many rows, or failed."""


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
        self._given_up = _given_up.setdefault(execution.session, set())

    def load(self) -> Result[Any] | None:
        """Return the rows of the object, and keep those of the siblings.

        None where the object is to be loaded alone.
        """
        statement: Any = self._execution.statement
        if self._relationship in self._given_up:
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
            key = lookup.key_of(other)
            if key in states:
                states[key].append(other)
            elif (
                key is not None and len(states) < most and not self._is_at_hand(other, key, lookup)
            ):
                states[key] = [other]
        return states

    def _room(self, siblings: Siblings) -> int:
        key = self._relationship.key
        waiting = {id(self._advance.get(other, {}).get(key)) for other in siblings.untouched}
        waiting.discard(id(None))
        rows = rows_of(siblings.touched, key) if self._relationship.uselist else 0
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
        self._given_up.add(self._relationship)  # unless this goes well
        one_each = lookup.is_by_primary_key(self._relationship.mapper)
        brought = 0

        def count(row: Row[Any]) -> tuple[Any, ...]:
            nonlocal brought
            brought += 1
            return (id(row[0]), *row[1:])

        result = self._execution.invoke_statement(
            lookup.for_many(keys, None if one_each else MOST_ROWS + 1),
            execution_options=without_parent(self._execution.load_options),
        )
        found = result.unique(count).freeze()
        groups: defaultdict[Key, list[Row[Any]]] = defaultdict(list)
        for row in found.data:
            groups[tuple(row[1:])].append(row)
        if brought > MOST_ROWS or not groups.keys() <= set(keys):
            return None
        self._given_up.discard(self._relationship)
        note_order(instance_state(row[0]) for key in keys for row in groups[key])
        return {key: found.with_new_rows(groups[key]) for key in keys}
