"""The tables that the tests page over, and the application round them."""

from __future__ import annotations

import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    Numeric,
    String,
    Table,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


document_tag = Table(
    "document_tag",
    db.metadata,
    Column("document_id", ForeignKey("document.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)

# Without a key: a document may be read by the same user several times.
reading = Table(
    "reading",
    db.metadata,
    Column("document_id", ForeignKey("document.id")),
    Column("user_id", ForeignKey("user.id")),
)


class Tag(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))


class Like(db.Model):
    """An association object."""

    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("document.id"), primary_key=True)
    stars: Mapped[int]


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    documents: Mapped[list[Document]] = relationship(back_populates="user", order_by="Document.id")


class Document(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    title: Mapped[str] = mapped_column(String(80))
    size: Mapped[int] = mapped_column(default=0)
    rank: Mapped[int | None]
    uploaded_at: Mapped[datetime] = mapped_column(default=datetime(2024, 1, 1))
    deleted: Mapped[bool] = mapped_column(default=False)
    note: Mapped[str | None] = mapped_column(String(80), deferred=True)
    user: Mapped[User] = relationship(back_populates="documents")
    tags: Mapped[list[Tag]] = relationship(secondary=document_tag)
    readers: Mapped[list[User]] = relationship(secondary=reading)
    likes: Mapped[list[Like]] = relationship()


class Membership(db.Model):
    """A composite primary key."""

    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    group_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    role: Mapped[str] = mapped_column(String(20))


class Animal(db.Model):
    """Joined inheritance: the columns of a child are NULL for its siblings."""

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__: ClassVar = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Bird(Animal):
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    wingspan: Mapped[int]
    __mapper_args__: ClassVar = {"polymorphic_identity": "bird"}


class Vehicle(db.Model):
    """Joined inheritance whose children are always read along."""

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__: ClassVar = {
        "polymorphic_on": "kind",
        "polymorphic_identity": "vehicle",
        "with_polymorphic": "*",
    }


class Car(Vehicle):
    id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)
    doors: Mapped[int]
    __mapper_args__: ClassVar = {"polymorphic_identity": "car"}


class Staff(db.Model):
    """Single-table inheritance."""

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    __mapper_args__: ClassVar = {"polymorphic_on": "kind", "polymorphic_identity": "staff"}


class Manager(Staff):
    level: Mapped[int | None]
    __mapper_args__: ClassVar = {"polymorphic_identity": "manager"}


# No primary key: rows may be the same throughout.
log = Table("log", db.metadata, Column("level", String(20)), Column("line", Integer))


class Color(enum.Enum):
    RED = 1
    GREEN = 2
    BLUE = 3


class Celsius(TypeDecorator[float]):
    """Kept in tenths of a degree."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> int | None:
        return None if value is None else round(value * 10)

    def process_result_value(self, value: int | None, dialect: Any) -> float | None:
        return None if value is None else value / 10


class Everything(db.Model):
    """A column of every type that can be sorted by."""

    id: Mapped[int] = mapped_column(primary_key=True)
    whole: Mapped[int | None]
    big: Mapped[int | None] = mapped_column(BigInteger)
    text: Mapped[str | None] = mapped_column(String(4000))
    flag: Mapped[bool | None]
    real: Mapped[float | None]
    single: Mapped[float | None] = mapped_column(REAL)
    price: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    moment: Mapped[datetime | None]
    instant: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    day: Mapped[date | None]
    clock: Mapped[time | None]
    span: Mapped[timedelta | None]
    key: Mapped[UUID | None]
    color: Mapped[Color | None]
    data: Mapped[bytes | None]
    warmth: Mapped[float | None] = mapped_column(Celsius)


def create_app(database_url: str, **config: object) -> Flask:
    app = Flask("paging")
    app.config.update(
        TESTING=True, SECRET_KEY="of the tests", SQLALCHEMY_DATABASE_URI=database_url, **config
    )
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
