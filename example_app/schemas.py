from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load
from marshmallow.validate import Length, Range

from example_app.models import MAX_ID


class DocumentSchema(Schema):
    """A document in a list."""

    id = fields.Integer()
    user_id = fields.Integer()
    title = fields.String()
    document_type = fields.String()
    size = fields.Integer()
    uploaded_at = fields.DateTime()


class FullDocumentSchema(DocumentSchema):
    """A document by itself."""

    content = fields.String()


def _storable(text: str) -> None:
    """Refuse what PostgreSQL cannot store, on every database."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError("Half a surrogate pair is no text.") from None
    if "\0" in text:
        raise ValidationError("NUL characters are not allowed.")


class DocumentInputSchema(Schema):
    """What a client may write."""

    user_id = fields.Integer(required=True, strict=True, validate=Range(1, MAX_ID))
    title = fields.String(required=True, validate=[Length(1, 255), _storable])
    document_type = fields.String(required=True, validate=[Length(1, 50), _storable])
    content = fields.String(required=True, validate=_storable)

    @post_load
    def _measure(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "content" in data:
            data["size"] = len(data["content"].encode())
        return data
