from __future__ import annotations

from typing import Any

from flask import Blueprint

from example_app.blueprints.documents import SORTABLE, select_documents
from example_app.extensions import db, perfkit
from example_app.models import Document, User
from example_app.schemas import DocumentSchema

bp = Blueprint("users", __name__, url_prefix="/users")


@bp.get("/<id:user_id>/documents")
@perfkit.paginated(
    DocumentSchema,
    sortable=SORTABLE,
    default_sort="-uploaded_at",
    filters={"document_type": Document.document_type},
)
def list_documents(user_id: int) -> Any:
    db.get_or_404(User, user_id, description="There is no such user.")
    return select_documents().where(Document.user_id == user_id)
