"""Each statement of a page goes to the engine of its model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_perfkit import PerfKit
from flask_perfkit.pagination import CursorParams, PaginationParams, paginate


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Event(db.Model):
    __bind_key__ = "archive"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[int]


@pytest.fixture(autouse=True)
def archive() -> Iterator[None]:
    app = Flask("binds")
    app.config.update(
        SECRET_KEY="of the binds",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        SQLALCHEMY_BINDS={"archive": "sqlite://"},
    )
    db.init_app(app)
    PerfKit(app, db)
    with app.app_context():
        db.create_all()
        db.session.add_all([Event(id=n, kind=n % 2) for n in range(1, 6)])
        db.session.commit()
        yield
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


@pytest.mark.parametrize("total", ["exact", "cached"])
def test_pages_and_totals_come_from_the_archive(total: str) -> None:
    for query in (select(Event), select(Event).distinct(), select(Event).limit(5)):
        page = paginate(query, PaginationParams(page_size=2), total=total)  # type: ignore[call-overload]
        assert ([event.id for event in page.items], page.total) == ([1, 2], 5)
        first = paginate(query, CursorParams(page_size=2), total=total)  # type: ignore[call-overload]
        second = paginate(query, CursorParams(first.next_cursor, 2))
        assert ([event.id for event in second.items], first.total) == ([3, 4], 5)
