"""Rows that a flush of the unit of work writes: the values that they had, and those they get."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import InstanceState, Mapper, object_session
from sqlalchemy.orm.attributes import History
from sqlalchemy.orm.exc import UnmappedColumnError

from flask_perfkit.cache.entries.dependencies import column_name, table_token, value_text
from flask_perfkit.cache.reads import sessions
from flask_perfkit.cache.writes.changes import watched
from flask_perfkit.cache.writes.transactions import changes_of, guarded


def _before_insert(mapper: Mapper[Any], connection: Connection, _target: object) -> None:
    with guarded():
        for table, _ in _watched_tables(mapper):
            changes_of(connection).table(table).expect_insert()


def _after_insert(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    with guarded():
        for table, columns in _watched_tables(mapper):
            values = {name: _texts(target, mapper, column) for name, column in columns.items()}
            changes_of(connection).table(table).inserted(values)


def _before_change(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    with guarded():
        if not _loaded_here(target):
            return
        for table, columns in _watched_tables(mapper):
            source = next(iter(columns.values())).table
            key = tuple(str(_before(target, mapper, column)) for column in source.primary_key)
            values = {name: _texts(target, mapper, column) for name, column in columns.items()}
            changes_of(connection).table(table).announce(key, values)


def _loaded_here(target: object) -> bool:
    """Say whether the object's values were surely read in its session's transaction."""
    return sessions.loaded_in_this_transaction(object_session(target))


def _watched_tables(mapper: Mapper[Any]) -> Iterator[tuple[str, dict[str, sa.Column[Any]]]]:
    for table in mapper.tables:
        if isinstance(table, sa.Table):
            names = watched(table_token(table.name))
            if names:
                columns = {column_name(column): column for column in table.c}
                yield (
                    table_token(table.name),
                    {name: columns[name] for name in names if name in columns},
                )


def _texts(target: object, mapper: Mapper[Any], column: sa.Column[Any]) -> set[str] | None:
    """Write the values that an object's column had and has; None if one is not known."""
    history = _history(target, mapper, column)
    if history is None or (history.added and not history.deleted and _is_stored(target)):
        return None
    texts = {value_text(value, column.type) for value in history.sum()}
    return None if not texts or None in texts else {text for text in texts if text is not None}


def _before(target: object, mapper: Mapper[Any], column: sa.Column[Any]) -> Any:
    """Return the value that the column has in the database."""
    history = _history(target, mapper, column)
    if history is None:
        return None
    return next(iter([*history.deleted, *history.unchanged, *history.added]), None)


def _history(target: object, mapper: Mapper[Any], column: sa.Column[Any]) -> History | None:
    """Return what an object's column had and has, loading nothing; None if it is not mapped."""
    try:
        name = mapper.get_property_by_column(column).key
    except UnmappedColumnError:
        return None
    return _state(target).attrs[name].history


def _is_stored(target: object) -> bool:
    return _state(target).persistent


def _state(target: object) -> InstanceState[Any]:
    """Return what SQLAlchemy knows of a mapped object."""
    state: InstanceState[Any] = sa.inspect(target)
    return state


LISTENERS: dict[str, Callable[..., None]] = {
    "before_insert": _before_insert,
    "after_insert": _after_insert,
    "before_update": _before_change,
    "before_delete": _before_change,
}
"""For the events of a mapper."""
