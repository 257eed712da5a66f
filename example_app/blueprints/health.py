from __future__ import annotations

from flask import Blueprint, current_app
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import ServiceUnavailable

from example_app.extensions import db

bp = Blueprint("health", __name__)


@bp.get("/health")
def show_health() -> dict[str, str]:
    try:
        db.session.execute(select(1))
    except SQLAlchemyError:
        current_app.logger.exception("The health check did not reach the database")
        raise ServiceUnavailable("The database does not answer.") from None
    return {"status": "ok", "database": "ok"}
