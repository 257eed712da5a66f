"""How many items all pages hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sqlalchemy import Select, func, literal, select

from flask_perfkit.pagination.app import current_cache, current_settings
from flask_perfkit.pagination.cursor.fingerprint import fingerprint_of, options_text
from flask_perfkit.pagination.order.identity import is_one_row
from flask_perfkit.pagination.statement.enclosed import is_limited, must_be_enclosed
from flask_perfkit.pagination.statement.estimate import estimate_rows
from flask_perfkit.pagination.statement.statement import criteria_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.sql.elements import ColumnElement

    from flask_perfkit.pagination.statement.rows import Source
    from flask_perfkit.pagination.statement.statement import AnySelect

WAYS_TO_COUNT = ("exact", "cached", "estimated", None)
Total = Literal["exact", "cached", "estimated", None] | int


class Count(NamedTuple):
    """How many rows there are, or how many were counted before nobody counted on."""

    number: int | None
    is_capped: bool = False


def count_rows(source: Source, statement: AnySelect, total: Total) -> Count:
    """Count the rows of a statement in the way asked for."""
    if total is None:
        return Count(None)
    if isinstance(total, int):
        return _count_up_to(source, statement, total)
    if total == "estimated":
        return Count(estimate_rows(source, _of_rows(statement, literal(1))))
    counting = _of_rows(statement, func.count())

    def count() -> int:
        return int(source.execute(counting).scalar_one())

    if total == "exact":
        return Count(count())
    return Count(_keep(_key(counting, source), count))


def _count_up_to(source: Source, statement: AnySelect, most: int) -> Count:
    rows = _of_rows(statement, literal(1).label("perfkit_one")).limit(most + 1).subquery()
    counting = select(func.count()).select_from(rows).options(*criteria_of(statement))
    counting = counting.execution_options(**statement._execution_options)
    found = int(source.execute(counting).scalar_one())
    return Count(min(found, most), found > most)


def _keep(key: str, count: Callable[[], int]) -> int:
    """Return the total kept under a key, or count; the cache sees which tables that reads."""
    total: int = current_cache().get_or_create(key, count, ttl=current_settings().count_ttl)
    return total


def _key(counting: Select[Any], source: Source) -> str:
    database = source.bind.engine.url.set(username=None, password=None).render_as_string()
    options = options_text(source.options_of(counting))
    return f"perfkit.total:{fingerprint_of(counting, source.bind.dialect, database, options).hex()}"


def _of_rows(statement: AnySelect, column: ColumnElement[Any]) -> Select[Any]:
    """Select one column from the rows of a statement, without order, eager loading and locks."""
    statement = _unlocked(statement)
    if isinstance(statement, Select) and not _needs_subquery(statement):
        return statement.with_only_columns(column, maintain_column_froms=True).order_by(None)
    inner = statement if is_limited(statement) else statement.order_by(None)
    # A subquery's own options are ignored, the soft delete among them.
    outer = select(column).select_from(inner.subquery()).options(*criteria_of(statement))
    return outer.execution_options(**statement._execution_options)


def _unlocked(statement: AnySelect) -> AnySelect:
    if statement._for_update_arg is None:
        return statement
    unlocked = statement._generate()
    unlocked._for_update_arg = None
    return unlocked


def _needs_subquery(statement: Select[Any]) -> bool:
    return bool(
        must_be_enclosed(statement)
        or statement._distinct
        or statement._group_by_clauses
        or statement._having_criteria
        or is_one_row(statement)
    )
