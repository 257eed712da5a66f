"""What only PostgreSQL has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from paging_models import Document, add_documents, create_app, db
from paging_walk import walk
from sqlalchemy import Select, func, select, true
from sqlalchemy.dialects import postgresql

from flask_perfkit.pagination import CursorParams, PaginationParams, paginate


@pytest.fixture(autouse=True)
def postgresql_app(postgres_url: str) -> Iterator[None]:
    with create_app(postgres_url).app_context():
        yield
        db.session.remove()
        db.engine.dispose()


def distinct_on(query: Select[Any], column: Any) -> Select[Any]:
    if not hasattr(postgresql, "distinct_on"):  # new in SQLAlchemy 2.1
        return query.distinct(column)
    return query.ext(postgresql.distinct_on(column))


def test_distinct_on_picks_its_rows_before_the_page_is_sorted() -> None:
    add_documents(9, users=3)
    latest = distinct_on(select(Document), Document.user_id).order_by(
        Document.user_id, Document.id.desc()
    )
    pages = [paginate(latest, PaginationParams(number, 2)) for number in (1, 2)]
    assert [[item.id for item in page.items] for page in pages] == [[7, 8], [9]]
    assert pages[0].total == 3
    assert [item.id for item in walk(latest, 2)] == [7, 8, 9]
    assert [item.id for item in walk(latest, 2, "-id", sortable={"id": Document.id})] == [9, 8, 7]
    page = paginate(latest, PaginationParams(sort="-id"), sortable={"id": Document.id})
    assert [item.id for item in page.items] == [9, 8, 7]


def test_groups_of_several_levels_all_come() -> None:
    add_documents(9, users=3)
    levels = func.rollup(Document.user_id, Document.size)
    query = select(Document.user_id, Document.size, func.count()).group_by(levels)
    expected = sorted(map(str, db.session.execute(query)))
    assert sorted(map(str, walk(query.order_by(Document.user_id), 2))) == expected


def test_locked_rows_are_counted_without_the_lock() -> None:
    add_documents(5)
    locked = select(Document).with_for_update().order_by(Document.rank)
    assert paginate(locked, PaginationParams(page_size=2)).total == 5
    assert len(walk(locked, 2)) == 5


def test_an_aggregate_is_one_row_whatever_its_name() -> None:
    add_documents(5)
    query = select(func.bool_or(Document.deleted), func.json_agg(Document.id))
    assert [tuple(row) for row in walk(query)] == [(False, [1, 2, 3, 4, 5])]
    assert paginate(query, PaginationParams()).total == 1


def test_a_function_that_makes_rows_is_refused_in_the_select_list_and_walks_in_a_join() -> None:
    add_documents(3)
    with pytest.raises(ValueError, match="in the SELECT list makes: join it"):
        paginate(select(Document.id, func.generate_series(1, 3)), CursorParams())
    numbers = func.generate_series(1, 3).table_valued("n").render_derived()
    query = select(Document.id, numbers.c.n).join(numbers, true()).order_by(numbers.c.n.desc())
    expected = [(document, n) for n in (3, 2, 1) for document in (3, 2, 1)]
    assert sorted(map(tuple, walk(query, 2))) == sorted(expected)
