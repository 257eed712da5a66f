"""Allows findings that are known and wanted: for a block, or for what a view does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from inspect import iscoroutinefunction
from sys import _getframe
from types import TracebackType
from typing import Any, TypeVar

from flask_perfkit.faults import log_once
from flask_perfkit.given import check_decorated
from flask_perfkit.recording.allowances import Allowance, outside
from flask_perfkit.recording.findings import check_kind
from flask_perfkit.recording.recorder import current

_F = TypeVar("_F", bound=Callable[..., Any])

_PACKAGE = __name__.partition(".")[0]


def allow(kind: str, subject: str = "*", *, reason: str = "") -> Allow:
    """Allow findings of a kind about a subject.

    ::

        @app.get("/report")
        @allow("n_plus_one", "User.documents", reason="ten users at most")
        def report(): ...

        with allow("n_plus_one_write", "Document", reason="each commit is a checkpoint"):
            import_documents()

    A ``with`` block allows what happens inside it. A decorated function (a view, coroutine,
    generator or not) allows from its call to the end of the request, command or block in which
    it is called, the streamed body included. What is allowed is not logged, raised or counted
    as a finding; :attr:`Profile.allowed <flask_perfkit.Profile.allowed>` has it. When nothing
    is left to allow, a warning is logged once.

    :param kind: the kind of finding.
    :param subject: what it is about, or a pattern such as ``"User.*"``; all unless given.
    :param reason: why it is right here, for those who read the code and the warning.
    :raises TypeError: one of them is no text.
    :raises ValueError: there is no such kind.
    """
    for name, text in (("kind", kind), ("subject", subject), ("reason", reason)):
        if not isinstance(text, str):
            raise TypeError(
                f"{name} is {text!r:.100}; allowed is text: "
                'allow("n_plus_one", "User.documents", reason="ten users at most")'
            )
    check_kind(kind)
    return Allow(Allowance(kind, subject, reason, *_place()))


class Allow:
    """What :func:`allow` returns: a context manager and a decorator, usable again and again."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance

    def __enter__(self) -> None:
        if current() is None:
            outside.set((*outside.get(), self.allowance))
        else:
            self._begin()

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recorder = current()
        if recorder is not None:
            recorder.end_allowing(self.allowance)
        else:
            outside.set(_without(self.allowance, outside.get()))

    def __call__(self, function: _F) -> _F:
        """Decorate a function, so that a call of it allows for the rest of the request.

        :raises TypeError: it is no function.
        """
        check_decorated(function, f"allow({self.allowance.kind!r})")
        wrapper: Callable[..., Any]
        if iscoroutinefunction(function):

            @wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                self._begin()
                return await function(*args, **kwargs)
        else:

            @wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                self._begin()
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def _begin(self) -> None:
        try:
            recorder = current()
            if recorder is not None:
                recorder.begin_allowing(self.allowance)
        except Exception:
            log_once("allow")


def _without(allowance: Allowance, allowances: tuple[Allowance, ...]) -> tuple[Allowance, ...]:
    left = list(allowances)
    with suppress(ValueError):
        left.remove(allowance)
    return tuple(left)


def _place() -> tuple[str, int]:
    """Return the line outside of this package that is calling."""
    frame = _getframe(2)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == _PACKAGE
