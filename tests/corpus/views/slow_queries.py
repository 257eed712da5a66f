"""Statements above PERFKIT_SLOW_QUERY; nothing else runs here, so a busy machine flags nothing."""

import asyncio
import time

from flask import Blueprint, jsonify
from sqlalchemy import event, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from ..app import async_engine, plain_engine
from ..models import Document, Ticket, db

CONFIG = {"PERFKIT_SLOW_QUERY": 0.05, "PERFKIT_SLOW_REQUEST": None}

bp = Blueprint("slow_queries", __name__)

slow = func.pg_sleep(0.07).is_not(None)


def init_app(app):
    """Teach SQLite the function that PostgreSQL has."""
    with app.app_context():
        for engine in (db.engine, plain_engine(), async_engine().sync_engine):
            if engine.dialect.name == "sqlite":
                event.listen(engine, "connect", add_pg_sleep)


def add_pg_sleep(connection, record):
    connection.create_function("pg_sleep", 1, lambda seconds: time.sleep(seconds) or "")


@bp.get("/text")
def slow_text():
    db.session.execute(text("SELECT pg_sleep(0.07)"))  # FINDING slow_query -
    return ""


@bp.get("/orm")
def slow_select():
    statement = select(Document.title).where(slow).limit(1)
    return jsonify(db.session.scalars(statement).all())  # FINDING slow_query Document


@bp.get("/core")
def slow_core():
    with plain_engine().connect() as connection:
        # FINDING slow_query Document
        rows = connection.execute(select(Document.__table__.c.id).where(slow).limit(1)).all()
    return jsonify(len(rows))


@bp.post("/update")
def slow_update():
    statement = update(Ticket).where(Ticket.id == 1, slow).values(state="closed")
    options = {"synchronize_session": False}
    db.session.execute(statement, execution_options=options)  # FINDING slow_query Ticket
    db.session.commit()
    return ""


def search(word):
    statement = select(Document.id).where(Document.title == word, slow).limit(1)
    return db.session.scalar(statement)  # FINDING slow_query Document @slow_queries.slow_helper


@bp.get("/helper")
def slow_helper():
    return jsonify(search("document 1"))  # CALLER x1


@bp.get("/async")
async def slow_async():
    async with AsyncSession(async_engine()) as session:
        await session.execute(text("SELECT pg_sleep(0.07)"))  # FINDING slow_query -
    return ""


@bp.get("/slow-python")
async def slow_python():
    """The time goes by outside the database."""
    await asyncio.sleep(0.07)  # SILENT x0
    return ""
