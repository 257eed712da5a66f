"""Watches commands to Redis, sent by whatever client object: synchronous, asyncio, cluster."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from sys import _getframe
from time import perf_counter_ns
from types import FrameType
from typing import Any

from flask_perfkit.faults import log_once
from flask_perfkit.recording.callsite import walk
from flask_perfkit.recording.recorder import current
from flask_perfkit.standin import stand_in

_CLIENTS = (
    ("redis.client", "Redis"),
    ("redis.cluster", "RedisCluster"),
    ("redis.asyncio.client", "Redis"),
    ("redis.asyncio.cluster", "RedisCluster"),
)
_PIPELINES = (
    ("redis.client", "Pipeline"),
    ("redis.cluster", "ClusterPipeline"),
    ("redis.asyncio.client", "Pipeline"),
    ("redis.asyncio.cluster", "ClusterPipeline"),
)
_MARK = "_perfkit_original"


def watch_redis() -> None:
    """Watch the clients of redis-py, where the application has imported it."""
    for module, name in _CLIENTS:
        _wrap(module, name, "execute_command", _noting_command)
    for module, name in _PIPELINES:
        _wrap(module, name, "execute", _noting_pipeline)


def _wrap(
    module: str, name: str, method: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    client = getattr(sys.modules.get(module), name, None)
    original = vars(client).get(method) if client is not None else None
    if original is not None and not hasattr(original, _MARK):
        replacement = stand_in(original, wrapper(original))
        setattr(replacement, _MARK, original)
        setattr(client, method, replacement)


def _noting_command(execute: Callable[..., Any]) -> Callable[..., Any]:
    return _noting(execute, lambda _, args: (args[:1], args[1:2]))


def _noting_pipeline(execute: Callable[..., Any]) -> Callable[..., Any]:
    return _noting(execute, lambda pipeline, _: (["PIPELINE", *_queued(pipeline)], ()))


def _noting(
    execute: Callable[..., Any],
    describe: Callable[[Any, tuple[Any, ...]], tuple[Iterable[Any], Iterable[Any]]],
) -> Callable[..., Any]:
    """Return what executes and notes it: a coroutine function where the original is one."""

    def noting(self: Any, *args: Any, **options: Any) -> Any:
        if current() is None:
            return execute(self, *args, **options)
        names, key = describe(self, args)
        started = perf_counter_ns()
        try:
            return execute(self, *args, **options)
        finally:
            _note(names, key, started, _getframe())

    async def noting_in_loop(self: Any, *args: Any, **options: Any) -> Any:
        if current() is None:
            return await execute(self, *args, **options)
        names, key = describe(self, args)
        started = perf_counter_ns()
        try:
            return await execute(self, *args, **options)
        finally:
            _note(names, key, started, _getframe())

    return noting_in_loop if inspect.iscoroutinefunction(execute) else noting


def _queued(pipeline: Any) -> Iterable[Any]:
    """Return ``KEYS`` where a pipeline will send it; the rest counts as one call."""
    try:
        commands = [entry[0] for entry in pipeline.command_stack]
        return [args[0] for args in commands if str(args[0]).upper() == "KEYS"][:1]
    except Exception:
        return ()  # a cluster's pipeline queues objects of its own


def _note(names: Iterable[Any], key: Iterable[Any], started: int, frame: FrameType) -> None:
    """Record a command without its values; of the key only a fingerprint is kept."""
    recorder = current()
    if recorder is None:
        return
    try:
        ended = perf_counter_ns()
        site = walk(None, frame, None)
        for name in names:
            text = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
            command = text.upper().split(" ")[0][:30]
            recorder.note("redis", command, hash(tuple(map(str, key))), started, ended, site)
    except Exception:
        log_once("watching a Redis command")
