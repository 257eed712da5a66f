"""Run the statement of a page and hand out its items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_perfkit.pagination.statement import entity_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Label, Result, Select

    from flask_perfkit.pagination.app import AnySession


class Source(NamedTuple):
    """Where rows come from: a session, and what it runs on."""

    session: AnySession
    bind: Engine | Connection

    def execute(self, statement: Any, parameters: dict[str, Any] | None = None) -> Result[Any]:
        """Run a statement, also one that does not say itself which engine it is for."""
        return self.session.execute(statement, parameters, bind_arguments={"bind": self.bind})


class Fetched(NamedTuple):
    """The items of a page and, beside each, the values of the columns that were added."""

    items: list[Any]
    added: list[Sequence[Any]]


def fetch(
    source: Source,
    statement: Select[Any],
    added: Sequence[Label[Any]],
    parameters: dict[str, Any] | None = None,
) -> Fetched:
    """Run a statement with more columns, and take them off its rows again.

    An item is an entity where the statement selects one entity, a row otherwise.
    Joined eager loading repeats rows: with the added columns, which tell rows
    apart, entities come once for each row that the statement has without it.
    """
    entities = [entity_of(description) for description in statement.column_descriptions]
    result = source.execute(statement.add_columns(*added), parameters)
    if any(entities):
        result = result.unique()
    width = len(entities)
    if width == 1 and entities[0]:
        rows = result.all()
        return Fetched([row[0] for row in rows], [row[1:] for row in rows])
    if not added:
        return Fetched(list(result.all()), [])
    frozen = result.freeze()
    return Fetched(
        list(frozen().columns(*range(width))),
        list(frozen().columns(*range(width, width + len(added)))),
    )
