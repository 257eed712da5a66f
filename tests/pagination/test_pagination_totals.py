"""Totals: cached until something changes, or what the planner expects."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from flask import Flask
from paging_models import Document, User, add_documents, create_app, db
from sqlalchemy import create_engine, delete, select, text, union_all
from sqlalchemy.orm import Session, joinedload, with_loader_criteria

from flask_perfkit import PerfKit, QueryCounter
from flask_perfkit.config import Settings
from flask_perfkit.errors import SetupError
from flask_perfkit.pagination import CursorParams, PaginationParams, paginate


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """An application that PerfKit watches, on a file that others can write to."""
    app = create_app(f"sqlite:///{tmp_path / 'totals.db'}", PERFKIT_COUNT_TTL=0.5)
    perfkit = PerfKit(app, db)
    with app.app_context():
        assert perfkit.cache  # open before the first transaction
        yield app
        db.session.remove()
        db.engine.dispose()


def total_of(query: Any, **options: Any) -> int | None:
    """Ask for a page that does not show the total by itself."""
    return paginate(query, PaginationParams(page_size=1), total="cached", **options).total


def counts_run(query: Any) -> int:
    with QueryCounter(threshold=100) as counter:
        total_of(query)
    return sum("count(*)" in item.sql for item in counter.queries)


def test_a_cached_total_is_counted_once(app: Flask) -> None:
    app.extensions["perfkit"].settings = Settings(count_ttl=600)
    add_documents(3)
    counts = [counts_run(select(Document).order_by(Document.title)) for _ in range(3)]
    assert counts == [1, 0, 0]


def test_a_cached_total_is_dropped_when_its_tables_change(app: Flask) -> None:
    app.extensions["perfkit"].settings = Settings(count_ttl=600)
    add_documents(3, users=2)
    joined = select(Document.id, User.name).join(User)
    assert (total_of(select(Document)), total_of(joined), total_of(select(User))) == (3, 3, 2)
    db.session.add(Document(id=4, user_id=1, title="new"))
    assert (total_of(select(Document)), total_of(joined), total_of(select(User))) == (4, 4, 2)
    db.session.rollback()
    assert (total_of(select(Document)), total_of(joined)) == (3, 3)
    db.session.execute(delete(Document).where(Document.id > 1))
    db.session.commit()
    assert (total_of(select(Document)), total_of(joined)) == (1, 1)
    assert counts_run(select(User)) == 0


def test_a_cached_total_that_nobody_saw_change_is_counted_again_after_its_time(
    app: Flask,
) -> None:
    add_documents(3)
    assert total_of(select(Document)) == 3
    db.session.remove()
    with closing(sqlite3.connect(str(db.engine.url.database))) as connection, connection:
        connection.execute("DELETE FROM document WHERE id = 3")
    deadline = monotonic() + 30
    while total_of(select(Document)) != 2:
        assert monotonic() < deadline
        db.session.remove()
        sleep(0.05)


def test_a_cached_total_belongs_to_its_query_and_its_values(app: Flask) -> None:
    add_documents(9, users=3)
    for least, expected in ((1, 9), (4, 6), (1, 9)):
        assert total_of(select(Document).where(Document.id >= least)) == expected
    assert total_of(select(Document).order_by(Document.title)) == 9
    assert total_of(select(User)) == 3
    cursor_page = paginate(select(User), CursorParams(), total="cached")
    assert cursor_page.total == 3


def test_a_cached_total_belongs_to_its_database(app: Flask, tmp_path: Path) -> None:
    add_documents(2)
    assert total_of(select(Document)) == 2
    engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    db.metadata.create_all(engine)
    with Session(engine) as session:
        assert total_of(select(Document), session=session) == 0
        session.add(User(id=1, name="u"))
        session.add_all([Document(id=n, user_id=1, title="t") for n in (1, 2, 3)])
        session.commit()
        assert total_of(select(Document), session=session) == 3
    engine.dispose()
    assert total_of(select(Document)) == 2


def test_without_perfkit_there_is_no_cache_to_keep_totals_in() -> None:
    app = create_app("sqlite://")
    with app.app_context():
        add_documents(3)
        with pytest.raises(SetupError, match=r"perfkit.init_app\(app\) first"):
            total_of(select(Document))
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def on_postgresql(postgres_url: str) -> Iterator[None]:
    with create_app(postgres_url).app_context():
        add_documents(300, users=3)
        db.session.execute(text("ANALYZE"))
        db.session.commit()
        yield
        db.session.remove()
        db.engine.dispose()


@pytest.mark.usefixtures("on_postgresql")
def test_an_estimated_total_is_what_the_planner_expects() -> None:
    params = PaginationParams(page_size=10)
    query = select(Document).options(joinedload(Document.user)).order_by(Document.title)
    assert paginate(query, params, total="estimated").total == 300
    of_one = query.where(Document.user_id == 2)
    assert paginate(of_one, params, total="estimated").total == 100
    hidden = query.options(with_loader_criteria(Document, Document.user_id == 3))
    assert paginate(hidden, params, total="estimated").total == 100
    both = union_all(select(Document.id), select(User.id))
    assert paginate(both, params, total="estimated").total == 303
    assert paginate(query.limit(50), params, total="estimated").total == 50
    assert paginate(query, CursorParams(), total="estimated").total == 300


@pytest.mark.usefixtures("on_postgresql")
def test_an_estimate_gives_way_to_what_the_page_shows() -> None:
    db.session.query(Document).filter(Document.id > 25).delete()
    pages = [
        paginate(select(Document), PaginationParams(number, 10), total="estimated")
        for number in (1, 3)
    ]
    assert pages[0].total == 300
    assert (pages[1].total, pages[1].has_next) == (25, False)
    db.session.rollback()
    none = select(Document).where(Document.title.like("t%"), Document.size + 1 == 1)
    page = paginate(none, PaginationParams(3, 10), total="estimated")
    assert page.total is not None
    assert page.total >= 31


@pytest.mark.parametrize("params", [PaginationParams(), CursorParams()])
def test_a_database_that_cannot_estimate_says_so(params: Any) -> None:
    app = create_app("sqlite://")
    with app.app_context(), pytest.raises(ValueError, match="sqlite cannot tell"):
        paginate(select(Document), params, total="estimated")
    with app.app_context():
        db.engine.dispose()
