"""Totals: cached for a while, or what the planner expects."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from paging_models import Document, User, add_documents, create_app, db
from sqlalchemy import select, text, union_all
from sqlalchemy.orm import joinedload, with_loader_criteria

from flask_perfkit.config import Settings
from flask_perfkit.pagination import CursorParams, PaginationParams, kept, paginate


class Clock:
    now = 1_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kept, "monotonic", lambda: clock.now)
    return clock


def total_of(query: Any, **options: Any) -> int | None:
    """Ask for a page that does not show the total by itself."""
    return paginate(query, PaginationParams(page_size=1), total="cached", **options).total


def test_a_cached_total_is_counted_again_after_its_time(app: Flask, clock: Clock) -> None:
    add_documents(3)
    assert total_of(select(Document)) == 3
    db.session.add(Document(id=4, user_id=1, title="new"))
    db.session.commit()
    clock.now += 29.9
    assert total_of(select(Document)) == 3
    clock.now += 0.2
    assert total_of(select(Document)) == 4
    app.extensions["perfkit"] = SimpleNamespace(settings=Settings(count_ttl=5))
    clock.now += 31
    assert total_of(select(Document)) == 4
    db.session.delete(db.session.get(Document, 1))
    db.session.commit()
    clock.now += 5.1
    assert total_of(select(Document)) == 3


def test_a_cached_total_belongs_to_its_query_and_its_values(app: Flask, clock: Clock) -> None:
    add_documents(9, users=3)
    for least, expected in ((1, 9), (4, 6), (1, 9)):
        assert total_of(select(Document).where(Document.id >= least)) == expected
    assert total_of(select(Document).order_by(Document.title)) == 9
    assert total_of(select(User)) == 3
    cursor_page = paginate(select(User), CursorParams(), total="cached")
    assert cursor_page.total == 3


def test_a_cached_total_belongs_to_its_database(clock: Clock) -> None:
    totals = []
    for count in (2, 5):
        app = create_app("sqlite://")
        with app.app_context():
            add_documents(count)
            totals.append(total_of(select(Document)))
            db.session.remove()
            db.engine.dispose()
    assert totals == [2, 5]


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
