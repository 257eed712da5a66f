"""Watches statements: every engine's, synchronous or not, made before or after.

The listeners stand on the dialect's ``do_execute`` events, which lie around the cursor alone.
Any listener on ConnectionEvents would make SQLAlchemy build and visit all its events for
every statement, which costs more than everything that is done here.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import _getframe
from time import perf_counter_ns
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, loading

from flask_perfkit.faults import log_once
from flask_perfkit.hooks.execution import (
    Listener,
    ListenerOrder,
    alone,
    execute_with_others,
    listen,
    pass_on,
)
from flask_perfkit.hooks.refusals import watch_refusals
from flask_perfkit.hooks.rows import UNCOUNTED, Rows, failed, see, way_to_see, written
from flask_perfkit.recording.callsite import LONGEST_REMEMBERED, memory, position_of, walk
from flask_perfkit.recording.recorder import MOST_RECORDS, Recorder, current

_now = perf_counter_ns


def watch_statements() -> None:
    """Listen to every engine; harmless when called again."""
    listen(ListenerOrder.RECORDER, _LISTENERS)
    # The ORM gives each load a number of its own and each object that of its load. Where this is
    # the moment, it tells which statement brought an object.
    if hasattr(loading, "_new_runid"):
        loading._new_runid = perf_counter_ns
    watch_refusals()
    if not event.contains(Session, "before_flush", _before_flush):
        event.listen(Session, "before_flush", _before_flush)
        event.listen(Session, "after_flush", _after_flush)


def _on_execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    recorder = current()
    if recorder is None:
        return None
    started = _now()
    try:
        if context.dialect not in alone:
            execute_with_others(_on_execute, context, cursor, statement, parameters)
        else:  # the common case comes last, where no jump follows
            cursor.execute(statement, parameters)
    except BaseException as error:
        _record_rare(recorder, statement, started, context, failed, error)
        raise
    ended = _now()
    try:
        depth, above, key, asked, seen = memory[statement]
        if (position_of(_getframe(depth)), position_of(_getframe(above))) != key:
            asked = (statement, walk(statement, _getframe(), seen))
        if seen is None and not context._is_server_side:
            context.cursor_fetch_strategy = seen = Rows()
        elif not seen:
            way = UNCOUNTED if seen is None else seen
            parameters, seen = way.see(cursor, parameters, context)
        recorder.append(
            (
                asked,
                parameters,
                started,
                ended,
                seen,
                context.compiled,
                context.execution_options,
            )
        )
        if len(recorder) > MOST_RECORDS:
            _fold(recorder)
        return True
    except (KeyError, ValueError):  # not executed before, or not from so deep
        _record_new(recorder, _getframe(), statement, cursor, parameters, context, started, ended)
    except Exception:
        log_once("watching a statement")
    return True


def _record_new(
    recorder: Recorder,
    frame: FrameType,
    statement: str,
    cursor: Any,
    parameters: Any,
    context: Any,
    started: int,
    ended: int,
) -> None:
    """Record a statement that is not known yet, or not at such a depth, and remember it."""
    try:
        way = way_to_see(statement, context)
        asked = (statement, walk(statement, frame, way))
        parameters, seen = see(way, cursor, parameters, context)
        compiled, options = context.compiled, context.execution_options
        recorder.append((asked, parameters, started, ended, seen, compiled, options))
        if len(statement) > LONGEST_REMEMBERED:
            recorder.weigh(statement)
    except Exception:
        log_once("watching a statement")


def _fold(recorder: Recorder) -> None:
    try:
        recorder.fold()
    except Exception:
        log_once("folding what was recorded")


def _on_executemany(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    recorder = current()
    if recorder is None:
        return None
    # The sets of parameters can be millions: they are neither kept nor looked at.
    _execute_rarely(recorder, "do_executemany", context, cursor, statement, parameters)
    return True


def _on_execute_no_params(cursor: Any, statement: str, context: Any) -> bool | None:
    recorder = current()
    if recorder is None:
        return None
    _execute_rarely(recorder, "do_execute_no_params", context, cursor, statement)
    return True


def _execute_rarely(
    recorder: Recorder, method: str, context: Any, cursor: Any, statement: str, *parameters: Any
) -> None:
    """Do what ``_on_execute`` does, for the ways to execute that are seldom taken."""
    started = _now()
    try:
        pass_on(_LISTENERS[method], method, context, cursor, statement, *parameters)
    except BaseException as error:
        _record_rare(recorder, statement, started, context, failed, error)
        raise
    _record_rare(recorder, statement, started, context, written, cursor)


def _record_rare(
    recorder: Recorder,
    statement: str,
    started: int,
    context: Any,
    look: Callable[[Any], Rows],
    outcome: Any,
) -> None:
    ended = _now()
    try:
        seen = look(outcome)
        seen.dialect = context.dialect
        if seen.error is not None:
            recorder.failed_statements += 1
            recorder.has_more = True
        asked = (statement, walk(None, _getframe(), None))
        compiled, options = context.compiled, context.execution_options
        recorder.append((asked, None, started, ended, seen, compiled, options))
        recorder.weigh(statement)
        if len(recorder) > MOST_RECORDS:
            recorder.fold()
    except Exception:
        log_once("watching a statement")


def _before_flush(session: Session, flush_context: Any, instances: Any) -> None:
    recorder = current()
    if recorder is not None:
        try:
            recorder.begin_flush()
        except Exception:
            log_once("noting a flush")


def _after_flush(session: Session, flush_context: Any) -> None:
    recorder = current()
    if recorder is not None:
        try:
            recorder.end_flush()
        except Exception:
            log_once("noting a flush")


_LISTENERS: dict[str, Listener] = {
    "do_execute": _on_execute,
    "do_executemany": _on_executemany,
    "do_execute_no_params": _on_execute_no_params,
}
