"""The dashboard among the routes of an application: who sees it, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response, abort, g, render_template_string, request
from flask_limiter import Limiter
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from flask_perfkit import PerfKit, Profile
from flask_perfkit.signals import request_profiled

PAGES = ("", "/requests", "/statements", "/findings", "/cache", "/indexes", "/system")


def app_with(*, debug: bool = True, flask: dict[str, Any] | None = None, **config: Any) -> Flask:
    app = Flask("shop", root_path=".", **(flask or {}))
    app.debug = debug
    app.config.update(config)
    return app


def watched(**config: Any) -> Flask:
    app = app_with(**config)
    PerfKit(app)
    return app


def test_it_is_there_in_debug_and_only_there() -> None:
    assert watched().test_client().get("/perfkit").status_code == 200
    for app in (watched(debug=False), watched(PERFKIT_DASHBOARD=False)):
        assert app.test_client().get("/perfkit").status_code == 404
        assert "perfkit_dashboard" not in app.blueprints


def test_every_page_opens_with_nothing_to_show() -> None:
    client = watched().test_client()
    for page in PAGES:
        answer = client.get(f"/perfkit{page}")
        assert answer.status_code == 200, page
        assert answer.text.count("<h1>") == 1
        assert client.get(f"/perfkit{page}?format=json").json is not None
    for page in ("/route?name=/x", "/requests/x", "/statements/x", "/findings/x"):
        assert client.get(f"/perfkit{page}").status_code == 404
        assert "<h1>" in client.get(f"/perfkit{page}").text


def test_debug_that_is_set_late_counts_both_ways() -> None:
    app = watched(debug=False)
    app.debug = True
    assert app.test_client().get("/perfkit").status_code == 200
    app = watched(debug=True)
    app.debug = False
    assert app.test_client().get("/perfkit").status_code == 404


def test_debug_that_is_turned_off_while_it_runs_closes_it() -> None:
    app = watched()
    client = app.test_client()
    assert client.get("/perfkit").status_code == 200
    app.debug = False
    assert client.get("/perfkit").status_code == 404
    assert client.get("/perfkit/static/style.css").status_code == 404


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    ("auth", "status"),
    [
        (lambda: request.headers.get("X-Key") == "open", 200),
        (lambda: None, 404),
        (lambda: abort(401), 401),
        (lambda: 1 / 0, 404),
    ],
    ids=["passes", "says nothing", "aborts", "fails"],
)
def test_who_may_see_it_is_asked_in_debug_too(auth: Any, status: int, debug: bool) -> None:
    app = watched(debug=debug, PERFKIT_DASHBOARD=True, PERFKIT_DASHBOARD_AUTH=auth)
    client = app.test_client()
    for page in (*PAGES, "/static/style.css"):
        assert client.get(f"/perfkit{page}", headers={"X-Key": "open"}).status_code == status
    assert client.post("/perfkit/indexes", headers={"X-Key": "open"}).status_code in (status, 403)


def test_its_address_can_be_chosen() -> None:
    client = watched(PERFKIT_DASHBOARD_PATH="/internal/speed/").test_client()
    for address in ("/internal/speed", "/internal/speed/"):
        assert 'href="/internal/speed/requests"' in client.get(address).text
    assert client.get("/perfkit").status_code == 404


def test_links_lead_to_where_it_is_mounted() -> None:
    outer = Client(DispatcherMiddleware(Response("outer"), {"/shop": watched()}))  # type: ignore[arg-type]
    page = outer.get("/shop/perfkit?since=7d")
    assert 'href="/shop/perfkit/requests?since=7d"' in page.text
    assert 'src="/shop/perfkit/static/dashboard.js"' in page.text
    assert 'href="/perfkit' not in page.text
    assert outer.get("/shop/perfkit/static/dashboard.js").status_code == 200
    assert "Path=/shop/perfkit" in page.headers["Set-Cookie"]


@pytest.mark.parametrize("host", ["localhost", "tenant.example.org:8080"])
def test_it_is_at_every_host(host: str) -> None:
    app = app_with(flask={"host_matching": True, "static_host": "static.example.org"})
    PerfKit(app)
    client = app.test_client()
    assert client.get("/perfkit", base_url=f"http://{host}").status_code == 200
    assert client.get("/perfkit/requests/x", base_url=f"http://{host}").status_code == 404


def test_a_route_of_the_application_stands(caplog: pytest.LogCaptureFixture) -> None:
    app = watched()
    app.add_url_rule("/perfkit", "theirs", lambda: "theirs")
    client = app.test_client()
    assert [client.get("/perfkit").text for _ in range(2)] == ["theirs", "theirs"]
    assert sum("PERFKIT_DASHBOARD_PATH" in line for line in caplog.messages) == 1


def test_in_debug_no_hook_sees_a_page() -> None:
    app = watched()
    app.testing = True  # which passes errors on
    seen = []

    @app.url_value_preprocessor
    def language(endpoint: str | None, values: dict[str, Any] | None) -> None:
        seen.append("preprocessor")

    @app.before_request
    def log_in() -> tuple[str, int]:
        g.user = "ada"
        return "log in first", 401

    @app.after_request
    def note(response: Response) -> Response:
        seen.append(g.user)
        return response

    @app.teardown_request
    def forget(error: BaseException | None) -> None:
        seen.append(g.pop("user"))

    client = app.test_client()
    assert client.get("/perfkit").status_code == 200
    assert client.get("/perfkit/requests/x").status_code == 404
    assert client.get("/perfkit/static/style.css").status_code == 200
    assert seen == []
    assert client.get("/anything").status_code == 401
    assert seen == ["preprocessor", "ada", "ada"]


def test_with_an_auth_the_applications_own_hooks_come_first() -> None:
    app = watched(debug=False, PERFKIT_DASHBOARD=True, PERFKIT_DASHBOARD_AUTH=lambda: True)
    app.before_request(lambda: ("log in first", 401))
    assert app.test_client().get("/perfkit").status_code == 401


@pytest.mark.parametrize("auth", [None, lambda: True], ids=["open", "asks"])
def test_nothing_of_the_application_changes_a_page(auth: Any) -> None:
    app = watched(PERFKIT_DASHBOARD_AUTH=auth)

    @app.url_defaults
    def defaults(endpoint: str, values: dict[str, Any]) -> None:
        raise LookupError("no language")

    @app.context_processor
    def context() -> dict[str, Any]:
        raise LookupError("no user")

    @app.errorhandler(Exception)
    def failed(error: Exception) -> tuple[str, int]:
        return "theirs", 418

    @app.after_request
    def strict(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'none'"
        response.headers["Content-Security-Policy-Report-Only"] = "default-src 'none'"
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response

    app.jinja_env.filters["duration"] = lambda value: "theirs"
    answer = app.test_client().get("/perfkit")
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert answer.headers.getlist("Content-Security-Policy") == [policy]
    assert "Content-Security-Policy-Report-Only" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    (nonce,) = {part.split("'")[0] for part in policy.split("'nonce-")[1:]}
    assert f'nonce="{nonce}"' in answer.text
    assert "unsafe-inline" not in policy


def test_a_response_class_of_the_application_changes_nothing() -> None:
    class Own(Response):
        default_mimetype = "application/json"

    app = app_with(PERFKIT_DASHBOARD_AUTH=lambda: True)
    app.response_class = Own
    PerfKit(app)
    app.after_request(
        lambda response: response.headers.update({"X-Frame-Options": "ALLOW"}) or response
    )
    answer = app.test_client().get("/perfkit")
    assert answer.mimetype == "text/html"
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_each_page_has_a_nonce_of_its_own() -> None:
    client = watched().test_client()
    policies = {client.get("/perfkit").headers["Content-Security-Policy"] for _ in range(3)}
    assert len(policies) == 3


def test_no_page_has_style_or_script_in_its_own_text() -> None:
    client = watched().test_client()
    for page in PAGES:
        text = client.get(f"/perfkit{page}").text
        assert "style=" not in text
        assert "<style" not in text
        assert " onclick" not in text
        assert text.count("<script") == text.count("<script src=")


def test_it_does_not_count_itself() -> None:
    app = watched(PERFKIT_METRICS_PATH="/metrics")
    profiles: list[Profile] = []

    def collect(sender: Flask, profile: Profile) -> None:
        profiles.append(profile)

    client = app.test_client()
    with request_profiled.connected_to(collect, app):
        for _ in range(3):
            client.get("/perfkit")
            client.get("/perfkit/requests/x")
            client.get("/perfkit/static/style.css")
    assert profiles == []
    assert client.get("/perfkit?format=json").json["routes"] == []
    assert "/perfkit" not in client.get("/metrics").text


def test_flask_limiter_does_not_count_it() -> None:
    app = app_with()
    Limiter(lambda: "everybody", app=app, default_limits=["1 per day"], storage_uri="memory://")
    PerfKit(app)
    app.add_url_rule("/", "index", lambda: "ok")
    client = app.test_client()
    assert [client.get("/perfkit").status_code for _ in range(3)] == [200] * 3
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]


def test_a_page_that_fails_is_told_once_and_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = watched()
    app.testing = True  # which passes errors on
    app.add_url_rule("/", "index", lambda: "ok")
    client = app.test_client()
    store = app.extensions["perfkit"].store
    monkeypatch.setattr(type(store), "info", lambda self: 1 / 0)
    assert [client.get("/perfkit/system").status_code for _ in range(2)] == [500, 500]
    assert "Traceback" not in client.get("/perfkit/system").text
    assert client.get("/").text == "ok"
    assert sum("/perfkit/system" in line for line in caplog.messages) == 1


Post = Callable[..., int]


@pytest.fixture
def post() -> Post:
    client = watched().test_client()

    def send(token: str | None = None, **headers: str) -> int:
        page = client.get("/perfkit/indexes").text
        given = page.partition('name="csrf" value="')[2].partition('"')[0]
        data = {"csrf": given if token is None else token}
        return client.post("/perfkit/indexes", data=data, headers=headers).status_code

    return send


def test_a_form_needs_the_token_of_the_browser(post: Post) -> None:
    assert post() == 200
    assert post("") == 403
    assert post("x" * 43) == 403
    assert post("é\0") == 403
    assert post(**{"Sec-Fetch-Site": "same-origin"}) == 200
    assert post(**{"Sec-Fetch-Site": "cross-site"}) == 403
    assert post(**{"Sec-Fetch-Site": "same-site"}) == 403


def test_a_form_needs_a_cookie_that_was_there_before() -> None:
    client = watched().test_client()
    assert client.post("/perfkit/indexes", data={"csrf": ""}).status_code == 403
    assert client.post("/perfkit/indexes").status_code == 403
    for page in PAGES[:-2]:
        assert client.post(f"/perfkit{page}").status_code == 405


def test_the_token_is_kept_from_scripts_and_other_sites() -> None:
    cookie = watched().test_client().get("/perfkit").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/perfkit" in cookie


def test_two_applications_have_a_dashboard_each() -> None:
    first, second = watched(), watched(PERFKIT_DASHBOARD_PATH="/second")
    first.add_url_rule("/only-here", "here", lambda: "ok")
    first.test_client().get("/only-here")
    assert "/only-here" in first.test_client().get("/perfkit").text
    assert "/only-here" not in second.test_client().get("/second").text


def test_templates_of_the_application_are_its_own() -> None:
    app = watched()
    app.add_url_rule("/", "index", lambda: render_template_string("{{ parts is defined }}"))
    assert app.test_client().get("/").text.startswith("False")
