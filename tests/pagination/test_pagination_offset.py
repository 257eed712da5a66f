"""Offset pages: what they hold, in which order, and what they count."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from paging_models import Document, User, add_documents, db
from sqlalchemy import (
    Select,
    create_engine,
    delete,
    event,
    func,
    literal,
    select,
    text,
    union,
    union_all,
    update,
)
from sqlalchemy.orm import (
    Session,
    aliased,
    contains_eager,
    joinedload,
    selectinload,
    sessionmaker,
    with_loader_criteria,
)

from flask_perfkit.errors import ParameterError, SetupError
from flask_perfkit.pagination import CursorParams, Page, PaginationParams, paginate

pytestmark = pytest.mark.usefixtures("app")


def walk(query: Any, size: int = 3, **options: Any) -> list[Any]:
    """Read all pages, checking on the way that each says the truth about itself."""
    items: list[Any] = []
    number = 1
    while True:
        page = paginate(query, PaginationParams(number, size), **options)
        items += page.items
        assert page.has_previous == (number > 1)
        assert page.has_next == (page.total is not None and len(items) < page.total)
        if not page.has_next:
            assert page.total == len(items)
            return items
        assert len(page.items) == size
        number += 1


def ids(entities: list[Any]) -> list[int]:
    return [entity.id for entity in entities]


def statements(engine: Any) -> list[str]:
    """Collect the SQL that the engine runs from now on."""
    seen: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def collect(conn: Any, cursor: Any, sql: str, *args: Any) -> None:
        seen.append(" ".join(sql.split()))

    return seen


def test_a_page_knows_where_it_stands() -> None:
    add_documents(7)
    page = paginate(select(Document), PaginationParams(page=2, page_size=3))
    assert ids(page.items) == [4, 5, 6]
    assert (page.total, page.page, page.page_size, page.total_pages) == (7, 2, 3, 3)
    assert (page.has_next, page.has_previous) == (True, True)


def test_pages_beyond_the_end_are_empty_with_true_totals() -> None:
    add_documents(7)
    for number in (4, 10**18, 10**40):
        page = paginate(select(Document), PaginationParams(number, 3))
        assert (page.items, page.total, page.total_pages) == ([], 7, 3)
        assert (page.has_next, page.has_previous) == (False, True)


def test_no_rows_are_no_pages() -> None:
    page = paginate(select(Document), PaginationParams())
    assert page == Page(items=[], total=0, page=1, page_size=20, has_next=False)
    assert page.total_pages == 0


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("title", [1, 10, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("-size", [2, 4, 6, 8, 10, 1, 3, 5, 7, 9][::-1]),
        ("size,-id", [10, 8, 6, 4, 2, 9, 7, 5, 3, 1]),
        ("size,size,-size", [2, 4, 6, 8, 10, 1, 3, 5, 7, 9]),
        (None, [3, 4, 5, 6, 7, 8, 9, 10, 1, 2]),
        ("", [3, 4, 5, 6, 7, 8, 9, 10, 1, 2]),
    ],
)
def test_sort_orders_and_the_primary_key_breaks_ties(sort: str | None, expected: list[int]) -> None:
    add_documents(10)
    db.session.execute(update(Document).values(size=Document.id % 2))
    sortable = {"title": Document.title, "size": Document.size, "id": Document.id}
    own_order = select(Document).order_by(Document.id < 3, Document.id)
    found = []
    for number in (1, 2, 3, 4):
        params = PaginationParams(number, 3, sort)
        found += ids(paginate(own_order, params, sortable=sortable).items)
    assert found == expected


def test_default_sort_stands_in_for_a_missing_sort() -> None:
    add_documents(3)
    options: dict[str, Any] = {"sortable": {"id": Document.id}, "default_sort": "-id"}
    assert ids(paginate(select(Document), PaginationParams(), **options).items) == [3, 2, 1]
    assert ids(paginate(select(Document), PaginationParams(sort="id"), **options).items) == [
        1,
        2,
        3,
    ]


def test_sort_may_be_an_expression_and_an_order_by_may_be_a_name() -> None:
    add_documents(4)
    length = func.length(Document.title) * -1 + Document.id % 2
    params = PaginationParams(sort="odd")
    page = paginate(select(Document), params, sortable={"odd": length.label("odd")})
    assert ids(page.items) == [2, 4, 1, 3]
    named = select(Document.id, (Document.id % 2).label("odd")).order_by(text("odd"))
    assert [row.id for row in walk(named)] == [2, 4, 1, 3]
    assert [row.id for row in walk(named.order_by(None).order_by("odd"))] == [2, 4, 1, 3]


@pytest.mark.parametrize(
    "sort", ["nope", "-nope", "title,", "--title", "title ", "\x00", "x" * 10**6]
)
def test_another_sort_is_refused_with_the_names_that_are_allowed(sort: str) -> None:
    with pytest.raises(ParameterError) as error:
        paginate(select(Document), PaginationParams(sort=sort), sortable={"title": Document.title})
    assert list(error.value.errors) == ["sort"]
    assert "allowed are title" in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("number", [0, -1, 1.5, "1", True, None])
def test_numbers_are_checked_together(number: Any) -> None:
    with pytest.raises(ParameterError) as error:
        PaginationParams(page=number, page_size=number)
    assert sorted(error.value.errors) == ["page", "page_size"]


def test_a_page_that_no_database_could_cut_is_refused() -> None:
    for number in (2**31 - 1, 2**63, 10**30):
        for kind in (PaginationParams, CursorParams):
            with pytest.raises(ParameterError, match="page_size: Must be at most 2147483646"):
                kind(page_size=number)
    add_documents(2)
    for params in (PaginationParams(page_size=2**31 - 2), CursorParams(page_size=2**31 - 2)):
        assert len(paginate(select(Document), params).items) == 2


def test_faults_of_the_program_are_no_bad_requests() -> None:
    with pytest.raises(ValueError, match="default_sort='nope'") as error:
        paginate(select(Document), PaginationParams(), default_sort="nope")
    assert not isinstance(error.value, ParameterError)
    with pytest.raises(ValueError, match="total='exakt'"):
        paginate(select(Document), PaginationParams(), total="exakt")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pass a select"):
        paginate(delete(Document), PaginationParams())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'nope' names no column"):
        paginate(select(Document).order_by("nope"), PaginationParams())


def test_items_are_entities_or_rows_as_the_query_selects_them() -> None:
    add_documents(2)
    params = PaginationParams()
    assert all(isinstance(item, Document) for item in paginate(select(Document), params).items)
    (row, _) = paginate(select(Document, User.name).join(User), params).items
    assert (row.Document.id, row.name, len(row)) == (1, "u1", 2)
    assert paginate(select(Document.id), params).items == [(1,), (2,)]
    table = Document.__table__
    assert paginate(select(table.c.id, table.c.title), params).items == [(1, "t1"), (2, "t2")]


def test_the_total_costs_no_query_when_the_page_shows_it() -> None:
    add_documents(3)
    seen = statements(db.engine)
    paginate(select(Document), PaginationParams(page_size=3))
    paginate(select(Document), PaginationParams(page=2, page_size=2))
    paginate(select(Document), PaginationParams(page_size=2), total=None)
    assert len(seen) == 3
    page = paginate(select(Document), PaginationParams(page_size=2), total=None)
    assert (page.total, page.total_pages, page.has_next) == (None, None, True)


def test_counting_drops_order_and_eager_loading_and_needs_no_subquery() -> None:
    add_documents(3)
    seen = statements(db.engine)
    query = select(Document).options(joinedload(Document.user)).order_by(Document.title)
    assert paginate(query, PaginationParams(page_size=1)).total == 3
    assert seen[-1] == "SELECT count(*) AS count_1 FROM document"


def test_rows_taken_out_by_an_option_are_not_counted_either() -> None:
    add_documents(9)
    db.session.execute(update(Document).where(Document.id % 3 == 0).values(deleted=True))
    alive = with_loader_criteria(Document, ~Document.deleted)
    assert ids(walk(select(Document).options(alive))) == [1, 2, 4, 5, 7, 8]
    assert ids(walk(select(Document).distinct().options(alive))) == [1, 2, 4, 5, 7, 8]
    assert ids(walk(select(Document).limit(5).options(alive))) == [1, 2, 4, 5, 7]
    grouped = select(Document.size, func.count()).group_by(Document.size).options(alive)
    assert walk(grouped) == [(0, 6)]


def test_eager_loading_never_changes_what_a_page_holds() -> None:
    add_documents(12, users=4)
    eager = select(User).options(joinedload(User.documents))
    page = paginate(eager, PaginationParams(page_size=3))
    assert ids(page.items) == [1, 2, 3]
    assert [ids(user.documents) for user in page.items] == [[1, 5, 9], [2, 6, 10], [3, 7, 11]]
    assert ids(walk(eager)) == [1, 2, 3, 4]
    repeated = select(User).join(User.documents).order_by(User.id)
    for loading in (joinedload, selectinload):
        assert ids(walk(repeated.options(loading(User.documents)))) == ids(walk(repeated))
    assert ids(walk(repeated)) == [n for n in (1, 2, 3, 4) for _ in range(3)]


def test_a_collection_that_the_rows_fill_is_refused_for_a_page_would_cut_it() -> None:
    add_documents(4, users=2)
    users = select(User).join(User.documents)
    for params in (PaginationParams(), CursorParams()):
        with pytest.raises(ValueError, match=r"would cut User.documents.*selectinload"):
            paginate(users.options(contains_eager(User.documents)), params)
    owned = select(Document).join(Document.user).options(contains_eager(Document.user))
    assert ids(walk(owned.order_by(User.name.desc()))) == [4, 2, 3, 1]


def _grouped() -> Select[Any]:
    return (
        select(User.name, func.count().label("n"))
        .join(User.documents)
        .group_by(User.name)
        .order_by(func.count().desc())
    )


def _cte() -> Select[Any]:
    cte = select(Document.id, Document.user_id).where(Document.id > 2).cte()
    return select(User.id, cte.c.id).join(cte, cte.c.user_id == User.id).order_by(cte.c.id)


def _alias() -> Select[Any]:
    other = aliased(Document)
    return (
        select(Document.id, other.id)
        .join(other, other.user_id == Document.user_id)
        .where(other.id < Document.id)
        .order_by(Document.user_id.desc())
    )


# Seven documents of two users: the first owns 1, 3, 5, 7.
SHAPES: dict[str, tuple[Any, list[tuple[Any, ...]]]] = {
    "distinct": (
        lambda: select(Document.user_id).distinct().order_by(Document.user_id.desc()),
        [(2,), (1,)],
    ),
    "group by": (_grouped, [("u1", 4), ("u2", 3)]),
    "having": (lambda: _grouped().having(func.count() > 3), [("u1", 4)]),
    "aggregate": (lambda: select(func.coalesce(func.sum(Document.id), literal(0))), [(28,)]),
    "cte": (_cte, [(1, 3), (2, 4), (1, 5), (2, 6), (1, 7)]),
    "self join": (
        _alias,
        [(6, 4), (6, 2), (4, 2), (7, 5), (7, 3), (7, 1), (5, 3), (5, 1), (3, 1)],
    ),
    "own limit": (
        lambda: select(Document.id).order_by(Document.id.desc()).limit(5).offset(1),
        [(6,), (5,), (4,), (3,), (2,)],
    ),
    "union": (
        lambda: union(
            select(Document.id.label("n")), select(User.id + 6), select(literal(100))
        ).order_by(text("n DESC")),
        [(n,) for n in (100, 8, 7, 6, 5, 4, 3, 2, 1)],
    ),
    "limited union": (
        lambda: union_all(select(User.id.label("n")), select(User.id)).order_by("n").limit(3),
        [(1,), (1,), (2,)],
    ),
    "subquery": (
        lambda: select(select(Document.title, Document.size).where(Document.id < 3).subquery()),
        [("t1", 0), ("t2", 0)],
    ),
    "outer join": (
        lambda: (
            select(User.id, Document.id)
            .outerjoin(Document, (Document.user_id == User.id) & (Document.id < 3))
            .order_by(User.id)
        ),
        [(1, 1), (2, 2), (3, None)],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_query_pages_like_it_lists(shape: str) -> None:
    make, expected = SHAPES[shape]
    add_documents(7, users=2)
    if shape == "outer join":
        db.session.add(User(id=3, name="u3"))
    assert [tuple(row) for row in walk(make())] == expected


def test_entities_of_a_limited_query_keep_their_options_and_a_new_order_stays_inside() -> None:
    add_documents(9, users=3)
    newest = (
        select(Document).order_by(Document.id.desc()).limit(5).options(joinedload(Document.user))
    )
    assert ids(walk(newest)) == [9, 8, 7, 6, 5]
    db.session.expunge_all()
    params = PaginationParams(sort="user")
    page = paginate(newest, params, sortable={"user": Document.user_id})
    assert ids(page.items) == [7, 5, 8, 6, 9]
    assert "user" in page.items[0].__dict__


def test_the_columns_of_a_union_can_be_sorted_by_and_others_cannot() -> None:
    add_documents(3)
    both = union(
        select(Document.id, Document.title).where(Document.id < 3),
        select(Document.id, Document.title).where(Document.id > 1),
    )
    params = PaginationParams(sort="-title")
    page = paginate(both, params, sortable={"title": Document.title})
    assert [(row.id, row.title) for row in page.items] == [(3, "t3"), (2, "t2"), (1, "t1")]
    with pytest.raises(ValueError, match="no column of the UNION"):
        paginate(both, params, sortable={"title": Document.size})


def test_distinct_rows_are_sorted_by_what_they_hold_only() -> None:
    add_documents(5, users=2)
    owners = select(User).join(User.documents).distinct()
    assert ids(walk(owners.order_by(func.lower(User.name).desc()), size=1)) == [2, 1]
    params = PaginationParams(sort="title")
    with pytest.raises(ValueError, match=r"DISTINCT by document.title.*select it too"):
        paginate(owners, params, sortable={"title": Document.title})


def test_a_legacy_query_pages_with_its_own_session() -> None:
    add_documents(5, users=2)
    query = db.session.query(User).options(joinedload(User.documents)).filter(User.id < 3)
    page = paginate(query, PaginationParams(page_size=1))
    assert (ids(page.items), page.total, len(page.items[0].documents)) == ([1], 2, 3)
    rows = db.session.query(Document.id, User.name).join(User).order_by(Document.id.desc())
    assert walk(rows) == [(5, "u1"), (4, "u2"), (3, "u1"), (2, "u2"), (1, "u1")]


def test_a_plain_session_is_enough() -> None:
    engine = create_engine("sqlite://")
    User.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(User(id=1, name="plain"))
        session.commit()
        page = paginate(select(User), PaginationParams(), session=session)
        assert page.items[0].name == "plain"
    make = sessionmaker(engine)
    with make() as session:
        assert paginate(session.query(User), PaginationParams()).total == 1
    engine.dispose()


def test_without_a_session_the_cure_is_named() -> None:
    with Flask("bare").app_context(), pytest.raises(SetupError, match="session="):
        paginate(select(User), PaginationParams())
