"""Answers lazy loads from batches.

The first object of a query whose relationship is touched gets it by a statement of its own. A
second one shows a loop: its statement asks for siblings too. What belongs to a sibling waits
beside the session and answers the sibling's own load, when that comes. An attribute that
nobody touched is never set. So everything between, such as a pending change, an expiry or a
write, has the effect that it always has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, Result, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import InstanceState, ORMExecuteState, RelationshipProperty, Session

from flask_perfkit.batching.advance import loaded_through
from flask_perfkit.batching.batch import Batch
from flask_perfkit.batching.choice import chosen, is_chosen
from flask_perfkit.batching.statement import shape_of
from flask_perfkit.faults import log_once


def batch_lazy_loads() -> None:
    """Listen to all sessions, synchronous or not; harmless when called again."""
    if not event.contains(Session, "do_orm_execute", _on_execute):
        event.listen(Session, "do_orm_execute", _on_execute)


def auto_batch(*relationships: str) -> AbstractContextManager[None]:
    """Batch lazy loads inside a block, with Flask or without.

    :param relationships: names such as ``"User.documents"``; none stands for all.
    :raises TypeError: one is no name.
    """
    for each in relationships:
        if not isinstance(each, str):
            raise TypeError(
                f"auto_batch is given {each!r:.100}; allowed are names: "
                'with auto_batch("User.documents"):, or auto_batch() for all'
            )
    return _batching(relationships)


@contextmanager
def _batching(relationships: tuple[str, ...]) -> Iterator[None]:
    batch_lazy_loads()
    with chosen(relationships or True):
        yield


def _on_execute(execution: ORMExecuteState) -> Result[Any] | None:
    if not execution.is_select:
        return None
    state = execution.lazy_loaded_from
    if state is None or state.runid is None:
        return None
    try:
        return _answer(execution, state)
    except DBAPIError:
        raise  # a failed statement may have ended the transaction: nothing can follow it
    except Exception:
        log_once("auto-batching")
        return None


def _answer(execution: ORMExecuteState, state: InstanceState[Any]) -> Result[Any] | None:
    path: Any = execution.loader_strategy_path
    relationship: RelationshipProperty[Any] = path[-1]
    if not is_chosen(relationship) or not _is_usual(execution, state):
        return None
    connection = execution.session.connection(dict(execution.bind_arguments))
    if _is_autocommit(connection):
        return None
    advance = loaded_through(connection)
    loaded = advance.get(state, {}).pop(relationship.key, None)
    if loaded is not None:
        shape = shape_of(execution.statement)
        if loaded.answers(state, shape, execution.parameters):
            return loaded.rows()
        advance.clear()  # what waits for others was loaded before the same change
    return Batch(execution, state, relationship, connection, advance).load()


def _is_usual(execution: ORMExecuteState, state: InstanceState[Any]) -> bool:
    """Tell whether it is the same to load now or a moment ago: nothing is about to be written."""
    session, options = execution.session, execution.execution_options
    if not session.is_active:
        return False
    if state.identity_token is not None or any(execution.user_defined_options):
        return False  # one of several databases; an option of another extension
    if execution._remaining_events():
        return False  # what a listener after this one would do to each load is not known here
    if options.get("populate_existing") or options.get("yield_per"):
        return False
    flushes = session.autoflush and options.get("autoflush", True)
    changes = session.identity_map.check_modified() or session.new or session.deleted
    return not (flushes and changes)


def _is_autocommit(connection: Connection) -> bool:
    level = connection.get_execution_options().get("isolation_level")
    if level is None:
        level = getattr(connection.dialect, "_on_connect_isolation_level", None)
    return level == "AUTOCOMMIT"
