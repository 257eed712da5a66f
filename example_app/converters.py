from __future__ import annotations

from werkzeug.routing import IntegerConverter, Map

from example_app.models import MAX_ID


class RowIdConverter(IntegerConverter):
    """An id that a row can have; the router answers 404 to any other."""

    regex = "[1-9][0-9]{0,18}"

    def __init__(self, map: Map) -> None:  # noqa: A002 (werkzeug's name)
        super().__init__(map, max=MAX_ID)
