"""Pages stay flat where the order lies in a joined table or in an expression of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from effort import ENOUGH, efforts_by_depth
from paging_models import create_app, db
from sqlalchemy import ForeignKey, Index, Select, String, func, insert, select, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flask_perfkit.pagination import CursorPage, CursorParams, paginate

ROWS = 12_000
START = datetime(2024, 1, 1)


class Author(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))


class Article(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    title: Mapped[str] = mapped_column(String(80))
    written_at: Mapped[datetime]
    author: Mapped[Author] = relationship(innerjoin=True)


class Star(db.Model):
    """An association object: a reader's mark on an article."""

    reader_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    article_id: Mapped[int] = mapped_column(
        ForeignKey("article.id"), primary_key=True, autoincrement=False
    )
    at: Mapped[datetime]


INDEXES = (
    Index("ix_author_name", Author.name, Author.id),
    Index("ix_article_author", Article.author_id, Article.id),
    Index("ix_article_author_written", Article.author_id, Article.written_at, Article.id),
    Index("ix_star_at", Star.reader_id, Star.at, Star.article_id),
)
for index in INDEXES:
    index.table.indexes.discard(index)  # they are made here only


@pytest.fixture
def filled(database_url: str) -> Iterator[None]:
    """Fill the tables: four articles an author, each starred by reader 1, two at a time."""
    numbers = range(1, ROWS + 1)
    with create_app(database_url).app_context():
        for model, rows in (
            (Author, [{"id": n, "name": f"n{n * 7 % 1000:04}"} for n in range(1, ROWS // 4 + 1)]),
            (
                Article,
                [
                    {
                        "id": n,
                        "author_id": n % (ROWS // 4) + 1,
                        "title": f"T{n * 7 % ROWS:05}",
                        "written_at": START + timedelta(seconds=n * 11 % ROWS),
                    }
                    for n in numbers
                ],
            ),
            (
                Star,
                [
                    {"reader_id": 1, "article_id": n, "at": START + timedelta(seconds=n // 2)}
                    for n in numbers
                ],
            ),
        ):
            db.session.execute(insert(model), rows)
        db.session.commit()
        with db.engine.begin() as connection:
            for index in INDEXES:
                index.create(connection)
            if connection.dialect.name != "mariadb":
                connection.execute(text("CREATE INDEX ix_lower ON article (lower(title), id)"))
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if connection.dialect.name == "mariadb":
                connection.execute(text("ANALYZE TABLE article, author, star")).all()
            else:
                connection.execute(text("VACUUM"))
                connection.execute(text("ANALYZE"))
        yield
        db.session.remove()
        db.engine.dispose()


ORDERS: dict[str, Callable[[], Select[Any]]] = {
    "joined": lambda: select(Article.id).join(Article.author).order_by(Author.name, Article.id),
    "joined, two directions": lambda: (
        select(Article.id).join(Article.author).order_by(Author.name, Article.written_at.desc())
    ),
    "association": lambda: (
        select(Article.id)
        .join(Star, Star.article_id == Article.id)
        .where(Star.reader_id == 1)
        .order_by(Star.at.desc())
    ),
    "expression": lambda: select(Article.id).order_by(func.lower(Article.title)),
    "expression, two directions": lambda: select(Article.id).order_by(
        func.lower(Article.title).desc(), Article.id
    ),
}
NO_INDEX = {
    ("mariadb", name)
    for name in ("joined", "joined, two directions", "expression", "expression, two directions")
}
"""MariaDB sorts the rows of a join itself, and has no indexes of expressions."""


@pytest.mark.usefixtures("filled")
def test_a_deep_page_reads_no_more_than_an_early_one_where_an_index_serves(
    subtests: pytest.Subtests,
) -> None:
    dialect = db.engine.dialect.name
    for name, order in ORDERS.items():
        with subtests.test(name):
            efforts = efforts_of(order)
            is_flat = 0 < max(efforts.values()) <= 2 * ENOUGH[dialect]
            assert is_flat == ((dialect, name) not in NO_INDEX), efforts


def efforts_of(order: Callable[[], Select[Any]]) -> dict[tuple[int, bool], int]:
    def page_at(cursor: str | None, size: int) -> CursorPage:
        return paginate(order(), CursorParams(cursor, size))

    return efforts_by_depth(db.engine, ROWS, page_at)
