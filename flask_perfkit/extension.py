"""PerfKit: reads the settings, builds an application's state, connects the parts.

The only module that knows them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload
from weakref import WeakSet

from flask import current_app, has_app_context

from flask_perfkit.batching import batch_lazy_loads
from flask_perfkit.commands import perfkit as perfkit_commands
from flask_perfkit.config import Settings
from flask_perfkit.errors import ExtraMissing, SetupError
from flask_perfkit.hooks.attributes import watch_attributes
from flask_perfkit.hooks.blocking import watch_blocking_calls
from flask_perfkit.hooks.commands import watch_commands
from flask_perfkit.hooks.jobs import watch_jobs
from flask_perfkit.hooks.redis import watch_redis
from flask_perfkit.hooks.requests import FirstStep, RequestRecorder, watch_requests
from flask_perfkit.hooks.sqlalchemy import watch_statements
from flask_perfkit.hooks.work import Watch
from flask_perfkit.recording.allow import Allow, allow
from flask_perfkit.recording.callsite import claim
from flask_perfkit.sinks import Sink
from flask_perfkit.sinks.call import call_with_findings
from flask_perfkit.sinks.log import log_findings, log_unmatched
from flask_perfkit.sinks.signal import send_signal
from flask_perfkit.sinks.strict import raise_findings
from flask_perfkit.state import State

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.alerts import Alert, Condition, Rule
    from flask_perfkit.audit.proof import Proof
    from flask_perfkit.cache.cache import Cache
    from flask_perfkit.cache.decorator import CachedFunction, CacheOptions
    from flask_perfkit.cache.response import ResponseOptions
    from flask_perfkit.pagination.decorator import PageOptions, View
    from flask_perfkit.pagination.http.schemas import AnySchema
    from flask_perfkit.recording.findings import Finding
    from flask_perfkit.wsgi import Edge

P = ParamSpec("P")
R = TypeVar("R")


class PerfKit:
    """Watch a Flask application and name what makes it slow.

    ::

        perfkit = PerfKit(app)

    or, with a factory, ``perfkit = PerfKit()`` and ``perfkit.init_app(app)``, before or after
    ``db.init_app(app)``. One object may serve several applications: what belongs to one lives
    in ``app.extensions["perfkit"]``.

    :param app: the application to watch; None waits for :meth:`init_app`.
    :param db: the Flask-SQLAlchemy object. Every SQLAlchemy engine is watched without it.
    """

    def __init__(self, app: Flask | None = None, db: Any = None) -> None:
        self._rules: list[Rule] = []
        self._apps: WeakSet[Flask] = WeakSet()
        if app is not None:
            self.init_app(app, db)

    def init_app(self, app: Flask, db: Any = None) -> None:
        """Watch an application from now on; reads all ``PERFKIT_*`` keys of ``app.config``.

        :raises SettingsError: a key is unknown or has a value that is not allowed.
        :raises SetupError: the application is watched already.
        :raises ExtraMissing: ``PERFKIT_REDIS_URL`` is set and redis-py is not installed.
        """
        if "perfkit" in app.extensions:
            raise SetupError(
                f"PerfKit watches the application {app.name!r} already: call init_app once, "
                "either through PerfKit(app) or through perfkit.init_app(app)"
            )
        settings = Settings.from_app(app)
        state = State(settings, db, _sinks(app, settings))
        if settings.redis_url is not None:
            state.open_cache()  # entries of other processes depend on what this one writes
        app.extensions["perfkit"] = state
        self._apps.add(app)
        if not settings.enabled:
            return
        claim(app.import_name, app.root_path)
        watch_statements()
        if settings.auto_batch:
            batch_lazy_loads()
        watch_commands(app, state)
        watch_jobs()
        app.cli.add_command(perfkit_commands)
        _watch_calls(app, state)
        at_first_request: list[FirstStep] = [lambda _: _watch_calls(app, state)]
        measured = None
        if settings.metrics_path is not None:
            measured, first_steps = _measure(app, state, settings.metrics_path)
            at_first_request += first_steps
        edge = state.edge = watch_requests(app, state, at_first_request, measured)
        if settings.traces:
            _trace(app, state, edge)
        if settings.sql_comments:
            from flask_perfkit.hooks.comments import comment_statements

            comment_statements()
        for rule in self._rules:
            _alert(app, rule)

    @staticmethod
    def paginated(schema: AnySchema, **options: Unpack[PageOptions]) -> Callable[[View], View]:
        """Answer with one page of the query that a view returns.

        Takes what :func:`flask_perfkit.pagination.paginated` takes.
        """
        from flask_perfkit.pagination.decorator import paginated

        return paginated(schema, **options)

    @property
    def cache(self) -> Cache:
        """The cache of the current application.

        :raises SetupError: PerfKit does not watch the current application.
        """
        return _current_cache()

    @overload
    def cached(self, function: Callable[P, R]) -> CachedFunction[P, R]: ...

    @overload
    def cached(
        self, **options: Unpack[CacheOptions]
    ) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...

    def cached(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Keep the results of a function in the cache of the application that calls it.

        Bare or with the options of :func:`flask_perfkit.cache.decorator.cached`; before or
        after ``init_app``.
        """
        from flask_perfkit.cache.decorator import cached

        return cached(_current_cache, function, **options)

    @overload
    def cached_response(self, view: Callable[P, Any]) -> Callable[P, Any]: ...

    @overload
    def cached_response(
        self, **options: Unpack[ResponseOptions]
    ) -> Callable[[Callable[P, Any]], Callable[P, Any]]: ...

    def cached_response(self, view: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Keep the answers of a view in the cache of the application that it belongs to.

        Bare or with the options of :func:`flask_perfkit.cache.response.cached_response`.
        """
        from flask_perfkit.cache.response import cached_response

        return cached_response(_current_cache, view, **options)

    @staticmethod
    def prove(finding: Finding) -> Proof:
        """Try the fix of a finding of the current application on a GET that was recorded.

        See :func:`flask_perfkit.audit.proof.prove`.
        """
        from flask_perfkit.audit.proof import prove

        return prove(current_app, finding)

    def watch(self, name: str) -> Watch:
        """Watch a piece of work that is no request, under a name of its own.

        ::

            with perfkit.watch("nightly export"):
                export()

            @perfkit.watch("nightly export")
            def export(): ...

        It is watched as a request is: its profile has the name as its endpoint, and the method
        ``JOB``. An application context outside of a request is watched without it.

        :raises TypeError: no name was given.
        :raises SetupError: when it begins, where it cannot be told which application it is of.
        """
        return Watch(self._state_of_work, name)

    def _state_of_work(self) -> State:
        if has_app_context():
            state: State | None = current_app.extensions.get("perfkit")
            if state is not None:
                return state
        apps = list(self._apps)
        if len(apps) != 1:
            raise SetupError(
                f"watch() is used outside of an application context, and this PerfKit watches "
                f"{len(apps)} applications: write it inside of with app.app_context():"
            )
        own: State = apps[0].extensions["perfkit"]
        return own

    def allow(self, kind: str, subject: str = "*", *, reason: str = "") -> Allow:
        """Allow findings of a kind about a subject: :func:`flask_perfkit.recording.allow.allow`."""
        return allow(kind, subject, reason=reason)

    def alert(
        self,
        *,
        when: Condition,
        then: Callable[[Alert], object],
        cooldown: float | None = None,
    ) -> None:
        """Call ``then`` with an Alert when a condition holds, in every application of this object.

        ::

            perfkit.alert(when=P95(over=0.5), then=page)

        May be called before :meth:`init_app`. ``then`` runs in a thread of its own; its errors
        are logged once.

        :param when: a condition of :mod:`flask_perfkit.alerts`.
        :param cooldown: seconds of silence after that; the condition's window unless set.
        :raises ValueError: one of them is not allowed.
        """
        from flask_perfkit.alerts import Rule

        rule = Rule.checked(when, then, cooldown)
        self._rules.append(rule)
        for app in list(self._apps):
            _alert(app, rule)


def _current_cache() -> Cache:
    state: State | None = current_app.extensions.get("perfkit")
    if state is None:
        raise SetupError(
            f"PerfKit does not watch the application {current_app.name!r}, so it has no cache: "
            "call perfkit.init_app(app) first"
        )
    return state.cache


def _alert(app: Flask, rule: Rule) -> None:
    from flask_perfkit.alerts.monitor import Monitor
    from flask_perfkit.alerts.requests import Counting

    state: State = app.extensions["perfkit"]
    if state.monitor is None and state.edge is not None:
        state.monitor = Monitor(app.name)
        counting = Counting(state.monitor)
        state.sinks = (counting.count_findings, *state.sinks)
        state.edge.invite(counting.visit)
    if state.monitor is not None:
        state.monitor.add(rule)


def _measure(app: Flask, state: State, path: str) -> tuple[type[RequestRecorder], list[FirstStep]]:
    """Count requests for Prometheus, and show the figures at a path.

    Returns the recorder of requests, and what remains to be done when the first one comes.
    """
    from flask_perfkit.metrics.findings import count_findings
    from flask_perfkit.metrics.page.host import host_families
    from flask_perfkit.metrics.page.others import OtherFigures
    from flask_perfkit.metrics.page.page import ENDPOINT, Page, Source, add_page
    from flask_perfkit.metrics.requests import MeasuredRequest, note_traces
    from flask_perfkit.metrics.watch import watch_process

    settings = state.settings
    watch_process(settings.metrics_buckets)
    state.settings = replace(settings, exclude=(*settings.exclude, ENDPOINT))
    state.sinks = (count_findings, *state.sinks)
    sources: list[Source] = [host_families, OtherFigures()]
    if settings.metrics_indexes:
        from flask_perfkit.metrics.page.indexes import IndexUse

        sources.append(IndexUse(app, state.db))
    first_step = add_page(app, path, Page(*sources), settings.metrics_auth)
    first_steps = [first_step, lambda _: note_traces(app)]
    return MeasuredRequest, first_steps


def _watch_calls(app: Flask, state: State) -> None:
    """Watch what the application has imported and set by now; again finds what is new."""
    watch_redis()
    watch_blocking_calls()
    if app.debug or app.testing:
        state.notes_reads = True
        watch_attributes()


def _trace(app: Flask, state: State, edge: Edge) -> None:
    try:
        from flask_perfkit.traces.findings import add_findings, early_sinks
        from flask_perfkit.traces.requests import Tracing
        from flask_perfkit.traces.statements import trace_statements
    except ModuleNotFoundError as error:
        raise ExtraMissing("PERFKIT_TRACES", "otel") from error
    state.sinks = (add_findings(app), *state.sinks)
    state.early_sinks = partial(early_sinks, app)
    edge.invite(Tracing(app, tells_messages=state.settings.traces_messages).visit)
    trace_statements()


def _sinks(app: Flask, settings: Settings) -> tuple[Sink, ...]:
    on_finding = settings.on_finding
    if on_finding == "log":
        return (log_findings, log_unmatched, send_signal(app))
    if on_finding == "raise":
        return (log_unmatched, send_signal(app), raise_findings)
    if callable(on_finding):
        return (call_with_findings(on_finding), log_unmatched, send_signal(app))
    return (send_signal(app),)
