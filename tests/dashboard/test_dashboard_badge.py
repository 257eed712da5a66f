"""The badge on the application's own pages: where it stands, and where it is left out."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response, stream_with_context

from flask_perfkit import PerfKit

PAGE = "<!doctype html><title>shop</title><body><h1>Shop</h1></body></html>"
BADGE = "/perfkit/static/badge.js"


def shop(*, debug: bool = True, **config: Any) -> Flask:
    app = Flask("shop", root_path=".")
    app.debug = debug
    app.config.update(config)
    app.add_url_rule("/", "index", lambda: PAGE)
    PerfKit(app)
    return app


def answered(body: Any, headers: dict[str, str] | None = None, **options: Any) -> Any:
    """Have an application answer, and ask it."""
    asked = options.pop("asked", {})
    app = shop()
    app.add_url_rule("/page", "page", lambda: Response(body, headers=headers, **options))
    return app.test_client().get("/page", headers=asked)


def test_a_page_links_to_what_its_request_did() -> None:
    client = shop().test_client()
    answer = client.get("/")
    (tag,) = re.findall(r"<script.*?</script>", answer.text)
    assert answer.text.replace(tag, "") == PAGE
    assert answer.text.endswith(f"{tag}</body></html>")
    assert answer.content_length == len(answer.data)
    (href,) = re.findall('data-href="([^"]*)"', tag)
    assert f'<{href}>; rel="profile"' in answer.headers["Link"]
    assert 'data-statements="0 statements"' in tag
    assert client.get(href).status_code == 200
    assert client.get(BADGE).mimetype == "text/javascript"


def test_it_is_off_outside_of_debug_and_where_it_is_turned_off() -> None:
    for app in (shop(debug=False), shop(PERFKIT_DASHBOARD_BADGE=False)):
        assert app.test_client().get("/").text == PAGE
    app = shop(debug=False, PERFKIT_DASHBOARD=True, PERFKIT_DASHBOARD_AUTH=lambda: True)
    answer = app.test_client().get("/")
    assert answer.text == PAGE
    assert "Link" not in answer.headers


def chunks() -> Iterator[str]:
    yield PAGE


LEFT_OUT: dict[str, dict[str, Any]] = {
    "JSON": {"body": '{"html": "</body>"}', "mimetype": "application/json"},
    "a fragment": {"body": "<p>part of a page</p>"},
    "a script that holds a page": {"body": "<script>write('</body>')</script>"},
    "an error": {"body": PAGE, "status": 500},
    "a part": {"body": PAGE, "status": 206},
    "compressed": {
        "body": gzip.compress(PAGE.encode()),
        "headers": {"Content-Encoding": "gzip"},
        "mimetype": "text/html",
    },
    "to be saved": {"body": PAGE, "headers": {"Content-Disposition": "attachment"}},
    "checked by its tag": {"body": PAGE, "headers": {"ETag": '"1"'}},
    "two bytes a character": {
        "body": PAGE.encode("utf-16"),
        "content_type": "text/html; charset=utf-16",
    },
    "XHTML": {"body": PAGE, "mimetype": "application/xhtml+xml"},
    "asked for by HTMX": {"body": PAGE, "asked": {"HX-Request": "true"}},
    "asked for by a script": {"body": PAGE, "asked": {"Sec-Fetch-Dest": "empty"}},
    "in a frame": {"body": PAGE, "asked": {"Sec-Fetch-Dest": "iframe"}},
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_no_whole_page_is_left_as_it_is(case: str) -> None:
    options = dict(LEFT_OUT[case])
    body = options.pop("body")
    answer = answered(body, **options)
    assert answer.data == (body if isinstance(body, bytes) else body.encode())
    assert 'rel="profile"' in answer.headers["Link"]


def test_a_stream_is_left_as_it_is() -> None:
    app = shop()
    app.add_url_rule("/stream", "stream", lambda: Response(stream_with_context(chunks())))
    answer = app.test_client().get("/stream")
    assert answer.text == PAGE
    assert 'rel="profile"' in answer.headers["Link"]


REFUSED = (
    "default-src 'none'",
    "script-src https://cdn.example.org",
    "default-src 'self'; script-src 'strict-dynamic' 'self'",
    "default-src 'self'; script-src-elem 'none'",
    "script-src 'self', script-src 'none'",
    "script-src 'nonce-a', script-src 'nonce-b'",
    "sandbox",
    "SCRIPT-SRC 'sha256-x'",
)
TAKEN = {
    "default-src 'self'": "",
    "img-src *; object-src 'none'": "",
    "script-src *": "",
    "sandbox allow-scripts allow-same-origin": "",
    "default-src 'none'; script-src 'nonce-aZ0+/='": "aZ0+/=",
    "script-src 'strict-dynamic' 'nonce-abc'": "abc",
}


@pytest.mark.parametrize("policy", REFUSED)
@pytest.mark.parametrize("mode", ["", "-Report-Only"])
def test_a_policy_that_refuses_it_is_respected(policy: str, mode: str) -> None:
    assert answered(PAGE, {f"Content-Security-Policy{mode}": policy}).text == PAGE


@pytest.mark.parametrize(("policy", "nonce"), TAKEN.items())
def test_a_policy_that_takes_it_gets_its_nonce(policy: str, nonce: str) -> None:
    text = answered(PAGE, {"Content-Security-Policy": policy}).text
    assert f'src="{BADGE}" nonce="{nonce}"' in text


def test_a_policy_in_the_page_is_respected() -> None:
    page = PAGE.replace("<body>", '<meta http-equiv="Content-Security-Policy" content="x"><body>')
    assert answered(page).text == page


def test_a_policy_that_a_hook_sets_counts() -> None:
    app = shop()

    @app.after_request
    def strict(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'none'"
        return response

    assert app.test_client().get("/").text == PAGE


def test_only_what_a_browser_shows_carries_it() -> None:
    client = shop().test_client()
    assert client.head("/").content_length == len(PAGE)
    assert BADGE in client.get("/", headers={"Sec-Fetch-Dest": "document"}).text
    assert BADGE not in client.get("/perfkit").text


def test_it_leads_to_where_the_dashboard_is_mounted() -> None:
    client = shop(PERFKIT_DASHBOARD_PATH="/speed/").test_client()
    text = client.get("/", environ_overrides={"SCRIPT_NAME": "/a b&<c>"}).text
    assert 'src="/a%20b%26%3Cc%3E/speed/static/badge.js"' in text
    assert 'data-href="/a%20b%26%3Cc%3E/speed/requests/' in text
