"""Cursors: signed, sealed where they must be, and of use for their own query only."""

from __future__ import annotations

import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, fields, post_dump
from paging_models import Color, Document, Everything, User, add_documents, create_app, db
from paging_walk import walk
from sqlalchemy import func, select

from flask_perfkit.config import Settings
from flask_perfkit.errors import CursorError, ExtraMissing, SetupError
from flask_perfkit.pagination import CursorParams, paginate, paginated
from flask_perfkit.pagination.cursor import token as cursor
from flask_perfkit.pagination.cursor.token import CursorPosition


class DocumentSchema(Schema):
    id = fields.Integer()
    title = fields.String()


class BareSchema(Schema):
    title = fields.String()


@pytest.fixture
def app() -> Any:
    app = create_app("sqlite://")
    with app.app_context():
        add_documents(9, users=2)
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    def documents() -> Any:
        return select(Document)

    listed = paginated(
        DocumentSchema,
        sortable={"id": Document.id, "title": Document.title},
        default_sort="id",
        filters={"user_id": Document.user_id, "kind": (Document.size, "in")},
    )(documents)
    app.add_url_rule("/documents", "documents", listed)
    app.add_url_rule("/others", "others", listed)
    return app.test_client()


def get(client: FlaskClient, path: str = "/documents", **query: object) -> Any:
    response = client.get(path, query_string={"page_size": 2, **query})
    assert response.status_code == 200, response.text
    return response.json


def refused(client: FlaskClient, path: str = "/documents", **query: object) -> str:
    """Return what the answer says of the cursor."""
    response = client.get(path, query_string=query)
    body: Any = response.json
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert list(body["errors"]) == ["cursor"]
    assert len(response.data) < 1_000
    return str(body["errors"]["cursor"][0])


def test_the_envelope_is_exactly_this(client: FlaskClient) -> None:
    first = get(client, cursor="")
    assert first == {
        "items": [{"id": 1, "title": "t1"}, {"id": 2, "title": "t2"}],
        "page_size": 2,
        "next_cursor": first["next_cursor"],
        "previous_cursor": None,
        "has_next": True,
        "has_previous": False,
    }
    second = get(client, cursor=first["next_cursor"])
    assert [item["id"] for item in second["items"]] == [3, 4]
    assert (second["has_next"], second["has_previous"]) == (True, True)
    assert get(client, cursor=second["previous_cursor"])["items"] == first["items"]


def test_a_total_comes_where_it_is_declared(app: Flask) -> None:
    @app.get("/counted")
    @paginated(DocumentSchema, total="exact")
    def counted() -> Any:
        return select(Document)

    assert get(app.test_client(), "/counted", cursor="")["total"] == 9


def test_links_lead_on_by_cursors(client: FlaskClient) -> None:
    response = client.get("/documents?cursor=&page_size=4&sort=-id")
    assert response.headers["Link"].count("rel=") == 2
    seen: list[int] = []
    url = "/documents?cursor=&page_size=4&sort=-id"
    while url:
        response = client.get(url)
        body: Any = response.json
        seen += [item["id"] for item in body["items"]]
        links = dict(
            reversed(link.split("; rel=")) for link in response.headers["Link"].split(", ")
        )
        assert '"first"' in links
        url = links.get('"next"', "").strip("<>")
    assert seen == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_cursors_are_short_and_fit_into_a_url(client: FlaskClient) -> None:
    text = get(client, cursor="", sort="title")["next_cursor"]
    assert len(text) < 300
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_a_changed_cursor_is_refused(client: FlaskClient) -> None:
    good = get(client, cursor="")["next_cursor"]
    for position in range(len(good) - 1):
        for letter in "A.z_":
            if letter != good[position]:
                bad = good[:position] + letter + good[position + 1 :]
                assert "changed on its way" in refused(client, cursor=bad)
    for bad in (good[:-2], good[5:], good + "A", good * 2, good[::-1], good.swapcase()):
        assert "changed on its way" in refused(client, cursor=bad)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=st.text(min_size=1) | st.binary(min_size=1).map(lambda data: data.decode("latin-1")))
def test_no_text_makes_a_500(client: FlaskClient, text: str) -> None:
    refused(client, cursor=text)


def test_a_megabyte_is_refused_in_a_line(client: FlaskClient) -> None:
    assert "Longer than" in refused(client, cursor="x" * 10**6)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/documents", {"sort": "-id"}),
        ("/documents", {"sort": "title"}),
        ("/documents", {"user_id": 1}),
        ("/documents", {"user_id": 2}),
        ("/others", {}),
    ],
)
def test_a_cursor_of_another_query_is_refused(
    client: FlaskClient, path: str, query: dict[str, Any]
) -> None:
    good = get(client, cursor="")["next_cursor"]
    assert "another query" in refused(client, path, cursor=good, **query)
    narrow = get(client, path, cursor="", **query)["next_cursor"]
    assert "another query" in refused(client, cursor=narrow)


def test_the_default_sort_and_the_same_sort_asked_for_are_one_query(client: FlaskClient) -> None:
    good = get(client, cursor="")["next_cursor"]
    assert get(client, cursor=good, sort="id", page_size=5)["items"][0]["id"] == 3


def test_a_cursor_of_an_older_version_says_so(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(cursor, "_VERSION", 0)
        old = get(client, cursor="")["next_cursor"]
    assert "another version" in refused(client, cursor=old)


def test_page_and_cursor_do_not_go_together(client: FlaskClient) -> None:
    body: Any = client.get("/documents?cursor=&page=1").json
    assert body["errors"] == {"page": ["Not together with cursor."]}


def test_bad_parameters_beside_a_cursor_come_in_one_answer(client: FlaskClient) -> None:
    body: Any = client.get("/documents?cursor=&page_size=0&sort=nope&user_id=x").json
    assert sorted(body["errors"]) == ["page_size", "sort", "user_id"]


def test_a_new_secret_honours_the_cursors_of_its_fallbacks(app: Flask, client: FlaskClient) -> None:
    old = get(client, cursor="")["next_cursor"]
    app.secret_key = "new"
    assert "changed on its way" in refused(client, cursor=old)
    app.config["SECRET_KEY_FALLBACKS"] = ["older still", "of the tests"]
    page = get(client, cursor=old)
    assert page["items"][0]["id"] == 3
    app.config["SECRET_KEY_FALLBACKS"] = []
    assert get(client, cursor=page["next_cursor"])["items"][0]["id"] == 5


def test_cursors_may_have_a_secret_of_their_own(app: Flask, client: FlaskClient) -> None:
    app.extensions["perfkit"] = SimpleNamespace(settings=Settings(cursor_secret=b"own"))
    text = get(client, cursor="")["next_cursor"]
    app.secret_key = "another"
    assert get(client, cursor=text)["items"][0]["id"] == 3
    app.extensions["perfkit"] = SimpleNamespace(settings=Settings(cursor_secret="other"))
    assert "changed on its way" in refused(client, cursor=text)


def test_without_any_secret_the_cure_is_named(app: Flask) -> None:
    app.secret_key = None
    with pytest.raises(SetupError, match="SECRET_KEY or PERFKIT_CURSOR_SECRET"):
        paginate(select(Document), CursorParams())


_IN_ANOTHER_PROCESS = """
import sys
from paging_models import Color, Document, Everything, User, create_app, db
from sqlalchemy import select, func
from flask_perfkit.pagination import CursorParams, paginate
app = create_app(sys.argv[1])
with app.app_context():
    query = select(Document).join(User).where(
        User.name.in_({"u1", "u2", "u3", "u4", "u5"}), Document.uploaded_at < func.now()
    )
    print(paginate(query, CursorParams(page_size=2)).next_cursor)
    query = select(Everything.id).where(Everything.color.in_(frozenset(Color)))
    print(paginate(query, CursorParams(page_size=2)).next_cursor)
"""


def test_workers_agree_on_cursors(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    app = create_app(url)
    with app.app_context():
        add_documents(9, users=2)
        db.session.add_all([Everything(id=n, color=Color.RED) for n in range(5)])
        db.session.commit()
        db.engine.dispose()
    printed = set()
    for seed in ("1", "2", "3"):
        result = subprocess.run(
            [sys.executable, "-c", _IN_ANOTHER_PROCESS, url],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        )
        printed.add(result.stdout)
    assert len(printed) == 1
    assert "None" not in printed.pop()


def payload_of(text: str) -> bytes:
    encoded = text.partition(".")[0]
    return urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def test_values_that_the_response_does_not_show_are_sealed(app: Flask) -> None:
    db.session.query(User).update({"name": "the secret of user " + func.hex(User.id)})
    by_name = select(Document).join(User).order_by(User.name.desc())
    page = paginate(by_name, CursorParams(page_size=2))
    assert page.next_cursor is not None
    assert b"secret" not in payload_of(page.next_cursor)
    assert [item.id for item in walk(by_name, 2)] == [8, 6, 4, 2, 9, 7, 5, 3, 1]
    shown = select(Document.id, User.name).join(User).order_by(User.name.desc())
    page = paginate(shown, CursorParams(page_size=2), shows=["id", "name"])
    assert page.next_cursor is not None
    assert b"secret" in payload_of(page.next_cursor)


OPEN: dict[str, Callable[[], Any]] = {
    "column": lambda: select(Document).order_by(Document.title),
    "entities": lambda: select(Document, User).join(User).order_by(User.name),
    "row": lambda: select(Document.title, Document.id).order_by(Document.title),
    "limited row": lambda: select(Document.id).order_by(Document.id).limit(5),
    "limited entity": lambda: select(Document).order_by(Document.title).limit(5),
    "label": lambda: select(func.lower(Document.title).label("l"), Document.id).order_by("l"),
}
SHOWN = ("id", "title", "User.name", "Document.id", "l")
SEALED: dict[str, Callable[[], Any]] = {
    "expression": lambda: select(Document).order_by(func.lower(Document.title)),
    "tie-break": lambda: select(Document.title).order_by(Document.title),
    "column": lambda: select(Document.id).order_by(Document.title),
    "joined": lambda: select(Document).join(User).order_by(User.name),
    "limited": lambda: select(Document).join(User).order_by(User.name).limit(5),
}


@pytest.mark.parametrize("name", OPEN)
def test_what_an_item_shows_is_signed_only(app: Flask, name: str) -> None:
    page = paginate(OPEN[name](), CursorParams(page_size=2), shows=SHOWN)
    assert page.next_cursor is not None
    assert payload_of(page.next_cursor)[1] == 0


@pytest.mark.parametrize("name", SEALED)
def test_what_an_item_does_not_show_is_sealed(app: Flask, name: str) -> None:
    page = paginate(SEALED[name](), CursorParams(page_size=2), shows=SHOWN)
    assert page.next_cursor is not None
    assert payload_of(page.next_cursor)[1] == 1


def test_what_the_schema_dumps_decides(app: Flask) -> None:
    class MaskedSchema(Schema):
        id = fields.Integer()
        title = fields.Function(lambda document: document.title[0] + "***")

    class RenamedSchema(Schema):
        number = fields.Integer(attribute="id")
        name = fields.String(attribute="title")

    for schema, is_sealed in (
        (DocumentSchema, False),
        (DocumentSchema(only=["id"]), True),
        (BareSchema, True),
        (MaskedSchema, True),
        (RenamedSchema, False),
    ):
        with app.test_request_context("/?cursor=&page_size=2"):
            view = paginated(schema)(lambda: select(Document).order_by(Document.title))
            body = view().json
            assert (payload_of(body["next_cursor"])[1] == 1) == is_sealed


class _Masked(fields.String):
    """Shows less than it is given."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return str(value)[:1]


def _shown(**shown: Any) -> type[Schema]:
    return Schema.from_dict({"id": fields.Integer(), **shown})


class _Yearly(Schema):
    class Meta:
        datetimeformat = "%Y"

    id = fields.Integer()
    uploaded_at = fields.DateTime()


class _Stripping(Schema):
    id = fields.Integer()
    title = fields.String()

    @post_dump
    def without_key(self, item: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"id": item["id"]}


@pytest.mark.parametrize(
    ("schema", "order", "is_sealed"),
    [
        (_shown(title=_Masked()), Document.title, True),
        (_Stripping, Document.title, True),
        (_Yearly, Document.uploaded_at, True),
        (Schema.from_dict({"id": fields.Integer(), "size": fields.Float()}), Document.size, True),
        (
            Schema.from_dict({"id": fields.Integer(), "size": fields.Integer()}),
            Document.size,
            False,
        ),
        (_shown(uploaded_at=fields.DateTime("%Y")), Document.uploaded_at, True),
        (_shown(uploaded_at=fields.DateTime()), Document.uploaded_at, False),
    ],
    ids=["mask", "hook", "year of all", "other type", "number", "year", "moment"],
)
def test_only_a_value_that_is_certainly_shown_is_left_readable(
    app: Flask, schema: Any, order: Any, is_sealed: bool
) -> None:
    page = paginate(select(Document).order_by(order), CursorParams(page_size=2), shows=schema)
    assert page.next_cursor is not None
    assert (payload_of(page.next_cursor)[1] == 1) == is_sealed


def test_who_does_not_say_what_is_shown_has_sealed_cursors(app: Flask) -> None:
    page = paginate(select(Document).order_by(Document.title), CursorParams(page_size=2))
    assert page.next_cursor is not None
    assert payload_of(page.next_cursor)[1] == 1
    with app.test_request_context("/?cursor=&page_size=2"):
        bare = paginated(DocumentSchema, envelope=lambda page, items: page.next_cursor)
        assert payload_of(bare(lambda: select(Document))().json)[1] == 1
    with pytest.raises(TypeError, match="shows='title': must be a marshmallow schema, or the"):
        paginate(select(Document), CursorParams(), shows="title")


def test_sealed_cursors_outlive_a_change_of_secret(app: Flask) -> None:
    query = select(Document).join(User).order_by(User.name.desc())
    text = paginate(query, CursorParams(page_size=2)).next_cursor
    app.secret_key = "new"
    app.config["SECRET_KEY_FALLBACKS"] = ["of the tests"]
    assert [item.id for item in paginate(query, CursorParams(text, 2)).items] == [4, 2]
    app.config["SECRET_KEY_FALLBACKS"] = []
    with pytest.raises(CursorError, match="changed on its way"):
        paginate(query, CursorParams(text, 2))


def test_where_sealing_is_not_installed_the_extra_is_named_on_the_first_page(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    assert paginate(select(Document), CursorParams(), shows=DocumentSchema).items
    with pytest.raises(ExtraMissing, match=r"flask-perfkit\[sealed\]"):
        paginate(select(Document).join(User).order_by(User.name), CursorParams())


def test_a_driver_may_have_a_type_of_its_own_for_a_value(app: Flask) -> None:
    class OwnUUID(UUID):
        """As asyncpg has one."""

    values = (OwnUUID(int=7), None, 5)
    text = cursor.write_cursor(
        CursorPosition(False, False, values), b"x" * 12, (b"key",), sealed=False
    )
    assert cursor.read_cursor(text, b"x" * 12, (b"key",)).values == (UUID(int=7), None, 5)


def test_a_value_without_a_stable_text_is_refused_with_the_cure(app: Flask) -> None:
    class Opaque:
        pass

    query = select(Document).where(Document.note == Opaque())
    with pytest.raises(
        TypeError, match="Opaque in it cannot be recognized again: give the class a __repr__"
    ):
        paginate(query, CursorParams())
