"""Statements as they are executed: what they read, and what they write.

They are seen through the dialect's ``do_execute`` events: listening to the connection's events
would make every statement of the process slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from sqlalchemy.engine.base import OptionEngine

from flask_perfkit.cache.entries.dependencies import ANYTHING
from flask_perfkit.cache.reads.creators import CreatorRun, running
from flask_perfkit.cache.reads.surroundings import SCHEMA, note_surrounding
from flask_perfkit.cache.stores.tokens import LONG_MARK_SECONDS
from flask_perfkit.cache.writes.isolation import SET_BY_TEXT, commits_each_statement, snapshot
from flask_perfkit.cache.writes.schema import forget_schema, look_at_schema_in_time, related_tables
from flask_perfkit.cache.writes.statements import Facts, Write, facts
from flask_perfkit.cache.writes.transactions import (
    INFO,
    Transaction,
    begin_marks,
    end_marks,
    transaction_of,
    writing,
)
from flask_perfkit.faults import log_once

_SCHEMAS = "schema_translate_map"
_NOTED = "_perfkit_noted"


def _do_execute_no_params(cursor: Any, statement: str, context: Any) -> None:
    _do_execute(cursor, statement, (), context)


def _do_execute(_cursor: Any, _statement: str, _parameters: Any, context: Any) -> None:
    try:
        transaction = context.root_connection.connection.info.get(INFO)
        if transaction is None:
            transaction = transaction_of(context.root_connection)
        if not transaction.executed:
            transaction.executed = True
            look_at_schema_in_time(context)
        if transaction.early:
            early, transaction.early = transaction.early, []
            end_marks(early)
        run = running.get()
        found = facts(context)
        if run is None and found.only_reads:
            return
        if run is not None:
            _note_read(run, found, transaction, context)
        if found.switches:
            transaction.switched = True
        if found.sets_level:
            context.root_connection.info[SET_BY_TEXT] = True
        if found.writes or found.commits:
            _note_write(found, transaction, context)
    except NotImplementedError:
        pass  # info of a connection on which the dialect asks a new server for its version
    except Exception:
        log_once("following a statement for the cache")


def _note_read(run: CreatorRun, found: Facts, transaction: Transaction, context: Any) -> None:
    changes = transaction.changes
    if changes and (found.opaque or changes.touches(found.reads | {ANYTHING})):
        run.refuse("it read rows that are not committed yet")
    if transaction.switched or _translates_by_itself(context):
        note_surrounding(SCHEMA)
    if found.reads or found.opaque:
        run.statement(found.reads, opaque=found.opaque, snapshot=snapshot(changes, context))


def _translates_by_itself(context: Any) -> bool:
    """Say whether a session, or an engine made of another, puts other schemas in the place of ours.

    Those of a plain engine belong to its database, which keys hold.
    """
    schemas = context.execution_options.get(_SCHEMAS)
    if not schemas:
        return False
    engine = context.root_connection.engine
    return isinstance(engine, OptionEngine) or schemas != engine.get_execution_options().get(
        _SCHEMAS
    )


def _note_write(found: Facts, transaction: Transaction, context: Any) -> None:
    if not getattr(context, _NOTED, False):
        setattr(context, _NOTED, True)  # an insert in batches comes once for each batch
        parameters = getattr(context, "compiled_parameters", [])
        for write in found.writes:
            transaction.changes.table(write.table).note(write, parameters)
        related = related_tables(context, [write.table for write in found.writes])
        for table in sorted(related - {write.table for write in found.writes}):
            transaction.changes.table(table).note(Write(table), parameters)
        if found.writes:
            open_ones = [item for item in writing.get() if _is_other(item(), transaction)]
            writing.set((*open_ones, ref(transaction)))
    if found.commits:
        forget_schema(context)
    if not transaction.changes:
        return
    at_once = commits_each_statement(context.root_connection)
    if found.commits or at_once:
        marks = begin_marks(transaction.changes, LONG_MARK_SECONDS)
        transaction.early += marks
        if at_once and not _is_done_later(context):
            _end_after(context, transaction)


def _is_done_later(context: Any) -> bool:
    """Say whether SQLite commits the statement only when its rows have been fetched."""
    return context.dialect.name == "sqlite" and getattr(context.compiled, "returning", True)


def _end_after(context: Any, transaction: Transaction) -> None:
    """End the marks as soon as the statement is executed, which commits it."""
    finish = context.post_exec

    def post_exec() -> None:
        early, transaction.early = transaction.early, []
        transaction.changes.clear()
        end_marks(early)
        finish()

    context.post_exec = post_exec


def _is_other(found: Transaction | None, transaction: Transaction) -> bool:
    return found is not None and found is not transaction and not found.over


LISTENERS: dict[str, Callable[..., None]] = {
    "do_execute": _do_execute,
    "do_executemany": _do_execute,
    "do_execute_no_params": _do_execute_no_params,
}
"""For the events of an engine."""
