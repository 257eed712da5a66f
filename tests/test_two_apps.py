"""Applications side by side share nothing; one application is set up once, in any order."""

from __future__ import annotations

import gc
import logging
import random
import weakref
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from archive import Document, archive, database, db, fill, names_of_owners, profiles
from flask import Blueprint, Flask, request
from flask_sqlalchemy import SQLAlchemy
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client

from flask_perfkit import Finding, FindingError, PerfKit, SettingsError, SetupError


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    with database() as engine:
        yield engine


def names(engine: sa.Engine) -> list[str]:
    """Ask one by one what one statement could tell."""
    with engine.connect() as connection:
        return [
            connection.execute(sa.text("SELECT name FROM user WHERE id = :id"), {"id": n}).scalar()
            for n in range(1, 11)
        ]


def app_of(engine: sa.Engine, name: str = "plain", **config: object) -> Flask:
    """Make a watched application that knows no Flask-SQLAlchemy."""
    app = Flask(name, root_path=".")
    app.config.update({f"PERFKIT_{key.upper()}": value for key, value in config.items()})
    PerfKit(app)
    app.add_url_rule("/", view_func=lambda: names(engine))
    return app


# Two applications


@pytest.mark.parametrize("strict_first", [True, False])
def test_each_application_has_its_own_settings(engine: sa.Engine, strict_first: bool) -> None:
    found: list[Finding] = []

    def strict() -> Flask:
        return app_of(engine, "strict", on_finding="raise", testing=True)

    settings = (
        {"on_finding": "raise", "server_timing": False},
        {
            "on_finding": found.append,
            "server_timing": True,
            "n_plus_one_threshold": 10,
        },
    )
    if strict_first:
        first = app_of(engine, "strict", **settings[0])
        second = app_of(engine, "mild", **settings[1])
    else:
        second = app_of(engine, "mild", **settings[1])
        first = app_of(engine, "strict", **settings[0])
    first.testing = True

    for _ in range(2):
        with pytest.raises(FindingError):
            first.test_client().get("/")
        response = second.test_client().get("/")
        assert response.status_code == 200
        assert "n_plus_one" in response.headers["Server-Timing"]
    assert [finding.kind for finding in found] == ["n_plus_one"] * 2


def test_each_application_has_its_own_profiles(engine: sa.Engine) -> None:
    first, second = app_of(engine, "first"), app_of(engine, "second")
    with profiles(first) as of_first, profiles(second) as of_second:
        first.test_client().get("/")
        second.test_client().get("/")
        second.test_client().get("/")
    assert (len(of_first), len(of_second)) == (1, 2)


def test_one_object_serves_several_applications(engine: sa.Engine) -> None:
    perfkit = PerfKit()
    before = dict(vars(perfkit))
    apps = [Flask(name, root_path=".") for name in ("first", "second")]
    apps[0].config["PERFKIT_ON_FINDING"] = "ignore"
    for app in apps:
        perfkit.init_app(app)
        app.add_url_rule("/", view_func=lambda: names(engine))

    assert vars(perfkit) == before
    assert [app.config["PERFKIT_ON_FINDING"] for app in apps] == ["ignore", "log"]
    for app in apps:
        with profiles(app) as collected:
            app.test_client().get("/")
        assert len(collected) == 1


def test_one_database_object_serves_several_applications() -> None:
    with archive(on_finding="ignore") as first, archive(n_plus_one_threshold=50) as second:
        for app in (first, second):
            app.add_url_rule("/", view_func=lambda: names_of_owners())
        with profiles(first) as of_first, profiles(second) as of_second:
            for app in (first, second, first):
                app.test_client().get("/")
        assert [len(profile.findings) for profile in of_first] == [1, 1]
        assert [len(profile.findings) for profile in of_second] == [0]


def test_one_application_mounted_in_another(engine: sa.Engine) -> None:
    outer, inner = app_of(engine, "outer"), app_of(engine, "inner")
    mounted = DispatcherMiddleware(outer, {"/inner": inner})
    with profiles(outer) as of_outer, profiles(inner) as of_inner:
        assert Client(mounted).get("/inner/").status_code == 200
    assert (len(of_outer), len(of_inner)) == (0, 1)


def test_a_command_that_two_applications_have_reports_to_its_own(engine: sa.Engine) -> None:
    jobs = Blueprint("jobs", __name__, cli_group=None)

    @jobs.cli.command("nightly")
    def nightly() -> None:
        names(engine)

    found: dict[str, list[Finding]] = {"first": [], "second": []}
    apps = [app_of(engine, name, on_finding=found[name].append) for name in found]
    for app in apps:
        app.register_blueprint(jobs)
    for app in apps:
        app.test_cli_runner().invoke(args=["nightly"])
    assert [len(findings) for findings in found.values()] == [1, 1]


def test_a_client_of_another_application_inside_a_view(engine: sa.Engine) -> None:
    inner = app_of(engine, "inner", sample_rate=0.0, on_finding="raise", server_timing=True)
    outer = app_of(engine, "outer", on_finding="ignore")

    @outer.get("/outer")
    def show() -> str:
        names(engine)
        response = inner.test_client().get("/")
        return f"{response.status_code} {'Server-Timing' in response.headers}"

    with profiles(outer) as collected:
        assert outer.test_client().get("/outer").text == "200 False"
    assert (collected[0].endpoint, collected[0].status) == ("show", 200)


def test_an_application_can_be_forgotten(engine: sa.Engine) -> None:
    app = app_of(engine)
    app.test_client().get("/")
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


# Set-up


def test_a_second_init_app_is_refused_with_the_cure() -> None:
    app = Flask("shop", root_path=".")
    perfkit = PerfKit(app)
    state, wsgi_app = app.extensions["perfkit"], app.wsgi_app
    for again in (perfkit.init_app, PerfKit().init_app, PerfKit):
        with pytest.raises(SetupError, match=r"watches the application 'shop' already.* once"):
            again(app)
    assert app.extensions["perfkit"] is state
    assert app.wsgi_app is wsgi_app


def test_a_refused_setting_leaves_a_second_try(engine: sa.Engine) -> None:
    app = Flask("shop", root_path=".")
    app.config["PERFKIT_SAMPLE_RATE"] = 2
    with pytest.raises(SettingsError):
        PerfKit(app)
    app.config["PERFKIT_SAMPLE_RATE"] = 1
    PerfKit(app)
    app.add_url_rule("/", view_func=lambda: names(engine))
    with profiles(app) as collected:
        app.test_client().get("/")
    assert len(collected) == 1


@pytest.mark.parametrize("perfkit_first", [True, False])
def test_any_order_with_the_database(perfkit_first: bool) -> None:
    app = Flask("shop", root_path=".")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    perfkit = PerfKit()
    for extension in [perfkit, db] if perfkit_first else [db, perfkit]:
        extension.init_app(app)
    app.add_url_rule("/", view_func=lambda: names_of_owners())
    with app.app_context():
        db.create_all()
        fill(db.session)
    with profiles(app) as collected:
        app.test_client().get("/")
    with app.app_context():
        db.engine.dispose()
    assert [finding.subject for finding in collected[0].findings] == ["Document.user"]


@pytest.mark.parametrize("middleware_first", [True, False])
def test_any_order_with_middleware(engine: sa.Engine, middleware_first: bool) -> None:
    app = Flask("shop", root_path=".")
    if middleware_first:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    PerfKit(app)
    if not middleware_first:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    app.add_url_rule("/", view_func=lambda: f"{request.remote_addr} {len(names(engine))}")
    with profiles(app) as collected:
        response = app.test_client().get("/", headers={"X-Forwarded-For": "203.0.113.7"})
    assert response.text == "203.0.113.7 10"
    assert collected[0].query_count == 10


def test_the_database_object_may_be_given() -> None:
    app = Flask("shop", root_path=".")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    own = SQLAlchemy(app)
    PerfKit(app, own)
    assert app.extensions["perfkit"].db is own


def test_an_engine_made_before_perfkit_is_watched() -> None:
    with database() as engine:
        app = app_of(engine)
        with profiles(app) as collected:
            app.test_client().get("/")
    assert collected[0].query_count == 10


def test_requests_are_timed_without_any_database() -> None:
    app = Flask("shop", root_path=".")
    app.config.update(PERFKIT_SLOW_REQUEST=1e-9, PERFKIT_SERVER_TIMING=True)
    PerfKit(app)
    app.add_url_rule("/", view_func=lambda: "ok")
    with profiles(app) as collected:
        response = app.test_client().get("/")
    assert [finding.kind for finding in collected[0].findings] == ["slow_request"]
    assert response.headers["Server-Timing"].startswith("total;dur=")


# Switched off, sampled, left out


def test_a_disabled_application_is_left_alone(engine: sa.Engine) -> None:
    app = Flask("shop", root_path=".")
    app.config["PERFKIT_ENABLED"] = False
    before = app.wsgi_app, app.process_response
    PerfKit(app)
    assert (app.wsgi_app, app.process_response) == before
    app.add_url_rule("/", view_func=lambda: names(engine))
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 200
    assert collected == []
    with pytest.raises(SetupError):
        PerfKit(app)


def test_at_rate_zero_nothing_is_watched(engine: sa.Engine) -> None:
    app = app_of(engine, sample_rate=0, on_finding="raise", server_timing=True)
    with profiles(app) as collected:
        response = app.test_client().get("/")
    assert (response.status_code, collected) == (200, [])
    assert "Server-Timing" not in response.headers


def test_at_half_rate_about_half_is_watched(engine: sa.Engine) -> None:
    app = app_of(engine, sample_rate=0.5, on_finding="ignore")
    client = app.test_client()
    random.seed(20)
    expected = sum(random.random() < 0.5 for _ in range(40))
    random.seed(20)
    with profiles(app) as collected:
        for _ in range(40):
            client.get("/")
    assert len(collected) == expected
    assert 10 < expected < 30


def test_excluded_endpoints_are_never_reported(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_of(
        engine, exclude=("health", "shop.list"), server_timing=True, on_finding="raise"
    )  # fmt: skip
    app.add_url_rule("/health", endpoint="health", view_func=lambda: names(engine))
    shop = Blueprint("shop", __name__)
    shop.add_url_rule("/shop", endpoint="list", view_func=lambda: names(engine))
    app.register_blueprint(shop)
    app.test_client().get("/health")  # the first request says what is watched
    with profiles(app) as collected, caplog.at_level(logging.INFO, "flask_perfkit"):
        for path in ("/health", "/shop"):
            response = app.test_client().get(path)
            assert response.status_code == 200
            assert "Server-Timing" not in response.headers
        assert (collected, caplog.records) == ([], [])
        assert app.test_client().get("/").status_code == 500
    assert len(collected) == 1


def test_an_excluded_stream_is_not_reported_either() -> None:
    with archive(exclude=("stream",), on_finding="raise") as app:

        def rows() -> Iterator[str]:
            with app.app_context():
                for number in range(1, 11):
                    yield str(db.session.get(Document, number))

        app.add_url_rule("/", endpoint="stream", view_func=rows)
        with profiles(app) as collected:
            assert app.test_client().get("/").text.count("Document") == 10
    assert collected == []
