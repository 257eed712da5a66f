from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_perfkit import Finding, PerfKit, Profile, QueryCounter, detector
from flask_perfkit.alerts import Findings
from flask_perfkit.detectors.own import Detector


@detector("wrong_hour", severity="error")
def wrong_hour(profile: Profile) -> Iterator[Finding]:
    if profile.endpoint == "report":
        yield Finding("wrong_hour", "report", "wrong_hour: report runs by day", "run it at night")


@detector("broken")
def broken(profile: Profile) -> Iterator[Finding]:
    raise LookupError("no such thing")


@detector("of_another_kind")
def of_another_kind(profile: Profile) -> Iterator[Finding]:
    yield Finding("slow_query", "report", "slow_query: not ours", "nothing")


def shop(*detectors: Detector, **config: Any) -> tuple[Flask, PerfKit, list[Finding]]:
    """Return an application in production with its extension, and where its findings go."""
    app = Flask("shop", root_path=".")
    found: list[Finding] = []
    app.config["PERFKIT_ON_FINDING"] = found.append
    app.config["PERFKIT_DETECTORS"] = detectors
    app.config.update(config)
    return app, PerfKit(app), found


def test_it_gets_each_request_and_its_findings_go_where_all_go() -> None:
    app, _, found = shop(wrong_hour)
    app.add_url_rule("/report", "report", lambda: "ok")
    app.add_url_rule("/", "index", lambda: "ok")
    client = app.test_client()
    client.get("/report")
    client.get("/")
    (finding,) = found
    assert (finding.kind, finding.severity) == ("wrong_hour", "error")


def test_it_belongs_to_the_application_that_names_it() -> None:
    app, _, found = shop()
    app.add_url_rule("/report", "report", lambda: "ok")
    other, *_ = shop(wrong_hour)
    app.test_client().get("/report")
    assert found == []
    with other.app_context(), QueryCounter() as counter:
        pass
    assert counter.findings == ()


def test_what_it_finds_can_be_allowed_like_anything_else() -> None:
    app, perfkit, found = shop(wrong_hour)

    @app.get("/report")
    @perfkit.allow("wrong_hour", "report", reason="asked for by hand")
    def report() -> str:
        return "ok"

    app.test_client().get("/report")
    assert found == []
    assert Findings(kind="wrong_hour")


@pytest.mark.parametrize(
    ("failing", "why"),
    [(broken, "broken failed .* no such thing"), (of_another_kind, r"Finding\('of_another_kind'")],
)
def test_one_that_fails_is_told_once_and_the_others_are_asked(
    failing: Detector, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, _, found = shop(failing, wrong_hour)
    app.add_url_rule("/report", "report", lambda: "ok")
    with caplog.at_level(logging.ERROR, "flask_perfkit"):
        for _ in range(2):
            assert app.test_client().get("/report").status_code == 200
    assert [finding.kind for finding in found] == ["wrong_hour", "wrong_hour"]
    (message,) = [record.getMessage() for record in caplog.records]
    assert re.search(why, message)


def test_it_can_be_tested_by_itself() -> None:
    (finding,) = wrong_hour(Profile(endpoint="report"))
    assert finding.fix == "run it at night"
    assert wrong_hour(Profile(endpoint="index")) == []


def test_another_kind_is_counted_for_prometheus_without_a_label_of_its_own() -> None:
    app, *_ = shop(wrong_hour, PERFKIT_METRICS_PATH="/figures")
    app.add_url_rule("/own-report", "report", lambda: "ok")
    client = app.test_client()
    client.get("/own-report")
    line = 'perfkit_findings_total{kind="_OTHER",route="/own-report"} 1.0'
    assert line in client.get("/figures").text.splitlines()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"kind": "n_plus_one"}, "kind is 'n_plus_one'; allowed is a name"),
        ({"kind": "two words"}, "kind is 'two words'"),
        ({"kind": "chatty", "severity": "fatal"}, "severity is 'fatal'; allowed is 'error', 'warn"),
    ],
)
def test_a_bad_declaration_is_refused(arguments: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        detector(**arguments)


def test_used_bare_it_says_how_it_is_written() -> None:
    bare: Any = detector
    with pytest.raises(TypeError, match="write @detector"):
        bare(lambda profile: [])
