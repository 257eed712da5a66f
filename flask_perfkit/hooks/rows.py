"""How the rows of a statement are seen: counted while they are fetched, or in a way of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter_ns
from typing import Any

from sqlalchemy.engine.cursor import _DEFAULT_FETCH, CursorFetchStrategy

from flask_perfkit.faults import log_once
from flask_perfkit.hooks.attributes import are_watched
from flask_perfkit.recording.columns import may_be_large, texts_of
from flask_perfkit.recording.fingerprint import WRITES, bounded, operation_of
from flask_perfkit.recording.joins import MANY_ROWS, Branches, branches_of
from flask_perfkit.recording.reason import reads_one_row

_now = perf_counter_ns

_SAMPLE = 50
"""Rows whose columns are measured."""


class Rows(CursorFetchStrategy):
    """SQLAlchemy's own way to fetch rows, which counts them and notes when the last came.

    Fetching lies outside of every event. The methods do not go through ``super()``: a call
    more for each row would be felt.
    """

    rows = 0
    expected = 0
    fetched: int | None = None
    error: str | None = None
    branches: Branches | None = None
    widths: Mapping[str, float] = {}
    dialect: Any = None
    """Set for what went to the driver as it is: else what was compiled knows it."""

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        try:
            row = dbapi_cursor.fetchone()
            if row is None:
                result._soft_close(hard=hard_close)
                self.fetched = _now()
            else:
                self.rows += 1
        except BaseException as error:
            self.handle_exception(result, dbapi_cursor, error)
        return row

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        rows = super().fetchmany(result, dbapi_cursor, size)
        self.rows += len(rows)
        self.fetched = _now()
        return rows

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        try:
            rows = dbapi_cursor.fetchall()
            result._soft_close()
        except BaseException as error:
            self.handle_exception(result, dbapi_cursor, error)
        self.fetched = _now()
        self.rows = self.rows + len(rows)
        return rows


_NOTHING_SEEN = Rows()
"""What was seen of a statement whose rows are not counted: it reads one object, say."""

_FETCHED = None
"""Said of a statement whose rows are counted while they are fetched, as most are."""


class StudiedRows(Rows):
    """Rows of which more is told than their number.

    Of a select that joins, how many rows there would be without a product; where it is
    watched what is read of objects, how wide the columns are on average.
    """

    def __init__(self, branches: Branches | None, texts: tuple[tuple[int, str], ...]) -> None:
        self.branches = branches
        self.texts = texts
        self.widths: dict[str, float] = {}

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        rows = super().fetchall(result, dbapi_cursor)
        try:
            if self.branches is not None and len(rows) >= MANY_ROWS:
                self.expected = self.branches.rows_of(rows)
            some = rows[:_SAMPLE]
            for place, name in self.texts:
                width = sum(len(row[place]) for row in some if isinstance(row[place], str | bytes))
                self.widths[name] = width / max(len(some), 1)
        except Exception:
            log_once("studying rows")
        return rows


class SeenApart:
    """A way to see the rows of statements that need more than counting.

    It is false, as None is and Rows are not: one test tells what needs no looking at.
    """

    def __init__(self, see: Callable[[Any, Any, Any], tuple[Any, Rows]]) -> None:
        self.see = see

    def __bool__(self) -> bool:
        return False


UNCOUNTED = SeenApart(lambda cursor, parameters, context: (parameters, _NOTHING_SEEN))
"""Of a statement whose rows stay on the server: SQLAlchemy has a way of its own to fetch them."""


def way_to_see(statement: str, context: Any) -> Rows | SeenApart | None:
    """Choose how a statement is seen, and whether its parameters may be too large to keep."""
    way = _way_to_count(statement, context)
    if may_be_large(context.compiled):
        return SeenApart(_see_fetched if way is None else partial(_see_bounded, way))
    return way


def _way_to_count(statement: str, context: Any) -> Rows | SeenApart | None:
    """Choose how the rows of a statement are counted: as fetched, as written, or not at all."""
    if operation_of(statement) in WRITES:
        return SeenApart(_see_written)
    if context.cursor_fetch_strategy is not _DEFAULT_FETCH:
        return _NOTHING_SEEN
    if context.compiled is None:
        return SeenApart(_see_uncompiled)
    if reads_one_row(context.invoked_statement, context.execution_options):
        return _NOTHING_SEEN
    try:
        branches = branches_of(context.compiled)
        texts = tuple(texts_of(context.compiled)) if are_watched() else ()
    except Exception:
        log_once("looking at the columns of a statement")
        return _FETCHED
    if branches is None and not texts:
        return _FETCHED
    return SeenApart(partial(_see_studied, branches, texts))


def see(
    way: Rows | SeenApart | None, cursor: Any, parameters: Any, context: Any
) -> tuple[Any, Rows]:
    """See the rows of a statement in the way chosen; return the parameters to keep, too."""
    if isinstance(way, Rows):
        return parameters, way
    if way is None and not context._is_server_side:
        context.cursor_fetch_strategy = rows = Rows()
        return parameters, rows
    return (UNCOUNTED if way is None else way).see(cursor, parameters, context)


def _see_fetched(cursor: Any, parameters: Any, context: Any) -> tuple[Any, Rows]:
    """See what most statements are: rows that are fetched, by parameters that may be large."""
    if context._is_server_side:
        return _see_bounded(None, cursor, parameters, context)
    context.cursor_fetch_strategy = rows = Rows()
    return bounded(parameters), rows


def _see_bounded(
    way: Rows | SeenApart | None, cursor: Any, parameters: Any, context: Any
) -> tuple[Any, Rows]:
    parameters, seen = see(way, cursor, parameters, context)
    return None if parameters is None else bounded(parameters), seen


def _see_written(cursor: Any, parameters: Any, context: Any) -> tuple[Any, Rows]:
    seen = written(cursor)
    seen.dialect = context.dialect
    if seen.rows == 0 and context.cursor_fetch_strategy is _DEFAULT_FETCH:
        context.cursor_fetch_strategy = seen  # RETURNING tells the rows when they are fetched
    # What is written is not looked at, and may be large: it is not kept.
    return None, seen


def _see_uncompiled(cursor: Any, parameters: Any, context: Any) -> tuple[Any, Rows]:
    seen = Rows()
    seen.dialect = context.dialect
    if not context._is_server_side:
        context.cursor_fetch_strategy = seen
    return parameters, seen


def _see_studied(
    branches: Branches | None,
    texts: tuple[tuple[int, str], ...],
    cursor: Any,
    parameters: Any,
    context: Any,
) -> tuple[Any, Rows]:
    if context._is_server_side:
        return parameters, _NOTHING_SEEN
    rows = StudiedRows(branches, texts)
    context.cursor_fetch_strategy = rows
    return parameters, rows


def written(cursor: Any) -> Rows:
    seen = Rows()
    seen.rows = max(getattr(cursor, "rowcount", 0), 0)
    return seen


def failed(error: BaseException) -> Rows:
    seen = Rows()
    seen.error = type(error).__name__
    return seen
