"""What one list offers its clients: parameters, orders, filters and page sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import CompoundSelect

from flask_perfkit.errors import ParameterError
from flask_perfkit.pagination.http.filters import narrow, read_filters
from flask_perfkit.pagination.http.params import chosen_params
from flask_perfkit.pagination.http.schemas import (
    AnyPageParamsSchema,
    load_parameters,
    params_schema,
)
from flask_perfkit.pagination.order.sortable import (
    read_sortable,
    require_default_sort,
    sort_keys,
)

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

    from flask_perfkit.pagination.http.filters import Filters
    from flask_perfkit.pagination.http.params import CursorParams, PaginationParams
    from flask_perfkit.pagination.order.sortable import Sortable, SortKey


class Asked(NamedTuple):
    """What one request asks for."""

    params: PaginationParams | CursorParams
    keys: list[SortKey]
    values: dict[str, Any]


class Listing:
    """The declaration of a list, checked.

    :param names: of query parameters, by what they are called without it.
    :raises ValueError: a value is not among what is allowed.
    :raises TypeError: a value is not what its name says.
    """

    def __init__(
        self,
        sortable: Sortable,
        default_sort: str | None,
        filters: Filters,
        names: Mapping[str, str],
        page_size: int | None,
        max_page_size: int | None,
        *,
        around: bool,
    ) -> None:
        if not isinstance(around, bool):
            raise TypeError(f"around={around!r:.80}: must be True or False")
        self.names = _checked_names(names)
        _require_sizes(page_size=page_size, max_page_size=max_page_size)
        self._sortable = read_sortable(sortable)
        require_default_sort(default_sort, self._sortable)
        self._default_sort = default_sort
        self.filters = read_filters(filters)
        self.schema = params_schema(
            self._sortable,
            {name: item.field for name, item in self.filters.items()},
            names=self.names,
            page_size=page_size,
            max_page_size=max_page_size,
            around=around,
        )
        self._is_tried = False

    def read(self, arguments: MultiDict[str, str]) -> Asked:
        """Read query parameters.

        :raises ParameterError: names every bad parameter at once.
        """
        values = load_parameters(self.schema(), arguments)
        params = chosen_params(values)
        sort = params.sort or self._default_sort
        keys = sort_keys(sort, self._sortable, self._sortable.__getitem__) if sort else []
        return Asked(params, keys, values)

    def narrow(self, statement: Any, asked: Asked) -> Any:
        """Return the statement with the filters that were asked for.

        The first statement tries all that is declared: what does not fit it is to be seen on the
        first page, and not when somebody asks for it.

        :raises ValueError: a filter or an order does not fit the statement.
        :raises TypeError: the statement is a UNION.
        """
        if isinstance(statement, CompoundSelect):
            if self.filters:
                raise TypeError(
                    "filters need a select: put the UNION into a subquery and select from it"
                )
            return statement
        if not self._is_tried:
            self._try(statement)
            self._is_tried = True
        return narrow(statement, self.filters, asked.values)

    def _try(self, statement: Any) -> None:
        for reached in self._sortable.values():
            reached.require_start(statement)
            reached.join(statement, set())
        for item in self.filters.values():
            item.reached.require_start(statement)

    def renamed(self, error: ParameterError) -> ParameterError:
        """Return an error that calls parameters as this list does."""
        names = {name: self.names.get(name, name) for name in error.errors}
        if all(name == called for name, called in names.items()):
            return error
        return ParameterError({names[name]: found for name, found in error.errors.items()})


def _checked_names(names: Any) -> dict[str, str]:
    allowed = [*AnyPageParamsSchema._declared_fields, "around"]
    if not isinstance(names, Mapping):
        raise TypeError(f'parameters={names!r:.80}: must be a mapping such as {{"sort": "order"}}')
    for name, called in names.items():
        if name not in allowed:
            raise ValueError(
                f"parameters has the key {name!r:.80}; allowed are {', '.join(allowed)}"
            )
        if not isinstance(called, str) or not called:
            raise TypeError(f"parameters[{name!r}]={called!r:.80}: must be a parameter's name")
    used = [names.get(name, name) for name in allowed]
    twice = next((called for called in used if used.count(called) > 1), None)
    if twice is not None:
        raise ValueError(f"parameters: two of them would be called {twice!r}")
    return dict(names)


def _require_sizes(*, page_size: Any, max_page_size: Any) -> None:
    sizes = {"page_size": page_size, "max_page_size": max_page_size}
    for name, size in sizes.items():
        if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
            raise TypeError(f"{name}={size!r:.80}: must be a whole number from 1 on")
        if size is not None and size < 1:
            raise ValueError(f"{name}={size}: must be a whole number from 1 on")
    if page_size is not None and max_page_size is not None and page_size > max_page_size:
        raise ValueError(f"page_size={page_size} is more than max_page_size={max_page_size}")
