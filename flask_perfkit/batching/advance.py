"""What was loaded in advance, and for how long it may be given out.

It is kept with the connection. It ends with the transaction, or as soon as the transaction writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, FrozenResult, event
from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.attributes import instance_state

from flask_perfkit.recording.fingerprint import operation_of


class Loaded(NamedTuple):
    """The objects of one relationship of one object, with the load that they answer."""

    run: int | None
    shape: Any
    parameters: Mapping[str, Any]
    rows: FrozenResult[Any]

    def answers(self, state: InstanceState[Any], shape: Any, parameters: Any) -> bool:
        """Tell whether the database would answer a load with the same objects."""
        return (
            self.run == state.runid
            and self.parameters == parameters
            and self.shape == shape
            and all(_is_current(row[0], state) for row in self.rows.data)
        )


def _is_current(instance: Any, parent: InstanceState[Any]) -> bool:
    state = instance_state(instance)
    return state.session is parent.session and state.persistent and not state.expired


Advance = WeakKeyDictionary[InstanceState[Any], dict[str, Loaded]]
"""By object and relationship."""

_by_connection: WeakKeyDictionary[Connection, Advance] = WeakKeyDictionary()


def loaded_through(connection: Connection) -> Advance:
    """Return what was loaded in advance through a connection."""
    advance = _by_connection.get(connection)
    if advance is None:
        advance = _by_connection[connection] = WeakKeyDictionary()
        event.listen(connection, "before_cursor_execute", _forget_at_writes)
    return advance


def _forget_at_writes(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
    if operation_of(statement) != "SELECT":
        _by_connection[connection].clear()
