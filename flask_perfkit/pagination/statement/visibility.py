"""Which sort values the response shows; the others must not be readable in a cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Label, TypeDecorator, inspect
from sqlalchemy.orm import Bundle

from flask_perfkit.pagination.order.relations import element_of
from flask_perfkit.pagination.statement.statement import entity_of

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.types import TypeEngine

    from flask_perfkit.pagination.order.terms import Term


def names_of_selected(statement: Select[Any]) -> dict[int, str]:
    """Return the names under which items show expressions, by the expressions' hashes.

    Those of an entity beside others have its name before them, as in ``User.name``.
    """
    names: dict[int, str] = {}
    descriptions = statement.column_descriptions
    for description in descriptions:
        entity, name = entity_of(description), description["name"]
        if isinstance(description["expr"], Bundle):
            names |= {hash(element_of(column)): name for column in description["expr"].columns}
        elif entity is None:
            expression = element_of(description["expr"])
            names[hash(expression)] = name
            if isinstance(expression, Label):
                names[hash(expression.element)] = name
        else:
            before = f"{name}." if len(descriptions) > 1 else ""
            for attribute in inspect(entity).mapper.column_attrs:
                column = element_of(getattr(entity, attribute.key))
                names[hash(column)] = before + attribute.key
    return names


class Shown(NamedTuple):
    """What a response shows of an item, as it is.

    :param kinds: for each attribute, the Python types of which it shows the very value.
    """

    kinds: Mapping[str, frozenset[type]]


def hides_any(terms: Sequence[Term], names: Sequence[str | None], shown: Shown) -> bool:
    """Whether a sort value may not be seen in the response, or not as it is."""
    return any(
        name != "" and not _is_shown(term.value.type, shown.kinds.get(name or ""))
        for term, name in zip(terms, names, strict=True)
    )


def _is_shown(kind: TypeEngine[Any], shown: frozenset[type] | None) -> bool:
    """Whether values of a type are shown; what a TypeDecorator keeps is another value."""
    if not shown or isinstance(kind, TypeDecorator):
        return False
    return object in shown or python_type_of(kind) in shown


def python_type_of(kind: TypeEngine[Any]) -> type:
    """Return the Python type of a type's values; object where it is not known."""
    try:
        return kind.python_type
    except NotImplementedError:  # SQLAlchemy 2.0; from 2.1 on it is object
        return object
