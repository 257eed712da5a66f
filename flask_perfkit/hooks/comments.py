"""Says in each statement, as a comment, which route and which view asked for it.

The comment is added at the cursor, behind everything that knows a statement by its text: the
caches of SQLAlchemy, the recorder and the traces never see it. The format is sqlcommenter's,
https://google.github.io/sqlcommenter/spec/.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from inspect import unwrap
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import current_app, has_request_context, request

from flask_perfkit.faults import log_once
from flask_perfkit.hooks.execution import Listener, ListenerOrder, listen, pass_on

if TYPE_CHECKING:
    from flask_perfkit.state import State

_NEVER_PREPARE = {
    *("psycopg2", "psycopg2cffi", "mysqldb", "pymysql", "mysqlconnector", "mariadbconnector"),
    *("aiomysql", "asyncmy"),
}
"""Drivers that do not keep statements by their text."""

_PERCENT_MEANS_PARAMETER = ("format", "pyformat")


def comment_statements() -> None:
    """Add comments to the statements of requests that want them; harmless when called again."""
    listen(ListenerOrder.COMMENTS, _LISTENERS)


def _on_execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    commented = _commented(statement, context, has_parameters=True)
    if commented is None:
        return None
    pass_on(_on_execute, "do_execute", context, cursor, commented, parameters)
    return True


def _on_executemany(cursor: Any, statement: str, parameters: Any, context: Any) -> bool | None:
    commented = _commented(statement, context, has_parameters=True)
    if commented is None:
        return None
    pass_on(_on_executemany, "do_executemany", context, cursor, commented, parameters)
    return True


def _on_execute_no_params(cursor: Any, statement: str, context: Any) -> bool | None:
    commented = _commented(statement, context, has_parameters=False)
    if commented is None:
        return None
    pass_on(_on_execute_no_params, "do_execute_no_params", context, cursor, commented)
    return True


def _commented(statement: str, context: Any, *, has_parameters: bool) -> str | None:
    """Return a statement with its comment; None where there is none to add."""
    try:
        if not has_request_context() or "/*" in statement or "--" in statement:
            return None
        tags = _tags(context)
        if tags is None:
            return None
        comment = _comment(*tags)
        if has_parameters and context.dialect.paramstyle in _PERCENT_MEANS_PARAMETER:
            comment = comment.replace("%", "%%")
        return _appended(statement, comment)
    except Exception:
        log_once("commenting a statement")
        return None


def _tags(context: Any) -> tuple[str, str, str | None] | None:
    """Return function, route and ``traceparent`` of the current request, if it wants comments."""
    state: State | None = current_app.extensions.get("perfkit")
    rule = request.url_rule
    if state is None or not state.settings.sql_comments or rule is None:
        return None
    view = current_app.view_functions[rule.endpoint]
    return _name_of(view), request.root_path + rule.rule, _traceparent(context)


def _name_of(view: Callable[..., Any]) -> str:
    function: Any = unwrap(view)
    named = getattr(function, "view_class", function)
    if not hasattr(named, "__qualname__"):  # an object that can be called, such as a partial
        named = type(named)
    return f"{named.__module__}.{named.__qualname__}"


def _traceparent(context: Any) -> str | None:
    """Return the trace, where it is kept and no prepared statement suffers from it."""
    trace = sys.modules.get("opentelemetry.trace")  # who traces has imported it
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    if not (span.is_valid and span.trace_flags.sampled) or _is_prepared(context):
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def _is_prepared(context: Any) -> bool:
    """Tell whether the driver may keep a statement, prepared, by its text.

    A text that is another one in each request would be prepared in vain each time; and one
    that is prepared would tell of the request that it was prepared for.
    """
    if context.dialect.driver in _NEVER_PREPARE:
        return False
    connection = context.root_connection.connection.driver_connection
    return getattr(connection, "prepare_threshold", True) is not None  # psycopg says so by None


@lru_cache(maxsize=1_000)
def _comment(function: str, route: str, traceparent: str | None) -> str:
    tags = {"function": function, "route": route, "traceparent": traceparent}
    pairs = (f"{key}='{quote(value, safe='')}'" for key, value in tags.items() if value)
    return f"/*{','.join(pairs)}*/"


def _appended(statement: str, comment: str) -> str:
    body = statement.rstrip()
    if body.endswith(";"):
        return f"{body[:-1]} {comment};"
    return f"{body} {comment}"


_LISTENERS: dict[str, Listener] = {
    "do_execute": _on_execute,
    "do_executemany": _on_executemany,
    "do_execute_no_params": _on_execute_no_params,
}
