"""The statement as it is: its joins, its values, its options, its own tables only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, fields
from paging_models import (
    Animal,
    Bird,
    Document,
    Like,
    Tag,
    User,
    add_documents,
    db,
    document_tag,
    reading,
)
from paging_walk import walk
from sqlalchemy import (
    JSON,
    Select,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    literal,
    literal_column,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import ORMExecuteState, aliased, with_loader_criteria

from flask_perfkit import PerfKit
from flask_perfkit.errors import CursorError
from flask_perfkit.pagination import CursorParams, PaginationParams, paginate, paginated

pytestmark = pytest.mark.usefixtures("app")


class DocumentSchema(Schema):
    id = fields.Integer()
    title = fields.String()


def add_linked_documents() -> None:
    """Add 9 documents of 3 users, with tags, likes and readings; some have none, some several."""
    add_documents(9, users=3)
    db.session.add_all([Tag(id=n, name=f"t{n % 2}") for n in (1, 2, 3)])
    db.session.flush()
    links = [(d, t) for d in range(1, 8) for t in (1, 2, 3) if (d + t) % 2]
    db.session.execute(insert(document_tag), [{"document_id": d, "tag_id": t} for d, t in links])
    db.session.execute(
        insert(reading),
        [{"document_id": d, "user_id": u} for d in (1, 1, 2, 3, 3) for u in (1, 1, 2)],
    )
    db.session.add_all(
        [Like(user_id=u, document_id=d, stars=(u * d) % 3) for u in (1, 2) for d in range(1, 9)]
    )
    db.session.commit()


def _liked_by(user: int) -> Select[Any]:
    likes = select(Document).join(Document.likes).where(Like.user_id == bindparam("me"))
    return likes.order_by(Like.stars.desc()).params(me=user)


def _nested(user: int) -> Select[Any]:
    """Give the value to a subquery, and another one outside of it."""
    mine = select(Like.document_id).where(Like.user_id == bindparam("me")).params(me=user)
    found = select(Document.id).where(Document.id.in_(mine), Document.id > bindparam("least"))
    return found.params(least=2)


def _partitioned() -> Select[Any]:
    place = func.row_number().over(partition_by=Document.user_id, order_by=Document.id.desc())
    ranked = select(Document.id, Document.user_id, place.label("place")).subquery()
    return select(ranked).where(ranked.c.place <= 2)


def _union_with_json() -> Select[Any]:
    body = type_coerce(literal('{"a": 1}'), JSON)
    rows = union_all(
        select(Document.id, body.label("body")), select(Document.id, body.label("body"))
    ).subquery()
    return select(rows.c.id, rows.c.body)


SHAPES: dict[str, Callable[[], Any]] = {
    "secondary": lambda: select(Document).join(Document.tags),
    "secondary, both entities": lambda: select(Document, Tag).join(Document.tags),
    "secondary, columns": lambda: select(Tag.name, Document.title).join(Document.tags),
    "secondary, outer": lambda: select(Document, Tag.name).outerjoin(Document.tags),
    "secondary, alias": lambda: select(Document).join(Document.tags.of_type(aliased(Tag))),
    "secondary without a key": lambda: select(Document).join(Document.readers),
    "two secondaries": lambda: select(Document).join(Document.tags).join(Document.readers),
    "association": lambda: select(Document, Like).join(Document.likes),
    "association of one": lambda: _liked_by(2),
    "params in a subquery": lambda: _nested(1),
    "second entity": lambda: select(Document, User).join(Document.user),
    "partition": _partitioned,
    "union with json": _union_with_json,
    "union all": lambda: union_all(
        select(Document.user_id, Document.title), select(User.id, User.name)
    ),
}


def _sortable(query: Any) -> dict[str, Any]:
    """Return what the shape can be sorted by: whatever it selects or reads."""
    columns = getattr(query, "selected_columns", ())
    return {f"c{n}": part for n, part in enumerate(columns) if not isinstance(part.type, JSON)}


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    signs=st.lists(st.sampled_from(["", "-"]), min_size=2, max_size=2),
    choice=st.data(),
    size=st.integers(1, 5),
)
def test_each_row_comes_as_often_as_the_statement_has_it(
    shape: str, signs: list[str], choice: st.DataObject, size: int
) -> None:
    if db.session.scalar(select(func.count(Document.id))) == 0:
        add_linked_documents()
    query = SHAPES[shape]()
    sortable = _sortable(query)
    names = choice.draw(st.lists(st.sampled_from(sorted(sortable)), max_size=2, unique=True))
    sort = ",".join(map("".join, zip(signs, names, strict=False))) or None
    rows = sorted(map(_text, db.session.execute(query)))
    assert sorted(map(_text, walk(query, size, sort, sortable=sortable))) == rows
    assert paginate(query, PaginationParams(page_size=3)).total == len(rows)


def _text(row: Any) -> str:
    parts = [row] if isinstance(row, db.Model) else list(row)
    return repr([_part(part) for part in parts])


def _part(part: Any) -> Any:
    return db.inspect(part).identity if isinstance(part, db.Model) else part


def test_values_given_by_params_are_those_of_each_request() -> None:
    add_linked_documents()
    expected = {
        user: list(
            db.session.scalars(
                select(Like.document_id)
                .where(Like.user_id == user)
                .order_by(Like.stars.desc(), Like.document_id.desc())
            )
        )
        for user in (1, 2)
    }
    for user in (1, 2, 1):
        assert [item.id for item in walk(_liked_by(user), 3)] == expected[user]
    db.session.execute(Like.__table__.delete().where(Like.user_id == 2, Like.document_id > 3))
    for user, count in ((1, 8), (2, 3), (1, 8)):
        assert paginate(_liked_by(user), PaginationParams()).total == count
    cursor = paginate(_liked_by(1), CursorParams(page_size=2)).next_cursor
    with pytest.raises(CursorError, match="another query"):
        paginate(_liked_by(2), CursorParams(cursor, 2))


def test_a_value_that_nobody_gave_is_an_error_and_no_empty_page() -> None:
    add_linked_documents()
    assert len(walk(_liked_by(1))) == 8
    forgotten = select(Document).join(Document.likes).where(Like.user_id == bindparam("me"))
    with pytest.raises(Exception, match="me"):
        paginate(forgotten.order_by(Like.stars.desc()), CursorParams())


def test_kept_totals_of_other_values_are_others(app: Flask) -> None:
    PerfKit(app, db)
    add_linked_documents()
    db.session.execute(Like.__table__.delete().where(Like.user_id == 2, Like.document_id > 3))
    db.session.commit()
    for user, count in ((1, 8), (2, 3)):
        page = paginate(_liked_by(user), PaginationParams(page_size=1), total="cached")
        assert page.total == count


def test_an_execution_option_that_the_application_goes_by_makes_another_query(app: Flask) -> None:
    PerfKit(app, db)
    add_documents(9)

    def keep_tenants_apart(state: ORMExecuteState) -> None:
        if state.execution_options.get("tenant") == "b":
            state.statement = state.statement.options(
                with_loader_criteria(Document, Document.id > 5)
            )

    event.listen(db.session, "do_orm_execute", keep_tenants_apart)
    first = select(Document)
    other = first.execution_options(tenant="b")
    for query, count in ((first, 9), (other, 4), (first, 9)):
        assert paginate(query, PaginationParams(page_size=1), total="cached").total == count
        assert paginate(query.distinct(), PaginationParams(page_size=1)).total == count
        assert len(walk(query, 3)) == count
    cursor = paginate(first, CursorParams(page_size=1)).next_cursor
    with pytest.raises(CursorError, match="another query"):
        paginate(other, CursorParams(cursor, 1))
    event.remove(db.session, "do_orm_execute", keep_tenants_apart)


@pytest.mark.parametrize(
    ("query", "sortable", "missing"),
    [
        (lambda: select(Document), User.name, "user"),
        (lambda: select(Document), func.lower(User.name), "user"),
        (lambda: select(Animal), Bird.wingspan, "bird"),
        (lambda: select(aliased(Document)), Document.title, "document"),
        (lambda: select(Document).limit(5), User.name, "user"),
        (lambda: select(Document).join(Document.tags), document_tag.c.tag_id, "document_tag"),
    ],
)
def test_a_table_that_the_query_does_not_read_is_named(
    query: Callable[[], Any], sortable: Any, missing: str
) -> None:
    add_linked_documents()
    for params in (CursorParams(sort="it"), PaginationParams(sort="it")):
        with pytest.raises(ValueError, match=f"does not read {missing}: join it"):
            paginate(query(), params, sortable={"it": sortable})


def test_the_first_page_tells_what_could_never_be_asked_for(app: Flask) -> None:
    add_linked_documents()
    for options in (
        {"sortable": {"owner": User.name}},
        {"filters": {"owner": User.name}},
        {"sortable": {"owner": (Like.user_id, User.name)}},
    ):
        with app.test_request_context("/"), pytest.raises((ValueError, TypeError), match="owner"):
            paginated(DocumentSchema, **options)(lambda: select(Document))()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("order", "cure"),
    [
        (literal_column("title"), "name a column instead"),
        (literal_column("2"), "name a column instead"),
        (func.random(), "which is another value each time"),
    ],
)
def test_an_order_that_no_condition_can_repeat_is_refused(order: Any, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        paginate(select(Document.id, Document.title).order_by(order), CursorParams())


def _sharded() -> ShardedSession:
    return ShardedSession(
        shard_chooser=lambda *_: "a",
        identity_chooser=lambda *_, **__: ["a"],
        execute_chooser=lambda _: ["a"],
        shards={"a": create_engine("sqlite://")},
    )


def test_what_is_no_session_for_pages_is_refused_with_the_cure() -> None:
    query = select(Document)
    wrong = {
        AsyncSession(create_async_engine("sqlite+aiosqlite://")): "run_sync",
        _sharded(): "several databases",
        "session": "must be a Session or a scoped_session",
    }
    for session, cure in wrong.items():
        with pytest.raises(TypeError, match=cure):
            paginate(query, PaginationParams(), session=session)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="must be PaginationParams or CursorParams"):
        paginate(query, {"page": 1})  # type: ignore[call-overload]
