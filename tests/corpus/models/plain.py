"""Models of plain SQLAlchemy, which know of no Flask extension."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class PlainBase(AsyncAttrs, DeclarativeBase):
    pass


class Author(PlainBase):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

    books: Mapped[list[Book]] = relationship(
        back_populates="author", foreign_keys="Book.author_id", order_by="Book.id"
    )


class Book(PlainBase):
    """Two relationships lead to the table of authors."""

    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    translator_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    title: Mapped[str]
    copies: Mapped[int]

    author: Mapped[Author] = relationship(back_populates="books", foreign_keys=[author_id])
    translator: Mapped[Author] = relationship(foreign_keys=[translator_id])
    chapters: Mapped[list[Chapter]] = relationship(back_populates="book", order_by="Chapter.id")


class Chapter(PlainBase):
    __tablename__ = "chapters"

    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("books.id"))
    heading: Mapped[str]

    book: Mapped[Book] = relationship(back_populates="chapters")
