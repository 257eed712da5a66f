from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, Integer, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from example_app.extensions import db

MAX_ID = 2**63 - 1

# SQLite counts up by itself only where the key's type is exactly INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")


class UTCDateTime(TypeDecorator[datetime]):
    """A moment, in UTC on every database: SQLite keeps no zone, PostgreSQL answers in its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return _in_utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return _in_utc(value)


def _in_utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


class User(db.Model):
    __tablename__ = "users"
    __table_args__ = (Index("ix_users_active_document_id", "active_document_id"),)

    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(320))
    active_document_id: Mapped[int | None] = mapped_column(
        BigInteger,
        ForeignKey(
            "documents.id",
            name="fk_users_active_document_id",
            ondelete="SET NULL",
            use_alter=True,  # users and documents refer to each other
        ),
    )

    documents: Mapped[list[Document]] = relationship(
        back_populates="user", foreign_keys="Document.user_id"
    )
    active_document: Mapped[Document | None] = relationship(
        foreign_keys=active_document_id, post_update=True
    )


class Document(db.Model):
    __tablename__ = "documents"
    __table_args__ = (
        Index("ix_documents_user_id", "user_id"),
        Index("ix_documents_document_type", "document_type"),
        Index("ix_documents_uploaded_at", "uploaded_at"),
        Index("ix_documents_user_id_document_type", "user_id", "document_type"),
        Index("ix_documents_user_id_uploaded_at", "user_id", "uploaded_at"),
    )

    id: Mapped[int] = mapped_column(_Key, primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    title: Mapped[str] = mapped_column(String(255))
    document_type: Mapped[str] = mapped_column(String(50))
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    uploaded_at: Mapped[datetime] = mapped_column(UTCDateTime, default=_now)
    content: Mapped[str] = mapped_column(Text, default="")

    user: Mapped[User] = relationship(back_populates="documents", foreign_keys=user_id)
