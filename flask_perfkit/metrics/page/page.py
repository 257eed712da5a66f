"""The page that Prometheus scrapes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from multiprocessing import parent_process
from typing import TYPE_CHECKING

from flask import Response, abort, request

from flask_perfkit.faults import log_once
from flask_perfkit.metrics.store.figures import figures
from flask_perfkit.pages import METRICS, exempt, host_of_pages, passes, step_back

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask
    from prometheus_client.core import Metric

Source = Callable[[], "Iterator[Metric]"]
"""What else a page shows beside what was counted."""

_RETRY_AFTER = "1"


class Page:
    """The figures of all workers, in the format that the reader asks for.

    :param sources: what else it shows; one that fails is logged once and left out.
    """

    def __init__(self, *sources: Source) -> None:
        self._sources = sources

    def answer(self) -> Response:
        """Answer a scrape; 503 while another one holds the figures for too long."""
        from prometheus_client.exposition import choose_encoder

        try:
            shown = list(self.collect())
        except TimeoutError:
            log_once("reading the figures of the workers")
            headers = {"Retry-After": _RETRY_AFTER}
            return Response("The figures cannot be read now.\n", 503, headers, "text/plain")
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(_Collected(shown)), content_type=content_type)

    def collect(self) -> Iterator[Metric]:
        """Yield all families of the page.

        :raises TimeoutError: another scrape holds the workers' figures for too long.
        """
        from flask_perfkit.metrics.page.families import families
        from flask_perfkit.metrics.page.totals import gather

        names = set()
        for metric in families(gather(figures)):
            names.add(metric.name)
            yield metric
        for source in self._sources:
            for metric in _collected(source):
                if metric.name not in names:  # a name that is there twice spoils the whole page
                    names.add(metric.name)
                    yield metric


def _collected(source: Source) -> list[Metric]:
    try:
        return list(source())
    except Exception:
        log_once(f"the figures of {source.__module__}")
        return []


class _Collected:
    """What prometheus_client takes for a registry."""

    def __init__(self, shown: list[Metric]) -> None:
        self._shown = shown

    def collect(self) -> list[Metric]:
        return self._shown


def add_page(
    app: Flask, path: str, page: Page, auth: Callable[..., object] | None = None
) -> Callable[[WSGIEnvironment], None]:
    """Serve the page at a path; returns what remains to be done when the first request comes.

    :param auth: says whether the current request may see it; None lets everybody see it.
    """

    def metrics(**host: str) -> Response:
        """Show the figures of all workers to Prometheus."""
        if auth is not None and not passes(app, auth, "PERFKIT_METRICS_AUTH"):
            abort(404)
        return page.answer()

    app.add_url_rule(
        path,
        METRICS,
        metrics,
        provide_automatic_options=False,
        methods=["GET"],
        host=host_of_pages(app),
    )

    def at_first_request(environ: WSGIEnvironment) -> None:
        figures.expect_many(_has_other_workers(environ))
        step_back(app, METRICS, path, shown="the page of figures", setting="PERFKIT_METRICS_PATH")
        exempt(app, metrics)

    return at_first_request


def _has_other_workers(environ: WSGIEnvironment) -> bool:
    """Tell whether the server has several workers.

    asgiref says so whatever server it stands behind. That server's workers are children of
    :mod:`multiprocessing`, or gunicorn's.
    """
    if not environ.get("wsgi.multiprocess"):
        return False
    if "SERVER_SOFTWARE" in environ or "asgiref.wsgi" not in sys.modules:
        return True
    return parent_process() is not None or "gunicorn.arbiter" in sys.modules
