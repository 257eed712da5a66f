"""Records the statements of requests, each with a few real sets of parameters, in memory only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from sys import _getframe
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import Flask, current_app, has_app_context, has_request_context, request
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import TextClause

from flask_perfkit.errors import SettingsError, SetupError
from flask_perfkit.faults import log_once
from flask_perfkit.hooks.execution import Listener, ListenerOrder, listen, pass_on, stop_listening
from flask_perfkit.recording.callsite import walk

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

MOST_STATEMENTS = 5_000
_MOST_SAMPLES = 3
_MOST_BYTES = 20_000
"""The longest text and set of parameters that are kept of a statement."""

VARIES: Any = object()
"""In the place of a parameter's value: it had more than one."""


class Sample(NamedTuple):
    """One execution: the text and the parameters as the driver got them, and the named values.

    ``parameters`` is None where the driver got the text alone.
    """

    sql: str
    parameters: Any
    values: Mapping[str, Any]
    seconds: float


@dataclass(eq=False)
class RecordedStatement:
    """One statement, however often it was executed.

    ``count`` is how often it comes in the time that the workload speaks of, ``rows`` how many it
    wrote in all, ``seconds`` the sum of its execute times. ``constants`` are the parameters that
    had one value only, which no request named in its address.
    """

    sql: str
    engine: Engine
    compiled: Any
    endpoint: str | None
    place: str
    """The application's line that asked, or the reason why the database itself does."""
    count: int = 0
    rows: int = 0
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list, repr=False)
    constants: dict[str, Any] = field(default_factory=dict, repr=False)
    is_guess: bool = False
    """Whether it is a recorded one, asked for other values."""
    parsed: Any = None
    """What was read of a text."""

    @property
    def is_text(self) -> bool:
        """Whether it was sent as text."""
        return self.compiled is None or isinstance(self.compiled.statement, TextClause)

    @property
    def tree(self) -> Any:
        """The statement as SQLAlchemy holds it, its entities resolved; None for unread text."""
        if self.is_text:
            return self.parsed
        state = getattr(self.compiled, "compile_state", None)
        resolved = getattr(state, "statement", None)
        return self.compiled.statement if resolved is None else resolved

    @property
    def writes(self) -> bool:
        """Whether it is an INSERT, UPDATE or DELETE of SQLAlchemy's."""
        return isinstance(self.tree, UpdateBase)

    def add(
        self, sample: Sample, times: int, rows: int, named: Collection[str] = frozenset()
    ) -> None:
        """Count one execution, and keep its parameters if they are the first, others or slower.

        :param named: values that a client gave: another gives others.
        """
        self.count += times
        self.rows += rows * times
        self.seconds += sample.seconds * times
        for name, value in sample.values.items():
            known = self.constants.setdefault(name, value)
            if known is VARIES:
                continue
            if type(known) is not type(value) or known != value or str(value) in named:
                self.constants[name] = VARIES
        given = (sample.sql, sample.parameters)
        if any(given == (kept.sql, kept.parameters) for kept in self.samples):
            return
        if len(self.samples) < _MOST_SAMPLES:
            self.samples.append(sample)
        elif sample.seconds > self.samples[-1].seconds:
            self.samples[-1] = sample


class Workload:
    """The statements of the requests that are made inside of its ``with`` block.

    Parameters stay in this object, in memory, and are gone with it: advice needs them to ask the
    planner about real values. Statements count that are executed in a context of the application,
    in requests or beside them.

    :param app: the application whose requests are recorded; it needs no other set-up.
    :raises TypeError: it is no application.
    """

    def __init__(self, app: Flask) -> None:
        if not isinstance(app, Flask):
            raise TypeError(f"app is {app!r:.100}; allowed is a Flask application: Workload(app)")
        self.app = app
        self._times = 1
        self._statements: dict[object, RecordedStatement] = {}
        self._lock = Lock()

    @property
    def statements(self) -> tuple[RecordedStatement, ...]:
        """What was recorded, most time first."""
        return tuple(sorted(self._statements.values(), key=lambda one: -one.seconds))

    def include(self, statements: Iterable[RecordedStatement]) -> None:
        """Add statements that were recorded elsewhere.

        :raises TypeError: it is something else.
        """
        if not isinstance(statements, Iterable):
            raise TypeError(f"statements is {statements!r:.100}; allowed are recorded statements")
        for one in statements:
            if not isinstance(one, RecordedStatement):
                raise TypeError(
                    f"a statement is {one!r:.100}; allowed are those of another workload: "
                    "include(other.statements)"
                )
            self._statements[database_of(one.engine), one.sql, one.place] = one

    def __enter__(self) -> Workload:
        if self in _open:
            raise SetupError("this workload records already: each statement would count twice")
        _open.append(self)
        listen(ListenerOrder.WORKLOAD, _LISTENERS)
        return self

    def __exit__(self, *exception: object) -> None:
        _open.remove(self)
        if not _open:
            stop_listening(ListenerOrder.WORKLOAD)

    def times(self, per_day: int) -> AbstractContextManager[None]:
        """Say how often a day the requests inside come: once, where nothing is said.

        :raises SettingsError: ``per_day`` is no whole number above zero.
        """
        if type(per_day) is not int or per_day < 1:
            raise SettingsError(
                f"Workload.times({per_day!r}): allowed is a whole number from 1 on, such as 200"
            )
        return self._taken_for(per_day)

    @contextmanager
    def _taken_for(self, per_day: int) -> Iterator[None]:
        before, self._times = self._times, per_day
        try:
            yield
        finally:
            self._times = before

    def record(self, context: Any, sql: str, parameters: Any, seconds: float, rows: int) -> None:
        """Add one execution; what is too long to keep is left out."""
        compiled = context.compiled
        values = _values_of(context)
        if len(sql) > _MOST_BYTES or _size(parameters) > _MOST_BYTES:
            return
        engine = context.root_connection.engine
        text = sql if compiled is None else compiled.string
        with self._lock:
            known = self._statements.get(key := (database_of(engine), text))
            if known is None:
                if len(self._statements) >= MOST_STATEMENTS:
                    return
                endpoint = request.endpoint if has_request_context() else None
                known = RecordedStatement(text, engine, compiled, endpoint, _place())
                self._statements[key] = known
            known.add(Sample(sql, parameters, values, seconds), self._times, rows, _named())


_open: list[Workload] = []


def database_of(engine: Engine) -> object:
    """Return what two engines of one database share; in memory each has a database of its own."""
    url = engine.url
    in_memory = url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")
    return engine if in_memory else url


def _values_of(context: Any) -> Mapping[str, Any]:
    """Return the parameters by name; None for those of ``executemany``, which can be millions."""
    sets: Sequence[Mapping[str, Any]] = getattr(context, "compiled_parameters", None) or ()
    return dict(sets[0]) if len(sets) == 1 else {}


def _size(parameters: Any) -> int:
    if isinstance(parameters, Mapping):
        return sum(map(_size, parameters.values()))
    if isinstance(parameters, list | tuple):
        return sum(map(_size, parameters))
    return len(parameters) if isinstance(parameters, str | bytes) else 8


def _named() -> frozenset[str]:
    """Return the values that the address of the current request names."""
    if not has_request_context():
        return frozenset()
    return frozenset(map(str, (request.view_args or {}).values())) | {*request.args.values()}


def _place() -> str:
    """Return the application's line that asked, as ``file:line``, or nothing."""
    asked = walk(None, _getframe(), None).asked
    return "" if asked is None else f"{asked.filename}:{asked.lineno}"


def _timed(method: str, cursor: Any, sql: str, parameters: Any, context: Any) -> bool | None:
    listener = _LISTENERS[method]
    given = (cursor, sql) if method == "do_execute_no_params" else (cursor, sql, parameters)
    workloads = [one for one in _open if has_app_context() and current_app == one.app]
    if not workloads or (context.invoked_statement is None and not _is_query(context, sql)):
        pass_on(listener, method, context, *given)
        return True
    started = perf_counter()
    pass_on(listener, method, context, *given)
    seconds = perf_counter() - started
    try:
        rows = max(cursor.rowcount, 0)
        if method == "do_executemany":
            rows, parameters = max(rows, len(parameters)), parameters[0]
        for workload in workloads:
            workload.record(context, sql, parameters, seconds, rows)
    except Exception:
        log_once("recording a workload")
    return True


def _is_query(context: Any, sql: str) -> bool:
    """Tell a query sent as text from a command of the connection, such as SAVEPOINT.

    A connection that begins no transactions is the dialect's, which asks what database it is.
    """
    if not context.root_connection._allow_autobegin:
        return False
    return sql.lstrip(" \n\t(").upper().startswith(("SELECT", "WITH", "UPDATE", "DELETE"))


def _on_execute(cursor: Any, sql: str, parameters: Any, context: Any) -> bool | None:
    return _timed("do_execute", cursor, sql, parameters, context)


def _on_executemany(cursor: Any, sql: str, parameters: Any, context: Any) -> bool | None:
    return _timed("do_executemany", cursor, sql, parameters, context)


def _on_execute_no_params(cursor: Any, sql: str, context: Any) -> bool | None:
    return _timed("do_execute_no_params", cursor, sql, None, context)


_LISTENERS: dict[str, Listener] = {
    "do_execute": _on_execute,
    "do_executemany": _on_executemany,
    "do_execute_no_params": _on_execute_no_params,
}
