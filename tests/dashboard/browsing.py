"""The example application, served to a real browser, with a while of traffic behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from time import time
from typing import NamedTuple
from unittest.mock import patch

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from flask_perfkit import PerfKit

HOSTILE = '<script>window.hacked=1</script><img src=x onerror="window.hacked=2">'


class Site(NamedTuple):
    """Where an application is served, and pages of its dashboard that have something to show."""

    address: str
    pages: dict[str, str]


@contextmanager
def served(app: Flask) -> Iterator[Site]:
    """Serve an application to this machine, in a thread."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{server.server_port}", pages_of(app))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def use(app: Flask, *, minutes: int, rounds: int) -> None:
    """Ask an application for all sorts of things; the store is told that it took some minutes."""
    client, chance = app.test_client(), Random(7)
    writer = app.extensions["perfkit"].store.writer
    for minute in range(minutes, 0, -1):
        with patch("flask_perfkit.store.writer.time", partial(_earlier, 60.0 * (minute - 1))):
            _use_for_a_minute(app, client, chance, rounds, is_last=minute == 1)
            writer.flush()


def _earlier(seconds: float) -> float:
    return time() - seconds


def _use_for_a_minute(
    app: Flask, client: FlaskClient, chance: Random, rounds: int, *, is_last: bool
) -> None:
    for _ in range(rounds if is_last else chance.randint(rounds // 2, 2 * rounds)):
        client.get(f"/documents?page={chance.randint(1, 3)}")
        client.get(f"/documents/{chance.randint(1, 60)}")
        client.get(f"/users/{chance.randint(1, 20)}/documents")
        client.get("/analytics")
    for path in ("/before/analytics", "/before/documents", "/before/sleep", "/documents/0"):
        if is_last or chance.random() < 0.4:
            client.get(path)
    if is_last:
        with app.app_context(), PerfKit().watch("nightly export"):
            client.get("/documents")


def pages_of(app: Flask) -> dict[str, str]:
    """Return an address of each page by its name."""
    client = app.test_client()

    def first(page: str, *keys: str | int) -> str:
        found = client.get(f"/perfkit/{page}&format=json").json
        for key in keys:
            found = found[key]
        return str(found)

    slow = first("requests?q=before/analytics", "requests", 0, "id")
    statement = first("statements?q=documents", "statements", 0, "fingerprint")
    finding = first("findings?kind=n_plus_one", "findings", 0, "latest", "id")
    return {
        "overview": "/perfkit",
        "route": "/perfkit/route?kind=request&method=GET&name=/before/analytics",
        "requests": "/perfkit/requests",
        "request": f"/perfkit/requests/{slow}",
        "statements": "/perfkit/statements",
        "statement": f"/perfkit/statements/{statement}",
        "findings": "/perfkit/findings",
        "finding": f"/perfkit/findings/{finding}",
        "cache": "/perfkit/cache",
        "indexes": "/perfkit/indexes",
        "system": "/perfkit/system",
        "missing": "/perfkit/requests/gone",
    }
