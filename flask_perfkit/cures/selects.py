"""One select for all keys, in the place of one select for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import BindParameter, Select, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TextualSelect

from flask_perfkit.cures.code import Unwritable, code_of
from flask_perfkit.cures.uniqueness import are_unique
from flask_perfkit.recording.issued import Issued
from flask_perfkit.recording.mappers import entities_of

_AGGREGATES = ("count", "sum", "min", "max", "avg")
_OF_ONE_ROW = ("lower", "upper", "coalesce", "length", "trim", "abs", "round", "date", "now")


@dataclass(frozen=True)
class KeyedSelect:
    """A select whose comparisons with single keys become one comparison with all of them.

    ``keys`` are the columns that were compared with what differed from one time to the next,
    ``others`` the conditions that stay. Everything else of the statement is kept.
    """

    issued: Issued
    keys: tuple[Any, ...]
    others: tuple[Any, ...]

    @cached_property
    def aggregates(self) -> bool:
        """Whether the statement works out one value, which becomes one for each key."""
        return aggregates(self.issued.statement)

    @property
    def has_key_among_columns(self) -> bool:
        """Whether what the statement brings tells the key: an object whose column it is."""
        columns = self.issued.statement._raw_columns
        entities = list(entities_of(self.issued.statement))
        if len(columns) != 1 or len(entities) != 1:
            return False
        mapped = set(entities[0].mapper.columns.values())
        return all(_plain(key) in mapped for key in self.keys)

    def apply(self, statement: Any, keys: Any) -> Any:
        """Return the select for all keys, built from the one for a single key.

        :param keys: the values; tuples of them where there are several columns.
        """
        one = self.keys[0] if len(self.keys) == 1 else tuple_(*self.keys)
        built = statement.limit(None)  # it is a plain one: a limit of one row for each key
        built._where_criteria = (one.in_(keys), *self.others)
        if not self.has_key_among_columns:
            built = built.add_columns(*self.keys)
        return built.group_by(*self.keys) if self.aggregates else built

    def fits(self) -> bool:
        """Tell whether the select for all keys compiles for the database."""
        keys = [None] if len(self.keys) == 1 else [(None,) * len(self.keys)]
        try:
            self.apply(self.issued.statement, keys).compile(dialect=self.issued.dialect)
        except (SQLAlchemyError, AttributeError, TypeError, ValueError):
            return False
        return True

    @cached_property
    def code(self) -> str:
        """The select as code; where it has values in it, what becomes another in the old one.

        :raises Unwritable: the keys themselves cannot be written.
        """
        keys = [code_of(key) for key in self.keys]
        try:
            return self._written(keys)
        except Unwritable:
            return self._difference(keys)

    def _written(self, keys: list[str]) -> str:
        statement = self.issued.statement
        if self.others or statement._with_options or statement._prefixes or statement._suffixes:
            raise Unwritable("values or options")
        columns = [code_of(column) for column in statement._raw_columns]
        if self.aggregates:
            columns = [*keys, *columns]
        elif not self.has_key_among_columns:
            columns = [*columns, *(key for key in keys if key not in columns)]
        parts = [
            f"select({', '.join(columns)})",
            *_sources(statement, self),
            f".where({in_code(keys, 'keys')})",
        ]
        if statement._distinct:
            parts.append(".distinct()")
        if self.aggregates:
            parts.append(f".group_by({', '.join(keys)})")
        elif statement._order_by_clauses:
            order = ", ".join(map(code_of, statement._order_by_clauses))
            parts.append(f".order_by({order})")
        parts += _locks(statement._for_update_arg)
        if self.issued.populates:
            parts.append(".execution_options(populate_existing=True)")
        return "".join(parts)

    def _difference(self, keys: list[str]) -> str:
        named = " and ".join(keys)
        text = f"the same select with {in_code(keys, 'keys')} in the place of what compares {named}"
        if is_limited(self.issued.statement):
            text += ", without its limit"
        if self.aggregates:
            return f"{text}, with {named} among its columns and .group_by({', '.join(keys)})"
        if not self.has_key_among_columns:
            text += f", and with {named} among its columns"
        return text


def keyed_select(issued: Issued, varying: set[int]) -> KeyedSelect | None:
    """Return the select for all keys; None where the statement does not come apart like that.

    :param varying: the places of the bound values that differ from one time to the next.
    """
    statement = issued.statement
    if (
        not _is_plain(statement)
        or _has_unknown_function(statement)
        or not varying
        or max(varying) >= len(issued.parameters)
    ):
        return None
    names = {issued.parameters[place] for place in varying}
    keys, others, found = [], [], set()
    for condition in conditions(statement._where_criteria):
        inside = _binds(condition) & names
        key = _compared(condition) if inside else None
        if inside and key is None:
            return None
        if key is None:
            others.append(condition)
        else:
            keys.append(key)
            found |= inside
    if found != names:
        return None
    whole = _whole_key(statement, keys, others)
    keys, others = (whole, []) if whole else (keys, others)
    built = KeyedSelect(issued, tuple(keys), tuple(others))
    return built if built.fits() else None


def _whole_key(statement: Any, keys: list[Any], others: list[Any]) -> list[Any]:
    """Return the columns of a primary key that a look-up compares, though a part stays the same."""
    entities = list(entities_of(statement))
    compared = [*keys, *map(_compared, others)]
    if len(entities) != 1 or not others or any(each is None for each in compared):
        return []
    wanted = list(entities[0].mapper.primary_key)
    plain = [_plain(each) for each in compared]
    return wanted if set(plain) == set(wanted) and len(plain) == len(wanted) else []


def written(select: KeyedSelect) -> str | None:
    """Return a select as code, where its keys can be written."""
    try:
        return select.code
    except Unwritable:
        return None


def is_tree(statement: Any) -> bool:
    """Tell whether SQLAlchemy built a statement, and it was not given as text."""
    return not isinstance(statement, TextClause | TextualSelect)


def is_limited(statement: Any) -> bool:
    """Tell whether a statement brings the first rows only."""
    return getattr(statement, "_limit_clause", None) is not None


def brings_one_row(statement: Any) -> bool:
    """Tell whether a statement looks in one table for a key that no two rows have."""
    if statement._setup_joins or statement._from_obj:
        return False
    entities = list(entities_of(statement))
    found = [_compared(each) for each in conditions(statement._where_criteria)]
    if len(entities) != 1 or not found or any(each is None for each in found):
        return False
    columns = [_plain(each) for each in found]
    return {each.table for each in columns} == {entities[0].mapper.local_table} and are_unique(
        columns
    )


def aggregates(statement: Any) -> bool:
    """Tell whether a statement works out values of rows, and brings none of them."""
    columns = getattr(statement, "_raw_columns", ())
    return bool(columns) and all(map(_is_aggregate, columns))


def _is_plain(statement: Any) -> bool:
    """Tell whether each key's answer is there in the answer for all keys, and only there."""
    return (
        isinstance(statement, Select)
        and (statement._limit_clause is None or brings_one_row(statement))
        and statement._offset_clause is None
        and statement._fetch_clause is None
        and not statement._group_by_clauses
        and not statement._having_criteria
        and (not statement._distinct or not aggregates(statement))
        and not getattr(statement, "_distinct_on", ())
    )


def conditions(criteria: Any) -> Iterator[Any]:
    """Yield what has to hold all together."""
    for each in criteria:
        if isinstance(each, BooleanClauseList) and each.operator is operators.and_:
            yield from conditions(each.clauses)
        else:
            yield each


def compared_keys(statement: Any, names: set[str] | None) -> Iterator[tuple[str, Any]]:
    """Yield the columns that a statement compares with single values, by the values' keys.

    :param names: the keys of the values that count; all of them unless set.
    """
    for condition in conditions(statement._where_criteria):
        column = _compared(condition)
        inside = _binds(condition)
        if column is not None and (names is None or inside <= names):
            yield inside.pop(), column


def compares_keys_only(issued: Issued | None) -> bool:
    """Tell whether all conditions of a statement compare a column with one value."""
    criteria = list(conditions(getattr(issued and issued.statement, "_where_criteria", ())))
    return bool(criteria) and all(_compared(each) is not None for each in criteria)


def _binds(condition: Any) -> set[str]:
    return {each.key for each in visitors.iterate(condition) if isinstance(each, BindParameter)}


def _compared(condition: Any) -> Any:
    """Return the column that a condition compares with one value, if it does nothing else."""
    if not isinstance(condition, BinaryExpression) or condition.operator is not operators.eq:
        return None
    for column, value in ((condition.left, condition.right), (condition.right, condition.left)):
        if isinstance(value, BindParameter) and hasattr(column, "table"):
            return column
    return None


def _is_aggregate(column: Any) -> bool:
    """Tell whether a column is worked out of many rows, at its outside or further in."""
    return any(each in _AGGREGATES for each in _functions(column))


def _has_unknown_function(statement: Any) -> bool:
    """Tell whether a column may be worked out of many rows, or of one: nobody knows which."""
    known = {*_AGGREGATES, *_OF_ONE_ROW}
    return any(
        name not in known for column in statement._raw_columns for name in _functions(column)
    )


def _functions(column: Any) -> Iterator[str]:
    for each in visitors.iterate(column):
        if isinstance(each, FunctionElement):
            yield str(getattr(each, "name", "")).lower()


def _plain(column: Any) -> Any:
    return column._deannotate() if hasattr(column, "_deannotate") else column


def primary_key_in(issued: Issued, values: str) -> str:
    """Return the comparison of the primary key of what a statement selects, as code."""
    mapper = next(entities_of(issued.statement)).mapper
    name = mapper.class_.__name__
    keys = [f"{name}.{mapper.get_property_by_column(each).key}" for each in mapper.primary_key]
    return in_code(keys, values)


def in_code(keys: list[str], values: str) -> str:
    """Return the comparison of columns with all values, as code."""
    compared = keys[0] if len(keys) == 1 else f"tuple_({', '.join(keys)})"
    return f"{compared}.in_({values})"


def _sources(statement: Any, cure: KeyedSelect) -> Iterator[str]:
    if statement._from_obj:
        entity = ", ".join(code_of(source) for source in statement._from_obj)
        if any(not code_of(key).startswith(f"{entity}.") for key in cure.keys):
            yield f".select_from({entity})"
    for target, on, source, flags in statement._setup_joins:
        if on is not None or source is not None or flags["isouter"] or flags["full"]:
            raise Unwritable("a join of its own")
        owner = getattr(getattr(target, "parent", None), "class_", None)
        if owner is not None:
            yield f".join({owner.__name__}.{target.key})"
        else:
            yield f".join({code_of(target)})"


def _locks(lock: Any) -> Iterator[str]:
    if lock is None:
        return
    if lock.of:
        raise Unwritable("a lock of some tables")
    flags = ("nowait", "read", "skip_locked", "key_share")
    yield f".with_for_update({', '.join(f'{flag}=True' for flag in flags if getattr(lock, flag))})"
