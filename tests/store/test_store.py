"""What requests, jobs and commands leave in a store, and how it is read."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from archive import Document, User, archive, db, names_of_owners
from flask import Flask
from stored import ask, counts, hour, kept, store_of

from flask_perfkit import PerfKit, StoreError, cache_stats
from flask_perfkit.store.reading import Period, RequestFilter, RouteKey

OWNERS = RouteKey("request", "GET", "/owners")
PLAIN = RouteKey("request", "GET", "/plain/<int:number>")


def test_routes_are_counted_with_their_findings(app: Flask) -> None:
    ask(app, "/owners", 3)
    ask(app, "/plain/1")
    ask(app, "/plain/2")
    ask(app, "/nowhere/1")
    ask(app, "/nowhere/2")
    found = store_of(app).routes(hour(), kind="request")
    by_route = {route.key: route.count for route in found.items}
    assert by_route == {OWNERS: 3, PLAIN: 2, RouteKey("request", "GET", "(unmatched)"): 2}
    assert found.total == 3
    owners = store_of(app).route(OWNERS, hour())
    assert owners is not None
    assert owners.endpoint == "names_of_owners"
    assert owners.findings == {"n_plus_one": 3}
    assert owners.statements_each == 11
    assert not owners.is_estimated
    assert 0 < owners.p50 <= owners.p95 <= owners.p99 <= owners.slowest
    assert sum(point.count for point in owners.points) == 3
    assert 60 <= len(owners.points) <= 62
    assert store_of(app).route(RouteKey("request", "POST", "/owners"), hour()) is None


def test_routes_are_searched_and_cut_into_pages(app: Flask) -> None:
    ask(app, "/owners")
    ask(app, "/plain/1")
    store = store_of(app)
    assert [route.key for route in store.routes(hour(), search="OWN").items] == [OWNERS]
    first = store.routes(hour(), kind="request", limit=1)
    second = store.routes(hour(), kind="request", limit=1, offset=1)
    assert {first.items[0].key, second.items[0].key} == {OWNERS, PLAIN}
    assert first.items[0].duration >= second.items[0].duration
    assert first.total == second.total == 2


def test_a_request_is_stored_with_its_loops_folded(app: Flask) -> None:
    ask(app, "/owners")
    store = store_of(app)
    (summary,) = store.requests(hour(), RequestFilter(route=OWNERS)).items
    assert (summary.path, summary.status, summary.statements) == ("/owners", 200, 11)
    profile = store.profile(summary.id)
    assert profile is not None
    assert profile.summary == summary
    documents, users = profile.statements
    assert (documents.count, documents.rows, documents.finding_ids) == (1, 10, ())
    assert (users.count, users.rows, users.subject) == (10, None, "Document.user")
    assert 0 <= documents.started < documents.ended <= users.ended <= summary.duration
    (finding,) = profile.findings
    assert users.finding_ids == (finding.id,)
    assert (finding.kind, finding.function) == ("n_plus_one", "names_of_owners")
    assert finding.fix == "joinedload(Document.user)"
    assert store.profile("nobody") is None


def test_a_finding_adds_up_over_requests(app: Flask) -> None:
    ask(app, "/owners", 4)
    store = store_of(app)
    (found,) = store.findings(hour()).items
    assert (found.times, found.routes, found.state) == (4, (OWNERS,), "open")
    assert found.first_seen <= found.last_seen
    (latest,) = store.requests(hour(), RequestFilter(finding_id=found.latest.id), limit=1).items
    assert found.profile_id == latest.id
    assert store.findings(hour(), search="owner").total == 1
    assert store.findings(hour(), search="elsewhere").total == 0
    assert store.findings(hour(), route=PLAIN).total == 0
    living = store.living(found.latest.id)
    assert living is not None
    assert living.cure is not None


def test_what_the_code_allows_is_stored_as_that(app: Flask) -> None:
    perfkit = PerfKit()

    @app.get("/allowed")
    @perfkit.allow("n_plus_one", reason="there are ten")
    def allowed() -> list[str]:
        return names_of_owners()

    ask(app, "/allowed")
    (found,) = store_of(app).findings(hour()).items
    assert (found.state, found.latest.reason) == ("allowed", "there are ten")
    (summary,) = store_of(app).requests(hour(), RequestFilter(kind="request")).items
    assert summary.findings == ()


def test_a_finding_is_gone_when_its_route_does_without(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(app, "/owners")
    store_of(app).info()
    monkeypatch.setitem(app.view_functions, "names_of_owners", lambda: "cured")
    later = hour().until + 120
    monkeypatch.setattr("flask_perfkit.store.writer.time", lambda: later)
    monkeypatch.setattr("flask_perfkit.store.store.time", lambda: later)
    ask(app, "/owners", 20)
    (found,) = store_of(app).findings(Period(later - 3_600, later)).items
    assert (found.state, found.asked_since) == ("gone", 20)


def test_requests_are_filtered(app: Flask) -> None:
    app.add_url_rule("/broken", view_func=lambda: (_ for _ in ()).throw(ValueError))
    app.config["PROPAGATE_EXCEPTIONS"] = False
    ask(app, "/owners")
    ask(app, "/plain/7")
    ask(app, "/broken")
    app.test_client().post("/owners")
    store = store_of(app)

    def paths(**conditions: Any) -> set[str]:
        only = RequestFilter(kind="request", **conditions)
        return {each.path for each in store.requests(hour(), only).items}

    assert paths() == {"/owners", "/plain/7", "/broken"}
    assert paths(with_findings=True) == {"/owners"}
    assert paths(status=500) == paths(status=5) == {"/broken"}
    assert paths(status=405) == paths(method="POST") == {"/owners"}
    assert paths(search="PLAIN") == {"/plain/7"}
    assert paths(route=PLAIN) == {"/plain/7"}
    assert paths(slower_than=60.0) == set()
    slowest = store.requests(hour(), RequestFilter(kind="request", order="slowest")).items
    assert [each.duration for each in slowest] == sorted(
        (each.duration for each in slowest), reverse=True
    )
    latest = store.requests(hour(), RequestFilter(), limit=2, offset=1)
    assert len(latest.items) == 2
    assert latest.total == 4
    assert store.requests(Period(0, 1), RequestFilter()).total == 0
    failed = store.route(RouteKey("request", "GET", "/broken"), hour())
    assert failed is not None
    assert failed.error_rate == 1


def test_statements_say_which_routes_send_them(app: Flask) -> None:
    ask(app, "/owners", 2)
    store = store_of(app)
    found = {each.sql: each for each in store.statements(hour(), route=OWNERS).items}
    users = next(each for sql, each in found.items() if "FROM user" in sql)
    assert (users.count, users.operation, users.is_estimated) == (20, "SELECT", False)
    assert [share.route for share in users.routes] == [OWNERS]
    assert users.histogram.count == 20
    assert store.statement(users.fingerprint, hour()) == users
    assert store.statement("nobody", hour()) is None
    assert store.statements(hour(), search="from USER where").total == 1


def test_jobs_and_commands_are_there_like_requests(app: Flask) -> None:
    @app.cli.command("sweep")
    def sweep() -> None:
        with app.app_context():
            db.session.execute(sa.select(User)).all()
        raise ZeroDivisionError

    result = app.test_cli_runner().invoke(args=["sweep"])
    assert isinstance(result.exception, ZeroDivisionError)
    with app.app_context(), PerfKit().watch("nightly"):
        names_of_owners()
    store = store_of(app)
    nightly = store.route(RouteKey("job", "JOB", "nightly"), hour())
    assert nightly is not None
    assert (nightly.count, nightly.errors, nightly.findings) == (1, 0, {"n_plus_one": 1})
    command = store.route(RouteKey("command", "CLI", "flask sweep"), hour())
    assert command is not None
    assert (command.count, command.errors, command.statements) == (1, 1, 1)
    (summary,) = store.requests(hour(), RequestFilter(kind="command")).items
    assert (summary.status, summary.path) == (None, "")


def test_caches_and_the_process_are_seen(app: Flask) -> None:
    @app.get("/cached")
    def cached() -> str:
        cache_stats.hit("pages", 3)
        cache_stats.miss("pages")
        return "ok"

    ask(app, "/cached")
    store = store_of(app)
    (found,) = [each for each in store.caches(hour()) if each.name == "pages"]
    assert (found.route, found.hits, found.misses, found.hit_rate) == ("/cached", 3, 1, 0.75)
    (point,) = store.system(hour())
    assert point.processes == 1
    assert point.memory_rss is not None
    assert point.memory_rss > 1_000_000


def test_calls_of_caches_have_their_place_in_time(app: Flask) -> None:
    perfkit = PerfKit()

    @app.get("/reads")
    def reads() -> str:
        for number in range(3):
            perfkit.cache.get_or_create(f"key {number}", lambda: 1, depends_on=[Document])
        return "ok"

    ask(app, "/reads")
    (summary,) = store_of(app).requests(hour(), RequestFilter(search="/reads")).items
    profile = store_of(app).profile(summary.id)
    assert profile is not None
    calls = [call for call in profile.calls if call.kind == "cache"]
    assert sum(call.count for call in calls) >= 3
    for call in calls:
        assert 0 <= call.started <= call.ended <= summary.duration


def test_two_threads_that_read_and_write_at_once(app: Flask) -> None:
    client = app.test_client()
    seen: list[float] = []

    def write() -> None:
        for number in range(50):
            client.get(f"/plain/{number}")

    def read() -> None:
        for _ in range(20):
            seen.append(counts(app).get("/plain/<int:number>", 0))

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == sorted(seen)
    route = store_of(app).route(PLAIN, hour())
    assert route is not None
    assert route.count == 50


def test_in_production_all_are_counted_and_few_are_kept(url: str) -> None:
    with archive(storage_url=url) as app:
        app.add_url_rule("/plain/<int:number>", "plain", lambda number: "ok")
        app.add_url_rule("/users", "users", lambda: [*db.session.scalars(sa.select(User.name))])
        app.add_url_rule("/owners", view_func=names_of_owners)
        for number in range(200):
            ask(app, f"/plain/{number}")
        ask(app, "/users", 5)
        ask(app, "/owners", 5)
        assert counts(app) == {"/plain/<int:number>": 200, "/users": 5, "/owners": 5}
        users = store_of(app).route(RouteKey("request", "GET", "/users"), hour())
        assert users is not None
        assert users.statements == 5
        sent = {each.sql: each.count for each in store_of(app).statements(hour()).items}
        assert sent["SELECT user.name FROM user"] == 5
        assert kept(app).count("/owners") == 5
        assert 1 <= kept(app).count("/plain/<int:number>") < 100
        assert kept(app).count("/users") >= 1


def test_a_request_that_was_let_go_is_looked_at_later(url: str) -> None:
    with archive(storage_url=url) as app:

        @app.get("/users/<int:number>")
        def user(number: int) -> str:
            return db.session.get_one(User, number).name

        ask(app, "/users/3?token=4")
        (summary,) = store_of(app).requests(hour(), RequestFilter(kind="request")).items
        profile = store_of(app).profile(summary.id)
        assert profile is not None
        (statement,) = profile.statements
        assert (summary.path, statement.function, statement.count) == ("/users/3", "user", 1)


def test_a_sample_is_scaled_up_and_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter(range(1_000))
    monkeypatch.setattr("flask_perfkit.hooks.requests.random", lambda: next(draws) % 4 / 4)
    with archive(storage_url=url, sample_rate=0.25) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        app.add_url_rule("/plain/<int:number>", "plain", lambda number: "ok")
        ask(app, "/owners", 8)
        ask(app, "/plain/1", 8)
        store = store_of(app)
        for route in store.routes(hour(), kind="request").items:
            assert (route.count, route.is_estimated) == (8, True)
        (found,) = store.findings(hour()).items
        assert (found.times, found.is_estimated) == (8, True)


def test_where_all_are_counted_anyway_a_sample_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter(range(1_000))
    monkeypatch.setattr("flask_perfkit.hooks.requests.random", lambda: next(draws) % 4 / 4)
    with archive(storage_url="memory://", sample_rate=0.25, metrics_path="/metrics") as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        app.add_url_rule("/plain/<int:number>", "plain", lambda number: "ok")
        ask(app, "/owners", 7)
        ask(app, "/plain/1", 7)
        ask(app, "/metrics", 3)
        store = store_of(app)
        assert counts(app) == {"/owners": 7, "/plain/<int:number>": 7}
        assert not any(route.is_estimated for route in store.routes(hour(), kind="request").items)
        owners = store.route(OWNERS, hour())
        assert owners is not None
        assert owners.statements == 77


def test_excluded_endpoints_are_not_stored(url: str) -> None:
    for debug in (True, False):
        with archive(storage_url=url, exclude=("plain",), DEBUG=debug) as app:
            app.add_url_rule("/plain/<int:number>", "plain", lambda number: "ok")
            ask(app, "/plain/1", 3)
            assert store_of(app).routes(hour(), kind="request").total == 0


def test_nothing_is_stored_where_nothing_can_show_it() -> None:
    with archive() as app:
        assert app.extensions["perfkit"].store is None
        assert app.config["PERFKIT_STORAGE_URL"] is None
    with archive(DEBUG=True) as app:
        assert app.extensions["perfkit"].store is not None
        assert app.config["PERFKIT_STORAGE_URL"] == "memory://"


def test_two_applications_have_stores_of_their_own() -> None:
    with archive(DEBUG=True) as one:
        one.add_url_rule("/owners", view_func=names_of_owners)
        other = Flask("other")
        other.debug = True
        other.add_url_rule("/plain", "plain", lambda: "ok")
        PerfKit(other)
        ask(one, "/owners")
        ask(other, "/plain")
        assert counts(one) == {"/owners": 1}
        assert counts(other) == {"/plain": 1}


def test_two_applications_in_one_place_count_their_process_once(shared_url: str) -> None:
    with archive(storage_url=shared_url, DEBUG=True) as one:
        other = Flask("other")
        other.config.update(DEBUG=True, PERFKIT_STORAGE_URL=shared_url)
        PerfKit(other)
        ask(one, "/nowhere")
        cache_stats.hit("pages", 5)
        ask(other, "/nowhere")
        for app in (other, one):
            store_of(app).info()
        (point,) = store_of(other).system(hour())
        assert point.processes == 1
        assert [each.hits for each in store_of(one).caches(hour())] == [5]
        assert counts(one) == {"(unmatched)": 2}


def test_a_place_that_cannot_be_read_says_so() -> None:
    with archive(storage_url="redis://u:hunter2@127.0.0.1:1/0", DEBUG=True) as app:
        with pytest.raises(StoreError) as caught:
            store_of(app).routes(hour())
        assert "redis://127.0.0.1:1/0 (PERFKIT_STORAGE_URL) cannot be read" in str(caught.value)
        assert "hunter2" not in str(caught.value)
