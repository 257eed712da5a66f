"""uncompressed_response and uncached_static, as a server in production sends answers."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask, Response

from flask_perfkit import Finding, PerfKit, Profile
from flask_perfkit.signals import request_profiled

TEXT = "a word, and another " * 1_000  # 20,000 bytes


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "app.css").write_text("body {}")
    app = Flask("answers", root_path=str(tmp_path))
    app.config["PERFKIT_METRICS_PATH"] = None
    PerfKit(app)
    return app


def findings(app: Flask, path: str, **headers: str) -> list[Finding]:
    profiles: list[Profile] = []

    def collect(sender: Flask, profile: Profile) -> None:
        profiles.append(profile)

    sent = {"Accept-Encoding": "gzip, br"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    with request_profiled.connected_to(collect, app):
        app.test_client().get(path, headers=sent).close()
    (profile,) = profiles
    return list(profile.findings)


def answers(app: Flask, **options: Any) -> None:
    app.add_url_rule("/text", "text", lambda: Response(**options))


@pytest.mark.parametrize(
    "mimetype", ["text/html", "application/json", "application/problem+json", "image/svg+xml"]
)
def test_a_large_text_as_it_is(app: Flask, mimetype: str) -> None:
    answers(app, response=TEXT, mimetype=mimetype)
    (finding,) = findings(app, "/text")
    assert (finding.kind, finding.severity) == ("uncompressed_response", "warning")
    assert (finding.subject, finding.endpoint) == ("text", "text")
    assert f"sent 20 kB of {mimetype} as they are" in finding.message
    assert "Flask-Compress" in finding.fix
    assert finding.filename == __file__


@pytest.mark.parametrize(
    "options",
    [
        {"response": TEXT[:9_000], "mimetype": "text/html"},
        {"response": TEXT, "mimetype": "image/png"},
        {"response": TEXT, "mimetype": "text/event-stream"},
        {"response": TEXT, "mimetype": "text/html", "status": 404},
        {
            "response": gzip.compress(TEXT.encode()) + b" " * 20_000,
            "mimetype": "text/html",
            "headers": {"Content-Encoding": "gzip"},
        },
    ],
)
def test_what_needs_no_compression(app: Flask, options: dict[str, Any]) -> None:
    answers(app, **options)
    assert findings(app, "/text") == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept_Encoding": ""},
        {"Accept_Encoding": "identity"},
        {"Accept_Encoding": "gzip;q=0"},
        {"X_Forwarded_For": "192.0.2.1"},
        {"Via": "1.1 cdn"},
    ],
)
def test_a_client_that_takes_none_and_a_proxy_that_may_do_it(
    app: Flask, headers: dict[str, str]
) -> None:
    answers(app, response=TEXT, mimetype="text/html")
    assert findings(app, "/text", **headers) == []


@pytest.mark.parametrize("mode", ["DEBUG", "TESTING"])
def test_nothing_is_said_while_one_develops_and_tests(app: Flask, mode: str) -> None:
    app.config[mode] = True
    answers(app, response=TEXT, mimetype="text/html")
    assert findings(app, "/text") == []
    assert findings(app, "/static/app.css") == []


def test_a_static_file_that_is_asked_for_again(app: Flask) -> None:
    (finding,) = findings(app, "/static/app.css")
    assert (finding.kind, finding.subject) == ("uncached_static", "static")
    assert "the file /static/app.css" in finding.message


@pytest.mark.parametrize(("seconds", "said"), [(3_600, True), (86_400, False), (31_536_000, False)])
def test_a_static_file_that_lasts(app: Flask, seconds: int, said: bool) -> None:
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = seconds
    assert bool(findings(app, "/static/app.css")) is said


def test_a_blueprint_s_files_too_but_no_view_of_that_name(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "logo.txt").write_text("logo")
    files = Blueprint("shop", "answers", static_folder=str(tmp_path / "shop"), url_prefix="/shop")
    app.register_blueprint(files)
    plain = Blueprint("plain", "answers", url_prefix="/plain")
    plain.add_url_rule("/static", "static", lambda: "no file")
    app.register_blueprint(plain)
    assert [each.subject for each in findings(app, "/shop/shop/logo.txt")] == ["shop.static"]
    assert findings(app, "/plain/static") == []
