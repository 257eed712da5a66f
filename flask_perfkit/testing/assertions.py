"""Blocks of test code that fail when they send too much or show a finding."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from flask import Flask, Response

from flask_perfkit.errors import BudgetExceeded, FindingError
from flask_perfkit.hooks.blocking import watch_blocking_calls
from flask_perfkit.hooks.redis import watch_redis
from flask_perfkit.measuring.block import Block
from flask_perfkit.recording.allow import Allow, allow
from flask_perfkit.recording.callsite import stop_at
from flask_perfkit.recording.findings import check_kind
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.recorder import Recorder, current
from flask_perfkit.recording.wording import queries
from flask_perfkit.sinks.log import log_unmatched
from flask_perfkit.standin import stand_in
from flask_perfkit.testing.budget import statements_of
from flask_perfkit.testing.complaints import listed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    Call = Callable[[Flask, WSGIEnvironment, StartResponse], Iterable[bytes]]
    Dispatch = Callable[..., Response]


class WatchedBlock(Block):
    """A block of test code; each request in it is judged by itself, with PerfKit or without."""

    def __enter__(self) -> Self:
        watch_redis()
        watch_blocking_calls()
        self.around = ExitStack()
        self.around.enter_context(_requests_apart())
        return super().__enter__()

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        with self.around:
            super().__exit__(error_type, error, traceback)
        log_unmatched(self.profile)
        if error is None:
            self.check(self.profile)

    def check(self, profile: Profile) -> None:
        """Look at a block that ended without an error of its own."""


@dataclass(frozen=True)
class Limit:
    """How many statements may be sent: at most, or exactly so many.

    :raises ValueError: not one of the two is given, or it is no whole number.
    """

    max: int | None = None
    exact: int | None = None

    def __post_init__(self) -> None:
        if (self.max is None) == (self.exact is None):
            raise ValueError("give either max=..., or exact=...")
        number = self.max if self.exact is None else self.exact
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ValueError(f"the limit is {number!r}; allowed is a whole number from 0 on")

    def complaint(self, profile: Profile) -> str:
        """Say how a block breaks the limit; nothing where it does not."""
        count = sum(statements_of(profile.causes).values())
        if self.exact is not None and count != self.exact:
            allowed = f"exactly {self.exact} expected"
        elif self.max is not None and count > self.max:
            allowed = f"at most {self.max} allowed"
        else:
            return ""
        return f"{queries(count)}, {allowed}{listed(profile.causes)}"


class AssertQueries(WatchedBlock):
    """The block of :meth:`Assertions.assert_queries`."""

    def __init__(self, limit: Limit) -> None:
        super().__init__()
        self._limit = limit

    def check(self, profile: Profile) -> None:
        """Raise if the limit is broken."""
        __tracebackhide__ = True
        complaint = self._limit.complaint(profile)
        if complaint:
            raise BudgetExceeded(complaint)


class AssertNoFindings(WatchedBlock):
    """The block of :meth:`Assertions.assert_no_findings`."""

    def __init__(self, kinds: Collection[str] | None) -> None:
        super().__init__()
        if isinstance(kinds, str) or not isinstance(kinds, Collection | None):
            raise TypeError(f'kinds is {kinds!r:.100}; allowed is a list, such as ["n_plus_one"]')
        for kind in kinds or ():
            check_kind(kind)
        self._kinds = kinds

    def check(self, profile: Profile) -> None:
        """Raise what was found."""
        __tracebackhide__ = True
        findings = tuple(
            finding
            for finding in profile.findings
            if self._kinds is None or finding.kind in self._kinds
        )
        if findings:
            raise FindingError(findings)


class Assertions:
    """What the pytest fixture ``perfkit`` offers; usable without pytest too."""

    def assert_queries(self, max: int | None = None, *, exact: int | None = None) -> AssertQueries:  # noqa: A002
        """Allow at most ``max`` statements in a ``with`` block, or ``exact`` many.

        Transactions' own statements (SAVEPOINT, ROLLBACK and the like) do not count. The block
        has ``queries``, ``duration`` and ``findings`` as a :class:`QueryCounter` has.

        :raises BudgetExceeded: when the block ends; it lists the statements with their lines.
        :raises ValueError: not one of the two is given, or it is no whole number.
        """
        return AssertQueries(Limit(max, exact))

    def assert_no_findings(self, kinds: Collection[str] | None = None) -> AssertNoFindings:
        """Allow no finding in a ``with`` block.

        :param kinds: the kinds that are not allowed; all unless given.
        :raises FindingError: when the block ends.
        :raises TypeError: it is no list.
        :raises ValueError: there is no such kind.
        """
        return AssertNoFindings(kinds)

    def allow(self, kind: str, subject: str = "*", *, reason: str = "") -> Allow:
        """Allow findings of a kind about a subject: :func:`flask_perfkit.recording.allow.allow`."""
        return allow(kind, subject, reason=reason)


@contextmanager
def _requests_apart() -> Iterator[None]:
    """Let each request of an application that PerfKit does not watch be judged by itself.

    Else a test that asks one view in a loop would look like a loop of statements. Some tests
    push a request context by themselves and let Flask dispatch it: that is a request as well.
    """
    call: Call = Flask.__call__
    dispatch: Dispatch = Flask.full_dispatch_request
    Flask.__call__ = stand_in(call, _apart(call))  # type: ignore[method-assign]
    apart = stand_in(dispatch, _dispatched_apart(dispatch))
    Flask.full_dispatch_request = apart  # type: ignore[method-assign]
    try:
        yield
    finally:
        Flask.__call__ = call  # type: ignore[assignment, method-assign]
        Flask.full_dispatch_request = dispatch  # type: ignore[method-assign]


def _apart(call: Call) -> Call:
    def call_apart(
        app: Flask, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        around = current()
        if around is None or _is_watched(app):
            return call(app, environ, start_response)
        with _alone(around):
            return call(app, environ, start_response)

    stop_at(call_apart.__code__)
    return call_apart


def _dispatched_apart(dispatch: Dispatch) -> Dispatch:
    def dispatch_apart(app: Flask, *context: Any) -> Response:
        around = current()
        if around is None or around.stands_alone:  # within a request that is apart already
            return dispatch(app, *context)
        with _alone(around):
            return dispatch(app, *context)

    stop_at(dispatch_apart.__code__)
    return dispatch_apart


@contextmanager
def _alone(around: Recorder) -> Iterator[None]:
    """Judge what happens inside by itself, and tell the recorder around what was found."""
    with Block() as block:
        block.recorder.stands_alone = True
        yield
    around.report((*block.profile.findings, *block.profile.allowed))


def _is_watched(app: Flask) -> bool:
    state = app.extensions.get("perfkit")
    return state is not None and state.settings.enabled
