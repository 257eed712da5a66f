"""The one line that PerfKit says when an application begins to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_perfkit.config import PREFIX, Settings

_PARTS = ("traces", "auto_batch", "sql_comments", "server_timing", "dashboard")


def start_line(name: str, settings: Settings, environ: Mapping[str, Any]) -> str:
    """Say what is watched, what is turned off, and which addresses to open.

    :param environ: the first request's, which tells where the server listens.
    """
    off = [f"{PREFIX}{part.upper()}" for part in _PARTS if not getattr(settings, part)]
    if settings.metrics_path is None:
        off.append(f"{PREFIX}METRICS_PATH")
    parts = [f"PerfKit watches {name!r}: {_share(settings)} and each statement", _told(settings)]
    if off:
        parts.append(f"off: {', '.join(off)}")
    dashboard = settings.dashboard_path if settings.dashboard else None
    pages = [f"{_address(environ)}{path}" for path in (dashboard, settings.metrics_path) if path]
    if pages:
        parts.append(f"open {' or '.join(pages)}")
    return "; ".join(parts)


def _share(settings: Settings) -> str:
    if settings.sample_rate == 1:
        return "each request"
    return f"{settings.sample_rate * 100:g}% of the requests (PERFKIT_SAMPLE_RATE)"


def _told(settings: Settings) -> str:
    if settings.on_finding == "log":
        if not settings.log_interval:
            return "findings are logged each time"
        return f"findings are logged, each place at most once in {settings.log_interval:g} s"
    if callable(settings.on_finding):
        return "findings go to the function in PERFKIT_ON_FINDING"
    return f'PERFKIT_ON_FINDING is "{settings.on_finding}"'


def _address(environ: Mapping[str, Any]) -> str:
    """Return where the server says that it listens; what the client says is not asked."""
    host, port = environ.get("SERVER_NAME", "localhost"), environ.get("SERVER_PORT", "")
    mount = environ.get("SCRIPT_NAME", "")
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host}:{port}{mount}"
