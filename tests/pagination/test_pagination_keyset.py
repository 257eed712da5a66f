"""Pages by a cursor: no row skipped, none shown twice, whatever the query and its order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paging_models import (
    Animal,
    Bird,
    Car,
    Color,
    Document,
    Everything,
    Manager,
    Membership,
    Staff,
    User,
    Vehicle,
    add_documents,
    db,
    log,
)
from paging_walk import forward, walk
from sqlalchemy import (
    Select,
    case,
    desc,
    event,
    extract,
    func,
    insert,
    inspect,
    literal,
    nulls_first,
    select,
    text,
    union,
    union_all,
)
from sqlalchemy.orm import (
    Bundle,
    aliased,
    defer,
    joinedload,
    load_only,
    raiseload,
    with_loader_criteria,
    with_polymorphic,
)

from flask_perfkit.pagination import CursorParams, PaginationParams, paginate

pytestmark = [
    pytest.mark.usefixtures("app"),
    # SQLAlchemy's own word about Numeric on SQLite.
    pytest.mark.filterwarnings("ignore:Dialect sqlite.pysqlite does .not. support Decimal"),
]

SORTABLE: dict[str, Any] = {
    "id": Document.id,
    "title": Document.title,
    "size": Document.size,
    "rank": Document.rank,
    "rank_last": Document.rank.nulls_last(),
    "rank_first": nulls_first(Document.rank),
    "deleted": Document.deleted,
    "note": Document.note,
    "odd": (Document.id % 2).label("odd"),
    "is_big": Document.size > 1,
    "filled": func.coalesce(Document.rank, 2),
}


def rows_of(items: list[Any]) -> list[Any]:
    """Make items comparable: entities by their primary key, rows as tuples."""
    return [_key_of(item) if isinstance(item, db.Model) else tuple(item) for item in items]


def _key_of(entity: Any) -> Any:
    key: Any = inspect(entity).identity
    return key[0] if len(key) == 1 else key


def add_varied_documents(count: int = 17) -> None:
    """Add documents with ties and NULLs in most columns."""
    add_documents(count, users=3)
    dice = random.Random(7)
    for document in db.session.scalars(select(Document).order_by(Document.id)):
        document.size = dice.choice([0, 1, 2])
        document.rank = dice.choice([None, 1, 2, 3])
        document.deleted = dice.choice([True, False])
        document.note = dice.choice([None, "", "a", "b"])
        document.title = dice.choice(["x", "y", "é", "z" * 80])
    db.session.commit()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    names=st.lists(
        st.sampled_from(sorted(SORTABLE)),
        min_size=1,
        max_size=4,
        unique_by=lambda name: name.removesuffix("_last").removesuffix("_first"),
    ),
    signs=st.lists(st.sampled_from(["", "-"]), min_size=4, max_size=4),
    size=st.integers(1, 7),
)
def test_a_walk_is_the_order_by_both_ways(names: list[str], signs: list[str], size: int) -> None:
    if db.session.scalar(select(func.count(Document.id))) == 0:
        add_varied_documents()
    sort = ",".join(map("".join, zip(signs, names, strict=False)))
    order = []
    for sign, name in zip(signs, names, strict=False):
        column = SORTABLE[name]
        if name.startswith("rank_"):  # as MariaDB can say it too
            column, is_null = Document.rank, Document.rank.is_(None)
            order.append(is_null.asc() if name == "rank_last" else is_null.desc())
        order.append(column.desc() if sign else column.asc())
    last_sign = signs[len(names) - 1]
    order.append(Document.id.desc() if last_sign else Document.id.asc())
    expected = list(db.session.scalars(select(Document.id).order_by(*order)))
    found = walk(select(Document), size, sort, sortable=SORTABLE)
    assert [document.id for document in found] == expected


_MOMENT = datetime(2024, 2, 29, 12, 30, 15, 999999)
_EAST = timezone(timedelta(hours=5, minutes=30))
VALUES: dict[str, list[Any]] = {
    "whole": [-(2**31), -1, 0, 1, 2**31 - 1],
    "big": [-(2**63), 0, 2**53 + 1, 2**63 - 1],
    "text": ["", "a", "A", "ab", "ä", "🐟", "'; --", "%_", "x" * 3000],
    "flag": [True, False],
    "real": [float("-inf"), -1.5, 0.0, 0.1, 1 / 3, 5e-324, 1e308, float("inf")],
    "single": [-0.1, 0.1, 0.2, 1 / 3, 16777216.0],
    "price": [Decimal("-9.99"), Decimal("0.10"), Decimal("1234567.89")],
    "moment": [_MOMENT, _MOMENT + timedelta(microseconds=1), datetime(1, 1, 1), datetime.max],
    "instant": [
        _MOMENT.replace(tzinfo=UTC),
        _MOMENT.replace(tzinfo=_EAST),
        _MOMENT.replace(tzinfo=UTC) + timedelta(microseconds=1),
    ],
    "day": [date(2024, 2, 29), date(1, 1, 1), date(9999, 12, 31)],
    "clock": [time(0), time(12, 30, 15, 1), time(23, 59, 59, 999999)],
    "span": [timedelta(0), timedelta(days=-1, microseconds=5), timedelta(days=400, seconds=3)],
    "key": [UUID(int=0), UUID(int=2**127), UUID(int=2**128 - 1)],
    "color": list(Color),
    "data": [b"", b"\x00", b"\xff\x00", b"abc"],
    "warmth": [-40.0, 36.6, 36.7, 100.0],
}


@pytest.mark.parametrize("name", VALUES)
def test_every_type_can_be_sorted_by(name: str) -> None:
    column = getattr(Everything, name)
    values = VALUES[name]
    if name == "real" and db.engine.dialect.name == "mariadb":
        values = values[1:-1]  # it knows no infinity
    stored = [*values, *values, None, None]
    random.Random(1).shuffle(stored)
    db.session.add_all([Everything(id=n, **{name: value}) for n, value in enumerate(stored, 1)])
    db.session.commit()
    for sort, order in (
        ("it", (column, Everything.id)),
        ("-it", (column.desc(), Everything.id.desc())),
        ("-it,id", (column.desc(), Everything.id)),
    ):
        expected = list(db.session.scalars(select(Everything.id).order_by(*order)))
        sortable = {"it": column, "id": Everything.id}
        found = walk(select(Everything), 3, sort, sortable=sortable)
        assert [item.id for item in found] == expected


def _joined() -> Select[Any]:
    return select(Document).join(User).order_by(User.name.desc())


def _repeated() -> Select[Any]:
    return select(User).join(User.documents).order_by(User.name)


def _grouped() -> Select[Any]:
    return (
        select(Document.user_id, func.count().label("n"), func.sum(Document.rank))
        .group_by(Document.user_id)
        .order_by(desc("n"))
    )


def _self_joined() -> Select[Any]:
    other = aliased(Document)
    return (
        select(Document.id, other.id)
        .join(other, other.user_id == Document.user_id)
        .order_by(other.rank, Document.size.desc())
    )


def _outer_joined() -> Select[Any]:
    return (
        select(User, Document.size)
        .outerjoin(Document, (Document.user_id == User.id) & (Document.size > 1))
        .order_by(Document.size)
    )


def _windowed() -> Select[Any]:
    place = func.row_number().over(partition_by=Document.user_id, order_by=Document.id)
    return select(Document, place.label("place")).order_by("place", Document.user_id)


def _from_cte() -> Select[Any]:
    small = select(Document.id, Document.size).where(Document.size < 2).cte("small")
    return select(small.c.size, small.c.id).order_by(small.c.size.desc())


def _recursive() -> Select[Any]:
    numbers = select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < 9))
    return select(numbers.c.n, Document.id).where(Document.id == numbers.c.n)


def _latest() -> Select[Any]:
    latest = (
        select(Document.user_id, func.max(Document.id).label("id"))
        .group_by(Document.user_id)
        .subquery()
    )
    return select(Document).join(latest, latest.c.id == Document.id).order_by(Document.rank)


def _bundled_birds() -> Select[Any]:
    animals = with_polymorphic(Animal, [Bird])
    return select(animals).order_by(animals.Bird.wingspan)


def _two_of_a_class() -> Select[Any]:
    one, other = aliased(Document), aliased(Document)
    return (
        select(one, other)
        .join(other, other.user_id == one.user_id)
        .where(one.id < other.id)
        .order_by(one.size.desc(), other.rank)
    )


def _grouped_by(*groups: Any) -> Select[Any]:
    return (
        select(func.lower(Document.title).label("low"), func.count().label("n"))
        .group_by(*groups)
        .order_by("n")
    )


def _of_a_union() -> Select[Any]:
    both = union_all(select(Document.size), select(Document.rank)).subquery()
    return select(both.c.size).order_by(both.c.size)


# The query, and what tells its rows apart behind its own order.
SHAPES: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "join": (_joined, [Document.id.desc()]),
    "repeated entity": (_repeated, [Document.id]),
    "group by": (_grouped, [Document.user_id.desc()]),
    "having": (lambda: _grouped().having(func.count() > 3), [Document.user_id.desc()]),
    "self join": (_self_joined, []),
    "outer join": (_outer_joined, [User.id, Document.id]),
    "window": (_windowed, []),
    "cte": (_from_cte, []),
    "recursive cte": (_recursive, [Document.id]),
    "subquery": (_latest, [Document.id]),
    "distinct": (
        lambda: select(Document.size, Document.rank).distinct().order_by(Document.rank),
        [Document.size],
    ),
    "distinct entities": (
        lambda: select(User).join(User.documents).distinct().order_by(User.name.desc()),
        [],
    ),
    "core rows": (
        lambda: select(Document.__table__).order_by(Document.__table__.c.size),
        [Document.id],
    ),
    "columns": (
        lambda: select(Document.title, Document.size + 1).order_by(Document.title.desc()),
        [Document.id.desc()],
    ),
    "entities": (
        lambda: select(Document, User).join(User).order_by(User.id, Document.size.desc()),
        [Document.id.desc()],
    ),
    "comma join": (
        lambda: (
            select(User.name, Document.id)
            .where(User.id == Document.user_id)
            .order_by(Document.size)
        ),
        [Document.id],
    ),
    "cross join": (
        lambda: (
            select(User.id, Membership.role)
            .select_from(User)
            .join(Membership, literal(True))
            .order_by(Membership.role)
        ),
        [User.id, Membership.user_id, Membership.group_id],
    ),
    "composite key": (
        lambda: select(Membership).order_by(Membership.role.desc()),
        [Membership.user_id.desc(), Membership.group_id.desc()],
    ),
    "inheritance": (_bundled_birds, [Animal.id]),
    "child table": (lambda: select(Bird).order_by(Bird.wingspan.desc()), [Bird.id.desc()]),
    "expression": (
        lambda: select(Document).order_by(func.length(Document.title) * -1, Document.size % 2),
        [Document.id],
    ),
    "text name": (
        lambda: select(Document.id, (Document.size + 1).label("more")).order_by(desc("more")),
        [Document.id.desc()],
    ),
    "extract": (
        lambda: select(Document.id).order_by(extract("month", Document.uploaded_at)),
        [Document.id],
    ),
    "case with values": (
        lambda: select(Document.id).order_by(case((Document.size == 1, 0), else_=Document.rank)),
        [Document.id],
    ),
    "no order": (lambda: select(Document), [Document.id]),
    "negation": (lambda: select(Document).order_by(~Document.deleted), [Document.id]),
    "two of a class": (_two_of_a_class, []),
    "names that collide": (
        lambda: select(Document.__table__.join(User.__table__)).order_by(User.__table__.c.name),
        [Document.__table__.c.id],
    ),
    "bundle": (
        lambda: select(Bundle("both", Document.title, Document.size)).order_by(Document.size),
        [Document.id],
    ),
    "group by label": (lambda: _grouped_by("low"), [func.lower(Document.title)]),
    "limited group by label": (
        lambda: _grouped_by("low").order_by(None).order_by("low").limit(3),
        [],
    ),
    "group by function": (
        lambda: _grouped_by(func.lower(Document.title)),
        [func.lower(Document.title)],
    ),
    "group by entity": (
        lambda: (
            select(User, func.max(Document.rank).label("most"))
            .outerjoin(Document)
            .group_by(User)
            .order_by("most")
        ),
        [User.id],
    ),
    "distinct groups": (
        lambda: (
            select(func.count(Document.id).label("n"))
            .group_by(Document.size, Document.rank)
            .distinct()
        ).order_by(desc("n")),
        [],
    ),
    "child of a polymorphic": (lambda: select(Vehicle).order_by(Car.doors), [Vehicle.id]),
    "child of a single table": (
        lambda: select(Staff).order_by(Manager.level.desc()),
        [Staff.id.desc()],
    ),
    "one child of a single table": (
        lambda: select(Manager).order_by(Manager.level.desc()),
        [Manager.id.desc()],
    ),
}


def add_animals_and_members() -> None:
    db.session.add_all([Bird(id=n, wingspan=n % 3) for n in (2, 3, 5, 6)])
    db.session.add_all([Animal(id=n) for n in (1, 4, 7)])
    db.session.add_all([Car(id=n, doors=n % 3) for n in (1, 3, 4)])
    db.session.add_all([Vehicle(id=n) for n in (2, 5)])
    db.session.add_all([Manager(id=n, level=n % 3 or None) for n in (1, 3, 4, 6)])
    db.session.add_all([Staff(id=n) for n in (2, 5)])
    db.session.add_all(
        [
            Membership(user_id=user, group_id=group, role=f"r{(user + group) % 2}")
            for user in (1, 2, 3)
            for group in (1, 2)
        ]
    )
    db.session.add(User(id=9, name="u9"))
    db.session.commit()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_query_walks_as_it_lists(shape: str) -> None:
    make, tie_break = SHAPES[shape]
    add_varied_documents(9)
    add_animals_and_members()
    query = make()
    result = db.session.execute(query.order_by(*tie_break))
    expected = rows_of([row[0] if _is_entity(row) else row for row in result])
    for size in (1, 4):
        found = rows_of(walk(query, size))
        if tie_break:
            assert found == expected
        else:
            assert sorted(map(repr, found)) == sorted(map(repr, expected))


def _is_entity(row: Any) -> bool:
    return len(row) == 1 and isinstance(row[0], db.Model)


def test_rows_that_are_the_same_throughout_all_come() -> None:
    lines = [("info", 1)] * 5 + [("warn", 1)] * 4 + [("info", 2)] * 3
    db.session.execute(insert(log), [{"level": level, "line": n} for level, n in lines])
    for query in (
        select(log),
        select(log.c.level).order_by(log.c.line.desc()),
        union_all(select(log.c.level, log.c.line), select(log)),
        select(union_all(select(log.c.line), select(log.c.line)).subquery()),
    ):
        expected = sorted(rows_of(list(db.session.execute(query))))
        for size in (1, 2, 5):
            assert sorted(rows_of(walk(query, size))) == expected


def test_rows_go_by_the_names_they_have_without_paging() -> None:
    add_documents(3)
    tables = select(Document.__table__.join(User.__table__))
    for query in (tables, select(Document.id, Document.id, User.id).join(User)):
        plain = db.session.execute(query).all()
        assert [row._fields for row in walk(query, 2)] == [row._fields for row in plain]
        page = paginate(query, PaginationParams(page_size=2))
        assert [row._fields for row in page.items] == [row._fields for row in plain[:2]]
    (row,) = walk(select(Document, User.name).join(User).where(Document.id == 2))
    assert (row.Document.id, row.name, row._mapping[User.name]) == (2, "u1", "u1")


def test_unions_walk_in_the_order_of_their_columns() -> None:
    add_varied_documents()
    query = union(select(Document.size, Document.rank), select(User.id, literal(None)))
    expected = rows_of(list(db.session.execute(query.order_by("rank", "size"))))
    sortable = {"rank": Document.rank, "size": Document.size}
    assert rows_of(walk(query, 2, "rank,size", sortable=sortable)) == expected
    assert rows_of(walk(query, 2, "-rank,-size", sortable=sortable)) == expected[::-1]


def test_a_limited_query_ends_where_it_ends() -> None:
    add_documents(9, users=3)
    newest = (
        select(Document).order_by(Document.id.desc()).limit(5).options(joinedload(Document.user))
    )
    assert rows_of(walk(newest, 2)) == [9, 8, 7, 6, 5]
    sortable = {"user": Document.user_id}
    assert rows_of(walk(newest, 2, "user", sortable=sortable)) == [7, 5, 8, 6, 9]


def test_windows_number_all_rows_not_those_of_a_page() -> None:
    add_documents(7, users=2)
    place = func.row_number().over(order_by=Document.id).label("place")
    rows = walk(select(Document.id, place).order_by(Document.id), 2)
    assert rows_of(rows) == [(n, n) for n in range(1, 8)]


def test_rows_taken_out_by_an_option_stay_out_beyond_the_first_page() -> None:
    add_varied_documents()
    alive = with_loader_criteria(Document, ~Document.deleted)
    expected = set(db.session.scalars(select(Document.id).where(~Document.deleted)))
    for sort in ("id", "size,-rank", "-size,rank_last", "rank_last"):
        found = walk(select(Document).options(alive), 2, sort, sortable=SORTABLE)
        assert sorted(rows_of(found)) == sorted(expected)


def test_eager_loading_changes_nothing() -> None:
    add_varied_documents()
    plain = rows_of(walk(_repeated()))
    assert rows_of(walk(_repeated().options(joinedload(User.documents)))) == plain
    db.session.expunge_all()
    query = select(Document).options(joinedload(Document.user).joinedload(User.documents))
    for sort in ("size,-rank", "rank_last"):
        for document in walk(query, 4, sort, sortable=SORTABLE):
            assert document in document.user.documents
            assert "documents" in document.user.__dict__


def test_a_legacy_query_walks_too() -> None:
    add_varied_documents()
    query = db.session.query(Document).join(User).filter(Document.size > 0).order_by(User.name)
    expected = [document.id for document in query.order_by(Document.id)]
    assert rows_of(walk(query)) == expected


def test_values_in_the_order_are_those_of_the_request_not_of_an_earlier_one() -> None:
    add_documents(9)
    for favourite in (4, 7, 4):
        first = (Document.id != favourite).asc()
        by_case = case((Document.id == favourite, 0), else_=1)
        for query in (select(Document).order_by(first), select(Document).order_by(by_case)):
            expected = [favourite, *(n for n in range(1, 10) if n != favourite)]
            assert rows_of(walk(query, 2)) == expected


def test_values_of_the_query_are_those_of_the_request_not_of_an_earlier_one() -> None:
    add_documents(12, users=3)
    for owner, least, users in ((1, 2, [1, 2]), (2, 0, [3, 2]), (1, 2, [1]), (3, 4, [])):
        query = select(Document).where(Document.user_id == owner, Document.id > least)
        expected = [n for n in range(1, 13) if (n - 1) % 3 + 1 == owner and n > least]
        assert rows_of(walk(query, 2)) == expected
        assert rows_of(walk(query, 2, "-id", sortable=SORTABLE)) == expected[::-1]
        among = select(Document).where(Document.user_id.in_(users))
        assert rows_of(walk(among, 2)) == [n for n in range(1, 13) if (n - 1) % 3 + 1 in users]
        shifted = select(Document.id + least).where(Document.id < 5)
        assert rows_of(walk(shifted, 2)) == [(n + least,) for n in (1, 2, 3, 4)]


def test_values_of_options_are_those_of_the_request_not_of_an_earlier_one() -> None:
    add_documents(12, users=2)
    for least in (4, 8, 4):
        db.session.expunge_all()
        late = with_loader_criteria(Document, Document.id > least)
        (page,) = forward(select(User).options(late), 5)
        loaded = [document.id for user in page.items for document in user.documents]
        assert sorted(loaded) == list(range(least + 1, 13))
    for options in ({"populate_existing": True}, {}):
        (page,) = forward(select(User), 5)
        page.items[0].name = "changed"
        with db.session.no_autoflush:
            forward(select(User).execution_options(**options), 5)
        assert page.items[0].name == ("u1" if options else "changed")
        db.session.rollback()


def test_tables_of_one_request_are_not_mixed_with_those_of_another() -> None:
    add_documents(9)
    for least in (3, 6):
        other = aliased(Document)
        part = select(other.id).where(other.id > least).subquery()
        query = select(part.c.id).order_by(part.c.id.desc())
        assert rows_of(walk(query, 2)) == [(n,) for n in range(9, least, -1)]
        entities = select(other).where(other.id > least).order_by(other.size)
        assert rows_of(walk(entities, 2)) == list(range(least + 1, 10))


@contextmanager
def statements_run() -> Iterator[list[str]]:
    """Collect the SQL that runs."""
    seen: list[str] = []

    def collect(conn: Any, cursor: Any, sql: str, *args: Any) -> None:
        seen.append(" ".join(sql.split()))

    event.listen(db.engine, "before_cursor_execute", collect)
    yield seen
    event.remove(db.engine, "before_cursor_execute", collect)


@pytest.mark.parametrize("sort", ["note", "-note,id", "size,-note"])
def test_a_page_is_one_statement_even_where_the_sort_column_is_not_loaded(sort: str) -> None:
    add_varied_documents()
    for options in (
        [defer(Document.size, raiseload=True)],
        [load_only(Document.title, raiseload=True)],
        [raiseload("*")],
    ):
        query = select(Document).options(*options)
        with statements_run() as seen:
            pages = forward(query, 4, sort, sortable=SORTABLE)
        assert len(seen) == len(pages) == 5


def test_totals_are_counted_only_where_they_are_asked_for() -> None:
    add_documents(7)
    assert paginate(select(Document), CursorParams(page_size=3)).total is None
    counted = forward(select(Document), 3, total="exact")
    assert [page.total for page in counted] == [7, 7, 7]


def test_a_page_claims_the_neighbours_that_it_leads_to() -> None:
    add_documents(6)
    first, second = forward(select(Document), 3)
    assert (first.has_next, first.has_previous, first.previous_cursor) == (True, False, None)
    assert (second.has_next, second.has_previous, second.next_cursor) == (False, True, None)
    only = paginate(select(Document), CursorParams(page_size=6))
    assert (only.has_next, only.has_previous) == (False, False)
    back = paginate(select(Document), CursorParams(second.previous_cursor, page_size=3))
    assert (back.has_next, back.has_previous) == (True, False)
    assert paginate(select(Document), CursorParams(back.next_cursor, 3)).items == second.items


def test_a_page_emptied_by_deletes_claims_nothing() -> None:
    add_documents(6)
    first, second = forward(select(Document), 3)
    db.session.query(Document).delete()
    for cursor in (first.next_cursor, second.previous_cursor):
        page = paginate(select(Document), CursorParams(cursor))
        assert (page.items, page.has_next, page.has_previous) == ([], False, False)


def test_the_size_of_a_page_may_change_on_the_way() -> None:
    add_documents(10)
    found: list[int] = []
    cursor = None
    for size in (1, 4, 2, 100):
        page = paginate(select(Document), CursorParams(cursor, size))
        found += rows_of(page.items)
        cursor = page.next_cursor
    assert found == list(range(1, 11))
    assert cursor is None


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), sort=st.sampled_from(["size", "-rank,size", "rank_last,-id", "id"]))
def test_writes_of_other_rows_move_nothing(data: st.DataObject, sort: str) -> None:
    db.session.rollback()
    db.session.query(Document).delete()
    db.session.query(User).delete()
    add_varied_documents(12)
    untouched = {1, 4, 5, 8, 11}
    number = 100
    seen: list[int] = []
    cursor = None
    while True:
        params = CursorParams(cursor, 2, sort)
        page = paginate(select(Document), params, sortable=SORTABLE)
        seen += rows_of(page.items)
        if not page.has_next:
            break
        cursor = page.next_cursor
        for _ in range(data.draw(st.integers(0, 2))):
            number += 1
            place = data.draw(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 4)))
            size, rank = place
            db.session.add(Document(id=number, user_id=1, title="new", size=size, rank=rank))
        doomed = data.draw(st.sampled_from(sorted(set(range(1, 13)) - untouched)))
        db.session.query(Document).filter_by(id=doomed).delete()
        db.session.commit()
    assert len(seen) == len(set(seen))
    assert untouched <= set(seen)


def test_the_row_that_a_cursor_points_at_may_go() -> None:
    add_documents(6)
    first = paginate(select(Document), CursorParams(page_size=3))
    db.session.query(Document).filter_by(id=3).delete()
    second = paginate(select(Document), CursorParams(first.next_cursor, 3))
    assert rows_of(second.items) == [4, 5, 6]
    back = paginate(select(Document), CursorParams(second.previous_cursor, 3))
    assert rows_of(back.items) == [1, 2]


def test_text_in_an_order_by_is_refused_with_the_cure() -> None:
    for query in (
        select(Document).order_by(text("size DESC")),
        union(select(Document.id), select(User.id)).order_by(text("id DESC")),
        select(Document).order_by(text("size DESC")).limit(5),
    ):
        with pytest.raises(ValueError, match="name a column instead"):
            paginate(query, CursorParams())
