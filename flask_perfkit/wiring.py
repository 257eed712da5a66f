"""Connects the parts of an application as its settings say.

That is done when PerfKit meets the application, and once more at the first request if
``app.config`` has changed until then: debug, for one, is often set last of all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

from flask import request_started

from flask_perfkit.config import Settings
from flask_perfkit.errors import ExtraMissing, PerfKitError
from flask_perfkit.faults import log_once
from flask_perfkit.hooks.attributes import watch_attributes
from flask_perfkit.hooks.blocking import watch_blocking_calls
from flask_perfkit.hooks.commands import watch_commands
from flask_perfkit.hooks.jobs import watch_jobs
from flask_perfkit.hooks.redis import watch_redis
from flask_perfkit.hooks.requests import FirstStep, RequestRecorder, watch_requests
from flask_perfkit.hooks.sqlalchemy import watch_statements
from flask_perfkit.hooks.templates import watch_templates
from flask_perfkit.pages import DASHBOARD, METRICS, withdraw
from flask_perfkit.recording.callsite import claim
from flask_perfkit.sinks import Sink
from flask_perfkit.sinks.call import call_with_findings
from flask_perfkit.sinks.changes import LateChanges
from flask_perfkit.sinks.hearing import make_heard
from flask_perfkit.sinks.log import FindingLog, log_unmatched, say
from flask_perfkit.sinks.signal import send_signal
from flask_perfkit.sinks.start import start_line
from flask_perfkit.sinks.strict import raise_findings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask

    from flask_perfkit.advice.advice import Advice
    from flask_perfkit.audit.patches.patch import Patch
    from flask_perfkit.recording.findings import Finding
    from flask_perfkit.state import State
    from flask_perfkit.store.writer import Writer


def wire(app: Flask, state: State) -> None:
    """Watch an application from now on."""
    _open_shared_cache(state)
    if not state.settings.enabled:
        request_started.connect(_say_stays_off, app)
        return
    claim(app.import_name, app.root_path)
    watch_statements()
    wiring = _Wiring(app, state)
    without = app.wsgi_app
    state.edge = watch_requests(app, state, wiring.begin)
    try:
        wiring.connect()
    except PerfKitError:
        app.wsgi_app = without  # type: ignore[method-assign]
        raise
    state.look_again = wiring.look_again
    watch_commands(app, state)
    watch_jobs()


def _open_shared_cache(state: State) -> None:
    """Follow what this process writes: entries of other processes depend on it."""
    if state.settings.redis_url is not None:
        state.open_cache()


def _say_stays_off(app: Flask, **_: Any) -> None:
    """Say at the first request of an application that is left alone, if it was meant not to be."""
    request_started.disconnect(_say_stays_off, app)
    if app.config.get("PERFKIT_ENABLED"):
        say(
            logging.WARNING,
            f"PERFKIT_ENABLED was False when PerfKit was set up for {app.name!r}, which is not "
            "watched: turning it on later has no effect",
        )


class _Wiring:
    """The connections of one application, made again as long as no request has come."""

    def __init__(self, app: Flask, state: State) -> None:
        self._app = app
        self._state = state
        self._settings = state.settings
        self._first_steps: list[FirstStep] = []
        self._recorder = RequestRecorder
        self._writer: Writer | None = None
        self._lock = RLock()
        self._late_changes = LateChanges(app)

    def connect(self) -> None:
        """Connect what the settings turn on; what an earlier call connected is taken away."""
        app, state, settings = self._app, self._state, self._settings
        state.settings = settings
        state.sinks = (*_sinks(app, settings, self._open_log), self._late_changes)
        state.early_sinks = tuple
        self._first_steps, self._recorder = [], RequestRecorder
        if state.edge is not None:
            state.edge.visitors.clear()
        state.put_badge = None
        self._close_store()
        _open_shared_cache(state)
        if settings.auto_batch:
            from flask_perfkit.batching import batch_lazy_loads

            batch_lazy_loads()
        _watch_calls(app, state)
        if settings.metrics_path is not None:
            self._measure(settings.metrics_path)
        if settings.dashboard:
            self._show_dashboard()
        if settings.traces:
            _trace(app, state)
        if settings.sql_comments:
            from flask_perfkit.hooks.comments import comment_statements

            comment_statements()
        if state.monitor is not None:
            count_for_alerts(state)
        if settings.storage_url is not None:
            self._store()

    def look_again(self) -> None:
        """Take in what ``app.config`` and debug have become, as long as no request has come.

        A value that is refused now is logged: what was in force stays so. A worker may never have
        a request: what its tasks imported since is watched from here.
        """
        watch_redis()
        with self._lock:
            if self._late_changes.is_late:
                return
            try:
                settings = Settings.from_app(self._app, self._state.written)
                if settings != self._settings:
                    self._change(settings)
            except PerfKitError as error:
                self._settings.write_back(self._app.config)
                say(logging.ERROR, f"{error} (set after PerfKit(app): it has no effect)")
            except Exception:
                log_once("reading the settings again")

    def begin(self, environ: WSGIEnvironment) -> type[RequestRecorder] | None:
        """Make all ready for the first request; return the recorder that requests get, if any."""
        with self._lock:
            self.look_again()
            self._late_changes.begin()
            app, settings = self._app, self._state.settings
            if not settings.enabled:
                return None
            _step(lambda: _watch_calls(app, self._state))
            for step in self._first_steps:
                _step(partial(step, environ))
            _step(lambda: self._speak(environ))
            if (app.debug or app.testing) and self._state.edge is not None:
                self._state.edge.invite(self._late_changes)
            return self._recorder

    def _change(self, settings: Settings) -> None:
        before, self._settings = self._settings, settings
        self._withdraw_pages()
        if not settings.enabled:
            self._state.settings, self._state.sinks = settings, ()
            self._close_store()
            return
        if _of_cache(before) != _of_cache(settings):
            self._state.close_cache()
        try:
            self.connect()
        except PerfKitError:
            self._settings = before
            self._withdraw_pages()
            self.connect()
            raise

    def _speak(self, environ: WSGIEnvironment) -> None:
        """Say what is watched and where to look; warn of what cannot be meant."""
        app = self._app
        self._open_log()
        say(logging.INFO, start_line(app.name, self._settings, environ))
        for name in self._settings.exclude:
            near = get_close_matches(name, app.view_functions, n=1)
            if near and not any(fnmatchcase(endpoint, name) for endpoint in app.view_functions):
                # What is like no endpoint may be the name of a job.
                hint = f"no endpoint has it: did you mean {near[0]!r}?"
                say(logging.WARNING, f"PERFKIT_EXCLUDE names {name!r}, {hint}")

    def _open_log(self) -> None:
        """See to it that what is logged from now on is heard."""
        # The findings of an audit are in its report.
        tells = self._settings.on_finding == "log" and not self._state.is_audited
        make_heard(in_debug=self._app.debug, tells_findings=tells)

    def _measure(self, path: str) -> None:
        """Count requests for Prometheus, and show the figures at a path."""
        from flask_perfkit.metrics.findings import count_findings
        from flask_perfkit.metrics.page.host import host_families
        from flask_perfkit.metrics.page.others import OtherFigures
        from flask_perfkit.metrics.page.page import Page, Source, add_page
        from flask_perfkit.metrics.requests import MeasuredRequest, note_traces
        from flask_perfkit.metrics.watch import watch_process

        app, state, settings = self._app, self._state, self._settings
        watch_process(settings.metrics_buckets)
        state.settings = replace(state.settings, exclude=(*state.settings.exclude, METRICS))
        state.sinks = (count_findings, *state.sinks)
        sources: list[Source] = [host_families, OtherFigures()]
        if settings.metrics_indexes:
            from flask_perfkit.metrics.page.indexes import IndexUseSource

            sources.append(IndexUseSource(app, state.db))
        first_step = add_page(app, path, Page(*sources), settings.metrics_auth)
        self._first_steps += [first_step, lambda _: note_traces(app)]
        self._recorder = MeasuredRequest

    def _store(self) -> None:
        """Keep totals and profiles for somebody to look at."""
        from flask_perfkit.hooks.storing import storing, storing_sink
        from flask_perfkit.store.opening import open_store

        app, state = self._app, self._state
        store = open_store(
            app,
            state.db,
            self._settings,
            lambda endpoint: state.settings.excludes(endpoint),  # what is told later too
            counts_all=self._recorder.counts_all,
        )
        state.store, self._writer = store, store.writer
        state.sinks = (storing_sink(state, store.writer), *state.sinks)
        self._recorder = storing(self._recorder, store.writer)

    def _close_store(self) -> None:
        """Have what was stored so far written; the settings make another store, if any."""
        if self._writer is not None:
            self._writer.stop()
        self._state.store = self._writer = None

    def _show_dashboard(self) -> None:
        """Show what the store holds, at a path of the application."""
        from flask_perfkit.dashboard.badge import put_badge
        from flask_perfkit.dashboard.desk import Desk, Tools
        from flask_perfkit.dashboard.mount import add_dashboard

        app, state, settings = self._app, self._state, self._settings
        if app.debug:
            watch_templates(app)
        exclude = (*state.settings.exclude, f"{DASHBOARD}.*")
        state.settings = replace(state.settings, exclude=exclude)
        if settings.dashboard_badge:
            state.put_badge = put_badge
        desk = Desk(app, state, Tools(_advise, _patch))
        state.sinks = (desk.keep, *state.sinks)
        self._first_steps.append(add_dashboard(app, desk))

    def _withdraw_pages(self) -> None:
        """Take our pages away, which a change of their settings makes anew if at all."""
        for page in (METRICS, DASHBOARD):
            withdraw(self._app, page)


def _advise(app: Flask) -> Advice:
    from flask_perfkit.audit.indexes import index_advice

    return index_advice(app)


def _patch(app: Flask, finding: Finding) -> Patch:
    from flask_perfkit.audit.patches.patch import patch

    return patch(app, finding)


def _step(step: Callable[[], object]) -> None:
    try:
        step()
    except Exception:
        log_once("the set-up at the first request")


def count_for_alerts(state: State) -> None:
    """Let the monitor of an application count its requests and findings."""
    if state.monitor is not None and state.edge is not None:
        from flask_perfkit.alerts.requests import Counting

        counting = Counting(state.monitor)
        state.sinks = (counting.count_findings, *state.sinks)
        state.edge.invite(counting.visit)


def _watch_calls(app: Flask, state: State) -> None:
    """Watch what the application has imported and set by now; again finds what is new."""
    watch_redis()
    watch_blocking_calls()
    state.notes_reads = app.debug or app.testing or state.is_audited
    if state.notes_reads:
        watch_attributes()


def _trace(app: Flask, state: State) -> None:
    try:
        from flask_perfkit.traces.findings import add_findings, early_sinks
        from flask_perfkit.traces.requests import Tracing
        from flask_perfkit.traces.statements import trace_statements
    except ModuleNotFoundError as error:
        raise ExtraMissing("PERFKIT_TRACES", "otel") from error
    state.sinks = (add_findings(app), *state.sinks)
    state.early_sinks = partial(early_sinks, app)
    if state.edge is not None:
        state.edge.invite(Tracing(app, tells_messages=state.settings.traces_messages).visit)
    trace_statements()


def _of_cache(settings: Settings) -> tuple[object, ...]:
    """Return what a cache is opened with."""
    return settings.redis_url, settings.cache_ttl, settings.cache_near


def _sinks(app: Flask, settings: Settings, open_log: Callable[[], object]) -> tuple[Sink, ...]:
    on_finding = settings.on_finding
    if on_finding == "log":
        return (FindingLog(settings.log_interval, open_log), log_unmatched, send_signal(app))
    if on_finding == "raise":
        return (log_unmatched, send_signal(app), raise_findings)
    if callable(on_finding):
        return (call_with_findings(on_finding), log_unmatched, send_signal(app))
    return (send_signal(app),)
