"""Watches work outside of requests: an application context that no request opened.

That is the task of a queue, the job of a scheduler, the event of a socket, a thread, a script.
Flask pushes a context for each request too, so that what is done here for all is one look at who
pushes it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from functools import partial, wraps
from random import random
from sys import _getframe
from threading import get_ident
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import flask.app
import flask.ctx
from flask import Flask
from flask.ctx import AppContext
from flask.globals import _cv_app

from flask_perfkit.errors import FindingError
from flask_perfkit.faults import log_once
from flask_perfkit.hooks.attributes import are_watched
from flask_perfkit.hooks.work import report
from flask_perfkit.recording.recorder import Recorder, current, enter
from flask_perfkit.recording.work import is_running, is_surroundings, name_of, name_of_work
from flask_perfkit.wsgi import PASSED, Passage

if TYPE_CHECKING:
    from flask_perfkit.recording.callsite import Site
    from flask_perfkit.recording.causes import Record
    from flask_perfkit.state import State

_push = AppContext.push
_REQUESTS = Flask.wsgi_app.__code__
"""What pushes the contexts of requests."""

_ABOVE = 2 if "RequestContext" in vars(flask.ctx) else 1
"""How far above it is: up to Flask 3.1 a context of the request stands between."""

_PASSING_ON = (flask.ctx.__file__, flask.app.__file__, contextlib.__file__)
"""Files whose functions push a context for those who call them."""

_open: WeakValueDictionary[int, Job] = WeakValueDictionary()


class Job(Recorder):
    """The recorder of an application context that no request opened.

    It gets its name when something is first asked for: then all that called it is there. A
    context in which nothing was asked for is not told of, nor one that requests passed in: it
    is their surroundings, as tests make them.
    """

    stands_alone = True

    def __init__(self, state: State, opener: CodeType | None) -> None:
        super().__init__()
        self.state = state
        self.opener = opener
        self.name: str | None = None
        self.asked = False
        self.has_requests = False
        self.process = os.getpid()
        self.touched = {} if are_watched() else None

    def append(self, record: Record) -> None:
        """Take the record of a statement."""
        if self.name is None:
            self._take_name()
        super().append(record)

    def note(self, kind: str, name: str, key: int, started: int, ended: int, site: Site) -> None:
        """Count a call that is no statement."""
        if self.name is None:
            self._take_name()
        super().note(kind, name, key, started, ended, site)

    def absorb(self, inner: Recorder) -> None:
        """Take what a recorder saw that was open inside this one."""
        if isinstance(inner, Passage):
            self.has_requests = True
        elif self.name is None and not inner.stands_alone:
            self._take_name()
        super().absorb(inner)

    def _take_name(self) -> None:
        self.asked = True
        try:
            self.name = name_of_work(_getframe(2), self.opener)
        except Exception:
            log_once("naming a piece of work")

    def finish(self, *, failed: bool) -> None:
        """Report what was done, if anything was; only the first call counts.

        A thread that ends before the request that it was started in, and was given its context,
        is a part of that request.

        :raises FindingError: the application wants findings to be raised.
        """
        if self.closed:
            return
        around, name = self.parent, self.name or (name_of(self.opener) if self.opener else "job")
        if around is not None and not around.closed and around.opened_in != self.opened_in:
            self.stands_alone = False
            self.close()
        elif not self.asked:
            self.closed = True
        elif self.has_requests or self.state.settings.excludes(name):
            self.discard()
        else:
            rate = self.state.settings.sample_rate
            report(self, self.state, name, "JOB", failed=failed, sample_rate=rate)


def watch_jobs() -> None:
    """Record each application context that opens outside of a request; harmless again."""
    if AppContext.push is _push:
        AppContext.push = _watched_push  # type: ignore[assignment, method-assign]
        atexit.register(_finish_all)


@wraps(_push)
def _watched_push(context: AppContext) -> None:
    try:
        if _getframe(_ABOVE).f_code is _REQUESTS:
            return _push(context)  # returned, which each request pays less for than for nothing
    except ValueError:  # nothing is above a script
        pass
    _begin(context, current())
    return _push(context)


def _begin(context: AppContext, around: Recorder | None) -> None:
    """Open the recorder of a context that is being pushed, if it is work of its own."""
    try:
        state: State | None = context.app.extensions.get("perfkit")
        if state is None:
            return
        state.look_again()
        if not state.settings.enabled or random() >= state.settings.sample_rate:
            return
        frame = _pusher(_getframe(2))
        if _is_part_of(around, frame) or is_surroundings(frame):
            return
        job = Job(state, frame.f_code if frame is not None else None)
        enter(job)
        _open[id(job)] = job
        context.pop = partial(_pop, context, job)  # type: ignore[method-assign]
    except Exception:
        log_once("beginning to watch a piece of work")


def _pusher(frame: FrameType | None) -> FrameType | None:
    """Return the frame that asked for a context, above those of the framework."""
    while frame is not None and frame.f_code.co_filename in _PASSING_ON:
        frame = frame.f_back
    return frame


def _is_part_of(around: Recorder | None, frame: FrameType | None) -> bool:
    """Tell whether a context belongs to what is recorded already.

    That is so in the thread or greenlet of the request, command or block that it is, also of a
    request that is left out. Whoever was given the context of another may outlive that one.
    Where a function opened a context and returned, as a hook before each task does, what opens
    one inside does so for itself.
    """
    if is_running(PASSED, frame):
        return True
    if around is None or around.closed or around.opened_in != get_ident():
        return False
    if not isinstance(around, Job):
        return True
    return around.opener is None or is_running((around.opener,), frame)


def _pop(context: AppContext, job: Job, *error: Any, **named: Any) -> None:
    """Pop a context, and report what was done in it once it is gone."""
    failed = True
    try:
        type(context).pop(context, *error, **named)
        failed = any((*error, *named.values(), sys.exc_info()[1]))
    finally:
        if _cv_app.get(None) is not context:  # it may be pushed twice
            vars(context).pop("pop", None)
            _end(job, failed=failed)


def _end(job: Job, *, failed: bool) -> None:
    if current() is job:
        enter(job.parent)
    try:
        job.finish(failed=failed)
    except FindingError:
        if not failed:
            raise
    except Exception:
        log_once("ending a piece of work")


def _finish_all() -> None:
    """Report the contexts that a script never popped; a forked child leaves its parent's alone."""
    for job in list(_open.values()):
        if job.process == os.getpid():
            with contextlib.suppress(FindingError):  # nobody is left to raise it to
                _end(job, failed=False)
