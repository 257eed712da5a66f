"""The cursors of one query: each the text of a place in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, overload

from flask_perfkit.errors import CursorError
from flask_perfkit.pagination.app import current_endpoint, current_secrets
from flask_perfkit.pagination.cursor.fingerprint import (
    compiled_with_values,
    fingerprint,
    options_text,
    type_text,
)
from flask_perfkit.pagination.cursor.sealing import require_sealing
from flask_perfkit.pagination.cursor.token import LONGEST, read_cursor, write_cursor
from flask_perfkit.pagination.statement.page import values_at
from flask_perfkit.pagination.statement.visibility import hides_any

if TYPE_CHECKING:
    from flask_perfkit.pagination.cursor.token import CursorPosition
    from flask_perfkit.pagination.statement.layout import Laid
    from flask_perfkit.pagination.statement.rows import Source
    from flask_perfkit.pagination.statement.visibility import Shown


class Places(NamedTuple):
    """Writes and reads the cursors of one query."""

    source: Source
    laid: Laid
    fingerprint: bytes
    secrets: tuple[bytes, ...]
    is_sealed: bool

    @classmethod
    def of(cls, laid: Laid, source: Source, shown: Shown) -> Places:
        """Return those of a query whose response shows of an item what is said here.

        :raises ExtraMissing: its cursors are to be sealed, and the extra is not installed.
        """
        is_sealed = hides_any(laid.layout.terms, laid.layout.names, shown)
        if is_sealed:
            require_sealing()
        return cls(source, laid, _fingerprint(laid, source), current_secrets(), is_sealed)

    @overload
    def write(self, place: CursorPosition) -> str: ...

    @overload
    def write(self, place: CursorPosition | None) -> str | None: ...

    def write(self, place: CursorPosition | None) -> str | None:
        """Return the cursor of a place, if there is one.

        Of values too long for a URL it carries the key of their row only, where there is one.

        :raises ValueError: there is none.
        """
        if place is None:
            return None
        text = self._written(place)
        if len(text) <= LONGEST:
            return text
        if self.laid.layout.finds_by_key and not place.is_key:
            values = tuple(place.values[at] for at in self.laid.layout.identity_positions)
            text = self._written(place._replace(values=values, is_key=True))
        if len(text) > LONGEST:
            raise ValueError(
                f"a sort value is too long for a cursor of {LONGEST} characters: sort by its "
                "beginning, such as func.substr(Document.title, 1, 200)"
            )
        return text

    def read(self, text: str) -> CursorPosition:
        """Return the place that a cursor stands for.

        :raises CursorError: the text is of no use here, or the row is gone whose key it carries.
        """
        place = read_cursor(text, self.fingerprint, self.secrets)
        if not place.is_key:
            return place
        condition, parameters = self.laid.layout.keyset.found_by(
            self.laid.layout.identity_positions, place.values
        )
        values = values_at(self.source, self.laid, condition, parameters)
        if values is None:
            raise CursorError("The row that it points at is gone: start again at the first page.")
        return place._replace(values=values, is_key=False)

    def _written(self, place: CursorPosition) -> str:
        return write_cursor(place, self.fingerprint, self.secrets, sealed=self.is_sealed)


def _fingerprint(laid: Laid, source: Source) -> bytes:
    layout, values, dialect = laid.layout, laid.values, source.bind.dialect
    if layout.sql is None or values is None:
        ordered = laid.statement.order_by(*layout.order_by)
        sql, found = compiled_with_values(ordered, dialect)
        types = (type_text(term.value.type, dialect) for term in layout.terms)
        layout.sql = "\0".join((sql, *types))
        values = found if values is None else values
    options = options_text(source.options_of(laid.statement))
    return fingerprint(layout.sql, values, dialect, current_endpoint() or "", options)
