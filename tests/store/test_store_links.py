"""In debug every answer links to the page of its own profile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from archive import archive, names_of_owners
from flask import Flask, Response, jsonify
from stored import hour, store_of
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from flask_perfkit.store.reading import RequestFilter

OWN = '</style.css>; rel="preload"'


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive(DEBUG=True) as app:
        app.add_url_rule("/json", "json", lambda: jsonify(names_of_owners()))
        app.add_url_rule("/stream", "stream", lambda: Response(iter(["a", "b"])))
        app.add_url_rule("/linked", "linked", lambda: ("ok", {"Link": OWN}))
        app.add_url_rule("/broken", "broken", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        app.config["PROPAGATE_EXCEPTIONS"] = False
        yield app


def linked_id(response: Any) -> str:
    (link,) = [each for each in response.headers.getlist("Link") if 'rel="profile"' in each]
    match = re.fullmatch(r'</perfkit/requests/([0-9a-f]{20})>; rel="profile"', link)
    assert match, link
    return match[1]


@pytest.mark.parametrize("path", ["/json", "/stream", "/linked", "/broken", "/nowhere"])
def test_each_answer_links_to_its_own_profile(app: Flask, path: str) -> None:
    client = app.test_client()
    ids = [linked_id(client.get(path, buffered=True)) for _ in range(2)]
    assert ids[0] < ids[1]
    for profile_id in ids:
        profile = store_of(app).profile(profile_id)
        assert profile is not None
        assert profile.summary.path == path


def test_the_links_of_the_application_stay(app: Flask) -> None:
    response = app.test_client().get("/linked")
    assert response.headers.getlist("Link")[0] == OWN
    assert len(response.headers.getlist("Link")) == 2


def test_a_mounted_application_links_below_its_prefix(app: Flask) -> None:
    client = Client(DispatcherMiddleware(Flask("outer"), {"/my shop": app}))
    response = client.get("/my%20shop/json")
    (link,) = response.headers.getlist("Link")
    assert link.startswith("</my%20shop/perfkit/requests/")
    (summary,) = store_of(app).requests(hour(), RequestFilter(kind="request")).items
    assert link == f'</my%20shop/perfkit/requests/{summary.id}>; rel="profile"'
    assert summary.path == "/my shop/json"


def test_without_server_timing_too() -> None:
    with archive(DEBUG=True, server_timing=False, dashboard_path="/peek") as app:
        response = app.test_client().get("/nowhere")
    assert "Server-Timing" not in response.headers
    assert response.headers["Link"].startswith("</peek/requests/")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"DEBUG": True, "dashboard": False},
        {"DEBUG": True, "exclude": ("json",)},
        {"DEBUG": True, "sample_rate": 0.0},
        {"dashboard": True, "dashboard_auth": lambda: True},
        {"storage_url": "memory://"},
    ],
)
def test_no_link_leads_to_what_is_not_there(config: dict[str, Any]) -> None:
    with archive(**config) as app:
        app.add_url_rule("/json", "json", lambda: jsonify([]))
        assert "Link" not in app.test_client().get("/json").headers
