"""Settings are decided at the first request; what changes later is told."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from archive import archive, names_of_owners, profiles
from flask import Flask

from flask_perfkit import PerfKit, QueryCounter
from flask_perfkit.alerts import Findings
from flask_perfkit.alerts.monitor import Monitor


def shop(**config: Any) -> Flask:
    """Make an application that PerfKit has met; ``page_size=5`` is ``PERFKIT_PAGE_SIZE``."""
    app = Flask("shop", root_path=".")
    app.config.update({f"PERFKIT_{key.upper()}": value for key, value in config.items()})
    PerfKit(app)
    app.add_url_rule("/", "home", lambda: "ok")
    return app


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def test_debug_that_is_turned_on_after_the_set_up_counts() -> None:
    """As ``app.run(debug=True)`` does it."""
    app = shop()
    app.debug = True
    response = app.test_client().get("/")
    assert response.headers["Server-Timing"].startswith("total;dur=")
    assert app.config["PERFKIT_SERVER_TIMING"] is True


def test_debug_that_is_turned_off_after_the_set_up_counts() -> None:
    app = Flask("shop", root_path=".")
    app.debug = True
    PerfKit(app)
    app.debug = False
    assert "Server-Timing" not in app.test_client().get("/").headers
    assert app.config["PERFKIT_SERVER_TIMING"] is False


def test_what_the_application_set_wins_over_debug_later_too() -> None:
    app = shop(server_timing=False)
    app.debug = True
    assert "Server-Timing" not in app.test_client().get("/").headers


def test_what_is_set_between_set_up_and_first_request_is_in_force(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with archive() as app:
        app.config.update(
            TESTING=True, PERFKIT_N_PLUS_ONE_THRESHOLD=100, PERFKIT_ON_FINDING="raise"
        )
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        with profiles(app) as collected:
            assert app.test_client().get("/").status_code == 200
    assert collected[0].findings == ()
    assert caplog.messages == []


def test_an_application_can_be_turned_off_until_its_first_request() -> None:
    with archive() as app:
        app.config["PERFKIT_ENABLED"] = False
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        app.cli.command("nightly")(lambda: names_of_owners() and None)
        with profiles(app) as collected:
            assert app.test_cli_runner().invoke(args=["nightly"]).exit_code == 0
            for _ in range(2):
                assert app.test_client().get("/").status_code == 200
    assert collected == []


def test_what_was_off_at_the_set_up_is_left_alone_and_said_to_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = shop(enabled=False)
    app.config["PERFKIT_ENABLED"] = True
    for _ in range(2):
        assert app.test_client().get("/").status_code == 200
    (message,) = caplog.messages
    assert message.startswith("PERFKIT_ENABLED was False when PerfKit was set up for 'shop'")


def test_the_page_of_figures_moves_and_goes() -> None:
    app = shop(metrics_path="/figures")
    app.config["PERFKIT_METRICS_PATH"] = "/moved"
    client = app.test_client()
    assert client.get("/figures").status_code == 404
    assert "http_requests_total" in client.get("/moved").text

    app = shop(metrics_path="/figures")
    app.config["PERFKIT_METRICS_PATH"] = None
    assert app.test_client().get("/figures").status_code == 404

    app = shop(metrics_path=None)
    app.config["PERFKIT_METRICS_PATH"] = "/figures"
    assert "http_requests_total" in app.test_client().get("/figures").text


def test_alerts_stay_when_settings_change(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Monitor, "see_finding", lambda self, kind, now: seen.append(kind))
    with archive(perfkit=False) as app:
        perfkit = PerfKit()
        perfkit.alert(when=Findings(kind="n_plus_one"), then=print)
        perfkit.init_app(app)
        app.config["PERFKIT_PAGE_SIZE"] = 5
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        app.test_client().get("/")
    assert seen == ["n_plus_one"]


def test_a_change_that_is_refused_is_told_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = shop(page_size=7)
    app.config["PERFKIT_PAGE_SIZE"] = "many"
    assert app.test_client().get("/").status_code == 200
    (message,) = warnings_of(caplog)
    assert message.startswith("PERFKIT_PAGE_SIZE is 'many'; allowed is a whole number above zero")
    assert app.extensions["perfkit"].settings.page_size == 7


def test_a_mistyped_key_is_told_when_it_comes_late(caplog: pytest.LogCaptureFixture) -> None:
    app = shop()
    app.config["PERFKIT_SLOW_QUERRY"] = 1.0
    app.test_client().get("/")
    (message,) = warnings_of(caplog)
    assert "did you mean PERFKIT_SLOW_QUERY?" in message


@pytest.mark.parametrize("flag", ["TESTING", "DEBUG"])
def test_a_change_after_the_first_request_is_told_once(
    flag: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop(page_size=7)
    app.config[flag] = True
    client = app.test_client()
    client.get("/")
    app.config.update(PERFKIT_PAGE_SIZE=9, PERFKIT_PAGESIZE=9, OTHER=1)
    for _ in range(3):
        client.get("/")
    (message,) = warnings_of(caplog)
    assert message == (
        "PERFKIT_PAGESIZE, PERFKIT_PAGE_SIZE changed after the first request of 'shop', which has "
        "no effect: set it before"
    )


def test_in_production_it_is_told_with_the_next_finding(caplog: pytest.LogCaptureFixture) -> None:
    with archive() as app:
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        client = app.test_client()
        client.get("/")
        app.config["PERFKIT_ON_FINDING"] = "ignore"
        client.get("/")
        client.get("/")
    assert sum("PERFKIT_ON_FINDING changed after" in each for each in caplog.messages) == 1


def test_a_command_knows_what_was_set_until_it_ran() -> None:
    with archive(on_finding="ignore") as app:
        app.config["PERFKIT_N_PLUS_ONE_THRESHOLD"] = 100
        app.cli.command("nightly")(lambda: names_of_owners() and None)
        with profiles(app) as collected:
            app.test_cli_runner().invoke(args=["nightly"])
    assert [profile.findings for profile in collected] == [()]


def test_a_block_knows_what_was_set_until_it_ran() -> None:
    with archive() as app:
        app.config["PERFKIT_N_PLUS_ONE_THRESHOLD"] = 100
        with app.app_context(), QueryCounter(threshold=None) as counter:
            names_of_owners()
    assert counter.findings == ()


def test_excluded_endpoints_may_be_patterns() -> None:
    with archive(exclude=("admin.*",), on_finding="ignore") as app:
        app.add_url_rule("/users", "admin.users", lambda: names_of_owners())
        app.add_url_rule("/owners", "shop.owners", lambda: names_of_owners())
        with profiles(app) as collected:
            app.test_client().get("/users")
            app.test_client().get("/owners")
    assert [profile.endpoint for profile in collected] == ["shop.owners"]


def test_an_excluded_endpoint_that_is_none_is_told(caplog: pytest.LogCaptureFixture) -> None:
    app = shop(exclude=("hom", "nightly export", "home"))
    for _ in range(2):
        app.test_client().get("/")
    assert warnings_of(caplog) == [
        "PERFKIT_EXCLUDE names 'hom', no endpoint has it: did you mean 'home'?"
    ]


def test_what_a_later_reading_turns_on_needs_what_it_needs_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop()
    monkeypatch.setitem(sys.modules, "flask_perfkit.traces.findings", None)
    app.config["PERFKIT_TRACES"] = True
    assert app.test_client().get("/").status_code == 200
    (message,) = warnings_of(caplog)
    assert "PERFKIT_TRACES needs a package that is not installed" in message
    assert app.config["PERFKIT_TRACES"] is False
