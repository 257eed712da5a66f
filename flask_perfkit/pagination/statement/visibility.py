"""Which sort values the response shows; the others must not be readable in a cursor."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from sqlalchemy import Label, inspect
from sqlalchemy.orm import Bundle

from flask_perfkit.pagination.order.terms import element_of
from flask_perfkit.pagination.statement.statement import entity_of

if TYPE_CHECKING:
    from sqlalchemy import Select


def names_of_selected(statement: Select[Any]) -> dict[int, str]:
    """Return the names under which items show expressions, by the expressions' hashes."""
    names: dict[int, str] = {}
    for description in statement.column_descriptions:
        entity, name = entity_of(description), description["name"]
        if isinstance(description["expr"], Bundle):
            names |= {hash(element_of(column)): name for column in description["expr"].columns}
        elif entity is None:
            expression = element_of(description["expr"])
            names[hash(expression)] = name
            if isinstance(expression, Label):
                names[hash(expression.element)] = name
        else:
            for attribute in inspect(entity).mapper.column_attrs:
                names[hash(element_of(getattr(entity, attribute.key)))] = attribute.key
    return names


def hides_any(names: Collection[str | None], dumped: Collection[str] | None) -> bool:
    """Whether a sort value is shown under none of the dumped names; None dumps all of them."""
    if dumped is None:
        return None in names
    return any(name is None or (name != "" and name not in dumped) for name in names)
