"""Slow work under high thresholds, and thresholds that are off."""

import time

from flask import Blueprint, jsonify
from sqlalchemy import select, text

from ..models import Reading, User, db
from .slow_queries import init_app as init_app

CONFIG = {
    "PERFKIT_SLOW_QUERY": 60.0,
    "PERFKIT_SLOW_REQUEST": None,
    "PERFKIT_UNBOUNDED_ROWS": None,
}

bp = Blueprint("unhurried", __name__)


@bp.get("/slow-statement")
def slow_statement():
    db.session.execute(text("SELECT pg_sleep(0.05)"))  # SILENT x1
    return ""


@bp.get("/slow-view")
def slow_view():
    time.sleep(0.05)
    return jsonify(db.session.scalars(select(User.name)).all())  # SILENT x1


@bp.get("/every-row")
def every_row():
    return jsonify(db.session.scalars(select(Reading.value)).all())  # SILENT x1
