"""Authors with two collections, for tests that ask a database by themselves, without Flask."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from flask_perfkit import Finding, QueryCounter


class Base(DeclarativeBase):
    pass


book_tags = sa.Table(
    "book_tags",
    Base.metadata,
    sa.Column("book_id", sa.ForeignKey("books.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
)


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    biography: Mapped[str] = mapped_column(sa.Text)
    books: Mapped[list[Book]] = relationship(
        back_populates="author", foreign_keys="Book.author_id", order_by="Book.id"
    )
    awards: Mapped[list[Award]] = relationship()


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    pages: Mapped[int]
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    editor_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books", foreign_keys=author_id)
    editor: Mapped[Author] = relationship(foreign_keys=editor_id)
    tags: Mapped[list[Tag]] = relationship(secondary=book_tags)


class Award(Base):
    __tablename__ = "awards"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


AUTHORS = range(1, 11)
BOOKS = [(6 * author - 5 + each, author, each) for author in AUTHORS for each in range(6)]
ROWS: dict[sa.Table, list[dict[str, object]]] = {
    Base.metadata.tables["authors"]: [
        *({"id": n, "name": f"author {n}", "biography": "b" * 500} for n in AUTHORS),
        {"id": 11, "name": "Editor", "biography": "none"},
    ],
    Base.metadata.tables["tags"]: [{"id": n, "name": f"tag {n - 1}"} for n in range(1, 6)],
    Base.metadata.tables["awards"]: [{"id": n, "author_id": author} for n, author, _ in BOOKS],
    Base.metadata.tables["books"]: [
        {"id": n, "title": f"book {each}", "pages": 100, "author_id": author, "editor_id": 11}
        for n, author, each in BOOKS
    ],
    book_tags: [{"book_id": n, "tag_id": tag} for n, _, _ in BOOKS for tag in range(1, 6)],
}


def fill(session: Session) -> None:
    """Add 10 authors, each with 6 books of 100 pages and 6 awards; each book has 5 tags."""
    for table, rows in ROWS.items():
        session.execute(sa.insert(table), rows)
    session.commit()


def findings(ask: Callable[[Session], object], session: Session, kind: str) -> list[Finding]:
    """Return the findings of one kind that a function leaves, which gets the session."""
    with QueryCounter() as counter:
        ask(session)
    return [finding for finding in counter.findings if finding.kind == kind]
