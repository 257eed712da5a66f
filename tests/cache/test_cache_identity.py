"""Which function, and which user, a value belongs to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import User, count_documents
from flask import Flask, g, request, session
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache


def greeting_for(cache: Cache, name: str) -> Callable[[], str]:
    @cache.cached(depends_on=[])
    def greeting() -> str:
        return f"Hello {name}"

    return greeting


def test_closures_of_one_factory_have_their_own_values(cache: Cache) -> None:
    first, second = greeting_for(cache, "Ada"), greeting_for(cache, "Bob")
    assert [first(), second(), first()] == ["Hello Ada", "Hello Bob", "Hello Ada"]
    assert greeting_for(cache, "Ada").cache_key() == first.cache_key()  # type: ignore[attr-defined]


def test_lambdas_of_a_module_have_their_own_values(cache: Cache) -> None:
    one, two = cache.cached(lambda: 1, depends_on=[]), cache.cached(lambda: 2, depends_on=[])
    assert [one(), two(), one()] == [1, 2, 1]


def test_what_is_not_plain_is_only_itself(cache: Cache) -> None:
    def reading(holder: Any) -> Callable[[], Any]:
        return cache.cached(lambda: holder["value"], depends_on=[])  # type: ignore[no-any-return]

    first, second = {"value": 1}, {"value": 2}
    one, two = reading(first), reading(second)
    assert [one(), two()] == [1, 2]
    first["value"] = 3
    assert one() == 1  # as with any cache: the source changed, and nothing said so


def test_a_variable_that_is_given_another_value_is_another_call(cache: Cache) -> None:
    user = "Ada"

    @cache.cached(depends_on=[])
    def page() -> str:
        return user

    assert page() == "Ada"
    user = "Mallory"
    assert page() == "Mallory"


def test_what_the_function_itself_counts_is_no_input(cache: Cache) -> None:
    runs = 0

    @cache.cached(depends_on=[])
    def page() -> int:
        nonlocal runs
        runs += 1
        return runs

    assert [page(), page()] == [1, 1]


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    def title(self) -> str:
        return self.name


def test_bound_methods_and_partials_belong_to_their_object(cache: Cache) -> None:
    ada, bob = Shop("Ada's"), Shop("Bob's")
    methods = [cache.cached(shop.title, depends_on=[]) for shop in (ada, bob)]
    assert [method() for method in methods] == ["Ada's", "Bob's"]

    def two(one: str, other: str) -> str:
        return one + other

    partials = [cache.cached(functools.partial(two, name), depends_on=[]) for name in ("a", "b")]
    assert [part("x") for part in partials] == ["ax", "bx"]


def test_functions_below_another_decorator_are_told_apart(cache: Cache) -> None:
    def logged(function: Callable[[], int]) -> Callable[[], int]:
        @functools.wraps(function)
        def around() -> int:
            return function()

        return around

    def number(value: int) -> Callable[[], int]:
        @logged
        def made() -> int:
            return value

        return made

    one, two = (cache.cached(number(value), depends_on=[]) for value in (1, 2))
    assert [one(), two()] == [1, 2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1.0"), Decimal("1.00")),
        (0.0, -0.0),
        (
            datetime(2026, 1, 1, 12, tzinfo=UTC),
            datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        ),
        ((1,), (True,)),
    ],
)
def test_values_that_are_equal_to_python_only_are_other_calls(
    cache: Cache, one: Any, other: Any
) -> None:
    show = cache.cached(lambda value: str(value), depends_on=[])
    assert [show(one), show(other)] == [str(one), str(other)]


class Lying(str):
    def __repr__(self) -> str:
        return "'same'"


def test_what_a_class_says_of_itself_does_not_count(cache: Cache) -> None:
    show = cache.cached(lambda value: str(value), depends_on=[])
    assert [show(Lying("a")), show(Lying("b"))] == ["a", "b"]


class Site:
    """An application whose one view, with what is kept, the test decides."""

    def __init__(self, view: Callable[..., Any], before: Callable[[], Any] | None = None) -> None:
        app = Flask(__name__)
        app.secret_key = "secret"
        app.add_url_rule("/page", "page", view, methods=["GET"])
        if before is not None:
            app.before_request(before)
        self.app = app

    def get(self, path: str = "/page", *, user: str = "", **options: Any) -> str:
        client = self.app.test_client()
        if user:
            with client.session_transaction() as cookie:
                cookie["user"] = user
        return client.get(path, **options).text


SESSION_READS: dict[str, Callable[[], Any]] = {
    "item": lambda: session["user"],
    "contains": lambda: "user" in session,
    "length": lambda: len(session),
    "all": lambda: dict(session),
    "get": lambda: session.get("user"),
    "bool": lambda: bool(session),
}


@pytest.mark.parametrize("way", SESSION_READS)
def test_a_cached_function_that_reads_the_session_is_not_kept(
    cache: Cache, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    runs = []

    @cache.cached(depends_on=[])
    def who() -> str:
        runs.append(1)
        return str(SESSION_READS[way]())

    site = Site(lambda: who())
    first = site.get(user="Ada")
    assert site.get(user="Ada") == first
    assert len(runs) == 2
    assert "it reads the session" in caplog.messages[0]
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("way", SESSION_READS)
def test_an_answer_for_which_the_session_was_read_is_not_kept(cache: Cache, way: str) -> None:
    runs = []

    def view() -> str:
        runs.append(1)
        return str(SESSION_READS[way]())

    site = Site(cache.cached_response(view, depends_on=[]))
    site.get(user="Ada")
    site.get(user="Ada")
    assert len(runs) == 2


def load_user() -> None:
    g.user = SimpleNamespace(name=request.args["as"])


@pytest.mark.parametrize(
    "read", [lambda: g.user.name, lambda: g.get("user").name], ids=["attribute", "get"]
)
def test_what_was_put_into_g_is_an_input(cache: Cache, read: Callable[[], str]) -> None:
    @cache.cached(depends_on=[])
    def who() -> str:
        return read() if "user" in g else ""

    site = Site(lambda: who(), load_user)
    assert [site.get("/page?as=Ada"), site.get("/page?as=Bob")] == ["Ada", "Bob"]


def test_what_a_function_puts_into_g_itself_is_none(cache: Cache) -> None:
    runs = []

    @cache.cached(depends_on=[])
    def value() -> str:
        runs.append(1)
        if "connection" not in g:
            g.connection = "made here"
        return str(g.connection)

    site = Site(lambda: value())
    assert [site.get(), site.get()] == ["made here"] * 2
    assert len(runs) == 1


def test_a_function_that_reads_the_request_is_not_kept_unless_its_key_says_so(
    cache: Cache,
) -> None:
    bare = cache.cached(lambda: request.args["a"], depends_on=[])
    keyed_runs = []

    def read() -> str:
        keyed_runs.append(1)
        return request.args["a"]

    keyed = cache.cached(read, depends_on=[], key=lambda: request.args["a"])
    site = Site(lambda: bare() + keyed())
    assert [site.get("/page?a=1"), site.get("/page?a=2"), site.get("/page?a=1")] == [
        "11",
        "22",
        "11",
    ]
    assert len(keyed_runs) == 2


HEADER_READS: dict[str, Callable[[], Any]] = {
    "headers": lambda: request.headers.get("X-Tenant"),
    "item": lambda: request.headers["X-Tenant"],
    "list": lambda: request.headers.getlist("X-Tenant"),
    "contains": lambda: "X-Tenant" in request.headers,
    "all": lambda: dict(request.headers).get("X-Tenant"),
    "cookies": lambda: request.cookies.get("t"),
    "languages": lambda: str(request.accept_languages),
    "address": lambda: request.remote_addr,
}


@pytest.mark.parametrize("way", HEADER_READS)
def test_an_answer_that_depends_on_headers_is_not_kept_unless_told(cache: Cache, way: str) -> None:
    runs = []

    def view() -> str:
        runs.append(1)
        return str(HEADER_READS[way]())

    headers = {"X-Tenant": "a", "Cookie": "t=1", "Accept-Language": "de"}
    site = Site(cache.cached_response(view, depends_on=[]))
    site.get(headers=headers)
    site.get(headers=headers)
    assert len(runs) == 2


@pytest.mark.parametrize(
    "said",
    [{"Vary": "Cookie"}, {"Vary": "Accept-Language, Origin"}, {"Vary": "*"}],
)
def test_an_answer_whose_own_vary_names_more_is_not_kept(
    cache: Cache, said: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    runs = []

    def view() -> Any:
        runs.append(1)
        return "text", said

    site = Site(cache.cached_response(view, depends_on=[], vary=["Accept-Language"]))
    site.get()
    site.get()
    assert len(runs) == 2
    assert "its answer varies by" in caplog.messages[0]


class Account:
    def __init__(self, name: str) -> None:
        self.name = name


class Known(Account):
    def get_id(self) -> str:
        return self.name


def test_users_without_a_text_are_told_apart_by_nothing(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(
        cache.cached_response(
            lambda: request.args["as"],
            depends_on=[],
            vary=[lambda: Account(request.args["as"])],
            query=[],
        )
    )
    for name in [f"user{number}" for number in range(20)]:
        assert site.get(f"/page?as={name}") == name
    assert "no plain data" in caplog.messages[0]
    assert len(caplog.messages) == 1


def test_users_that_name_themselves_are_told_apart(cache: Cache) -> None:
    runs = []

    def view() -> str:
        runs.append(1)
        return request.args["as"]

    site = Site(
        cache.cached_response(
            view, depends_on=[], vary=[lambda: Known(request.args["as"])], query=[]
        )
    )
    assert [site.get(f"/page?as={name}") for name in ("a", "b", "a")] == ["a", "b", "a"]
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/page?sort=a&sort=b", "/page?sort=b&sort=a"),
        ("/page?a%3Db=c", "/page?a=b%3Dc"),
        ("/page?a=1%26b%3D2", "/page?a=1&b=2"),
        ("/page?a=", "/page?a=&a="),
    ],
)
def test_other_queries_are_other_answers(cache: Cache, one: str, other: str) -> None:
    site = Site(cache.cached_response(lambda: request.query_string.decode(), depends_on=[]))
    for path in (one, other, one):
        assert site.get(path) == path.partition("?")[2]


def test_a_mount_and_a_body_are_part_of_the_address(cache: Cache) -> None:
    view = cache.cached_response(lambda: request.root_path + str(request.get_json(silent=True)))
    del view
    kept = cache.cached_response(
        lambda: f"{request.root_path} {request.get_json(silent=True)}", depends_on=[]
    )
    site = Site(kept)
    for mount in ("/one", "/two", "/one"):
        assert site.get(base_url=f"http://localhost{mount}").startswith(mount)
    for number in (1, 2, 1):
        assert site.get(json={"n": number}).endswith(str({"n": number}))


def test_only_the_parameters_that_count_tell_answers_apart(cache: Cache) -> None:
    runs = []

    def view() -> str:
        runs.append(1)
        return request.args["page"]

    site = Site(cache.cached_response(view, depends_on=[], query=["page"]))
    assert [site.get(f"/page?page=1&_={number}") for number in range(5)] == ["1"] * 5
    assert site.get("/page?page=2") == "2"
    assert len(runs) == 2


def test_a_list_of_parameters_is_no_text(cache: Cache) -> None:
    with pytest.raises(TypeError, match=r"query is 'page'; allowed is a list"):
        cache.cached_response(query="page")


def test_another_shape_of_an_entry_is_a_miss(cache: Cache) -> None:
    site = Site(cache.cached_response(lambda: "text", depends_on=[]))
    assert site.get() == "text"
    if not cache._shared.backend.shared:
        return
    client = cache._shared.backend._client  # type: ignore[attr-defined]
    (key,) = client.keys("perfkit:v:*")
    head, _, _ = client.get(key).rpartition(b"\n")
    client.set(key, head + b'\n{"status":200,"data":"older"}')
    assert [site.get(), site.get()] == ["text", "text"]


def test_a_role_or_schema_that_the_session_switched_to_is_told(
    cache: Cache, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    if engine.dialect.name == "sqlite":
        return

    @cache.cached
    def count(tenant: str) -> int:
        with Session(engine) as session:
            session.execute(sa.text(f"SET LOCAL search_path TO public, {tenant}"))
            return session.scalars(sa.select(sa.func.count(User.id))).one()

    assert [count("a"), count("a")] == [2, 2]
    assert "PERFKIT_CACHE_NAMESPACE" in caplog.messages[0]
    assert count_documents(engine) == 2


def test_schemas_of_a_session_are_told_and_those_of_an_engine_belong_to_it(
    cache: Cache, sqlite_engine: sa.Engine
) -> None:
    runs: list[str] = []

    def counting(engine: sa.Engine, name: str) -> Callable[[], int]:
        @cache.cached
        def count() -> int:
            runs.append(name)
            with Session(engine) as session:
                return session.scalars(sa.select(sa.func.count(User.id))).one()

        return count

    schemas = {"schema_translate_map": {None: "main"}}
    switched = counting(sqlite_engine.execution_options(**schemas), "switched")
    own = sa.create_engine(sqlite_engine.url, execution_options=schemas)
    plain = counting(own, "plain")
    assert [switched(), switched(), plain(), plain()] == [2] * 4
    assert runs == ["switched", "switched", "plain"]
    own.dispose()
