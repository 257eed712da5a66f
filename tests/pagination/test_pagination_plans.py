"""A deep page costs what an early one costs: counted in what the database reads, not in time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from effort import ENOUGH, effort_of, efforts_by_depth
from flask import Flask
from paging_models import Document, User, db
from sqlalchemy import Index, insert, select, text

from flask_perfkit.pagination import CursorPage, CursorParams, PaginationParams, paginate

pytestmark = pytest.mark.slow

ROWS = 20_000
INDEXES = (
    Index("ix_uploaded", Document.uploaded_at, Document.id),
    Index("ix_rank", Document.rank, Document.id),
    Index("ix_size", Document.size, Document.id),
    Index("ix_size_down", Document.size.desc(), Document.id),
)
for index in INDEXES:  # they are made here only
    Document.__table__.indexes.discard(index)

SORTABLE: dict[str, Any] = {
    "uploaded_at": Document.uploaded_at,
    "rank": Document.rank,
    "size": Document.size,
    "id": Document.id,
}


@pytest.fixture
def filled(app: Flask) -> None:
    """Fill the table: times of three rows each, four sizes, no rank in every fifth row."""
    db.session.add(User(id=1, name="u"))
    db.session.flush()
    start = datetime(2024, 1, 1)
    db.session.execute(
        insert(Document),
        [
            {
                "id": number,
                "user_id": 1,
                "title": f"t{number}",
                "size": number % 4,
                "rank": None if number % 5 == 0 else number * 7 % ROWS,
                "uploaded_at": start + timedelta(seconds=number // 3),
            }
            for number in range(1, ROWS + 1)
        ],
    )
    db.session.commit()
    with db.engine.begin() as connection:
        for index in INDEXES:
            index.create(connection)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "mariadb":
            connection.execute(text("ANALYZE TABLE document")).all()
        else:
            connection.execute(text("VACUUM"))
            connection.execute(text("ANALYZE"))


SORTS = (
    "id",
    "-uploaded_at",
    "uploaded_at",
    "rank",  # NULLs behind on PostgreSQL, in front elsewhere
    "-rank",
    "size",  # a quarter of the table ties
    "-size,id",  # two directions
)


@pytest.mark.usefixtures("filled")
def test_a_deep_page_reads_no_more_than_an_early_one(subtests: pytest.Subtests) -> None:
    enough = ENOUGH[db.engine.dialect.name]
    for sort in SORTS:
        with subtests.test(sort):
            assert 0 < max((efforts := efforts_of(sort)).values()) <= enough, efforts
    with effort_of(db.engine) as effort:  # the measure tells a walk from a look-up
        deep = PaginationParams(page=ROWS // 11, page_size=10)
        paginate(select(Document).order_by(Document.uploaded_at), deep, total=None)
    assert effort.amount > enough


def efforts_of(sort: str) -> dict[tuple[int, bool], int]:
    def page_at(cursor: str | None, size: int) -> CursorPage:
        return paginate(select(Document.id), CursorParams(cursor, size, sort), sortable=SORTABLE)

    return efforts_by_depth(db.engine, ROWS, page_at)
