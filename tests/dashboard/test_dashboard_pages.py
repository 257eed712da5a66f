"""What the pages say of requests of the example application."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from html import unescape
from typing import Any

import pytest
from flask import Flask, render_template_string
from flask.testing import FlaskClient
from sqlalchemy import select, text

from example_app.extensions import db
from example_app.models import User
from flask_perfkit import PerfKit, StoreError
from tests.dashboard.conftest import USERS

BEFORE = "example_app/blueprints/before.py"


@pytest.fixture
def client(archive: Flask) -> FlaskClient:
    return archive.test_client()


def data(client: FlaskClient, page: str) -> Any:
    sign = "&" if "?" in page else "?"
    answer = client.get(f"/perfkit{page}{sign}format=json")
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    return answer.json


def words(client: FlaskClient, page: str) -> str:
    """Return what a page says, without its elements."""
    answer = client.get(f"/perfkit{page}")
    assert answer.status_code == 200, answer.text
    main = answer.text.partition("<main")[2]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", main.replace("<wbr>", ""))))


def post(client: FlaskClient, page: str) -> Any:
    """Send the form of a page, and return what it shows then."""
    (token,) = re.findall('name="csrf" value="([^"]*)"', client.get(f"/perfkit{page}").text)
    answer = client.post(f"/perfkit{page}?format=json", data={"csrf": token})
    assert answer.status_code == 200, answer.text
    return answer.json


def test_from_the_overview_to_the_line_to_change(client: FlaskClient) -> None:
    words(client, "")  # the first request of all sets up, which takes its time
    for _ in range(3):
        client.get("/health")
    own = client.get("/before/analytics").headers["Link"]

    routes = {each["key"]["name"]: each for each in data(client, "")["routes"]}
    analytics = routes["/before/analytics"]  # on a busy machine another may take longer
    assert (analytics["count"], analytics["statements_each"]) == (1, USERS + 1)
    assert "n_plus_one" in analytics["findings"]
    finding = data(client, "")["findings"][0]["latest"]
    assert (finding["kind"], finding["subject"]) == ("n_plus_one", "User.documents")

    (row,) = data(client, "/requests?q=before")["requests"]
    assert f"/perfkit/requests/{row['id']}>" in own
    page = data(client, f"/requests/{row['id']}")
    users, documents = (step for step in page["steps"] if step["kind"] == "sql")
    assert (users["label"], users["count"]) == ("SELECT User", 1)
    assert (documents["label"], documents["count"]) == ("SELECT User.documents", USERS)
    assert documents["filename"].endswith(BEFORE)
    assert documents["findings"][0]["kind"] == "n_plus_one"
    assert users["ended"] <= documents["started"] < documents["ended"]

    shown = words(client, f"/requests/{row['id']}")
    assert f"{USERS} \N{MULTIPLICATION SIGN} SELECT User.documents" in shown
    assert f"{BEFORE}:36 in show_analytics" in shown
    assert "Fix selectinload(User.documents) Copy" in shown


def test_the_time_of_a_template_is_its_own(client: FlaskClient, archive: Flask) -> None:
    inner = "{% for user in users() %}{{ user.documents | length }}{% endfor %}"
    outer = "{{ shown(inner) }}{{ 1 / number }}"

    @archive.get("/rendered/<int:number>")
    def rendered(number: int) -> str:
        values = {"users": lambda: db.session.scalars(select(User)), "number": number}
        shown = partial(render_template_string, **values)
        return render_template_string(outer, inner=inner, shown=shown, **values)

    assert client.get("/rendered/1").status_code == 200
    archive.config["PROPAGATE_EXCEPTIONS"] = False
    assert client.get("/rendered/0").status_code == 500

    for number, ended in ((1, 2), (0, 1)):  # the outer one fails
        (row,) = data(client, f"/requests?q=/rendered/{number}")["requests"]
        page = data(client, f"/requests/{row['id']}")
        templates = [step for step in page["steps"] if step["kind"] == "template"]
        assert sum(step["count"] for step in templates) == ended
        (part,) = (part for part in page["parts_of_time"] if part["kind"] == "template")
        within = sum(step["duration"] for step in page["steps"] if step["kind"] == "sql")
        assert 0 < part["duration"] < max(step["duration"] for step in templates)
        assert part["duration"] + within <= row["duration"]
        assert "templates" in words(client, f"/requests/{row['id']}")


def test_a_page_says_as_html_what_it_says_as_json(client: FlaskClient) -> None:
    client.get("/documents?page=2&token=hunter2")
    route = data(client, "/route?kind=request&method=GET&name=/documents")
    assert (route["count"], route["endpoint"]) == (1, "documents.list_documents")
    shown = words(client, "/route?kind=request&method=GET&name=/documents")
    assert f"Statements a request {route['statements_each']:.0f}" in shown
    assert "hunter2" not in str(data(client, "/requests")) + str(route)


def test_lists_are_searched_filtered_and_sorted(client: FlaskClient) -> None:
    for path in ("/documents/1", "/documents/2", "/health", "/no-such-page"):
        client.get(path)
    client.post("/documents", json={})

    def paths(query: str) -> set[str]:
        return {row["path"] for row in data(client, f"/requests?{query}")["requests"]}

    assert paths("q=documents") == {"/documents/1", "/documents/2", "/documents"}
    assert paths("method=post") == {"/documents"}
    assert paths("status=404") == paths("q=no-such-page") == {"/no-such-page"}
    assert paths("status=4") == {"/no-such-page", "/documents"}
    assert paths("slower=60000") == paths("q=%3Cscript%3E") == paths("found=1") == set()
    assert paths("kind=job") == set()
    assert paths("status=4x&slower=x&page=0&kind=x&since=x&refresh=1") == paths("")

    times = [row["duration"] for row in data(client, "/requests?sort=slowest")["requests"]]
    assert times == sorted(times, reverse=True)
    counts = [row["count"] for row in data(client, "?sort=count")["routes"]]
    assert counts == sorted(counts, reverse=True)
    (found,) = data(client, "?q=health")["routes"]
    assert found["key"]["name"] == "/health"
    assert "No route matches" in words(client, "?q=nothing-like-it")


def test_an_address_keeps_what_was_asked(client: FlaskClient) -> None:
    client.get("/health")
    page = client.get("/perfkit?since=24h&q=health&sort=p95&refresh=5").text
    links = [unescape(link) for link in re.findall('href="([^"]*)"', page)]
    assert "/perfkit?since=7d&refresh=5&q=health&sort=p95" in links
    assert "/perfkit/requests?since=24h&refresh=5" in links
    assert "/perfkit?since=24h&q=health&sort=p95" in links  # no longer refreshed
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page


def test_long_lists_have_pages(client: FlaskClient) -> None:
    for number in range(51):
        client.get(f"/documents/{number}")
    assert len(data(client, "/requests")["requests"]) == 50
    assert len(data(client, "/requests?page=2")["requests"]) == 1
    assert "page=2" in client.get("/perfkit/requests").text
    assert "page=1" in client.get("/perfkit/requests?page=2").text


def test_a_statement_with_its_plan(client: FlaskClient) -> None:
    client.get("/documents/1")
    client.get("/documents/2")
    (row,) = data(client, "/statements?q=content")["statements"]
    assert row["count"] == 2
    assert [share["route"]["name"] for share in row["routes"]] == ["/documents/<id:document_id>"]
    page = post(client, f"/statements/{row['fingerprint']}")
    assert page["plan"] == ["SEARCH documents USING INTEGER PRIMARY KEY (rowid=?)"]


def test_of_what_writes_there_is_no_plan(client: FlaskClient, archive: Flask) -> None:
    archive.add_url_rule(
        "/write",
        "write",
        lambda: str(db.session.execute(text("DELETE FROM users WHERE id = -1")).rowcount),
    )
    client.get("/write")
    (row,) = data(client, "/statements?q=DELETE")["statements"]
    page = f"/perfkit/statements/{row['fingerprint']}"
    assert "<form" not in client.get(page).text.partition('<h2 id="plan"')[2]
    assert "only a select is planned" in words(client, page.removeprefix("/perfkit")).lower()


def test_findings_that_are_open_and_allowed(client: FlaskClient, archive: Flask) -> None:
    def allowed() -> str:
        with PerfKit().allow("n_plus_one", "User.documents", reason="few users"):
            return str([len(user.documents) for user in db.session.scalars(select(User))])

    archive.add_url_rule("/allowed", "allowed", allowed)
    client.get("/allowed")
    client.get("/before/analytics")
    found = data(client, "/findings")
    assert found["numbers"] == {"open": len(found["findings"]), "allowed": 1, "gone": 0}
    (one,) = data(client, "/findings?state=allowed")["findings"]
    assert one["latest"]["reason"] == "few users"
    assert "allowed: few users" in words(client, f"/findings/{one['latest']['id']}")
    assert data(client, "/findings?severity=info")["findings"] == []
    assert data(client, "/findings?kind=redis_keys")["findings"] == []


@pytest.mark.slow
def test_a_fix_is_tried_from_its_page(client: FlaskClient) -> None:
    client.get("/before/analytics")
    (one,) = data(client, "/findings?kind=n_plus_one")["findings"]
    trial = post(client, f"/findings/{one['latest']['id']}")["trial"]
    assert trial["holds"], trial
    assert f"same response, {USERS + 1} -> 2 queries" in trial["message"]
    assert "+" in trial["diff"]
    assert ".options(selectinload(User.documents))" in trial["diff"]
    (row,) = data(client, "")["routes"]
    assert row["count"] == 1, "a trial is nobody's request"


def test_words_are_not_offered_to_be_tried(make_archive: Callable[..., Flask]) -> None:
    client = make_archive(PERFKIT_SLOW_REQUEST=1e-6).test_client()
    client.get("/health")
    (one,) = data(client, "/findings?kind=slow_request")["findings"]
    page = data(client, f"/findings/{one['latest']['id']}")
    assert page["can_try"] is False


def test_jobs_are_there_like_requests(client: FlaskClient, archive: Flask) -> None:
    with archive.app_context(), PerfKit().watch("nightly export"):
        [len(user.documents) for user in db.session.scalars(select(User))]
    (job,) = data(client, "?kind=job")["routes"]
    assert job["key"] == {"kind": "job", "method": "JOB", "name": "nightly export"}
    (row,) = data(client, "/requests?kind=job")["requests"]
    assert "nightly export" in words(client, f"/requests/{row['id']}")


def test_caches_and_system(client: FlaskClient) -> None:
    client.get("/analytics")
    client.get("/analytics")
    (name,) = data(client, "/cache")["names"]
    assert (name["hits"], name["misses"]) == (1, 1)
    client.patch("/documents/1", json={"title": "changed"})
    client.get("/analytics")
    page = data(client, "/cache")
    (drop,) = page["drops"]
    assert (drop["name"], drop["table"], drop["count"]) == (name["name"], "documents", 1)
    assert "documents 1" in words(client, "/cache")
    system = data(client, "/system")
    assert system["latest"]["processes"] == 1
    assert system["store"]["url"] == "memory://"
    assert "The store" in words(client, "/system")


@pytest.mark.slow
def test_advice_on_indexes_is_made_when_it_is_asked_for(client: FlaskClient) -> None:
    assert data(client, "/indexes")["advice"] is None
    page = post(client, "/indexes")
    assert page["problem"] == ""
    assert {"create", "drop", "refused", "rewrites", "notes"} <= set(page["advice"])
    assert "To create" in words(client, "/indexes")
    assert data(client, "/indexes")["advised_at"] == page["advised_at"]
    assert data(client, "")["routes"] == [], "what was asked for it is nobody's request"


def test_a_store_that_is_away_is_said(
    client: FlaskClient, archive: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StoreError("redis://shop: nobody answers")

    monkeypatch.setattr(type(archive.extensions["perfkit"].store), "routes", away)
    answer = client.get("/perfkit")
    assert answer.status_code == 503
    assert "nobody answers" in answer.text
    assert client.get("/health").status_code == 200
