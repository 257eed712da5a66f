"""How many items all pages hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Select, func, select

from flask_perfkit.pagination.enclosed import is_limited, must_be_enclosed
from flask_perfkit.pagination.identity import is_one_row
from flask_perfkit.pagination.statement import criteria_of

if TYPE_CHECKING:
    from flask_perfkit.pagination.rows import Source
    from flask_perfkit.pagination.statement import AnySelect

Total = Literal["exact", None]


def count_rows(source: Source, statement: AnySelect, total: Total) -> int | None:
    """Count the rows of a statement in the way asked for."""
    return None if total is None else _exact(source, statement)


def _exact(source: Source, statement: AnySelect) -> int:
    return int(source.execute(_counting(statement)).scalar_one())


def _counting(statement: AnySelect) -> Select[Any]:
    if isinstance(statement, Select) and not _needs_subquery(statement):
        return statement.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    inner = statement if is_limited(statement) else statement.order_by(None)
    # A subquery's own options are ignored, the soft delete among them.
    return select(func.count()).select_from(inner.subquery()).options(*criteria_of(statement))


def _needs_subquery(statement: Select[Any]) -> bool:
    return bool(
        must_be_enclosed(statement)
        or statement._distinct
        or statement._group_by_clauses
        or statement._having_criteria
        or is_one_row(statement)
    )
