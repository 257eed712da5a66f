"""The settings: every ``PERFKIT_*`` key with its default, unit, meaning and check."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask_perfkit.errors import ExtraMissing, SettingsError
from flask_perfkit.given import CALLED, is_called

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.recording.findings import Finding

PREFIX = "PERFKIT_"

_PASSWORD_IN_QUERY = re.compile(r"(?<=password=)[^&'\"]*", re.IGNORECASE)
_MOST_BUCKETS = 50
_STORES = ("memory://", "sqlite:///PATH", "redis://", "rediss://", "unix://")
_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "rediss+cluster")


@dataclass(frozen=True)
class _Check:
    """What a value must be: the sentence for the error, and the test itself."""

    allowed: str
    accepts: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_names(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(name, str) for name in value)


def _is_buckets(value: Any) -> bool:
    if not isinstance(value, tuple | list) or not 1 <= len(value) <= _MOST_BUCKETS:
        return False
    if not all(_is_number(bound) and bound > 0 for bound in value):
        return False
    return all(low < high for low, high in pairwise(value))


def _is_url(value: Any, schemes: tuple[str, ...]) -> bool:
    if not isinstance(value, str) or "://" not in value:
        return False
    try:
        return urlsplit(value).scheme in schemes
    except ValueError:  # brackets that hold no address
        return False


def _is_storage_url(value: Any) -> bool:
    if not _is_url(value, ("memory", "sqlite", "redis", "rediss", "unix")):
        return False
    parts = urlsplit(value)
    if parts.scheme == "memory":
        return not (parts.netloc or parts.path.strip("/"))
    return parts.scheme != "sqlite" or (not parts.netloc and bool(parts.path.strip("/")))


def _or_none(check: _Check) -> _Check:
    return _Check(f"{check.allowed}, or None", lambda value: value is None or check.accepts(value))


_BOOL = _Check("True or False", lambda value: isinstance(value, bool))
_COUNT = _Check("a whole number above zero", _is_count)
_SECONDS = _Check("a number of seconds above zero", lambda value: _is_number(value) and value > 0)
_INTERVAL = _Check(
    "a number of seconds, or 0 to log each finding each time",
    lambda value: _is_number(value) and value >= 0,
)
_RATE = _Check("a number from 0.0 to 1.0", lambda value: _is_number(value) and 0 <= value <= 1)
_ENDPOINTS = _Check(
    'a tuple of endpoint names (no paths), such as "health", or of patterns, such as "admin.*"',
    lambda value: _is_names(value) and not any(name.startswith("/") for name in value),
)
_PATH = _Check(
    'a path that starts with "/"',
    lambda value: isinstance(value, str) and value.startswith("/") and len(value) > 1,
)
_BUCKETS = _Check("a tuple of at most 50 seconds above zero, in ascending order", _is_buckets)
_CALLABLE = _Check("a callable", callable)
_NAMESPACE = _Check(
    f"a text, {CALLED} and returns plain data, or None",
    lambda value: value is None or isinstance(value, str) or is_called(value),
)
_ON_FINDING = _Check(
    f'"log", "raise", "ignore" or {CALLED}, which gets each Finding',
    lambda value: (
        value in ("log", "raise", "ignore") if isinstance(value, str) else is_called(value)
    ),
)
_SECRET = _Check(
    "a text or bytes that is not empty",
    lambda value: isinstance(value, str | bytes) and len(value) > 0,
)
_AUTO_BATCH = _Check(
    'True, False or a tuple of relationships such as "User.documents"',
    lambda value: isinstance(value, bool) or _is_names(value),
)
_DETECTORS = _Check(
    'a tuple of functions under @detector("a_kind", severity="warning")',
    lambda value: (
        isinstance(value, tuple | list)
        and all(callable(each) and isinstance(getattr(each, "kind", None), str) for each in value)
    ),
)
_REDIS_URL = _Check(
    "a URL that starts with " + ", ".join(f"{scheme}://" for scheme in _REDIS_SCHEMES),
    lambda value: _is_url(value, _REDIS_SCHEMES),
)


def check_redis_url(url: str, name: str) -> None:
    """Refuse what names no Redis.

    :param name: what the user gave it as.
    :raises SettingsError: it is no URL of Redis.
    """
    if not _REDIS_URL.accepts(url):
        raise SettingsError(
            f"{name} is {_shown(url, secret=False)}; allowed is {_REDIS_URL.allowed}"
        )


_STORAGE_URL = _Check("a URL such as " + ", ".join(_STORES), _is_storage_url)


def _setting(default: Any, check: _Check, meaning: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"check": check, "meaning": meaning, "secret": secret})


@dataclass(frozen=True)
class Settings:
    """What one application set, checked; each field is the key ``PERFKIT_<FIELD>``.

    Durations are in seconds.
    """

    enabled: bool = _setting(True, _BOOL, "Watch this application at all.")
    sample_rate: float = _setting(
        1.0, _RATE, "Share of requests that are watched; decided when a request starts."
    )
    exclude: tuple[str, ...] = _setting(
        (), _ENDPOINTS, "Endpoints that are never reported; `*` stands for any text."
    )
    slow_request: float | None = _setting(
        1.0, _or_none(_SECONDS), "A request that takes longer is a slow_request."
    )
    slow_query: float | None = _setting(
        1.0, _or_none(_SECONDS), "A statement that takes longer is a slow_query."
    )
    n_plus_one_threshold: int = _setting(
        5, _COUNT, "Executions of one statement by one cause that make a finding."
    )
    detectors: tuple[Callable[..., list[Finding]], ...] = _setting(
        (), _DETECTORS, "Detectors of your own, made with `flask_perfkit.detector`."
    )
    on_finding: str | Callable[..., object] = _setting(
        "log", _ON_FINDING, "What happens with a finding beside recording it."
    )
    log_interval: float = _setting(
        60, _INTERVAL, "A finding is logged in full once, then in short at most once in this time."
    )
    unbounded_rows: int | None = _setting(
        1000, _or_none(_COUNT), "Rows above which a select without LIMIT is an unbounded_result."
    )
    server_timing: bool = _setting(
        None, _BOOL, "Send the Server-Timing header; on in debug unless set."
    )
    page_size: int = _setting(20, _COUNT, "Items a page when the request does not say.")
    max_page_size: int = _setting(100, _COUNT, "Most items a page that a request may ask for.")
    cursor_secret: str | bytes | None = _setting(
        None,
        _or_none(_SECRET),
        "Key that signs cursors; the application's SECRET_KEY unless set.",
        secret=True,
    )
    auto_batch: bool | tuple[str, ...] = _setting(
        False, _AUTO_BATCH, "Load lazy relationships for all siblings at the second load."
    )
    redis_url: str | None = _setting(
        None, _or_none(_REDIS_URL), "Redis for the cache; None keeps it in the process."
    )
    cache_ttl: float = _setting(300, _SECONDS, "Life of a cache entry that names none.")
    cache_near: bool = _setting(False, _BOOL, "Keep hot entries in the process as well.")
    cache_namespace: str | Callable[[], object] | None = _setting(
        None, _NAMESPACE, "Part of every key of the cache: a tenant, a release."
    )
    count_ttl: float = _setting(30, _SECONDS, "Life of a cached page total.")
    metrics_path: str | None = _setting(
        None, _or_none(_PATH), 'Where Prometheus scrapes, such as "/metrics"; None turns it off.'
    )
    metrics_auth: Callable[..., object] | None = _setting(
        None, _or_none(_CALLABLE), "Says whether the current request may see the figures."
    )
    metrics_buckets: tuple[float, ...] = _setting(
        (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
        _BUCKETS,
        "Upper bounds of the durations of requests that are told apart; 1.0 is always one.",
    )
    metrics_indexes: bool = _setting(
        False, _BOOL, "Show how often PostgreSQL uses each index, read at each scrape."
    )
    dashboard: bool = _setting(
        None, _BOOL, "Show the dashboard; on in debug unless set, elsewhere with an auth only."
    )
    dashboard_path: str = _setting("/perfkit", _PATH, "Where the dashboard is.")
    dashboard_auth: Callable[..., object] | None = _setting(
        None, _or_none(_CALLABLE), "Says whether the current request may see the dashboard."
    )
    dashboard_badge: bool = _setting(
        True, _BOOL, "In debug, put a small link to its own profile on each HTML page."
    )
    storage_url: str | None = _setting(
        None,
        _or_none(_STORAGE_URL),
        "Where profiles and totals are kept; in memory if there is a dashboard, unless set.",
    )
    storage_limit: int = _setting(1000, _COUNT, "Profiles that are kept.")
    traces: bool = _setting(False, _BOOL, "Send OpenTelemetry spans and metrics.")
    traces_messages: bool = _setting(
        False, _BOOL, "Send what exceptions say, which may hold what a user typed, with traces."
    )
    sql_comments: bool = _setting(
        False, _BOOL, "Append route, view and trace to statements, as a comment."
    )

    @classmethod
    def from_app(cls, app: Flask, written: dict[str, Any] | None = None) -> Settings:
        """Read and check the ``PERFKIT_*`` keys of ``app.config``.

        What is in force is written back to ``app.config``; secrets are left as they were.

        :param written: what an earlier reading wrote back where nothing was set, which is not
            taken for the application's word; what this one writes is put there.
        :raises SettingsError: a key is unknown or a value is not allowed.
        :raises ExtraMissing: a path for Prometheus is set, and prometheus_client is missing.
        """
        written = {} if written is None else written
        own = {key: app.config[key] for key in app.config if key.startswith(PREFIX)}
        for key, value in written.items():
            if own.get(key) is value:
                own.pop(key, None)
        settings = cls(**_read(own, debug=app.debug))
        settings._check_together(debug=app.debug)
        settings.write_back(app.config)
        written.clear()
        written.update((key, app.config[key]) for key in app.config if _is_unset(key, own))
        return settings

    def excludes(self, endpoint: str | None) -> bool:
        """Tell whether an endpoint is never reported."""
        return endpoint is not None and any(fnmatchcase(endpoint, each) for each in self.exclude)

    def _check_together(self, *, debug: bool) -> None:
        if self.dashboard and self.dashboard_auth is None and not debug:
            raise SettingsError(
                "PERFKIT_DASHBOARD is True outside of debug, where everybody could read it: set "
                "PERFKIT_DASHBOARD_AUTH to a callable that says who may"
            )
        if self.metrics_path == self.dashboard_path:
            raise SettingsError(
                f"PERFKIT_METRICS_PATH and PERFKIT_DASHBOARD_PATH are both {self.metrics_path!r}: "
                "give each page a path of its own"
            )
        if self.page_size > self.max_page_size:
            raise SettingsError(
                f"PERFKIT_PAGE_SIZE is {self.page_size}, which is more than "
                f"PERFKIT_MAX_PAGE_SIZE ({self.max_page_size}): lower the first or raise the second"
            )

    def write_back(self, config: MutableMapping[str, Any]) -> None:
        """Put what is in force into ``app.config``, secrets left out."""
        for item in fields(self):
            if not item.metadata["secret"]:
                config[_key(item.name)] = getattr(self, item.name)


def _key(name: str) -> str:
    return PREFIX + name.upper()


def _is_unset(key: str, own: Mapping[str, Any]) -> bool:
    return key.startswith(PREFIX) and key not in own


def _read(config: Mapping[str, Any], *, debug: bool) -> dict[str, Any]:
    values = {}
    known = {_key(item.name): item for item in fields(Settings)}
    for key in config:
        if key not in known:
            raise SettingsError(_unknown(key, known))
    for key, item in known.items():
        if key not in config:
            values[item.name] = item.default
            continue
        value = config[key]
        check: _Check = item.metadata["check"]
        if not check.accepts(value):
            shown = _shown(value, secret=item.metadata["secret"])
            raise SettingsError(f"{key} is {shown}; allowed is {check.allowed}")
        values[item.name] = tuple(value) if isinstance(value, list) else value
    if values["metrics_path"] is not None and find_spec("prometheus_client") is None:
        raise ExtraMissing("PERFKIT_METRICS_PATH", "prometheus")
    return _derived(values, debug=debug)


def _derived(values: dict[str, Any], *, debug: bool) -> dict[str, Any]:
    bounds = {float(bound) for bound in values["metrics_buckets"]}
    values["metrics_buckets"] = tuple(sorted(bounds | {1.0}))
    for name in ("server_timing", "dashboard"):
        if values[name] is None:
            values[name] = debug
    if values["storage_url"] is None and values["dashboard"]:
        values["storage_url"] = "memory://"
    return values


def _unknown(key: str, known: Mapping[str, object]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(
        key.removeprefix(PREFIX), (name.removeprefix(PREFIX) for name in known)
    )
    hint = f"did you mean {PREFIX}{near[0]}?" if near else "known are " + ", ".join(sorted(known))
    return f"{key} is no setting of Flask-PerfKit; {hint}"


def _shown(value: Any, *, secret: bool) -> str:
    if secret:
        return f"a hidden value of type {type(value).__name__}"
    text = _PASSWORD_IN_QUERY.sub("***", repr(value))
    credentials, at, host = text.rpartition("@")
    if at:
        scheme, slashes, _ = credentials.rpartition("://")
        text = f"{scheme}{slashes}***@{host}"
    return text[:200]
