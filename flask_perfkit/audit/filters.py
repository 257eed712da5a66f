"""Addresses of paginated lists, narrowed by their filters with values that rows have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from sqlalchemy import select

from flask_perfkit.audit.endpoints import Address
from flask_perfkit.faults import log_once

if TYPE_CHECKING:
    from flask import Flask


def filtered(app: Flask, addresses: Iterable[Address]) -> Iterator[Address]:
    """Yield the address of each paginated list with each filter alone, and with all together."""
    for address in tuple(addresses):
        filters = getattr(app.view_functions.get(address.endpoint), "filters", None)
        if address.path is None or not filters:
            continue
        values = {name: _value(app, one) for name, one in filters.items()}
        known = {name: value for name, value in values.items() if value is not None}
        for query in [*({name: value} for name, value in known.items()), known]:
            if query:
                yield address._replace(path=f"{address.path}?{urlencode(query)}")


def _value(app: Flask, filter_: Any) -> Any:
    """Return a value that a row has in the column of a filter, None where none can be read.

    It is the first row's by the primary key, so that an index does not change what is asked.
    """
    session = getattr(app.extensions.get("sqlalchemy"), "session", None)
    if session is None:
        return None
    try:
        column = filter_.reached.column
        statement = select(column).where(column.is_not(None)).limit(1)
        keys = [key for source in statement.get_final_froms() for key in source.primary_key]
        with app.app_context():
            return session.scalar(statement.order_by(*keys))
    except Exception:
        log_once("reading a value for a filter")
        return None
