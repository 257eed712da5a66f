"""Run the statement of a page and hand out its items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData

from flask_perfkit.pagination.statement.statement import entity_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Result, Select
    from sqlalchemy.orm import Session

    from flask_perfkit.pagination.statement.statement import AnySelect


class Source(NamedTuple):
    """Where rows come from: a session, and what it runs on."""

    session: Session
    bind: Engine | Connection

    def execute(self, statement: Any, parameters: dict[str, Any] | None = None) -> Result[Any]:
        """Run a statement, also one that does not say itself which engine it is for."""
        return self.session.execute(statement, parameters, bind_arguments={"bind": self.bind})

    def options_of(self, statement: AnySelect) -> dict[str, Any]:
        """Return the execution options that a statement runs with, such as a map of schemas."""
        options = dict(self.bind.get_execution_options())
        if self.session.in_transaction():  # its connection may have been given some
            connection = self.session.connection(bind_arguments={"bind": self.bind})
            options |= connection.get_execution_options()
        return options | statement._execution_options


class Items(NamedTuple):
    """What the items of a statement are.

    :param width: how many entities and columns make one.
    """

    width: int
    has_entity: bool

    @property
    def are_entities(self) -> bool:
        """Whether an item is one entity, and no row."""
        return self.has_entity and self.width == 1


def items_of(statement: Select[Any]) -> Items:
    """Read what the items of a statement are."""
    entities = [entity_of(description) for description in statement.column_descriptions]
    return Items(len(entities), any(entities))


class Fetched:
    """The rows of a page: each an item, and behind it the columns that were added."""

    def __init__(self, result: Result[Any], items: Items) -> None:
        # Joined eager loading of a collection repeats rows and demands this. With the added
        # columns an entity then comes once for each row that the statement has without it.
        if result._unique_filter_state is not None:
            result = result.unique()
        self._shape = None if items.are_entities else _shape_of(result, items.width)
        self._rows = result.all()
        self._width = items.width

    def __len__(self) -> int:
        return len(self._rows)

    def items(self, most: int) -> list[Any]:
        """Return the first items: entities as such, others as rows as wide as they were."""
        rows = self._rows[:most]
        if self._shape is None:
            return [row[0] for row in rows]
        return list(IteratorResult(self._shape, iter([row[: self._width] for row in rows])))

    def added(self, most: int) -> list[tuple[Any, ...]]:
        """Return the added columns of the first items."""
        width = self._width
        return [tuple(row[width:]) for row in self._rows[:most]]


def _shape_of(result: Result[Any], width: int) -> SimpleResultMetaData:
    """Return what the first columns of a row are called by.

    ``Result.columns()`` goes by the names, of which several columns may have the same.
    """
    metadata: Any = result._metadata
    called = {record[0]: record[2] for record in metadata._keymap.values()}
    names = list(metadata._keys)[:width]
    return SimpleResultMetaData(names, extra=[called.get(at) or () for at in range(width)])
