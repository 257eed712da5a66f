"""A small schema, and a creator that counts its runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    documents: Mapped[list[Document]] = relationship(
        back_populates="user", passive_deletes=True, cascade="all"
    )


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str]
    user: Mapped[User | None] = relationship(back_populates="documents")


@dataclass
class Counted:
    """A creator that counts its runs."""

    create: Callable[[], Any]
    runs: int = field(default=0)

    def __call__(self) -> Any:
        self.runs += 1
        return self.create()


def fill(engine: sa.Engine) -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([User(id=1, name="Ada"), User(id=2, name="Bob")])
        session.flush()
        session.add_all(
            [Document(id=1, user_id=1, title="a"), Document(id=2, user_id=2, title="b")]
        )
        session.commit()
    if engine.dialect.name == "postgresql":  # so that new rows get numbers of their own
        with engine.begin() as connection:
            for table in ("users", "documents"):
                connection.exec_driver_sql(f"SELECT setval('{table}_id_seq', 100)")


def count_documents(engine: sa.Engine) -> int:
    with Session(engine) as session:
        return session.scalars(sa.select(sa.func.count(Document.id))).one()


def titles(engine: sa.Engine, user_id: int) -> list[str]:
    with Session(engine) as session:
        query = sa.select(Document).where(Document.user_id == user_id).order_by(Document.id)
        return [document.title for document in session.scalars(query)]
