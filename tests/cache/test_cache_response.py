"""Whole answers: kept, told apart, asked for again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import Counted, Document, count_documents
from flask import Flask, Response, jsonify, redirect, request, session
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache


class Site:
    """An application with one kept view, whose answer the test decides."""

    def __init__(self, cache: Cache, answer: Any, **options: Any) -> None:
        self.runs = 0
        app = Flask(__name__)
        app.secret_key = "secret"

        @app.route("/page", methods=["GET", "POST"])
        @app.route("/page/<int:number>")
        @cache.cached_response(**{"depends_on": [], **options})
        def page(number: int = 0) -> Any:
            self.runs += 1
            return answer()

        self.client: FlaskClient = app.test_client()

    def get(self, path: str = "/page", **options: Any) -> Any:
        return self.client.get(path, **options)


def test_an_answer_is_kept_with_its_headers(cache: Cache) -> None:
    site = Site(cache, lambda: (jsonify(a=1), {"X-Made": "once"}))
    answers = [site.get() for _ in range(2)]
    assert [answer.json for answer in answers] == [{"a": 1}] * 2
    assert [answer.headers["X-Made"] for answer in answers] == ["once"] * 2
    assert [answer.content_type for answer in answers] == ["application/json"] * 2
    assert site.runs == 1


def test_bytes_are_kept(cache: Cache) -> None:
    site = Site(cache, lambda: Response(b"\x89PNG\xff", mimetype="image/png"))
    assert [site.get().data for _ in range(2)] == [b"\x89PNG\xff"] * 2
    assert site.runs == 1


def test_a_browser_that_has_the_answer_gets_a_304(cache: Cache) -> None:
    site = Site(cache, lambda: "text")
    first = site.get()
    assert first.headers["Cache-Control"] == "no-cache"
    again = site.get(headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    other = site.get(headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.data) == (200, b"text")


def test_an_etag_changes_with_the_answer(cache: Cache, sqlite_engine: sa.Engine) -> None:
    site = Site(cache, lambda: str(count_documents(sqlite_engine)), depends_on=None)
    first = site.get()
    with Session(sqlite_engine) as session:
        session.add(Document(user_id=1, title="c"))
        session.commit()
    again = site.get(headers={"If-None-Match": first.headers["ETag"]})
    assert (first.data, again.status_code, again.data) == (b"2", 200, b"3")


def test_max_age_lets_browsers_keep_it(cache: Cache) -> None:
    assert Site(cache, lambda: "text", max_age=60).get().headers["Cache-Control"] == "max-age=60"


def test_a_view_may_say_itself_what_browsers_may_do(cache: Cache) -> None:
    site = Site(cache, lambda: ("text", {"Cache-Control": "max-age=5", "ETag": '"mine"'}))
    for _ in range(2):
        answer = site.get()
        assert (answer.headers["Cache-Control"], answer.headers["ETag"]) == ("max-age=5", '"mine"')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/page/1", "/page/2"),
        ("/page?a=1", "/page?a=2"),
        ("/page?a=1&a=2", "/page?a=1"),
        ("http://one.test/page", "http://other.test/page"),
    ],
)
def test_other_urls_are_other_answers(cache: Cache, one: str, other: str) -> None:
    site = Site(cache, lambda: request.url)
    for path in (one, other, one, other):
        assert path.partition(".test")[2] in site.get(path).text
    assert site.runs == 2


def test_the_order_of_parameters_does_not_matter(cache: Cache) -> None:
    site = Site(cache, lambda: "text")
    for path in ("/page?a=1&b=2", "/page?b=2&a=1"):
        site.get(path)
    assert site.runs == 1


def test_answers_vary_by_header(cache: Cache) -> None:
    site = Site(cache, lambda: request.headers["Accept-Language"], vary=["Accept-Language"])
    for language in ("de", "fr", "de"):
        answer = site.get(headers={"Accept-Language": language})
        assert answer.text == language
        assert answer.headers["Vary"] == "Accept-Language"
    assert site.runs == 2


def test_answers_vary_by_what_a_function_tells(cache: Cache) -> None:
    def user() -> str:
        return str(session.get("user"))

    site = Site(cache, user, vary=[user])
    for name in ("Ada", "Bob", "Ada"):
        with site.client.session_transaction() as cookie:
            cookie["user"] = name
        answer = site.get()
        assert answer.text == name
        assert answer.headers["Cache-Control"] == "private, no-cache"
    assert site.runs == 2


def test_an_answer_that_the_session_decided_is_not_kept(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(cache, lambda: str(session.get("user")))
    for name in ("Ada", "Bob"):
        with site.client.session_transaction() as cookie:
            cookie["user"] = name
        assert site.get().text == name
    assert "it reads the session" in caplog.messages[0]
    assert len(caplog.messages) == 1


def test_an_answer_to_somebody_with_a_password_is_not_kept(cache: Cache) -> None:
    site = Site(cache, lambda: request.authorization.username if request.authorization else "-")
    assert site.get(auth=("ada", "x")).text == "ada"
    assert site.get().text == "-"
    assert site.get(auth=("bob", "x")).text == "bob"


def test_passwords_may_tell_answers_apart(cache: Cache) -> None:
    site = Site(cache, lambda: str(request.authorization), vary=["Authorization"])
    for name in ("ada", "bob", "ada"):
        site.get(auth=(name, "x"))
    assert site.runs == 2


def stream() -> Response:
    def parts() -> Iterator[str]:
        yield "a"
        yield "b"

    return Response(parts())


def with_cookie() -> Response:
    response = Response("text")
    response.set_cookie("a", "b")
    return response


NOT_KEPT: dict[str, Any] = {
    "not found": lambda: ("text", 404),
    "created": lambda: ("text", 201),
    "redirect": lambda: redirect("/other"),
    "stream": stream,
    "cookie": with_cookie,
    "private": lambda: ("text", {"Cache-Control": "private"}),
    "no-store": lambda: ("text", {"Cache-Control": "no-store"}),
}


@pytest.mark.parametrize("kind", NOT_KEPT)
def test_what_is_not_for_everybody_is_passed_on_and_not_kept(cache: Cache, kind: str) -> None:
    site = Site(cache, NOT_KEPT[kind])
    answers = [site.get() for _ in range(2)]
    assert answers[0].data == answers[1].data != b""
    assert site.runs == 2


def test_other_methods_go_to_the_view(cache: Cache) -> None:
    site = Site(cache, lambda: request.method)
    assert [site.client.post("/page").text for _ in range(2)] == ["POST", "POST"]
    assert site.runs == 2
    assert site.client.head("/page").status_code == 200


def test_an_exception_of_the_view_is_answered_as_ever(cache: Cache) -> None:
    site = Site(cache, lambda: 1 // 0)
    assert [site.get().status_code for _ in range(2)] == [500, 500]
    assert site.runs == 2


def test_a_view_depends_on_its_arguments(cache: Cache) -> None:
    app = Flask(__name__)
    creator = Counted(lambda: "text")

    @app.get("/users/<int:user_id>")
    @cache.cached_response(depends_on=lambda user_id: [Document.user_id == user_id])
    def show(user_id: int) -> Any:
        return creator()

    client = app.test_client()
    for user_id in (1, 2, 1, 2):
        client.get(f"/users/{user_id}")
    assert creator.runs == 2
    cache.invalidate(Document.user_id == 1)
    for user_id in (1, 2):
        client.get(f"/users/{user_id}")
    assert creator.runs == 3


def test_a_view_without_arguments_of_the_decorator_is_kept(
    cache: Cache, sqlite_engine: sa.Engine
) -> None:
    app = Flask(__name__)
    creator = Counted(lambda: str(count_documents(sqlite_engine)))

    @app.get("/")
    @cache.cached_response
    def index() -> Any:
        return creator()

    client = app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["2", "2"]
    assert creator.runs == 1


def test_an_async_view_is_kept(cache: Cache) -> None:
    pytest.importorskip("asgiref")
    app = Flask(__name__)
    creator = Counted(lambda: "text")

    @app.get("/")
    @cache.cached_response(depends_on=[])
    async def index() -> Any:
        return creator()

    client = app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["text", "text"]
    assert creator.runs == 1


def test_something_else_than_headers_and_functions_is_refused(cache: Cache) -> None:
    with pytest.raises(TypeError, match="allowed are header names and functions"):
        cache.cached_response(vary=[1])
