"""Requests above PERFKIT_SLOW_REQUEST, whatever took the time; statements are not judged."""

import time

from flask import Blueprint, Response, abort, jsonify
from sqlalchemy import select

from ..models import User, db

CONFIG = {"PERFKIT_SLOW_QUERY": None, "PERFKIT_SLOW_REQUEST": 0.05}

bp = Blueprint("slow_requests", __name__)


@bp.get("/sleep")
def sleep():
    time.sleep(0.07)  # FINDING slow_request - anywhere
    return ""


@bp.get("/sleep-between-queries")
def sleep_between_queries():
    names = db.session.scalars(select(User.name)).all()  # SILENT x1
    time.sleep(0.07)  # FINDING slow_request - anywhere
    return jsonify(names)


@bp.get("/failing")
def failing():
    # REQUEST status=404
    time.sleep(0.07)  # FINDING slow_request - anywhere
    abort(404)


@bp.get("/slow-stream")
def slow_stream():
    """The view answers at once; the body takes its time."""

    def lines():
        for number in range(4):
            time.sleep(0.02)  # FINDING slow_request - anywhere
            yield f"{number}\n"

    return Response(lines())
