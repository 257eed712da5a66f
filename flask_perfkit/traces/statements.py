"""A span and a measurement for each statement."""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any, NamedTuple

from opentelemetry.context import get_current
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span

from flask_perfkit.faults import log_once
from flask_perfkit.hooks.execution import Listener, ListenerOrder, listen, pass_on
from flask_perfkit.recording.fingerprint import shape_of
from flask_perfkit.traces.exceptions import add_exception
from flask_perfkit.traces.foreign import has_statement_span
from flask_perfkit.traces.pools import attributes_of, measure_pool
from flask_perfkit.traces.summary import summary_of
from flask_perfkit.traces.telemetry import error_type, meter, tracer

_MOST_KEPT = 1_000
_LONGEST = 4_000
"""Characters of a statement that are looked at; some are megabytes long."""

_QUOTES = re.compile(r"['\"`$]|/\*|--")

_duration = meter.create_histogram(
    "db.client.operation.duration",
    unit="s",
    description="Duration of database client operations.",
    explicit_bucket_boundaries_advisory=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0),
)


class _Description(NamedTuple):
    """What is said of each execution of a statement: of its span, and of its duration."""

    name: str
    of_span: dict[str, Any]
    of_duration: dict[str, Any]


_descriptions: dict[tuple[Any, str], _Description] = {}


def trace_statements() -> None:
    """Trace the statements of every engine; harmless when called again."""
    listen(ListenerOrder.TRACES, _LISTENERS)


def _on_execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    _execute(_on_execute, "do_execute", context, statement, None, cursor, statement, parameters)
    return True


def _on_executemany(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    batch = {"db.operation.batch.size": len(parameters)} if len(parameters) > 1 else None
    arguments = (cursor, statement, parameters)
    _execute(_on_executemany, "do_executemany", context, statement, batch, *arguments)
    return True


def _on_execute_no_params(cursor: Any, statement: str, context: Any) -> bool:
    arguments = (cursor, statement)
    _execute(_on_execute_no_params, "do_execute_no_params", context, statement, None, *arguments)
    return True


def _execute(
    ours: Listener,
    method: str,
    context: Any,
    statement: str,
    batch: dict[str, Any] | None,
    *arguments: Any,
) -> None:
    """Let a statement be executed, inside of its span if it is part of a trace."""
    span, said = None, {}
    try:
        description = _descriptions.get((context.dialect, statement)) or _describe(
            context, statement
        )
        said = description.of_duration
        around = get_current()
        if get_current_span(around).is_recording() and not has_statement_span(context):
            attributes = {**description.of_span, **batch} if batch else description.of_span
            span = tracer.start_span(description.name, around, SpanKind.CLIENT, attributes)
    except Exception:
        log_once("tracing a statement")
    began = perf_counter()
    try:
        pass_on(ours, method, context, *arguments)
    except BaseException as error:
        _end_failed(error, span, perf_counter() - began, said)
        raise
    try:
        _duration.record(perf_counter() - began, said)
        if span is not None:
            span.end()
    except Exception:
        log_once("ending the span of a statement")


def _end_failed(
    error: BaseException, span: Span | None, duration: float, said: dict[str, Any]
) -> None:
    try:
        failure = _failure(error)
        _duration.record(duration, {**said, **failure})
        if span is not None:
            span.set_attributes(failure)
            add_exception(span, error)
            span.set_status(StatusCode.ERROR)
            span.end()
    except Exception:
        log_once("ending the span of a statement")


def _failure(error: BaseException) -> dict[str, str]:
    """Return what may be said of an error: its message can hold values."""
    failure = {"error.type": error_type(error)}
    if isinstance(code := getattr(error, "sqlstate", None), str):
        failure["db.response.status_code"] = code
    return failure


def _describe(context: Any, statement: str) -> _Description:
    """Describe a statement that was not seen before, or is so long that it is cut each time."""
    beginning = statement
    if len(statement) > _LONGEST:  # cut where no value can have begun
        beginning = _QUOTES.split(statement[:_LONGEST], maxsplit=1)[0]
    known = _descriptions.get((context.dialect, beginning))
    if known is not None:
        return known
    engine = context.root_connection.engine
    measure_pool(engine)
    text = shape_of(beginning).text
    summary = summary_of(text)
    common = attributes_of(engine)
    if summary.operation:
        common["db.operation.name"] = summary.operation
    if summary.table is not None:
        common["db.collection.name"] = summary.table
    name = summary.text or common["db.system.name"]
    of_span = {**common, "db.query.text": text, "db.query.summary": name}
    if len(_descriptions) >= _MOST_KEPT:
        _descriptions.clear()
    description = _descriptions[context.dialect, beginning] = _Description(name, of_span, common)
    return description


_LISTENERS: dict[str, Listener] = {
    "do_execute": _on_execute,
    "do_executemany": _on_executemany,
    "do_execute_no_params": _on_execute_no_params,
}
