"""How the tables of a joined select are connected, which tells a product from a list.

Joining two collections of one parent gives a row for each pair of their members. Without
that, each branch would bring its own rows only: one for each different set of keys on the way
from the first table to the last one of the branch.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy.orm import Mapper
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import Join

from flask_perfkit.recording.mappers import mapper_of

MANY_ROWS = 100
"""Rows from which on it is worth to ask whether a join multiplied them."""


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
    if not keys or len(links) < 2 or _has_other_rows(statement, keys):
        return None
    ways = _ways(next(iter(keys)), links, keys)
    inner = {name for way in ways for name in way[:-1]}
    leaves = [way for way in ways if way[-1] not in inner]
    return Branches(
        tuple(tuple(place for name in way for place in keys[name]) for way in leaves),
        tuple(dict.fromkeys(_collections(leaves, links, _tables(statement)))),
    )


def _has_other_rows(statement: Any, keys: Collection[str]) -> bool:
    """Tell whether its rows are other than those of the tables whose keys are read.

    They are groups, or what is read of a table that nothing tells the rows of.
    """
    if getattr(statement, "_group_by_clauses", ()):
        return True
    return any(not _names(column) <= set(keys) for column in statement.selected_columns)


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


def _collections(
    leaves: list[list[str]], links: dict[str, set[str]], tables: dict[str, Any]
) -> Iterator[str]:
    """Yield the last collection of each branch; what follows it has one row for each member."""
    for way in leaves:
        for parent, child in reversed(list(pairwise(way))):
            direct = child in links.get(parent, ())
            name = _to_many(_mapper(tables.get(parent)), _mapper(tables.get(child)), direct)
            if name is not None:
                yield name
                break


def _mapper(table: Any) -> Mapper[Any] | None:
    """Return the mapper of a table, or of the one that a subquery takes its columns from."""
    mapper = mapper_of(table)
    if mapper is None and table is not None:
        bases = (base.table for column in table.exported_columns for base in column.base_columns)
        mapper = next(filter(None, map(mapper_of, bases)), None)
    return mapper


def _to_many(parent: Mapper[Any] | None, child: Mapper[Any] | None, direct: bool) -> str | None:
    """Return the collection between two classes, which an association table may lie between."""
    if parent is None or child is None:
        return None
    for relationship in parent.relationships:
        is_direct = relationship.secondary is None
        if relationship.uselist and is_direct == direct and relationship.mapper.isa(child):
            return f"{parent.class_.__name__}.{relationship.key}"
    return None
