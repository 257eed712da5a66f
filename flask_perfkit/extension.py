"""PerfKit: the object that an application is watched by, and what it offers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload
from weakref import WeakSet

from flask import Flask, current_app, has_app_context

from flask_perfkit.commands import perfkit as perfkit_commands
from flask_perfkit.config import Settings
from flask_perfkit.errors import SetupError
from flask_perfkit.hooks.work import Watch
from flask_perfkit.recording.allow import Allow, allow
from flask_perfkit.recording.findings import Finding
from flask_perfkit.state import State
from flask_perfkit.wiring import count_for_alerts, wire

if TYPE_CHECKING:
    from flask_perfkit.alerts import Alert, Condition, Rule
    from flask_perfkit.audit.patches.patch import Patch
    from flask_perfkit.audit.proof import Proof
    from flask_perfkit.audit.trial.asking import Ask
    from flask_perfkit.cache.cache import Cache
    from flask_perfkit.cache.decorator import CachedFunction, CacheOptions
    from flask_perfkit.cache.response import ResponseOptions
    from flask_perfkit.pagination.decorator import PageOptions, View
    from flask_perfkit.pagination.http.schemas import AnySchema

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
        elif db is not None:
            raise TypeError("PerfKit(db=...) has no application: give db to init_app(app, db)")

    def init_app(self, app: Flask, db: Any = None) -> None:
        """Watch an application from now on; reads all ``PERFKIT_*`` keys of ``app.config``.

        What changes in ``app.config``, and debug and testing, is looked at until the first request.

        :raises TypeError: what is given is no Flask application, or no database.
        :raises SettingsError: a key is unknown or has a value that is not allowed.
        :raises SetupError: the application is watched already.
        :raises ExtraMissing: a setting needs a package that is not installed.
        """
        if not isinstance(app, Flask):
            raise TypeError(
                f"PerfKit watches a Flask application, not {app!r:.100}: "
                "write PerfKit(app), or PerfKit(app, db)"
            )
        if isinstance(db, Flask):
            raise TypeError(f"db is the application {db.name!r}: write PerfKit(app, db)")
        if db is not None and "engine" not in dir(db):  # which may not be asked for here
            raise TypeError(f"db is {db!r:.100}; allowed is the Flask-SQLAlchemy object, or None")
        if "perfkit" in app.extensions:
            raise SetupError(
                f"PerfKit watches the application {app.name!r} already: call init_app once, "
                "either through PerfKit(app) or through perfkit.init_app(app)"
            )
        written: dict[str, Any] = {}
        settings = Settings.from_app(app, written)
        state = State(settings, db, written=written)
        wire(app, state)
        app.extensions["perfkit"] = state
        self._apps.add(app)
        if settings.enabled:
            app.cli.add_command(perfkit_commands)
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

        return _decorating("cached", partial(cached, _current_cache, **options), function)

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

        decorate = partial(cached_response, _current_cache, **options)
        return _decorating("cached_response", decorate, view)

    @staticmethod
    def prove(finding: Finding) -> Proof:
        """Try the fix of a finding of the current application on a GET that was recorded.

        See :func:`flask_perfkit.audit.proof.prove`.
        """
        from flask_perfkit.audit.proof import prove

        app = _demand_application("prove")
        if not isinstance(finding, Finding):
            raise TypeError(f"finding is {finding!r:.100}; allowed is a Finding of a profile")
        return prove(app, finding)

    @staticmethod
    def patch(finding: Finding, *, ask: Ask | None = None) -> Patch:
        """Write the fix of a finding of the current application into its source, and try it.

        No file is changed: see :func:`flask_perfkit.audit.patches.patch.patch`.

        :raises ExtraMissing: libcst is not installed.
        """
        from flask_perfkit.audit.patches.patch import patch

        app = _demand_application("patch")
        if not isinstance(finding, Finding):
            raise TypeError(f"finding is {finding!r:.100}; allowed is a Finding of a profile")
        if ask is not None and not callable(ask):
            raise TypeError(
                f"ask is {ask!r:.100}; allowed is a function that sends the request once, or None"
            )
        return patch(app, finding, ask=ask)

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
        :raises SetupError: when it begins, where it is not clear which application it is of.
        """
        return Watch(self._state_of_work, name)

    def _state_of_work(self) -> State:
        if has_app_context():
            state: State | None = current_app.extensions.get("perfkit")
            if state is not None:
                return state
        apps = list(self._apps)
        if len(apps) != 1:
            cure = (
                "write it inside of with app.app_context():" if apps else "call init_app(app) first"
            )
            raise SetupError(
                f"watch() is used outside of an application context, and this PerfKit watches "
                f"{len(apps)} applications: {cure}"
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


def _decorating(name: str, decorate: Callable[..., Any], function: Any) -> Any:
    """Decorate a function now, or the one that comes next.

    :raises TypeError: it is no function, such as an option that goes by its name.
    """
    if function is None:
        decorate()  # bad options are refused here, not at the function
        return partial(_decorating, name, decorate)
    if not callable(function) and not isinstance(function, staticmethod | classmethod):
        raise TypeError(
            f"{name} is given {function!r:.100}, which is no function; "
            f"options go by their names: @perfkit.{name}(ttl=60)"
        )
    return decorate(function)


def _demand_application(what: str) -> Flask:
    """Return the application that is active here.

    :raises SetupError: none is, or PerfKit does not watch it.
    """
    if not has_app_context():
        raise SetupError(
            f"perfkit.{what} belongs to an application, and none is active here: use it in a "
            "request or a command, or inside of `with app.app_context():`"
        )
    if "perfkit" not in current_app.extensions:
        raise SetupError(
            f"PerfKit does not watch the application {current_app.name!r}, so perfkit.{what} has "
            "nothing to work with: call perfkit.init_app(app) first"
        )
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def _current_cache() -> Cache:
    state: State = _demand_application("cache").extensions["perfkit"]
    return state.cache


def _alert(app: Flask, rule: Rule) -> None:
    from flask_perfkit.alerts.monitor import Monitor

    state: State = app.extensions["perfkit"]
    if state.monitor is None:
        state.monitor = Monitor(app.name)
        count_for_alerts(state)
    state.monitor.add(rule)
