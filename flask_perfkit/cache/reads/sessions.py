"""What the ORM sessions of the current context hold: changes not yet flushed, objects loaded.

A session's identity map works like a snapshot: a query that meets an object which the
session already holds returns it with the values of its first load, and ``Session.get`` or a
many-to-one relationship returns it without any statement. A creator's value is then as old
as that load, however fresh the query was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import ref

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.mapper import _all_registries
from sqlalchemy.orm.session import _sessions as all_sessions

from flask_perfkit.cache.entries.dependencies import table_token, tables_of
from flask_perfkit.standin import stand_in

_BEGAN = "flask_perfkit.cache.began"
_REATTACHED = "flask_perfkit.cache.reattached"

_sessions: ContextVar[tuple[ref[Session], ...]] = ContextVar("flask_perfkit_sessions", default=())


def listen() -> list[Session]:
    """Take note of each session's transactions; return those sessions that are in one by now."""
    event.listen(Session, "after_transaction_create", _after_transaction_create)
    event.listen(Session, "detached_to_persistent", _detached_to_persistent)
    under_way = [session for session in list(all_sessions.values()) if session.in_transaction()]
    _sessions.set((*_sessions.get(), *map(ref, under_way)))
    return under_way


def connections(session: Session) -> set[Connection]:
    """Return the connections of a session's transaction, savepoints included."""
    found: set[Connection] = set()
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction is not None:
        found.update(connection for connection, *_ in transaction._connections.values())
        transaction = transaction.parent
    return found


def mapped_tables() -> set[str]:
    """Name every table that a class is mapped to."""
    return {
        table
        for registry in _all_registries()
        for mapper in registry.mappers
        for table in tables_of(mapper.class_)
    }


def metadatas() -> set[sa.MetaData]:
    """Return all collections of tables that classes are mapped to."""
    return {registry.metadata for registry in _all_registries()}


def declared_tables() -> set[str]:
    """Name every table that is mapped, or that lies in one collection with those."""
    beside = {table_token(table.name) for each in metadatas() for table in each.tables.values()}
    return mapped_tables() | beside


def has_unflushed_changes(tables: frozenset[str] | None) -> bool:
    """Say whether a session of this context has changes to these tables that wait for a flush.

    :param tables: None stands for any table.
    """
    for reference in _sessions.get():
        session = reference()
        if (
            session is not None
            and not session._is_clean()
            and (tables is None or not tables.isdisjoint(_unflushed_tables(session)))
        ):
            return True
    return False


def loaded_in_this_transaction(session: Session | None) -> bool:
    """Say whether what the session's objects hold was surely loaded since its transaction began."""
    return (
        session is not None
        and session.expire_on_commit
        and not session.info.get(_REATTACHED, False)
    )


class HeldObjects:
    """The loaded objects that a creator found in the sessions, and those that it came upon.

    ``used`` maps the tables of the objects that it came upon to the time since when their
    values may have been known to the session.
    """

    def __init__(self) -> None:
        self.used: dict[str, float] = {}
        self._held: dict[str, float] = {}

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch the identity maps while a creator runs."""
        with ExitStack() as stack:
            for session in _open_sessions():
                held = {
                    state.key for state in session.identity_map.all_states() if not state.expired
                }
                if held:
                    began = self._age(session)
                    for key in held:
                        self._note(self._held, key, began)
                    stack.enter_context(self._watch_lookups(session, held, began))
            yield

    def assume_all(self) -> None:
        """Count every object that was there as come upon."""
        self.used.update(self._held)

    @contextmanager
    def _watch_lookups(self, session: Session, held: set[Any], began: float) -> Iterator[None]:
        identity_map = session.identity_map
        look_up = identity_map.get
        around = identity_map.__dict__.get("get")  # a creator around this one watches too

        def get(_: object, key: Any, default: Any = None) -> Any:
            if key in held:
                self._note(self.used, key, began)
            return look_up(key, default)

        # No event tells of a look-up, and the map is the one place that all of them pass.
        identity_map.get = stand_in(look_up, get)  # type: ignore[method-assign]
        try:
            yield
        finally:
            del identity_map.get
            if around is not None:
                identity_map.get = around  # type: ignore[method-assign]

    @staticmethod
    def _age(session: Session) -> float:
        if not loaded_in_this_transaction(session):
            return float("-inf")
        began: float = session.info.get(_BEGAN, float("-inf"))
        return began

    @staticmethod
    def _note(found: dict[str, float], key: Any, began: float) -> None:
        for table in tables_of(key[0]):
            found[table] = min(began, found.get(table, began))


def _after_transaction_create(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is not None:
        return
    session.info[_BEGAN] = time.monotonic()
    session.info.pop(_REATTACHED, None)
    known = [reference for reference in _sessions.get() if reference() not in (None, session)]
    _sessions.set((*known, ref(session)))


def _detached_to_persistent(session: Session, _instance: object) -> None:
    session.info[_REATTACHED] = True


def _open_sessions() -> Iterator[Session]:
    for reference in _sessions.get():
        session = reference()
        if session is not None:
            yield session


def _unflushed_tables(session: Session) -> set[str]:
    changed = {*map(type, session.new), *map(type, session.dirty), *map(type, session.deleted)}
    return {
        table
        for mapped in changed
        if sa.inspect(mapped, raiseerr=False) is not None
        for table in tables_of(mapped)
    }
