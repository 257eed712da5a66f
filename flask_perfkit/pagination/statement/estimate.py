"""A total that nobody counts: what the planner of PostgreSQL expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.expression import Executable

if TYPE_CHECKING:
    from sqlalchemy import SelectBase
    from sqlalchemy.sql.compiler import SQLCompiler

    from flask_perfkit.pagination.statement.rows import Source


class _Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: SelectBase) -> None:
        self.statement = statement


@compiles(_Explain)
def _explain(element: _Explain, compiler: SQLCompiler, **kw: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **kw)}"


def require_planner(dialect_name: str) -> None:
    """Refuse to estimate on another database than PostgreSQL with a ValueError."""
    if dialect_name != "postgresql":
        raise ValueError(
            f'total="estimated" needs PostgreSQL\'s planner, {dialect_name} cannot tell: '
            'use "exact", "cached" or None'
        )


def estimate_rows(source: Source, statement: SelectBase) -> int:
    """Return how many rows the planner expects of a statement; as good as the last ANALYZE."""
    plan: list[dict[str, Any]] = source.execute(_Explain(statement)).scalar_one()
    return int(plan[0]["Plan"]["Plan Rows"])
