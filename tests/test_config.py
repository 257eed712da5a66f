from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from fractions import Fraction
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_perfkit import PerfKit, SettingsError
from flask_perfkit.config import Settings


def settings_of(debug: bool = False, **config: Any) -> Settings:
    """Read settings as ``init_app`` does; ``page_size=5`` is ``PERFKIT_PAGE_SIZE``."""
    return Settings.from_app(app_with(debug, **config))


def app_with(debug: bool = False, **config: Any) -> Flask:
    app = Flask("shop", root_path=".")
    app.debug = debug
    app.config.update({f"PERFKIT_{key.upper()}": value for key, value in config.items()})
    return app


def sign_in() -> bool:
    return True


DEFAULTS = {
    "PERFKIT_ENABLED": True,
    "PERFKIT_SAMPLE_RATE": 1.0,
    "PERFKIT_EXCLUDE": (),
    "PERFKIT_SLOW_REQUEST": 1.0,
    "PERFKIT_SLOW_QUERY": 1.0,
    "PERFKIT_N_PLUS_ONE_THRESHOLD": 5,
    "PERFKIT_DETECTORS": (),
    "PERFKIT_ON_FINDING": "log",
    "PERFKIT_LOG_INTERVAL": 60,
    "PERFKIT_UNBOUNDED_ROWS": 1000,
    "PERFKIT_SERVER_TIMING": False,
    "PERFKIT_PAGE_SIZE": 20,
    "PERFKIT_MAX_PAGE_SIZE": 100,
    "PERFKIT_AUTO_BATCH": False,
    "PERFKIT_REDIS_URL": None,
    "PERFKIT_CACHE_TTL": 300,
    "PERFKIT_CACHE_NEAR": False,
    "PERFKIT_CACHE_NAMESPACE": None,
    "PERFKIT_COUNT_TTL": 30,
    "PERFKIT_METRICS_PATH": None,
    "PERFKIT_METRICS_AUTH": None,
    "PERFKIT_METRICS_BUCKETS": (
        *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    ),
    "PERFKIT_METRICS_INDEXES": False,
    "PERFKIT_DASHBOARD": False,
    "PERFKIT_DASHBOARD_PATH": "/perfkit",
    "PERFKIT_DASHBOARD_AUTH": None,
    "PERFKIT_DASHBOARD_BADGE": True,
    "PERFKIT_STORAGE_URL": None,
    "PERFKIT_STORAGE_LIMIT": 1000,
    "PERFKIT_TRACES": False,
    "PERFKIT_TRACES_MESSAGES": False,
    "PERFKIT_SQL_COMMENTS": False,
}


def test_what_is_in_force_is_written_back() -> None:
    app = app_with()
    PerfKit(app)
    written = {key: value for key, value in app.config.items() if key.startswith("PERFKIT_")}
    assert written == DEFAULTS


@pytest.mark.parametrize("name", ["server_timing", "dashboard"])
def test_in_debug_header_and_dashboard_are_on_unless_set(name: str) -> None:
    app = app_with(debug=True)
    assert getattr(Settings.from_app(app), name) is True
    assert app.config[f"PERFKIT_{name.upper()}"] is True
    assert getattr(settings_of(debug=True, **{name: False}), name) is False


def test_outside_of_debug_a_dashboard_needs_somebody_who_says_who_may_see_it() -> None:
    with pytest.raises(SettingsError, match="set PERFKIT_DASHBOARD_AUTH to a callable"):
        settings_of(dashboard=True)
    assert settings_of(dashboard=True, dashboard_auth=sign_in).dashboard is True
    assert settings_of(dashboard_auth=sign_in).dashboard is False


def test_two_pages_have_two_paths() -> None:
    with pytest.raises(SettingsError, match="are both '/perfkit'"):
        settings_of(metrics_path="/perfkit")


def test_secrets_are_left_as_they_were() -> None:
    app = app_with()
    app.config["SECRET_KEY"] = "key of the application"
    Settings.from_app(app)
    assert "PERFKIT_CURSOR_SECRET" not in app.config

    app = app_with(cursor_secret=b"own key")
    assert Settings.from_app(app).cursor_secret == b"own key"
    assert app.config["PERFKIT_CURSOR_SECRET"] == b"own key"


def test_reading_what_was_written_back_gives_the_same() -> None:
    app = app_with(exclude=["health"], page_size=7)
    first = Settings.from_app(app)
    assert Settings.from_app(app) == first
    assert first.exclude == ("health",)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        settings_of().page_size = 3  # type: ignore[misc]


GOOD: list[tuple[str, Any]] = [
    ("sample_rate", 0),
    ("sample_rate", 1),
    ("sample_rate", 0.25),
    ("exclude", ("health", "shop.list", "admin.*")),
    ("log_interval", 0),
    ("slow_request", None),
    ("slow_request", 1),
    ("slow_query", None),
    ("slow_query", 1e-9),
    ("unbounded_rows", None),
    ("unbounded_rows", 10**30),
    ("on_finding", "raise"),
    ("on_finding", "ignore"),
    ("on_finding", print),
    ("cursor_secret", "secret"),
    ("cursor_secret", None),
    ("auto_batch", True),
    ("auto_batch", ("User.documents",)),
    ("redis_url", "redis://localhost"),
    ("redis_url", "rediss://:p%40ss@host:6379/1?health_check_interval=2"),
    ("redis_url", "redis://:a b@host"),
    ("redis_url", "unix:///run/redis.sock?db=1"),
    ("redis_url", "redis+sentinel://a:26379,b:26379/main"),
    ("redis_url", "redis://[::1]:6379"),
    ("metrics_buckets", (0.1, 1, 2.5)),
    ("metrics_path", None),
    ("metrics_path", "/internal/metrics"),
    ("metrics_auth", None),
    ("metrics_auth", sign_in),
    ("dashboard", False),
    ("dashboard_path", "/internal/perfkit"),
    ("dashboard_auth", sign_in),
    ("dashboard_badge", False),
    ("storage_url", None),
    ("storage_url", "memory://"),
    ("storage_url", "sqlite:///perfkit.db"),
    ("storage_url", "sqlite:////var/lib/perfkit.db"),
    ("storage_url", "rediss://:p%40ss@host:6379/1?namespace=shop"),
    ("storage_limit", 100_000),
]


def _named(value: Any) -> str:
    """Name a case alike in every process that collects it."""
    return getattr(value, "__name__", repr(value))


@pytest.mark.parametrize(("name", "value"), GOOD, ids=_named)
def test_a_good_value_is_in_force(name: str, value: Any) -> None:
    assert getattr(settings_of(**{name: value}), name) == value


SECONDS = "a number of seconds above zero"
COUNT = "a whole number above zero"
BAD: list[tuple[str, Any, str]] = [
    ("enabled", 1, "True or False"),
    ("enabled", "yes", "True or False"),
    ("enabled", None, "True or False"),
    ("sample_rate", 1.01, "a number from 0.0 to 1.0"),
    ("sample_rate", -0.1, "a number from 0.0 to 1.0"),
    ("sample_rate", "0.5", "a number from 0.0 to 1.0"),
    ("sample_rate", True, "a number from 0.0 to 1.0"),
    ("sample_rate", math.nan, "a number from 0.0 to 1.0"),
    ("sample_rate", None, "a number from 0.0 to 1.0"),
    ("exclude", "health", "a tuple of endpoint names"),
    ("exclude", (1,), "a tuple of endpoint names"),
    ("exclude", {"health"}, "a tuple of endpoint names"),
    ("exclude", ("health", "/metrics"), "a tuple of endpoint names (no paths)"),
    ("log_interval", -1, "a number of seconds, or 0 to log each finding each time"),
    ("log_interval", None, "a number of seconds, or 0 to log each finding each time"),
    ("slow_request", 0, f"{SECONDS}, or None"),
    ("slow_request", -1, f"{SECONDS}, or None"),
    ("slow_request", False, f"{SECONDS}, or None"),
    ("slow_request", "1", f"{SECONDS}, or None"),
    ("slow_request", math.inf, f"{SECONDS}, or None"),
    ("slow_query", Fraction(1, 2), f"{SECONDS}, or None"),
    ("slow_query", [1], f"{SECONDS}, or None"),
    ("n_plus_one_threshold", 0, COUNT),
    ("n_plus_one_threshold", 5.0, COUNT),
    ("n_plus_one_threshold", True, COUNT),
    ("n_plus_one_threshold", None, COUNT),
    ("detectors", print, "a tuple of functions under @detector"),
    ("detectors", (print,), "a tuple of functions under @detector"),
    ("on_finding", "Log", '"log", "raise", "ignore" or a callable'),
    ("on_finding", None, '"log", "raise", "ignore" or a callable'),
    ("on_finding", True, '"log", "raise", "ignore" or a callable'),
    ("unbounded_rows", 0, f"{COUNT}, or None"),
    ("unbounded_rows", 1000.0, f"{COUNT}, or None"),
    ("server_timing", "on", "True or False"),
    ("page_size", 0, COUNT),
    ("page_size", "20", COUNT),
    ("max_page_size", -1, COUNT),
    ("auto_batch", "User.documents", "True, False or a tuple of relationships"),
    ("auto_batch", 1, "True, False or a tuple of relationships"),
    ("redis_url", "localhost:6379", "a URL that starts with redis://"),
    ("redis_url", "http://localhost", "a URL that starts with redis://"),
    ("redis_url", "redis:localhost", "a URL that starts with redis://"),
    ("redis_url", b"redis://localhost", "a URL that starts with redis://"),
    ("redis_url", "redis://[::1", "a URL that starts with redis://"),
    ("redis_url", "", "a URL that starts with redis://"),
    ("cache_ttl", 0, SECONDS),
    ("cache_ttl", None, SECONDS),
    ("cache_ttl", 10**400, SECONDS),
    ("cache_near", 0, "True or False"),
    (
        "cache_namespace",
        1,
        "a text, a callable that is no async function and returns plain data, or None",
    ),
    ("count_ttl", "30", SECONDS),
    *(
        ("metrics_buckets", value, "a tuple of at most 50 seconds above zero, in ascending order")
        for value in (None, 1.0, (), (0.0, 1.0), (2.0, 1.0), (1.0, 1.0), ("1",), (True,))
    ),
    ("metrics_indexes", 1, "True or False"),
    ("metrics_path", "metrics", 'a path that starts with "/"'),
    ("metrics_path", "/", 'a path that starts with "/"'),
    ("traces", "no", "True or False"),
    ("traces_messages", 1, "True or False"),
    ("sql_comments", "no", "True or False"),
    ("metrics_auth", "prometheus", "a callable"),
    ("dashboard", "on", "True or False"),
    ("dashboard", None, "True or False"),
    ("dashboard_path", "perfkit", 'a path that starts with "/"'),
    ("dashboard_path", None, 'a path that starts with "/"'),
    ("dashboard_auth", "admin", "a callable"),
    ("dashboard_badge", 1, "True or False"),
    *(
        ("storage_url", value, "a URL such as memory://, sqlite:///PATH, redis://")
        for value in ("", "memory", "memory://x", "sqlite://", "sqlite:///", "sqlite://host/x", 1)
    ),
    ("storage_url", "mysql://host/perfkit", "a URL such as memory://, sqlite:///PATH, redis://"),
    ("storage_limit", 0, COUNT),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD, ids=repr)
def test_a_bad_value_is_named_with_its_key_and_what_is_allowed(
    name: str, value: Any, allowed: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        PerfKit(app_with(**{name: value}))

    message = str(caught.value)
    assert message.startswith(f"PERFKIT_{name.upper()} is ")
    assert allowed in message
    assert repr(value)[:50] in message


def test_every_setting_was_tried_with_a_bad_value() -> None:
    tried = {name for name, _, _ in BAD} | {"cursor_secret"}
    assert tried == {item.name for item in fields(Settings)}


def test_an_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="PERFKIT_ENABLED"):
        settings_of(enabled="yes")


@pytest.mark.parametrize("secret", ["", b"", 12345, ["hunter2"]], ids=repr)
def test_a_bad_secret_is_not_shown(secret: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(cursor_secret=secret)
    kind = type(secret).__name__
    assert f"PERFKIT_CURSOR_SECRET is a hidden value of type {kind}" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host/0",
        "http://:hunter2@host",
        "http://:hun@hunter2@host",
        "http://:my hunter2@host",
        "user:hunter2@host:6379",
        "http://host?password=hunter2",
        "http://host?db=1&password=hunter2",
    ],
)
def test_a_password_in_a_bad_url_is_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(redis_url=url)
    assert "hunter2" not in str(caught.value)
    assert "host" in str(caught.value)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(on_finding="x" * 100_000)
    assert len(str(caught.value)) < 500


def test_an_unknown_key_names_what_was_meant() -> None:
    with pytest.raises(SettingsError, match=r"PERFKIT_SLOW_QUERRY .* did you mean PERFKIT_SLOW_QU"):
        settings_of(slow_querry=1.0)


def test_an_unknown_key_like_no_other_names_all() -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(zzz=1)
    assert "PERFKIT_ZZZ is no setting" in str(caught.value)
    assert "PERFKIT_SAMPLE_RATE" in str(caught.value)


def test_an_unknown_keys_value_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(redis_password="hunter2")
    assert "hunter2" not in str(caught.value)


def test_other_keys_are_not_looked_at() -> None:
    app = app_with()
    app.config.update({"perfkit_enabled": "no", "MY_PERFKIT_X": 1, "PERFKITTEN": 2})
    assert Settings.from_app(app) == Settings.from_app(app_with())


def test_a_page_larger_than_the_largest_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"PERFKIT_PAGE_SIZE is 30.*PERFKIT_MAX_PAGE_SIZE \(25"):
        settings_of(page_size=30, max_page_size=25)
    assert settings_of(page_size=25, max_page_size=25).page_size == 25


def test_after_an_error_nothing_is_set_up() -> None:
    app = app_with(enabled="yes")
    before = app.wsgi_app
    with pytest.raises(SettingsError):
        PerfKit(app)
    assert app.wsgi_app == before
    assert "perfkit" not in app.extensions
    app.config["PERFKIT_ENABLED"] = True
    PerfKit(app)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    name=st.sampled_from([item.name for item in fields(Settings)]),
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        st.complex_numbers(),
        st.decimals(),
        st.lists(st.integers()),
        st.builds(object),
    ),
)
def test_any_value_is_in_force_or_refused_with_its_key(name: str, value: Any) -> None:
    try:
        settings = settings_of(**{name: value})
    except SettingsError as error:
        message = str(error)
        assert f"PERFKIT_{name.upper()}" in message
    else:
        in_force = tuple(value) if isinstance(value, list) else value
        if name == "metrics_buckets":
            in_force = tuple(sorted({*map(float, value), 1.0}))
        assert getattr(settings, name) == in_force
