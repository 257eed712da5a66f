"""Objects that are made and written: whether a row of their columns is all that comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import libcst as cst
from sqlalchemy import Column
from sqlalchemy.orm import ColumnProperty, Mapper, Session
from sqlalchemy.orm.mapper import _all_registries

from flask_perfkit.audit.patches.code.module import ModuleTree

_LIBRARIES = ("sqlalchemy", "flask_sqlalchemy", "flask_perfkit")
_OF_SESSIONS = (
    *("before_flush", "after_flush", "after_flush_postexec", "before_attach", "after_attach"),
    *("transient_to_pending", "pending_to_persistent"),
)
_OF_MAPPERS = ("before_insert", "after_insert", "before_update", "after_update")


def is_row_alone(mapper: Mapper[Any], made: cst.Call) -> bool:
    """Tell whether making an object sets its columns and nobody listens to that or to its flush."""
    given = [each.keyword.value if each.keyword is not None else "" for each in made.args]
    constructor: Any = mapper.class_manager.original_init
    return (
        str(constructor.__module__).startswith("sqlalchemy")
        and all(name in mapper.column_attrs for name in given)
        and not _foreign(_listeners(mapper, given))
    )


def is_inserted_alike(mapper: Mapper[Any], made: cst.Call) -> bool:
    """Tell whether an INSERT of the given values is what adding the object does.

    An INSERT writes the NULL of a None; an object that is added leaves it to the default.
    """
    given = {each.keyword.value: each.value for each in made.args if each.keyword is not None}
    return (
        is_row_alone(mapper, made)
        and not mapper.inherits
        and not any(may_be_defaulted(mapper, name, value) for name, value in given.items())
    )


def may_be_defaulted(mapper: Mapper[Any], name: str, value: cst.BaseExpression) -> bool:
    """Tell whether a column has a default that a value, where it is None, is taken for."""
    attribute = mapper.column_attrs.get(name)
    column: Any = attribute.columns[0] if attribute is not None else None
    has_default = attribute is None or column.default is not None
    return (has_default or column.server_default is not None) and not _is_certain(value)


def reads_rows_of(tree: ModuleTree, mapper: Mapper[Any], value: cst.BaseExpression) -> bool:
    """Tell whether a value may be read from the rows of a model: by a relationship, or by SQL."""
    for each in tree.walk(value):
        if isinstance(each, cst.Attribute) and any(
            _leads_to(other, each.attr.value, mapper) for other in all_mappers()
        ):
            return True
    return False


def is_plain_column(name: str) -> bool:
    """Tell whether an attribute, of whatever model, is a column that leads to no other row."""
    found = [each.attrs[name] for each in all_mappers() if name in each.attrs]
    return (
        bool(found)
        and not may_be_unique(name)
        and all(
            isinstance(each, ColumnProperty)
            and isinstance(each.columns[0], Column)
            and not each.columns[0].foreign_keys
            for each in found
        )
    )


def may_be_unique(name: str, mapper: Mapper[Any] | None = None) -> bool:
    """Tell whether an attribute is a column that no two rows may share.

    :param mapper: whose attribute it is; any one may be where that is not known.
    """
    for each in [mapper] if mapper is not None else all_mappers():
        attribute = each.column_attrs.get(name)
        for column in attribute.columns if attribute is not None else ():
            if column.unique or column.primary_key or _is_in_unique(column):
                return True
    return False


def _is_in_unique(column: Any) -> bool:
    table = column.table
    groups = [*getattr(table, "indexes", ()), *getattr(table, "constraints", ())]
    return any(
        (type(each).__name__ == "UniqueConstraint" or getattr(each, "unique", False))
        and column.name in each.columns
        for each in groups
    )


def all_mappers() -> Iterator[Mapper[Any]]:
    """Yield what the process has mapped."""
    for registry in _all_registries():
        yield from registry.mappers


def _leads_to(mapper: Mapper[Any], name: str, target: Mapper[Any]) -> bool:
    relationship = mapper.relationships.get(name)
    if relationship is not None:
        return bool(set(relationship.mapper.tables) & set(target.tables))
    attribute = mapper.column_attrs.get(name)
    return attribute is not None and not isinstance(attribute.columns[0], Column)


def _is_certain(value: cst.BaseExpression) -> bool:
    return isinstance(value, cst.SimpleString | cst.FormattedString | cst.Integer | cst.Float)


def _listeners(mapper: Mapper[Any], given: Iterable[str]) -> Iterator[Any]:
    of_mapper: Any = mapper.dispatch
    for name in _OF_MAPPERS:
        yield from getattr(of_mapper, name)
    of_sessions: Any = Session.dispatch
    for name in _OF_SESSIONS:
        yield from chain.from_iterable(getattr(of_sessions, name)._clslevel.values())
    yield from mapper.validators
    of_class: Any = mapper.class_manager.dispatch
    yield from of_class.init
    for name in given:
        attribute: Any = mapper.class_manager[name]
        yield from attribute.dispatch.set


def _foreign(listeners: Iterable[Any]) -> bool:
    """Tell whether somebody but a library of ours listens."""
    return any(not _is_of_library(each) for each in listeners)


def _is_of_library(listener: Any) -> bool:
    """Tell whether a listener is a library's, and not the application's in a wrapper of it."""
    if not str(getattr(listener, "__module__", "")).startswith(_LIBRARIES):
        return False
    cells = [each.cell_contents for each in getattr(listener, "__closure__", None) or ()]
    return all(_is_of_library(each) for each in cells if callable(each) and type(each) is not type)
