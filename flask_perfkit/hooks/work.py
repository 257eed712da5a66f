"""Records one piece of work that is no request, and reports it when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from flask_perfkit.detectors.analysis import analyse
from flask_perfkit.errors import FindingError
from flask_perfkit.faults import log_once
from flask_perfkit.given import check_decorated
from flask_perfkit.hooks.attributes import are_watched
from flask_perfkit.recording.recorder import Recorder, enter, leave
from flask_perfkit.sinks import deliver

if TYPE_CHECKING:
    from flask_perfkit.state import State

P = ParamSpec("P")
R = TypeVar("R")

_SECONDS = 1e-9


@contextmanager
def recorded(state: State, name: str, method: str) -> Iterator[None]:
    """Record a block as a piece of work.

    :param name: what its profile calls it, as the endpoint.
    :param method: what kind of work it is: ``"CLI"`` or ``"JOB"``.
    :raises FindingError: the application wants findings to be raised.
    """
    recorder = Recorder()
    recorder.stands_alone = True
    recorder.touched = {} if are_watched() else None
    token = enter(recorder)
    try:
        yield
    except BaseException as error:
        leave(token)
        with suppress(FindingError):  # its own error is what is raised
            report(recorder, state, name, method, failed=_is_failure(error))
        raise
    leave(token)
    report(recorder, state, name, method)


def _is_failure(error: BaseException) -> bool:
    """Tell whether an error ends a piece of work that is not done: leaving a command is none."""
    return isinstance(error, Exception) and getattr(error, "exit_code", 1) != 0


def report(
    recorder: Recorder,
    state: State,
    name: str,
    method: str,
    *,
    failed: bool = False,
    sample_rate: float = 1.0,
) -> None:
    """Close the recorder of a piece of work, and tell the sinks what it did.

    :param failed: it ended with an error.
    :param sample_rate: the share of its like that is watched.
    :raises FindingError: the application wants findings to be raised.
    """
    duration = (perf_counter_ns() - recorder.started) * _SECONDS
    try:
        recorder.close()
        profile = analyse(
            recorder,
            state.settings,
            duration=duration,
            endpoint=name,
            method=method,
            started_at=datetime.now(UTC) - timedelta(seconds=duration),
            failed=failed,
            sample_rate=sample_rate,
        )
        if recorder.parent is not None:
            recorder.parent.report((*profile.findings, *profile.allowed))
        deliver(profile, state.sinks)
    except FindingError:
        raise
    except Exception:
        log_once(f"reporting {name}")


class Watch:
    """A piece of work with a name of its own: a ``with`` block, or a decorated function.

    :param state: finds the state of the application that it belongs to when it begins.
    """

    def __init__(self, state: Callable[[], State], name: str) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(
                f'watch() got {name!r}; allowed is a name: with perfkit.watch("nightly export"):'
            )
        self._state = state
        self._name = name
        self._block: AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        if self._block is not None:
            raise RuntimeError(f"watch({self._name!r}) runs already: make a new one for each block")
        state = self._state()
        state.look_again()
        if state.settings.enabled and not state.settings.excludes(self._name):
            self._block = recorded(state, self._name, "JOB")
            self._block.__enter__()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        block, self._block = self._block, None
        if block is not None:
            block.__exit__(error_type, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Watch each call of a function.

        :raises TypeError: it is no function, or a generator, whose body runs after the call.
        """
        check_decorated(function, f"perfkit.watch({self._name!r})")
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                f"watch() got the generator {function.__qualname__}; its body runs after the call: "
                f"write with perfkit.watch({self._name!r}): inside it"
            )

        @wraps(function)
        def watched(*args: P.args, **kwargs: P.kwargs) -> R:
            with Watch(self._state, self._name):
                return function(*args, **kwargs)

        @wraps(function)
        async def watched_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            with Watch(self._state, self._name):
                return await function(*args, **kwargs)  # type: ignore[misc]

        return watched_coroutine if iscoroutinefunction(function) else watched  # type: ignore[return-value]
