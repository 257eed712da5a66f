"""Whoever uses a public name wrongly is told so, in the words that they wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema
from sqlalchemy import literal, select

from flask_perfkit import (
    CursorParams,
    Finding,
    PaginationParams,
    PerfKit,
    QueryCounter,
    SettingsError,
    SetupError,
    cache_stats,
    detector,
    memory_tracker,
    paginate,
    timeit,
    timer,
    track_memory,
)
from flask_perfkit.alerts import P95
from flask_perfkit.audit import Workload, advise
from flask_perfkit.batching import auto_batch
from flask_perfkit.cache import Cache
from flask_perfkit.pagination import page_schema
from flask_perfkit.testing.assertions import Assertions

db = SQLAlchemy()
perfkit = PerfKit()
found = Finding("n_plus_one", "User.documents", "n_plus_one: found", "selectinload(User.documents)")


def view() -> str:
    return "ok"


async def later(*_: Any) -> None: ...


def twice() -> None:
    app = Flask("shop", root_path=".")
    PerfKit(app)
    PerfKit(app)


def used_twice() -> None:
    counter = QueryCounter()
    for _ in range(2):
        with counter:
            pass


workload = Workload(Flask("shop", root_path="."))


def recorded_twice() -> None:
    with workload, workload:
        pass


kit: Any = perfkit
cache: Any = Cache.from_url()
"""For what mypy would refuse as well, as is the cache."""

MISUSES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "the database first": (lambda: PerfKit(db), TypeError, "watches a Flask application, not <SQL"),
    "a name": (lambda: kit.init_app("shop"), TypeError, "a Flask application, not 'shop': write"),
    "the class": (lambda: kit.init_app(Flask), TypeError, "a Flask application, not <class"),
    "the database alone": (lambda: PerfKit(db=db), TypeError, r"give db to init_app\(app, db\)"),
    "the application twice": (
        lambda: PerfKit(Flask("shop", root_path="."), Flask("till", root_path=".")),
        TypeError,
        "db is the application 'till'",
    ),
    "no database": (
        lambda: PerfKit(Flask("shop", root_path="."), "db"),
        TypeError,
        "db is 'db'; al",
    ),
    "set up twice": (twice, SetupError, "watches the application 'shop' already"),
    "cached, by place": (lambda: kit.cached(60), TypeError, r"cached is given 60, .*\(ttl=60\)"),
    "cached, a name": (lambda: kit.cached("users"), TypeError, "cached is given 'users', which is"),
    "cached, no function": (lambda: kit.cached(ttl=5)(7), TypeError, "cached is given 7, which is"),
    "cached, bad ttl": (lambda: kit.cached(ttl="60"), ValueError, "ttl is '60'; allowed is"),
    "cached, outside": (lambda: kit.cached(view)(), SetupError, "perfkit.cache belongs to an appl"),
    "cached, a key": (lambda: kit.cached(key="k")(view), TypeError, "key is 'k'; allowed is a fun"),
    "cached, a class": (lambda: kit.cached(Finding), TypeError, "Finding is a class, which"),
    "cached, on a model": (
        lambda: kit.cached(depends_on=Finding)(view),
        TypeError,
        "depends_on is <class .*; allowed is a list",
    ),
    "cached, bad near": (lambda: kit.cached(near="x"), ValueError, "near is 'x'; allowed is"),
    "cached, bad stale": (lambda: kit.cached(stale="x"), ValueError, "stale is 'x'; allowed is"),
    "cached_response, one header": (
        lambda: kit.cached_response(vary="Accept")(view),
        TypeError,
        "vary is 'Accept'; allowed is a list",
    ),
    "a key of the cache": (lambda: cache.set(5, 1), TypeError, "entry is 5; allowed is text"),
    "a pattern": (lambda: cache.delete_matching(None), TypeError, "entry is None; allowed is"),
    "keys of the cache": (lambda: cache.get_many("abc"), TypeError, "keys is 'abc'; allowed"),
    "no creator": (lambda: cache.get_or_create("k", 5), TypeError, "creator of 'k' is 5; allowed"),
    "creator and key": (
        lambda: cache.get_or_create(view, "k"),
        TypeError,
        "entry is <function view .*; allowed is text",
    ),
    "paginated, bare": (lambda: kit.paginated(view), TypeError, "put on 'view' without the sch"),
    "paginated, a filter": (
        lambda: kit.paginated(Schema, filters={"title": "title"})(view),
        TypeError,
        r"filters\['title'\] is 'title': must be a column",
    ),
    "paginate, a class": (
        lambda: paginate(Finding, PaginationParams()),  # type: ignore[arg-type]
        TypeError,
        r"pass select\(Finding\)",
    ),
    "paginate, the class of a page": (
        lambda: paginate(select(literal(1)), PaginationParams),  # type: ignore[arg-type]
        TypeError,
        r"such as PaginationParams\(page=1\)",
    ),
    "paginate, outside": (
        lambda: paginate(select(literal(1)), PaginationParams()),
        SetupError,
        "no application is active here: pass session=",
    ),
    "a sort that is no text": (
        lambda: PaginationParams(sort=5),  # type: ignore[arg-type]
        ValueError,
        "sort: Must be a text, not '5'",
    ),
    "a cursor that is no text": (
        lambda: CursorParams(cursor=5),  # type: ignore[arg-type]
        ValueError,
        "cursor: Must be a text, not '5'",
    ),
    "a page of no schema": (lambda: page_schema(Finding), TypeError, "is no marshmallow schema"),  # type: ignore[arg-type]
    "watch, bare": (lambda: kit.watch(view), TypeError, "allowed is a name: with perfkit.watch"),
    "watch, outside": (perfkit.watch("export").__enter__, SetupError, "watches 0 applications"),
    "patch, outside": (lambda: perfkit.patch(found), SetupError, "perfkit.patch belongs to an app"),
    "cached_response, by place": (
        lambda: kit.cached_response(60),
        TypeError,
        r"cached_response is given 60, .*: @perfkit.cached_response\(ttl=60\)",
    ),
    "cached_response, no view": (
        lambda: kit.cached_response(ttl=5)("users"),
        TypeError,
        "cached_response is given 'users'",
    ),
    "the cache, outside": (lambda: perfkit.cache, SetupError, "none is active here: use it in a"),
    "prove, outside": (lambda: perfkit.prove(found), SetupError, "perfkit.prove belongs to an app"),
    "allow, bare": (
        lambda: kit.allow(view),
        TypeError,
        "kind is <function view .*; allowed is text",
    ),
    "allow, a class": (lambda: kit.allow("n_plus_one", Flask), TypeError, "subject is <class"),
    "allow, a number": (
        lambda: kit.allow("n_plus_one", reason=1),
        TypeError,
        "reason is 1; allowed",
    ),
    "allow, a typo": (
        lambda: perfkit.allow("n_plus"),
        ValueError,
        "'n_plus' is no kind of finding",
    ),
    "alert, no condition": (
        lambda: kit.alert(when=5, then=print),
        ValueError,
        "when is 5; allowed",
    ),
    "alert, no function": (
        lambda: kit.alert(when=P95(over=1), then="mail"),
        ValueError,
        "then is 'mail'; allowed is a callable that is no async function",
    ),
    "alert, no time": (
        lambda: kit.alert(when=P95(over=1), then=print, cooldown="1"),
        ValueError,
        "cooldown is '1'; allowed is",
    ),
    "QueryCounter, a text": (
        lambda: QueryCounter("10"),
        ValueError,
        "threshold is '10'; allowed is",
    ),  # type: ignore[arg-type]
    "QueryCounter, bare": (lambda: QueryCounter(view), ValueError, "threshold is <function view"),  # type: ignore[arg-type]
    "QueryCounter, too early": (
        lambda: QueryCounter().count,
        RuntimeError,
        "inside its with block",
    ),
    "QueryCounter, again": (used_twice, RuntimeError, "make a new one for each block"),
    "timeit, by place": (lambda: timeit("import"), TypeError, "'import' is no function; name and"),  # type: ignore[type-var]
    "timeit, no name": (
        lambda: timeit(name=5),
        TypeError,
        "name= is given 5; allowed is text",
    ),
    "timeit, no function": (
        lambda: timeit(on_result=5),
        TypeError,
        "on_result is 5; allowed is a callable that is no async function",
    ),
    "timer, bare": (lambda: timer(view), TypeError, "timer is given <function view"),
    "timer, no function": (lambda: timer("a", on_result=5), TypeError, "on_result is 5;"),
    "memory_tracker, bare": (
        lambda: memory_tracker(view),
        TypeError,
        "memory_tracker is giv",
    ),
    "track_memory, by place": (lambda: track_memory(5), TypeError, "5 is no function; name"),
    "cache_stats, a count": (
        lambda: cache_stats.hit(5),
        TypeError,
        r"a count goes in as n=",
    ),
    "cache_stats, no count": (
        lambda: cache_stats.miss("a", "b"),
        ValueError,
        "n is 'b'; all",
    ),
    "Workload, a name": (
        lambda: Workload("shop"),  # type: ignore[arg-type]
        TypeError,
        r"app is 'shop'; allowed is a Flask application: Workload\(app\)",
    ),
    "Workload, the class": (lambda: Workload(Flask), TypeError, "app is <class 'flask"),  # type: ignore[arg-type]
    "Workload, opened twice": (recorded_twice, SetupError, "records already"),
    "Workload, of no statements": (
        lambda: workload.include(["SELECT 1"]),  # type: ignore[list-item]
        TypeError,
        r"a statement is 'SELECT 1'; allowed are those of another workload",
    ),
    "Workload, how often": (
        lambda: workload.times(0.5),  # type: ignore[arg-type]
        ValueError,
        r"Workload.times\(0.5\): allowed is a whole number from 1 on",
    ),
    "advise, an application": (
        lambda: advise(workload.app),  # type: ignore[arg-type]
        TypeError,
        "workload is <Flask 'shop'>; allowed is a Workload",
    ),
    "advise, a way": (
        lambda: advise(workload, method="magic"),  # type: ignore[arg-type]
        ValueError,
        "method is 'magic'; allowed is 'build' or 'hypopg' or 'ghost', or None",
    ),
    "advise, a text": (
        lambda: advise(workload, verify="no"),  # type: ignore[arg-type]
        ValueError,
        "verify is 'no'; allowed is True or False",
    ),
    "Finding, no text": (
        lambda: Finding("n_plus_one", 5, "b", "c"),  # type: ignore[arg-type]
        TypeError,
        "subject is 5; allowed is text",
    ),
    "timeit, a class": (lambda: timeit(Finding), TypeError, "put on the class Finding, which"),
    "watch, a class": (
        lambda: kit.watch("a")(Finding),
        TypeError,
        r"watch\('a'\) is put on the cl",
    ),
    "allow, no function": (lambda: kit.allow("slow_query")(5), TypeError, "is put on 5; allowed"),
    "detector, no function": (lambda: detector("a_kind")(5), TypeError, "is put on 5; allowed"),  # type: ignore[arg-type]
    "detector, async": (lambda: detector("a_kind")(later), TypeError, "that is no async function"),  # type: ignore[arg-type]
    "alert, async": (
        lambda: kit.alert(when=P95(over=1), then=later),
        ValueError,
        "then is <function later .*; allowed is a callable that is no async function",
    ),
    "on_result, async": (lambda: timer("a", on_result=later), TypeError, "on_result is <function"),
    "QueryCounter, below zero": (lambda: QueryCounter(-1), ValueError, "a whole number from 0, or"),
    "invalidate, nothing": (cache.invalidate, TypeError, r"invalidate\(\) names nothing"),
    "keys that are none": (lambda: cache.get_many(None), TypeError, "keys is None; allowed"),
    "a cache of no Redis": (
        lambda: Cache.from_url("http://user:secret@host"),
        SettingsError,
        r"url is 'http://\*\*\*@host'; allowed is a URL that starts with redis://",
    ),
    "auto_batch, bare": (lambda: auto_batch(view), TypeError, "auto_batch is given <function"),  # type: ignore[arg-type]
    "advise, a list": (lambda: advise([]), TypeError, r"workload is \[\]; allowed is a Workload"),  # type: ignore[arg-type]
    "assert_no_findings, a text": (
        lambda: Assertions().assert_no_findings("n_plus_one"),
        TypeError,
        "kinds is 'n_plus_one'; allowed is a list",
    ),
    "Finding, no kind": (
        lambda: Finding("slow", "a", "b", "c"),
        ValueError,
        "'slow' is no kind of f",
    ),
}


@pytest.mark.parametrize(("misuse", "error", "message"), MISUSES.values(), ids=MISUSES)
def test_an_error_speaks_of_what_was_written(
    misuse: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        misuse()


def test_the_cache_of_an_application_that_is_not_watched_says_so() -> None:
    with (
        Flask("shop", root_path=".").app_context(),
        pytest.raises(SetupError, match="does not watch the application 'shop', so perfkit"),
    ):
        _ = perfkit.cache


@pytest.mark.parametrize("key", ["PERFKIT_ON_FINDING", "PERFKIT_CACHE_NAMESPACE"])
def test_a_function_that_nobody_would_await_is_refused(key: str) -> None:
    app = Flask("shop", root_path=".")
    app.config[key] = later
    with pytest.raises(SettingsError, match=f"{key} is <function later .* no async function"):
        PerfKit(app)


def test_only_a_finding_can_be_proved() -> None:
    app = Flask("shop", root_path=".")
    PerfKit(app)
    with app.app_context(), pytest.raises(TypeError, match="finding is 'x'; allowed is a Finding"):
        kit.prove("x")
