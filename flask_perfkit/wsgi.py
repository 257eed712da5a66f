"""The one edge: every request passes here, and its body is followed until it is over.

Flask's own hooks are not called for every request (an earlier one may answer), may run twice
(teardown) or before a streamed body is made. The edge sees all of it, routing errors and
teardown included, and costs less.

Who takes part in a request sees it in this order. Its recorder is opened; visitors come in, in
the order of their invitation; the application answers; when the body is over, the recorder is
closed and its findings told while the visitors are still in; the visitors leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flask import Flask

from flask_perfkit.errors import FindingError
from flask_perfkit.faults import log_once
from flask_perfkit.recording.callsite import stop_at
from flask_perfkit.recording.recorder import Recorder, current, enter, leave

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]
R = TypeVar("R")


class Visit(Protocol):
    """What a visitor makes of one request."""

    def enter(self) -> Any:
        """Set the context for what the application does next; return what undoes it."""

    def leave(self, token: Any) -> None:
        """Undo it."""

    def answered(self, status: int, headers: Headers) -> None:
        """Note what the server is told."""

    def end(self, error: BaseException | None) -> None:
        """Note that the request is over, and the error that it ended with, if it did."""


Visitor = Callable[["WSGIEnvironment"], Visit | None]
"""Takes part in requests: makes a visit of each, or none where it is not concerned."""


class Passage(Recorder):
    """The recorder of one request, with what passes the edge.

    ``told`` and ``headers`` are what the server was told; None and empty where only Flask can
    have said it. ``sent`` counts the bytes of the body that were sent; None where the body is a
    sequence.
    """

    stands_alone = True
    environ: WSGIEnvironment
    visits: tuple[Visit, ...] = ()
    told: int | None = None
    headers: Sequence[tuple[str, str]] = ()
    sent: int | None = None

    def is_let_go(self) -> bool:
        """Forget a request that is answered and worth no report.

        Tell whether nobody waits for the end of its body.
        """
        raise NotImplementedError

    def is_complete(self) -> bool:
        """Tell whether the application is done with a body once it is there."""
        raise NotImplementedError

    @property
    def promised(self) -> int | None:
        """How many bytes the body is going to have, where that was said."""
        lengths = (value for name, value in self.headers if name.lower() == "content-length")
        length = next(lengths, "")
        return int(length) if length.isdecimal() else None

    def finish(self, error: BaseException | None) -> None:
        """Close the recorder and tell who wants to know; only the first call counts.

        :param error: the error that the request ended with.
        :raises FindingError: the application wants findings to be raised.
        """
        raise NotImplementedError

    def answered(self, status: int, headers: Headers) -> None:
        """Note what the server is told, and have the visitors note it."""
        raise NotImplementedError

    def visited(self, function: Callable[..., R], *arguments: Any) -> R:
        """Call a function of the application with the visitors in."""
        visits = self.visits
        tokens = []
        for visit in visits:
            tokens.append(visit.enter())
        try:
            return function(*arguments)
        finally:
            for visit in reversed(visits):
                visit.leave(tokens.pop())

    def end(self, error: BaseException | None = None) -> None:
        """Finish the request, and have the visitors go."""
        if not self.visits:
            self.finish(error)
            return
        try:
            if not self.closed:
                self.visited(self.finish, error)
        finally:
            visits, self.visits = self.visits, ()
            for visit in reversed(visits):
                try:
                    visit.end(error)
                except Exception:
                    log_once("ending a request")


class Edge:
    """Takes the place of ``app.wsgi_app``, and has all that the one in its place has.

    :param begin: opens the passage of a request; None lets it through unseen.
    """

    _inner: WSGIApplication
    _within: WSGIApplication
    _begin: Callable[[WSGIEnvironment], Passage | None]
    visitors: list[Visitor]
    """Who takes part in requests beside the recorder."""

    def __init__(
        self, wsgi_app: WSGIApplication, begin: Callable[[WSGIEnvironment], Passage | None]
    ) -> None:
        # Who stands between Flask and the edge may answer by itself.
        is_flask = getattr(wsgi_app, "__func__", None) is Flask.wsgi_app
        visitors: list[Visitor] = []
        within = wsgi_app if is_flask else _noting(wsgi_app, visitors)
        vars(self).update(_inner=wsgi_app, _within=within, _begin=begin, visitors=visitors)
        look = {name: getattr(wsgi_app, name, None) for name in ("__doc__", "__module__")}
        vars(self).update(look, __wrapped__=wsgi_app)

    def invite(self, visitor: Visitor) -> None:
        """Have one more take part in each request from now on."""
        self.visitors.append(visitor)
        vars(self)["_within"] = _noting(self._inner, self.visitors)

    def begin_with(self, begin: Callable[[WSGIEnvironment], Passage | None]) -> None:
        """Open passages in another way from now on."""
        vars(self)["_begin"] = begin

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Let one request pass."""
        try:
            passage = self._begin(environ)
        except Exception:
            log_once("beginning to watch a request")
            passage = None
        if passage is None:
            return self._inner(environ, start_response)
        token = enter(passage)
        try:
            body = self._within(environ, start_response)
        except BaseException as error:
            leave(token)
            passage.end(error)
            raise
        leave(token)
        try:
            if passage.is_let_go():
                return body
            return _follow(body, passage)
        except FindingError:
            raise
        except Exception:
            log_once("watching a response")
            return body

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(vars(self)["_inner"])

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_inner"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._inner, name)

    def __dir__(self) -> list[str]:
        return dir(self._inner)

    def __repr__(self) -> str:
        return f"<the PerfKit edge around {self._inner!r}>"


def _noting(wsgi_app: WSGIApplication, visitors: list[Visitor]) -> WSGIApplication:
    """Return an application that has the visitors in and notes what it answers."""

    def noting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        passage: Any = current()  # the edge has just opened it

        def note(status: str, headers: Headers, *exc_info: Any) -> Any:
            try:
                passage.answered(status_code(status), headers)
            except Exception:
                log_once("noting a response")
            return start_response(status, headers, *exc_info)

        for visitor in visitors:
            try:
                visit = visitor(environ)
            except Exception:
                log_once("beginning to take part in a request")
            else:
                if visit is not None:
                    passage.visits = (*passage.visits, visit)
        body: Iterable[bytes] = passage.visited(wsgi_app, environ, note)
        return body

    return noting


def _follow(body: Iterable[bytes], passage: Passage) -> Iterable[bytes]:
    """Return the body to give to the server; the request ends when it has been sent."""
    is_closed = closes_bodies(passage.environ)
    if passage.is_complete() and not is_closed:
        passage.end()
    elif isinstance(body, list | tuple) and not is_closed:
        passage.sent = sum(map(len, body))
        passage.end()
    elif _goes_to_kernel(body, passage.environ):
        passage.sent = passage.promised or 0
        passage.end()
    elif passage.closed:
        return _Body(body, passage)
    else:
        return _StreamedBody(body, passage, None if is_closed else passage.promised)
    return body


class _Body:
    """A response's body that is there as a whole: only its end is waited for."""

    def __init__(self, body: Iterable[bytes], passage: Passage) -> None:
        self._body = body
        self._passage = passage
        self._close_body = getattr(body, "close", bool)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Close the application's own body; the request is over then at the latest."""
        passage = self._passage
        try:
            passage.visited(self._close_body)
        finally:
            passage.end()


class _StreamedBody(_Body):
    """A body that records while it is made.

    :param promised: bytes after which it is over, even if nobody asks for more or closes it.
    """

    def __init__(self, body: Iterable[bytes], passage: Passage, promised: int | None) -> None:
        super().__init__(body, passage)
        self._next = iter(body).__next__
        self._promised = promised
        self._sent = passage.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        passage = self._passage
        token = enter(passage)
        try:
            chunk = passage.visited(self._next) if passage.visits else self._next()
        except StopIteration:
            leave(token)
            if not closes_bodies(passage.environ):
                passage.end()
            raise
        except BaseException as error:
            leave(token)
            passage.end(error)
            raise
        leave(token)
        self._sent += len(chunk)
        passage.sent = self._sent
        if self._promised is not None and self._sent >= self._promised:
            passage.end()
        return chunk

    def close(self) -> None:
        """Close the application's own body; the request is over then at the latest."""
        passage = self._passage
        token = enter(passage)
        try:
            passage.visited(self._close_body)
        finally:
            leave(token)
            passage.end()


PASSED = tuple(
    function.__code__
    for function in (Edge.__call__, _Body.close, _StreamedBody.__next__, _StreamedBody.close)
)
"""What is above all that is done for a request in its own thread."""

for _code in PASSED:
    stop_at(_code)


def closes_bodies(environ: WSGIEnvironment) -> bool:
    """Tell whether a real server asks: it names itself and closes bodies; a test client may not."""
    return "SERVER_SOFTWARE" in environ


def _goes_to_kernel(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Tell whether the server may hand a body to the kernel, as long as it is left as it is."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def status_code(status: str) -> int:
    """Return the number that a status line such as ``200 OK`` begins with; 0 if there is none."""
    code, _, _ = status.partition(" ")
    return int(code) if code.isdecimal() else 0
