"""Run the statement of a page and hand out its items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_perfkit.pagination.statement import entity_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select

    from flask_perfkit.pagination.app import AnySession
    from flask_perfkit.pagination.order import Expression


class Source(NamedTuple):
    """Where pages come from: a session and what it runs on."""

    session: AnySession
    bind: Engine | Connection

    def execute(self, statement: Any) -> Any:
        return self.session.execute(statement, bind_arguments={"bind": self.bind})


def fetch_items(
    source: Source, statement: Select[Any], identity: Sequence[Expression]
) -> list[Any]:
    """Return entities where the statement selects one entity, rows otherwise.

    Joined eager loading repeats rows, so entities come once for each identity:
    that keeps rows that the statement itself repeats.
    """
    entities = [entity_of(description) for description in statement.column_descriptions]
    if not any(entities):
        return list(source.execute(statement).all())
    width = len(entities)
    result = source.execute(statement.add_columns(*_labelled(identity))).unique()
    if width == 1:
        return [row[0] for row in result]
    return list(result.freeze()().columns(*range(width)))


def _labelled(expressions: Sequence[Expression]) -> list[Expression]:
    return [expression.label(f"perfkit_key_{i}") for i, expression in enumerate(expressions)]
