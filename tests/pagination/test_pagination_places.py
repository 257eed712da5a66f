"""Places in a list: round an item, behind each item, at the end, and where rows are gone."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from marshmallow import Schema, fields
from paging_models import Document, Membership, User, add_documents, db
from sqlalchemy import func, select

from flask_perfkit.errors import ParameterError
from flask_perfkit.pagination import CursorPage, CursorParams, PaginationParams, paginate, paginated

pytestmark = pytest.mark.usefixtures("app")


class DocumentSchema(Schema):
    id = fields.Integer()


def page(cursor: str | None = None, size: int = 3, **options: Any) -> CursorPage:
    return paginate(
        select(Document).order_by(Document.size.desc(), Document.id),
        CursorParams(cursor, size, **options),
    )


def ids(found: CursorPage) -> list[int]:
    return [item.id for item in found.items]


def delete(*numbers: int) -> None:
    db.session.query(Document).filter(Document.id.in_(numbers)).delete()


def test_an_emptied_last_page_leads_back_to_the_very_last_row() -> None:
    add_documents(6)
    second = page().next_cursor
    delete(4, 5, 6)
    emptied = page(second)
    assert (emptied.items, emptied.has_next, emptied.has_previous) == ([], False, True)
    back = page(emptied.previous_cursor)
    assert (ids(back), back.has_next, back.has_previous) == ([1, 2, 3], True, False)
    # What is added at the end is found from the emptied page too.
    db.session.add(Document(id=9, user_id=1, title="new"))
    db.session.flush()
    assert ids(page(emptied.end_cursor)) == [9]


def test_an_emptied_first_page_leads_on_to_the_very_first_row() -> None:
    add_documents(9)
    second = page(page().next_cursor)
    delete(1, 2, 3)
    emptied = page(second.previous_cursor)
    assert (emptied.items, emptied.has_next, emptied.has_previous) == ([], True, False)
    assert ids(page(emptied.next_cursor)) == [4, 5, 6]
    delete(4)
    assert ids(page(emptied.next_cursor)) == [5, 6, 7]


def test_the_end_of_a_list_can_be_asked_again() -> None:
    add_documents(4)
    last = page(page().next_cursor)
    assert (ids(last), last.next_cursor) == ([4], None)
    waiting = page(last.end_cursor)
    assert (waiting.items, waiting.has_next) == ([], False)
    db.session.add_all([Document(id=n, user_id=1, title="new") for n in (5, 6)])
    db.session.flush()
    assert ids(page(waiting.end_cursor)) == [5, 6]
    delete(*range(1, 7))
    assert page().end_cursor is None


def test_each_item_has_a_cursor() -> None:
    add_documents(7)
    found = page()
    assert [ids(page(cursor, 2)) for cursor in found.cursors] == [[2, 3], [3, 4], [4, 5]]
    assert ids(page(found.end_cursor)) == ids(page(found.cursors[-1])) == [4, 5, 6]


@pytest.mark.parametrize(
    ("around", "size", "expected", "has_previous", "has_next"),
    [
        (5, 3, [4, 5, 6], True, True),
        (5, 4, [3, 4, 5, 6], True, True),
        (1, 3, [1, 2, 3], False, True),
        (9, 3, [8, 9], True, False),
        (5, 1, [5], True, True),
        (5, 20, list(range(1, 10)), False, False),
    ],
)
def test_the_page_round_an_item(
    around: int, size: int, expected: list[int], has_previous: bool, has_next: bool
) -> None:
    add_documents(9)
    found = page(size=size, around=around)
    assert (ids(found), found.has_previous, found.has_next) == (expected, has_previous, has_next)
    if has_next:
        assert ids(page(found.next_cursor, 2))[0] == expected[-1] + 1
    if has_previous:
        assert ids(page(found.previous_cursor, 2))[-1] == expected[0] - 1


def test_an_item_of_a_composite_key_and_what_is_no_item() -> None:
    db.session.add_all([Membership(user_id=u, group_id=1, role="r") for u in (1, 2, 3)])
    db.session.flush()
    query = select(Membership).order_by(Membership.role)
    found = paginate(query, CursorParams(page_size=1, around=(2, 1)))
    assert found.items[0].user_id == 2
    for around, message in (((9, 9), "no such item"), (2, "Must be 2 values")):
        with pytest.raises(ParameterError, match=message):
            paginate(query, CursorParams(around=around))
    with pytest.raises(ParameterError, match="Not together with cursor"):
        CursorParams("x", around=(2, 1))
    grouped = select(Membership.role, func.count()).group_by(Membership.role)
    with pytest.raises(ValueError, match="around needs rows with a key"):
        paginate(grouped, CursorParams(around="r"))


def test_over_http_it_is_a_parameter_where_the_list_has_it(app: Flask) -> None:
    add_documents(9)

    @app.get("/documents")
    @paginated(DocumentSchema, around=True, total="exact")
    def documents() -> Any:
        return select(Document)

    client = app.test_client()
    body: Any = client.get("/documents?around=5&page_size=3").json
    assert [item["id"] for item in body["items"]] == [4, 5, 6]
    assert body["total"] == 9
    link = client.get("/documents?around=5&page_size=3").headers["Link"]
    following: Any = client.get(link.rpartition("<")[2].partition(">")[0]).json
    assert [item["id"] for item in following["items"]] == [7, 8, 9]
    for query in ("around=77", "around=x", f"around={10**30}", "around=5&page=1"):
        response = client.get(f"/documents?{query}")
        assert (response.status_code, len(response.json["errors"])) == (400, 1)  # type: ignore[index]


@pytest.mark.parametrize(
    ("most", "total", "is_capped"), [(3, 3, True), (8, 8, False), (99, 8, False)]
)
def test_a_total_counts_no_further_than_it_must(most: int, total: int, is_capped: bool) -> None:
    add_documents(8, users=2)
    for query in (select(Document), select(Document).distinct(), select(Document).limit(8)):
        counted = paginate(query, PaginationParams(page_size=1), total=most)
        assert (counted.total, counted.total_is_capped) == (total, is_capped)
        assert counted.total_pages == (None if is_capped else 8)
        by_cursor = paginate(query, CursorParams(page_size=1), total=most)
        assert (by_cursor.total, by_cursor.total_is_capped) == (total, is_capped)


def test_a_capped_total_is_told_in_the_envelope(app: Flask) -> None:
    add_documents(5)

    @app.get("/documents")
    @paginated(DocumentSchema, total=3)
    def documents() -> Any:
        return select(Document)

    for query in ("", "?cursor="):
        body: Any = app.test_client().get(f"/documents{query}").json
        is_known = query == ""  # the only page counts itself
        assert (body["total"], body["total_is_capped"]) == ((5, False) if is_known else (3, True))


def test_one_list_may_have_its_own_sizes_names_and_envelope(app: Flask) -> None:
    add_documents(9)

    @app.get("/documents")
    @paginated(
        DocumentSchema,
        sortable={"id": Document.id},
        page_size=2,
        max_page_size=4,
        parameters={"page_size": "per_page", "cursor": "after", "sort": "order"},
        envelope=lambda page, items: {"data": items, "meta": {"more": page.has_next}},
    )
    def documents() -> Any:
        return select(Document)

    client = app.test_client()
    assert client.get("/documents").json == {
        "data": [{"id": 1}, {"id": 2}],
        "meta": {"more": True},
    }
    response = client.get("/documents?after=&order=-id&per_page=3")
    assert response.json["data"] == [{"id": 9}, {"id": 8}, {"id": 7}]  # type: ignore[index]
    link = response.headers["Link"].rpartition("<")[2].partition(">")[0]
    assert client.get(link).json["data"] == [{"id": 6}, {"id": 5}, {"id": 4}]  # type: ignore[index]
    bad: Any = client.get("/documents?per_page=5&order=nope&after=x&page=2").json
    assert sorted(bad["errors"]) == ["order", "page", "per_page"]
    assert list(client.get("/documents?after=x").json["errors"]) == ["after"]  # type: ignore[index]


def test_a_relationship_leads_to_the_column_of_another_table(app: Flask) -> None:
    add_documents(6, users=3)
    for user, name in ((1, "b"), (2, "c"), (3, "a")):
        db.session.query(User).filter_by(id=user).update({"name": name})
    db.session.commit()

    @app.get("/documents")
    @paginated(
        DocumentSchema,
        sortable={
            "owner": (Document.user, User.name),
            "upper": (Document.user, func.upper(User.name)),
        },
        filters={"owner": (Document.user, User.name), "late": (Document.user, User.name, "gt")},
    )
    def documents() -> Any:
        return select(Document)

    client = app.test_client()

    def found(query: str) -> list[int]:
        body: Any = client.get(f"/documents?{query}").json
        return [item["id"] for item in body["items"]]

    assert found("sort=owner") == [3, 6, 1, 4, 2, 5]
    assert found("sort=-owner,upper") == [2, 5, 1, 4, 3, 6]
    assert found("sort=owner&late=a") == [1, 4, 2, 5]
    assert found("owner=c") == [2, 5]
    first: Any = client.get("/documents?cursor=&sort=owner&page_size=4").json
    assert found("sort=owner&page_size=4&cursor=" + first["next_cursor"]) == [2, 5]
    body: Any = client.get("/documents?sort=owner&page_size=2").json
    assert body["total"] == 6


def test_a_filter_finds_an_item_once_however_many_rows_it_leads_to(app: Flask) -> None:
    add_documents(4, users=2)

    @app.get("/users")
    @paginated(DocumentSchema, filters={"title": (User.documents, Document.title, "contains")})
    def users() -> Any:
        return select(User)

    body: Any = app.test_client().get("/users?title=t").json
    assert ([item["id"] for item in body["items"]], body["total"]) == ([1, 2], 2)


def test_a_path_to_several_rows_cannot_be_sorted_by(app: Flask) -> None:
    add_documents(4, users=2)
    sortable = {"title": (User.documents, Document.title)}
    with pytest.raises(ValueError, match=r"sortable\['title'\].*may lead to several rows"):
        paginate(select(User), CursorParams(sort="title"), sortable=sortable)
    owner = {"owner": (Document.user, User.name)}
    with pytest.raises(ValueError, match=r"sortable\['owner'\] uses document.user_id"):
        paginate(select(User), CursorParams(sort="owner"), sortable=owner)
    with pytest.raises(ValueError, match=r"leads to User, where Document.title is not"):
        paginate(
            select(Document),
            CursorParams(sort="it"),
            sortable={"it": (Document.user, Document.title)},
        )
