from __future__ import annotations

from typing import Any

from flask import Blueprint
from sqlalchemy import func, select

from example_app.extensions import db, perfkit
from example_app.models import Document, User

TOP = 10

bp = Blueprint("analytics", __name__)


@bp.get("/analytics")
@perfkit.cached_response(depends_on=[Document, User])
def show_analytics() -> dict[str, Any]:
    """Count and sum in the database: three statements, however many rows there are.

    None until a document or a user has changed.
    """
    types = db.session.execute(
        select(Document.document_type, func.count(), func.sum(Document.size)).group_by(
            Document.document_type
        )
    ).all()
    return {
        "documents": sum(count for _, count, _ in types),
        "users": db.session.scalar(select(func.count()).select_from(User)),
        "size": int(sum(size for _, _, size in types)),
        "by_type": {name: count for name, count, _ in types},
        "top_users": _top_users(),
    }


def _top_users() -> list[dict[str, Any]]:
    owned = (
        select(Document.user_id, func.count().label("documents"))
        .group_by(Document.user_id)
        .order_by(func.count().desc(), Document.user_id)
        .limit(TOP)
        .subquery()
    )
    rows = db.session.execute(
        select(User.id, User.name, owned.c.documents)
        .join(owned, owned.c.user_id == User.id)
        .order_by(owned.c.documents.desc(), User.id)
    )
    return [dict(row) for row in rows.mappings()]
