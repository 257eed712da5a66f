"""The tables that the tests page over, and the application round them."""

from __future__ import annotations

from datetime import datetime

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    documents: Mapped[list[Document]] = relationship(back_populates="user", order_by="Document.id")


class Document(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    title: Mapped[str]
    size: Mapped[int] = mapped_column(default=0)
    rank: Mapped[int | None]
    uploaded_at: Mapped[datetime] = mapped_column(default=datetime(2024, 1, 1))
    deleted: Mapped[bool] = mapped_column(default=False)
    user: Mapped[User] = relationship(back_populates="documents")


def create_app(database_url: str, **config: object) -> Flask:
    app = Flask("paging")
    app.config.update(TESTING=True, SQLALCHEMY_DATABASE_URI=database_url, **config)
    db.init_app(app)
    with app.app_context():
        db.create_all()
    return app


def add_documents(count: int, users: int = 1, **columns: object) -> None:
    """Add documents 1 to ``count``, titled ``t1`` and so on, dealt out to the users in turn."""
    db.session.add_all([User(id=n, name=f"u{n}") for n in range(1, users + 1)])
    db.session.flush()
    db.session.add_all(
        [
            Document(id=n, user_id=(n - 1) % users + 1, title=f"t{n}", **columns)
            for n in range(1, count + 1)
        ]
    )
    db.session.commit()
