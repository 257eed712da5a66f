"""Processes that share a store: workers of one server, forked children, one that is killed."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from archive import archive, names_of_owners
from flask import Flask
from stored import ask, counts, hour, kept, store_of

from flask_perfkit import PerfKit
from tests.metrics.servers import PATIENCE, ROOT, gunicorn, until

SHOP = """
    import os
    from archive import archive, names_of_owners

    archived = archive(storage_url=os.environ["STORE"])
    app = archived.__enter__()
    app.add_url_rule("/health", "health", lambda: "ok")
    app.add_url_rule("/owners", view_func=lambda: names_of_owners())
    app.add_url_rule("/worker", "worker", lambda: str(os.getpid()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shared_url", "options"), [("sqlite", ["--preload"]), ("redis", [])], indirect=["shared_url"]
)
def test_four_workers_show_one_picture_and_one_may_be_killed(
    tmp_path: Path, shared_url: str, options: list[str]
) -> None:
    (tmp_path / "shop.py").write_text(dedent(SHOP))
    paths = {"PYTHONPATH": f"{tmp_path}:{ROOT / 'tests'}:{ROOT}", "STORE": shared_url}
    with (
        gunicorn(tmp_path, "shop:app", "--workers", "4", *options, **paths) as server,
        archive(storage_url=shared_url) as reader,
    ):
        workers = until(lambda: _workers(server.get, 4), server)
        for _ in range(40):
            server.get("/owners")
        until(lambda: counts(reader).get("/owners") == 40, server)
        os.kill(workers.pop(), signal.SIGKILL)
        until(lambda: len(_workers(server.get, 4) - workers) >= 1, server)
        for _ in range(20):
            server.get("/owners")
        until(lambda: counts(reader).get("/owners") == 60, server)
        assert kept(reader).count("/owners") == 60
        (found,) = store_of(reader).findings(hour()).items
        assert found.times == 60
        assert max(point.processes for point in store_of(reader).system(hour())) >= 4


def _workers(get: Callable[[str], str], number: int) -> set[int]:
    """Return the workers that answer, as soon as there are so many."""
    seen = {int(get("/worker")) for _ in range(20 * number)}
    return seen if len(seen) >= number else set()


def test_a_forked_child_writes_what_is_its_own(shared_url: str) -> None:
    with archive(storage_url=shared_url, DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        app.add_url_rule("/child", "child", lambda: "ok")
        ask(app, "/owners", 3)  # still waits to be written
        child = os.fork()
        if not child:
            ask(app, "/child", 2)
            store_of(app).info()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert counts(app) == {"/owners": 3, "/child": 2}
        assert sorted(kept(app)) == ["/child"] * 2 + ["/owners"] * 3


def test_a_forked_child_in_memory_begins_anew() -> None:
    with archive(storage_url="memory://", DEBUG=True) as app:
        app.add_url_rule("/plain", "plain", lambda: "ok")
        ask(app, "/plain", 3)
        assert counts(app) == {"/plain": 3}
        child = os.fork()
        if not child:
            ask(app, "/plain", 2)
            os._exit(0 if counts(app) == {"/plain": 2} else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert counts(app) == {"/plain": 3}


def test_a_child_that_is_forked_while_others_write_writes_too(shared_url: str) -> None:
    with archive(storage_url=shared_url, DEBUG=True) as app:
        app.add_url_rule("/plain/<int:number>", "plain", lambda number: "ok")
        children = []
        for number in range(8):
            ask(app, f"/plain/{number}", 5)
            store_of(app).info()
            child = os.fork()
            if not child:
                ask(app, "/plain/100")
                store_of(app).info()
                os._exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
        assert counts(app) == {"/plain/<int:number>": 48}


JOB = """
    import os, sys
    from archive import archive, names_of_owners

    with archive(storage_url=sys.argv[1]) as app:
        with app.app_context():
            names_of_owners()
"""


def test_what_a_script_did_is_written_when_it_ends(shared_url: str) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    command = [sys.executable, "-c", dedent(JOB), shared_url]
    subprocess.run(command, env=environment, check=True, timeout=60)
    with archive(storage_url=shared_url) as app:
        (found,) = store_of(app).findings(hour()).items
        assert [route.kind for route in found.routes] == ["job"]


def test_a_worker_that_leaves_without_goodbye_after_its_job(
    shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a queue does, with ``os._exit``, also right after its first and only one."""
    monkeypatch.setattr("flask_perfkit.store.writer.INTERVAL", 1_000.0)
    with archive(storage_url=shared_url, DEBUG=True) as app:
        children = []
        for jobs in (["only"], ["first", "later"]):
            child = os.fork()
            if not child:
                for name in jobs:
                    with app.app_context(), PerfKit().watch(name):
                        names_of_owners()
                if len(jobs) > 1:
                    threading.Event().wait(PATIENCE)
                os._exit(0)
            children.append(child)
        os.waitpid(children[0], 0)
        assert store_of(app).routes(hour(), search="only").total == 1
        until(lambda: store_of(app).routes(hour(), search="later").total == 1)
        os.kill(children[1], signal.SIGKILL)
        os.waitpid(children[1], 0)


def test_the_thread_ends_with_its_application() -> None:
    before = set(threading.enumerate())
    app = Flask("gone")
    app.debug = True
    PerfKit(app)
    app.test_client().get("/nowhere")
    (thread,) = [each for each in threading.enumerate() if each not in before]
    assert thread.name == "perfkit-store"
    del app
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()
