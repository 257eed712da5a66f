from __future__ import annotations

from typing import Any

from flask import Blueprint, request, url_for
from flask.views import MethodView
from marshmallow import ValidationError
from sqlalchemy import Insert, Select, Update, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import defer
from werkzeug.exceptions import BadRequest, NotFound

from example_app.extensions import db, perfkit
from example_app.models import Document
from example_app.schemas import DocumentInputSchema, DocumentSchema, FullDocumentSchema

SORTABLE = {
    "id": Document.id,
    "title": Document.title,
    "document_type": Document.document_type,
    "size": Document.size,
    "uploaded_at": Document.uploaded_at,
}

UNKNOWN = "There is no such document."

bp = Blueprint("documents", __name__, url_prefix="/documents")


def select_documents() -> Select[tuple[Document]]:
    """Select documents for a list, which does not show their content."""
    return select(Document).options(defer(Document.content, raiseload=True))


@bp.get("")
@perfkit.paginated(
    DocumentSchema,
    sortable=SORTABLE,
    default_sort="-uploaded_at",
    filters={"user_id": Document.user_id, "document_type": Document.document_type},
)
def list_documents() -> Any:
    return select_documents()


@bp.post("")
def create_document() -> Any:
    body = _write(insert(Document).values(_read_input()))
    return body, 201, {"Location": url_for(".show_document", document_id=body["id"])}


class DocumentView(MethodView):
    """One document, under one rule: with a rule a method, an impossible id would be a 405."""

    def get(self, document_id: int) -> dict[str, Any]:
        return _dump(db.get_or_404(Document, document_id, description=UNKNOWN))

    def patch(self, document_id: int) -> dict[str, Any]:
        changes = _read_input(partial=True)
        if not changes:
            return self.get(document_id)
        return _write(update(Document).where(Document.id == document_id).values(changes))

    def delete(self, document_id: int) -> tuple[str, int]:
        statement = delete(Document).where(Document.id == document_id).returning(Document.id)
        if db.session.scalar(statement) is None:
            raise NotFound(UNKNOWN)
        db.session.commit()
        return "", 204


bp.add_url_rule("/<id:document_id>", view_func=DocumentView.as_view("show_document"))


def _read_input(*, partial: bool = False) -> dict[str, Any]:
    try:
        body = request.get_json()
    except (BadRequest, RecursionError):
        raise BadRequest("The body is not valid JSON, or nested too deeply.") from None
    return DocumentInputSchema(partial=partial).load(body)


def _write(statement: Insert | Update) -> dict[str, Any]:
    """Write one document in one statement, so that nothing can come in between."""
    try:
        document = db.session.scalars(statement.returning(Document)).one_or_none()
    except IntegrityError:
        db.session.rollback()
        raise ValidationError({"user_id": ["No user has this id."]}) from None
    if document is None:
        raise NotFound(UNKNOWN)
    body = _dump(document)
    db.session.commit()
    return body


def _dump(document: Document) -> dict[str, Any]:
    return FullDocumentSchema().dump(document)
