"""Other processes, started in milliseconds: they are forked off one that has imported all."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import redis  # noqa: F401 - the processes need it
from cache_models import Document  # noqa: F401 - and this

from flask_perfkit.cache.stores import client  # noqa: F401 - and this

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["cache_processes", "consistency_worker"])


def start(function: Callable[..., Any], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Call a module's function in a new process, with one end of a pipe before the arguments."""
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(sys.path))  # for what all are forked off
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=function, args=(there, *arguments), daemon=True)
    process.start()
    there.close()
    return process, here


@contextmanager
def running(
    function: Callable[..., Any], *arguments: Any
) -> Iterator[tuple[BaseProcess, Connection]]:
    """Start a process and kill it at the end."""
    process, connection = start(function, *arguments)
    try:
        yield process, connection
    finally:
        process.kill()
        process.join()
        connection.close()
