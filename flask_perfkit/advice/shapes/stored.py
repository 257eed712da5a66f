"""The statements of a store as shapes: what all processes sent in a period."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_perfkit.advice.shapes.shape import StatementShape

if TYPE_CHECKING:
    from flask_perfkit.store.reading import Period
    from flask_perfkit.store.store import Store

_MOST_STATEMENTS = 5_000


def shapes_in(store: Store, period: Period) -> list[StatementShape]:
    """Return what was sent in a period; the place of a statement is the route that sent it most."""
    return [
        StatementShape(
            one.sql,
            max(round(one.count), 1),
            one.duration,
            place=one.routes[0].route.name if one.routes else "",
        )
        for one in store.statements(period, limit=_MOST_STATEMENTS).items
    ]
