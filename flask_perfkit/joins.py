"""How the tables of a joined select hang together, to tell a product from a list.

Joining two collections of one parent gives a row for each pair of their members. The rows
that there would be without that are those of each branch by itself: the distinct keys along
the way from the first table to a last one.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy.orm import Mapper
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import Join

from flask_perfkit.reason import mapper_of


class Branches(NamedTuple):
    """The branches of a joined select.

    ``positions`` are, for each branch, the places of its keys in a row; ``collections`` the
    relationships that the branches end with, as far as they are mapped.
    """

    positions: tuple[tuple[int, ...], ...]
    collections: tuple[str, ...]

    def rows_of(self, rows: Iterable[Any]) -> int:
        """Return how many rows the branches would have, each by itself."""
        return sum(len(set(map(itemgetter(*places), rows))) for places in self.positions)


def branches_of(compiled: Any) -> Branches | None:
    """Return the branches of a compiled select; None where it joins nothing or is no select."""
    state = getattr(compiled, "compile_state", None)
    statement = getattr(state, "statement", None)
    if statement is None:
        statement = getattr(compiled, "statement", None)
    if statement is None or not hasattr(statement, "get_final_froms"):
        return None
    keys = _key_positions(compiled)
    links = _links(statement)
    if not keys or len(links) < 2:
        return None
    ways = _ways(next(iter(keys)), links, keys)
    inner = {name for way in ways for name in way[:-1]}
    leaves = [way for way in ways if way[-1] not in inner]
    return Branches(
        tuple(tuple(place for name in way for place in keys[name]) for way in leaves),
        tuple(_collections(leaves, _tables(statement))),
    )


def _key_positions(compiled: Any) -> dict[str, list[int]]:
    """Return for each table or alias where the columns of its primary key are in a row."""
    keys: defaultdict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(compiled._result_columns):
        for column in entry.objects:
            if getattr(column, "primary_key", False) and getattr(column, "table", None) is not None:
                keys[str(column.table.name)].append(place)
                break
    return dict(keys)


def _links(statement: Any) -> dict[str, set[str]]:
    """Return which tables a select compares with which."""
    links: defaultdict[str, set[str]] = defaultdict(set)
    conditions = [
        element.onclause
        for source in statement.get_final_froms()
        for element in visitors.iterate(source)
        if isinstance(element, Join)
    ]
    for table in _tables(statement):
        links[table]
    for condition in conditions:
        names = _names(condition)
        for name in names:
            links[name] |= names - {name}
    return links


def _names(condition: Any) -> set[str]:
    tables: Iterator[Any] = (
        getattr(element, "table", None) for element in visitors.iterate(condition)
    )
    return {str(table.name) for table in tables if getattr(table, "name", None) is not None}


def _tables(statement: Any) -> dict[str, Any]:
    """Return the tables and aliases that a select reads, by name, each with its table."""
    elements: Iterator[Any] = (
        element
        for source in statement.get_final_froms()
        for element in visitors.iterate(source)
        if hasattr(element, "primary_key") and getattr(element, "name", None) is not None
    )
    return {str(element.name): getattr(element, "element", element) for element in elements}


def _ways(root: str, links: dict[str, set[str]], keys: dict[str, list[int]]) -> list[list[str]]:
    """Return the way from the first table to each other one, over tables whose keys are read."""
    ways: list[list[str]] = []
    for start in (root, *keys):
        if any(start in way for way in ways):
            continue
        waiting = deque([(start, [start])])
        seen = {start}
        while waiting:
            name, way = waiting.popleft()
            if way not in ways:
                ways.append(way)
            for other in sorted(links.get(name, set()) - seen):
                seen.add(other)
                waiting.append((other, [*way, other] if other in keys else way))
    return ways


def _collections(leaves: list[list[str]], tables: dict[str, Any]) -> Iterator[str]:
    for way in leaves:
        if len(way) > 1:
            parent, child = (mapper_of(tables.get(name)) for name in way[-2:])
            if parent is not None and child is not None:
                yield from _to_many(parent, child)


def _to_many(parent: Mapper[Any], child: Mapper[Any]) -> Iterator[str]:
    for relationship in parent.relationships:
        if relationship.uselist and relationship.mapper.isa(child):
            yield f"{parent.class_.__name__}.{relationship.key}"
            return
