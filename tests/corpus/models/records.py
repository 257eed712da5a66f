"""Relationships whose mapping says how they load, and tables that stand alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, ForeignKey, Integer, String, Table, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import db


class Label(db.Model):
    __tablename__ = "labels"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

    albums: Mapped[list[Album]] = relationship(back_populates="label", order_by="Album.id")


class Album(db.Model):
    """Every relationship says in the mapping how it is loaded."""

    __tablename__ = "albums"

    id: Mapped[int] = mapped_column(primary_key=True)
    label_id: Mapped[int] = mapped_column(ForeignKey("labels.id"))
    title: Mapped[str]

    label: Mapped[Label] = relationship(lazy="joined", back_populates="albums")
    tracks: Mapped[list[Track]] = relationship(lazy="selectin", order_by="Track.id")
    reviews: Mapped[list[Review]] = relationship(lazy="subquery", order_by="Review.id")
    awards: Mapped[list[Award]] = relationship(lazy="raise", order_by="Award.id")


class Track(db.Model):
    __tablename__ = "tracks"

    id: Mapped[int] = mapped_column(primary_key=True)
    album_id: Mapped[int] = mapped_column(ForeignKey("albums.id"))
    title: Mapped[str]
    seconds: Mapped[int]


class Review(db.Model):
    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(primary_key=True)
    album_id: Mapped[int] = mapped_column(ForeignKey("albums.id"))
    stars: Mapped[int]


class Award(db.Model):
    __tablename__ = "awards"

    id: Mapped[int] = mapped_column(primary_key=True)
    album_id: Mapped[int] = mapped_column(ForeignKey("albums.id"))
    name: Mapped[str]


@dataclass
class Shelf(db.Model):
    """A dataclass, so that Flask's JSON takes it as it is."""

    __tablename__ = "shelves"

    id: Mapped[int] = mapped_column(primary_key=True)  # noqa: RUF009
    name: Mapped[str]
    boxes: Mapped[list[Box]] = relationship(order_by="Box.id")  # noqa: RUF009


@dataclass
class Box(db.Model):
    __tablename__ = "boxes"

    id: Mapped[int] = mapped_column(primary_key=True)  # noqa: RUF009
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelves.id"))  # noqa: RUF009
    content: Mapped[str]


class AuditEntry(db.Model):
    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Ticket(db.Model):
    """A version counter makes each UPDATE a statement of its own."""

    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str]
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Reading(db.Model):
    __tablename__ = "readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    sensor: Mapped[str]
    value: Mapped[int]
    taken_at: Mapped[datetime]


class Setting(db.Model):
    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


metrics = Table(
    "metrics",
    db.metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("value", Integer, nullable=False),
)

partitions = tuple(
    Table(
        f"metrics_{month}",
        db.metadata,
        Column("id", Integer, primary_key=True),
        Column("value", Integer, nullable=False),
    )
    for month in range(1, 9)
)
