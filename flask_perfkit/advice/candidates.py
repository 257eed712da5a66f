"""Candidates: the indexes that could serve a need, most of which the planner will not choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Column, Table
from sqlalchemy import types as sqltypes
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.visitors import iterate

from flask_perfkit.advice.index import TRIGRAMS, Index, IndexKey
from flask_perfkit.advice.planners.planner import FEW_VALUES
from flask_perfkit.advice.statement.conditions import Condition, Kind
from flask_perfkit.advice.statement.needs import Need
from flask_perfkit.advice.statement.order import OrderKey
from flask_perfkit.advice.statement.terms import Term

_MOST_KEYS = 4
_MOST_INCLUDED = 3
_MOST_PARTIAL = 0.1
"""The part of a table from which on a partial index is no longer much smaller."""

_RARE = 0.25
"""How many times as frequent as its like a state may be that counts as rare."""

_WIDE = (sqltypes.Text, sqltypes.JSON, sqltypes.LargeBinary, sqltypes.ARRAY, sqltypes.PickleType)
_LONGEST_INCLUDED = 100
_PATTERNS = {True: "varchar_pattern_ops", False: "text_pattern_ops"}

Keys = tuple[IndexKey, ...]


@dataclass(frozen=True)
class Means:
    """What a database can do, and what candidates must ask it.

    ``fraction`` gives the part of a table's rows for which a condition holds; ``values`` how many
    different values a column has; ``quote`` writes a column's name.
    """

    postgresql: bool
    quote: Callable[[str], str]
    fraction: Callable[[Table, str], float]
    values: Callable[[Table, str], float]


def candidates_of(needs: Sequence[Need], means: Means) -> dict[Index, list[Need]]:
    """Return the indexes that could serve needs of one table, each with the needs it is for."""
    shared = Counter(one.term.sql for need in needs for one in need.of(Kind.EQUAL))
    found: dict[Index, list[Need]] = {}
    for need in needs:
        for index in _for_need(need, shared, means):
            found.setdefault(index, []).append(need)
    return found


def declared_of(table: Table, quote: Callable[[str], str]) -> Iterator[Index]:
    """Yield the indexes that the models have: plain ones of columns, whose making is known."""
    for index in sorted(table.indexes, key=lambda one: str(one.name)):
        plain = not index.unique and not any(
            kind.items() for kind in index.dialect_options.values()
        )
        columns = [each for each in index.expressions if isinstance(each, Column)]
        if plain and index.name and len(columns) == len(index.expressions):
            keys = (IndexKey(quote(one.name), one.name, frozenset({one.name})) for one in columns)
            yield Index(table, tuple(keys), declared=str(index.name))


def _for_need(need: Need, shared: Counter[str], means: Means) -> Iterator[Index]:
    for keys in dict.fromkeys(_key_lists(need, shared, means)):
        index = Index(need.table, keys)
        yield index
        yield from _covering(need, index, means)
    for where, left in _partial(need, means):
        lists: list[Keys] = list(dict.fromkeys(_key_lists(left, shared, means)))
        for keys in lists or [_row_key(need, means)]:
            yield Index(need.table, keys, where=where)
    if means.postgresql:
        yield from _inverted(need)


def _key_lists(need: Need, shared: Counter[str], means: Means) -> Iterator[Keys]:
    """Yield keys: equality first, most shared first; then either the order or one range."""
    equal = sorted(need.of(Kind.EQUAL), key=lambda one: -shared[one.term.sql])
    equals = [_key(one.term) for one in equal]
    listed = [_key(one.term) for one in need.of(Kind.LISTED)]
    joined = [_key(one.term) for one in need.of(Kind.JOINED)]
    ranges: list[Keys] = [(_key(one.term),) for one in need.of(Kind.RANGE)]
    ranges += [keys for one in need.of(Kind.PREFIX) for keys in _pattern_keys(one, means)]
    for key in (*equals, *listed, *joined):
        yield (key,)
    known = {one.term for one in equal}
    ordered = tuple(_ordered(key, means) for key in need.order if key.term not in known)
    grouped = tuple(_ordered(key, means) for key in need.grouped if key.term not in known)
    # An order goes on behind values only: behind a NULL it is sorted again.
    valued = tuple(_key(one.term) for one in equal if not one.is_null)
    leads = [tuple(equals), (*joined, *equals), (*equals, *joined), valued, ()]
    for lead in dict.fromkeys(leads):
        last = tuple(key for key in listed if key not in lead)
        tails = [(), last, grouped]
        if lead or all(_is_common(one, need, means) for one in equal):
            tails += [ordered, (*ordered, *last)]
        for tail in tails:
            yield from _distinct(lead, tail)
        for range_ in ranges:
            yield from _distinct(lead, range_)
            yield from _distinct((*lead, *last), range_)


def _is_common(condition: Condition, need: Need, means: Means) -> bool:
    """Tell whether so many rows fulfil a condition that walking by the order soon meets some.

    Of a rarer one planners believe so too: they think that its rows lie anywhere in the order.
    """
    return condition.fixed is not None and means.fraction(need.table, condition.fixed) > 0.5


def _distinct(lead: Iterable[IndexKey], tail: Iterable[IndexKey]) -> Iterator[Keys]:
    """Yield the keys one after the other, each expression once, if there are not too many."""
    keys: dict[str, IndexKey] = {}
    for key in (*lead, *tail):
        keys.setdefault(key.sql, key)
    if 0 < len(keys) <= _MOST_KEYS:
        yield tuple(keys.values())


def _key(term: Term) -> IndexKey:
    return IndexKey(term.sql, term.column, term.columns)


def _ordered(key: OrderKey, means: Means) -> IndexKey:
    """Return a key with its direction; SQLite's indexes know one place for NULLs only."""
    nulls_first = key.nulls_first if means.postgresql else key.descending
    return replace(_key(key.term), descending=key.descending, nulls_first=nulls_first)


def _pattern_keys(condition: Condition, means: Means) -> Iterator[Keys]:
    """Yield the key for a prefix: the plain one serves it in some collations only."""
    key = _key(condition.term)
    if not means.postgresql:
        yield (replace(key, operators="COLLATE NOCASE"),)
        return
    yield (key,)
    kind = condition.term.element.type
    bounded = isinstance(kind, sqltypes.String) and not isinstance(kind, sqltypes.Text)
    yield (replace(key, operators=_PATTERNS[bounded and key.column is not None]),)


def _covering(need: Need, index: Index, means: Means) -> Iterator[Index]:
    """Yield an index that holds all that the statement reads, where that is little."""
    more = sorted(need.columns - index.columns)
    columns = [need.table.columns[name] for name in more if name in need.table.columns]
    if not 0 < len(columns) <= _MOST_INCLUDED or any(_is_wide(column.type) for column in columns):
        return
    if means.postgresql:
        yield index.covering(tuple(more))
    else:
        keys = (*index.keys, *(_column_key(name, means) for name in more))
        yield replace(index, keys=keys)


def _is_wide(kind: sqltypes.TypeEngine[object]) -> bool:
    if isinstance(kind, sqltypes.TypeDecorator):
        kind = kind.impl_instance
    if isinstance(kind, sqltypes.String) and not isinstance(kind, sqltypes.Text):
        return (kind.length or 0) > _LONGEST_INCLUDED
    return isinstance(kind, _WIDE)


def _partial(need: Need, means: Means) -> Iterator[tuple[str, Need]]:
    """Yield conditions that few rows fulfil, each with what the need then still asks."""
    rare = [one for one in need.conditions if _is_rare(one, need, means)]
    for chosen in [[one] for one in rare] + ([rare] if len(rare) > 1 else []):
        where = " AND ".join(dict.fromkeys(str(one.fixed) for one in chosen))
        left = [one for one in need.conditions if one not in chosen]
        yield where, replace(need, conditions=left)


def _is_rare(condition: Condition, need: Need, means: Means) -> bool:
    """Tell whether few rows fulfil a condition that will be asked for again and again.

    What is written into the statement will. A parameter may be another one next time, however
    often it was the same: unless it is a state that is rare beside the others, as of a queue.
    """
    if condition.fixed is None:
        return False
    if any(isinstance(part, BindParameter) for part in iterate(condition.clause)):
        column = condition.term.column
        unequal = getattr(condition.clause, "operator", None) is operators.ne
        if column is None or not (condition.kind is Kind.EQUAL or unequal):
            return False
        values = means.values(need.table, column)
        most = min(_MOST_PARTIAL, _RARE / max(values, 1.0)) if values <= FEW_VALUES else 0.0
        return means.fraction(need.table, condition.fixed) < most
    return means.fraction(need.table, condition.fixed) < _MOST_PARTIAL


def _row_key(need: Need, means: Means) -> Keys:
    """Return the primary key: an index that only tells which rows there are."""
    columns = list(need.table.primary_key.columns) or list(need.table.columns)[:1]
    return tuple(_column_key(one.name, means) for one in columns)


def _column_key(name: str, means: Means) -> IndexKey:
    return IndexKey(means.quote(name), name, frozenset({name}))


def _inverted(need: Need) -> Iterator[Index]:
    """Yield GIN indexes: for what a value contains, and for texts by their trigrams."""
    for one in need.of(Kind.CONTAINS):
        key = _key(one.term)
        yield Index(need.table, (key,), method="gin")
        kind = one.term.element.type
        if isinstance(kind, JSONB) and getattr(one.clause.operator, "opstring", "") == "@>":
            yield Index(need.table, (replace(key, operators="jsonb_path_ops"),), method="gin")
    for one in need.of(Kind.INFIX):
        yield Index(need.table, (replace(_key(one.term), operators=TRIGRAMS),), method="gin")
