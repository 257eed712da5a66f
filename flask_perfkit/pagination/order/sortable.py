"""What a client may sort by: names, each with the column that it means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Select

from flask_perfkit.errors import ParameterError
from flask_perfkit.pagination.order.relations import Reached, read_reached
from flask_perfkit.pagination.order.terms import Term, term_of

if TYPE_CHECKING:
    from flask_perfkit.pagination.order.relations import Column

    Sortable = Mapping[str, Column | tuple[Any, ...]]

_LONGEST_NAME_SHOWN = 40


@dataclass(frozen=True, eq=False)
class SortKey:
    """A name that was asked for, with its direction."""

    reached: Reached
    descending: bool

    def term(self) -> Term:
        """Return what the statement is to be sorted by, once its joins are made."""
        term = term_of(self.reached.expression)
        return Term(term.expression, term.descending != self.descending, term.nulls)


class Ordered(NamedTuple):
    """A statement with the joins that its order needs, and the terms of that order.

    :param terms: empty where the statement's own order stands.
    """

    statement: Any
    terms: Sequence[Term] = ()


def require_names(sortable: Any) -> None:
    """Refuse what is no mapping of names to columns with a TypeError."""
    if not isinstance(sortable, Mapping):
        raise TypeError(
            f"sortable={sortable!r:.80} is a {type(sortable).__name__}: must be a mapping of names "
            'to columns, such as {"title": Document.title}'
        )


def read_sortable(sortable: Sortable) -> dict[str, Reached]:
    """Check what may be sorted by.

    :raises TypeError: it is no mapping of names to columns.
    :raises ValueError: a name could not be asked for.
    """
    require_names(sortable)
    return {name: read_sort_column(name, column) for name, column in sortable.items()}


def read_sort_column(name: str, column: Any) -> Reached:
    """Check one name and its column, as :func:`read_sortable` does."""
    if not isinstance(name, str):
        raise TypeError(f"sortable has the key {name!r:.80}: must be a text, the name in ?sort=")
    if not name or name.startswith("-") or "," in name:
        raise ValueError(
            f'sortable has the name {name!r}, which ?sort= cannot ask for: no comma, no "-" in '
            "front, not empty"
        )
    return read_reached(column, f"sortable[{name!r}]")


def sort_errors(sort: str, names: Collection[str]) -> list[str]:
    """Say what is wrong with a ``sort`` parameter when only these names may be used."""
    unknown = next((name for name, _ in _split(sort) if name not in names), None)
    if unknown is None:
        return []
    shown = repr(unknown[:_LONGEST_NAME_SHOWN])
    if not names:
        return [f"{shown} cannot be sorted by, nor anything else here."]
    return [f"{shown} cannot be sorted by; allowed are {', '.join(names)}."]


def require_default_sort(default_sort: str | None, sortable: Collection[str]) -> None:
    """Refuse a default that clients could not ask for themselves with a ValueError."""
    if default_sort is not None and not isinstance(default_sort, str):
        raise TypeError(f'default_sort={default_sort!r:.80}: must be a text such as "-uploaded_at"')
    messages = sort_errors(default_sort, sortable) if default_sort else []
    if messages:
        raise ValueError(f"default_sort={default_sort!r}: {messages[0]}")


def sort_keys(sort: str, names: Collection[str], read: Callable[[str], Reached]) -> list[SortKey]:
    """Return what a ``sort`` parameter such as ``-uploaded_at,title`` asks for.

    :param read: gives the column of a name.
    :raises ParameterError: it uses another name.
    """
    messages = sort_errors(sort, names)
    if messages:
        raise ParameterError({"sort": messages})
    return [SortKey(read(name), descending) for name, descending in _split(sort)]


def ordered(statement: Any, keys: Sequence[SortKey]) -> Ordered:
    """Make the joins that these keys need.

    :raises TypeError: a UNION would have to be joined.
    :raises ValueError: the query does not read where a path begins, or a path repeats items.
    """
    joined: set[Any] = set()
    for key in keys:
        if key.reached.path:
            if not isinstance(statement, Select):
                raise TypeError(
                    f"{key.reached.where} needs a join, which a UNION cannot have: put the UNION "
                    "into a subquery and select from it"
                )
            statement = key.reached.join(statement, joined)
    return Ordered(statement, [key.term() for key in keys])


def _split(sort: str) -> Iterator[tuple[str, bool]]:
    for name in sort.split(","):
        yield name.removeprefix("-"), name.startswith("-")
