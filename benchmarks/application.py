"""The application that is measured, and how it is asked."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from flask import Flask, Response, jsonify
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import Mapped, mapped_column, relationship

db = SQLAlchemy()


class User(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Document(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    size: Mapped[int]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    user: Mapped[User] = relationship()


def create_app(config: Mapping[str, Any]) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping({"SQLALCHEMY_DATABASE_URI": "sqlite://", **config})
    db.init_app(app)
    app.add_url_rule("/plain", view_func=plain)
    app.add_url_rule("/one", view_func=one)
    app.add_url_rule("/ten", view_func=ten)
    app.add_url_rule("/list", view_func=list_of_50)
    app.add_url_rule("/n-plus-one", view_func=n_plus_one)
    app.add_url_rule("/loop/<int:times>", view_func=loop)
    app.add_url_rule("/documents/<int:document_id>", view_func=document)
    app.add_url_rule("/texts/<int:first>", view_func=texts)
    return app


def fill() -> None:
    """Give each of 100 documents a user of its own."""
    db.create_all()
    for number in range(1, 101):
        user = User(id=number, name=f"user {number}")
        db.session.add(Document(id=number, title=f"title {number}", size=number, user=user))
    db.session.commit()


def plain() -> str:
    return "ok"


def one() -> str:
    db.session.execute(select(Document.id, Document.title).where(Document.id == 7)).all()
    return "ok"


def ten() -> Response:
    """Ask ten different things on ten lines, as a page with many boxes does."""
    session = db.session
    return jsonify(
        [
            session.scalar(select(User.name).where(User.id == 7)),
            session.scalar(select(func.count(User.id))),
            session.scalar(select(func.count(Document.id))),
            session.scalar(select(func.max(Document.size)).where(Document.user_id == 7)),
            session.scalar(select(func.sum(Document.size)).where(Document.id < 20)),
            session.scalar(select(Document.title).order_by(Document.size).limit(1)),
            session.scalar(select(Document.title).where(Document.size > 50).limit(1)),
            session.scalar(select(Document.size).where(Document.title == "title 7")),
            session.scalar(select(User.name).join(Document, Document.user_id == User.id)),
            session.scalar(select(User.id).where(User.name == "user 7")),
        ]
    )


def list_of_50() -> Response:
    documents = db.session.scalars(select(Document).order_by(Document.id).limit(50))
    return jsonify(
        [
            {"id": each.id, "title": each.title, "size": each.size, "user_id": each.user_id}
            for each in documents
        ]
    )


def n_plus_one() -> Response:
    return jsonify([each.user.name for each in db.session.scalars(select(Document))])


def loop(times: int) -> str:
    """Ask the same thing again and again; also called outside of requests, as a job would."""
    for number in range(times):
        db.session.execute(select(Document.title).where(Document.id == number)).all()
    return "ok"


def document(document_id: int) -> str:
    return str(document_id)


def texts(first: int) -> str:
    """Execute ten statements that nobody executed before."""
    connection = db.session.connection()
    for number in range(first, first + 10):
        connection.exec_driver_sql(f"SELECT {number} AS column_{number}").all()
    return "ok"


class Server:
    """Asks an application as a WSGI server does: the body is read to its end and closed."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_SOFTWARE": "benchmark",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        self.status = ""

    def get(self, path: str) -> bytes:
        body: Any = self._app({**self._environ, "PATH_INFO": path}, self._start_response)
        content = b"".join(body)
        close = getattr(body, "close", None)
        if close is not None:
            close()
        return content

    def _start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        self.status = status
        return None
