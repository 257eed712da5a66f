"""Watches for calls that block while an event loop runs in the same thread."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from asyncio import _get_running_loop
from collections.abc import Callable
from sys import _getframe
from time import perf_counter_ns
from types import ModuleType
from typing import Any

from flask_perfkit.faults import log_once
from flask_perfkit.recording.callsite import is_application, walk
from flask_perfkit.recording.recorder import current
from flask_perfkit.standin import stand_in

_sleep = time.sleep
_ours: list[Callable[..., Any]] = []


class _Thread(threading.local):
    """Whether a watched call blocks this thread now: what it calls itself is part of it."""

    is_blocked = False


_thread = _Thread()


def watch_blocking_calls() -> None:
    """Watch ``time.sleep``, connecting sockets and waiting for processes; harmless again.

    Again finds what somebody has put in their place since, as gevent does when a server patches
    late: it lets other greenlets run, and blocks the event loop all the same.
    """
    _watch(time, "sleep", "time.sleep")
    _watch(socket.socket, "connect", "socket.connect", blocks=_waits)
    _watch(subprocess.Popen, "communicate", "subprocess")
    _replace_copies(time.sleep)


def _watch(
    owner: Any, attribute: str, name: str, blocks: Callable[..., bool] = lambda *_: True
) -> None:
    call = getattr(owner, attribute)
    if not any(call is each for each in _ours):  # what stands in for a call equals it
        noting = _noting(call, name, blocks=blocks)
        _ours.append(noting)
        setattr(owner, attribute, noting)


def _replace_copies(replacement: Callable[..., Any]) -> None:
    """Give the application's modules that said ``from time import sleep`` the same function."""
    for module in list(sys.modules.values()):
        names = vars(module) if isinstance(module, ModuleType) else {}
        filename = names.get("__file__")  # some modules import when an attribute is asked for
        if not isinstance(filename, str) or not is_application(filename):
            continue
        for name, value in list(names.items()):
            if value is _sleep:
                setattr(module, name, replacement)


def _waits(connection: socket.socket, *_: Any) -> bool:
    return connection.gettimeout() != 0


def _noting(call: Callable[..., Any], name: str, *, blocks: Callable[..., bool]) -> Any:
    def noting(*args: Any, **kwargs: Any) -> Any:
        recorder = current()
        if recorder is None or _get_running_loop() is None or not blocks(*args):
            return call(*args, **kwargs)
        if _thread.is_blocked:
            return call(*args, **kwargs)
        started = perf_counter_ns()
        _thread.is_blocked = True
        try:
            return call(*args, **kwargs)
        finally:
            _thread.is_blocked = False
            try:
                site = walk(None, _getframe(), None)
                recorder.note("blocking", name, 0, started, perf_counter_ns(), site)
            except Exception:
                log_once("watching a blocking call")

    return stand_in(call, noting)
