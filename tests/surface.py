"""Let PerfKit meet a host, and say what it put in the place of what, and what that lacks.

Run in a process of its own, which nothing has touched yet. Whatever can be reached from a module
that is not ours, from the application and from a dialect is looked at before and after: what is
another object then, and one that runs our code, stands in for something of the host's.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

import redis.asyncio.cluster
import redis.cluster  # noqa: F401 (both are watched where they are imported)
from archive import Document, db, names_of_owners
from flask import Flask

from flask_perfkit import PerfKit
from flask_perfkit.cache.reads.sessions import HeldObjects

PACKAGE = "flask_perfkit"


def reached(*objects: Any) -> Iterator[tuple[str, Any]]:
    """Yield all that others may hold: by a name that tells where it is."""
    for module_name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and not module_name.startswith(PACKAGE):
            for name, value in list(vars(module).items()):
                yield f"{module_name}.{name}", value
                if isinstance(value, type) and value.__module__ == module_name:
                    yield from _of(f"{module_name}.{name}", value)
    for each in objects:
        for name in dir(each):
            yield f"{type(each).__name__}().{name}", getattr(each, name, None)


def _of(place: str, owner: type) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(owner).items()):
        yield f"{place}.{name}", value


def is_ours(value: Any) -> bool:
    """Tell whether it is our code that runs when a value is called."""
    if f"{type(value).__module__}.".startswith(f"{PACKAGE}."):
        return True
    function = value.__func__ if type(value) is MethodType else value
    return type(function) is FunctionType and f"/{PACKAGE}/" in function.__code__.co_filename


def lacks(before: Any, after: Any) -> Iterator[str]:
    """Say what an object lacks that stood before in its place."""
    yield from sorted(set(dir(before)) - set(dir(after)))
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__self__"):
        if getattr(before, name, None) != getattr(after, name, None):
            yield name
    if not isinstance(after, type(before)):
        yield f"isinstance {type(before).__name__}"
    for kind in (inspect.iscoroutinefunction, inspect.ismethod, inspect.isroutine, callable):
        if kind(before) != kind(after):
            yield kind.__name__
    if signature(before) != signature(after):
        yield "signature"
    if inspect.unwrap(getattr(after, "__func__", after)) is not inspect.unwrap(
        getattr(before, "__func__", before)
    ):
        yield "__wrapped__"


def signature(value: Any) -> str | None:
    try:
        return str(inspect.signature(value))
    except (TypeError, ValueError):
        return None


def main() -> None:
    app = Flask("archive", root_path=".")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["PERFKIT_METRICS_PATH"] = "/metrics"
    app.debug = True
    db.init_app(app)
    app.add_url_rule("/", view_func=lambda: names_of_owners())
    app.cli.command("nightly")(lambda: None)
    command = app.cli.commands["nightly"]
    with app.app_context():
        db.create_all()
        dialect, identity_map = db.engine.dialect, db.session().identity_map
        hosts = app, app.cli, dialect, identity_map
        socket.socket.connect = socket.socket.connect  # type: ignore[method-assign]  # its own now
        before = dict(reached(*hosts))
        perfkit = PerfKit(app, db)
        perfkit.cached(depends_on=[Document])(len)
        app.test_client().get("/")
        db.session.add(Document(id=1, user_id=1, title="a"))
        db.session.commit()
        held = db.session.get(Document, 1)
        with HeldObjects().watch():
            after = dict(reached(*hosts))
        assert held is not None
        before["Command().invoke"] = command.invoke
        context: Any = None
        watched: Any = app.cli.get_command(context, "nightly")
        after["Command().invoke"] = watched.invoke
        before["Command().invoke"] = type(command).invoke.__get__(watched)
    stand_ins = {
        place: (old, after[place])
        for place, old in before.items()
        if place in after and is_ours(after[place]) and not is_ours(old)
    }
    print(json.dumps({place: list(lacks(*pair)) for place, pair in stand_ins.items()}))


def check_builtins() -> None:
    """Use a builtin that is stood in for in the ways that only a builtin allows."""

    class Clock:
        sleep = time.sleep

    Clock().sleep(0)
    assert pickle.loads(pickle.dumps(time.sleep)) is time.sleep
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        one.listen()
        other.connect(one.getsockname())
        assert other.connect.__self__ is other  # type: ignore[attr-defined]
    done = subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True)
    assert done.stdout.strip() == b"1"
    assert asyncio.run(asyncio.to_thread(time.sleep, 0)) is None


if __name__ == "__main__":
    main()
    check_builtins()
