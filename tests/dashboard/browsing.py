"""The example application, served to a real browser, with a while of traffic behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from time import time
from typing import NamedTuple
from unittest.mock import patch

from flask import Flask
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
        for _ in range(chance.randint(0, 2 * rounds) if minute > 1 else rounds):
            client.get(f"/documents?page={chance.randint(1, 3)}")
            client.get(f"/documents/{chance.randint(1, 60)}")
            client.get(f"/users/{chance.randint(1, 20)}/documents")
            client.get("/analytics")
        for path in ("/before/analytics", "/before/documents", "/before/sleep", "/documents/0"):
            if minute == 1 or chance.random() < 0.4:
                client.get(path)
        if minute % 10 == 1:
            with app.app_context(), PerfKit().watch("nightly export"):
                client.get("/documents")
        with patch("flask_perfkit.store.writer.time", lambda: time() - 60 * (minute - 1)):  # noqa: B023
            writer.flush()


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
