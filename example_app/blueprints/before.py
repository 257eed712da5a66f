"""The API as it was before the audit: slow on purpose, with the problems that PerfKit finds."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import redis
from flask import Blueprint, current_app
from sqlalchemy import select
from werkzeug.exceptions import ServiceUnavailable

from example_app.blueprints.analytics import TOP
from example_app.extensions import db
from example_app.models import Document, User
from example_app.schemas import DocumentSchema

bp = Blueprint("before", __name__, url_prefix="/before")


@bp.get("/documents")
def list_documents() -> Any:
    """Answer with every row there is."""
    return DocumentSchema(many=True).dump(db.session.scalars(select(Document)))


@bp.get("/analytics")
def show_analytics() -> dict[str, Any]:
    """Ask for each user's documents one by one, then count and sum in Python."""
    users = db.session.scalars(select(User)).all()
    size = 0
    by_type: Counter[str] = Counter()
    owned: Counter[User] = Counter()
    for user in users:
        for document in user.documents:
            size += document.size
            by_type[document.document_type] += 1
            owned[user] += 1
    top = sorted(owned.items(), key=lambda item: (-item[1], item[0].id))[:TOP]
    return {
        "documents": by_type.total(),
        "users": len(users),
        "size": size,
        "by_type": by_type,
        "top_users": [
            {"id": user.id, "name": user.name, "documents": count} for user, count in top
        ],
    }


@bp.get("/sleep")
async def sleep() -> dict[str, float]:
    """Hold up the event loop, and with it every other request that it serves."""
    seconds = 0.05
    time.sleep(seconds)
    return {"slept": seconds}


@bp.get("/keys")
def count_keys() -> dict[str, int]:
    """Walk through all keys of Redis at once, while every other client waits."""
    url = current_app.config["REDIS_URL"]
    if not url:
        raise ServiceUnavailable(
            "There is no Redis: set REDIS_URL, such as redis://localhost:6379/0."
        )
    try:
        with redis.Redis.from_url(url, socket_timeout=5) as client:
            return {"keys": len(client.keys("*"))}
    except redis.RedisError:
        current_app.logger.exception("Redis did not answer")
        raise ServiceUnavailable("Redis does not answer at REDIS_URL.") from None
