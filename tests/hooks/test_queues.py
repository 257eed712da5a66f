"""Task queues, schedulers and sockets, as their pages show them: the real packages and workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PRELUDE = """\
import os

from archive import Document, archive, db, names_of_owners

from flask_perfkit.signals import request_profiled

database = f"sqlite:///{database}-{{os.getpid()}}"
archived = archive(perfkit=False, SQLALCHEMY_DATABASE_URI=database)
app = archived.__enter__()


@request_profiled.connect
def tell(sender, profile):
    found = [(finding.kind, finding.subject) for finding in profile.findings]
    what = (profile.endpoint, profile.method, profile.query_count, found)
    print("TOLD {{}} {{}} {{}} {{}}".format(*what), flush=True)


"""
FOUND = "11 [('n_plus_one', 'Document.user')]"


def write(directory: Path, text: str, name: str = "tasks.py") -> None:
    """Write a module that has an application with a database for the threads of a process."""
    prelude = PRELUDE.format(database=directory / f"{name}.db")
    (directory / name).write_text(prelude + dedent(text))


def page(name: str) -> str:
    """Return what a page of the documentation shows."""
    return "\n\n".join(
        SNIPPET.findall((ROOT / "docs" / "how-to" / name).read_text(encoding="utf-8"))
    )


def run(directory: Path, *command: str, redis_url: str = "") -> list[str]:
    """Run a Python command, and return what was told of the work in it."""
    output = output_of(directory, *command, redis_url=redis_url)
    told = re.findall(r"TOLD (.*)$", output, re.MULTILINE)
    assert told, output
    assert "n_plus_one: Document.user loaded 10 times" in output
    return told


def output_of(directory: Path, *command: str, redis_url: str) -> str:
    return subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env={
            **{key: value for key, value in os.environ.items() if "PYTEST" not in key},
            "PYTHONPATH": f"{directory}:{ROOT / 'tests'}:{ROOT}",
            "REDIS_URL": redis_url,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    ).stdout


@pytest.mark.parametrize("pool", ["solo", "prefork", "threads"])
def test_celery(tmp_path: Path, redis_url: str, pool: str) -> None:
    end = """
        from celery.signals import task_postrun

        @task_postrun.connect
        def stop(sender, **_):
            if sender.name.endswith("name_all_owners"):
                celery.control.shutdown()
    """
    text, _, _ = page("celery.md").partition('with perfkit.watch("nightly export")')
    write(tmp_path, text + dedent(end))
    ask = "import tasks; [each.delay() for each in (tasks.name_owners, tasks.name_all_owners)]"
    subprocess.run(
        [sys.executable, "-c", ask],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}", "REDIS_URL": redis_url},
        check=True,
        timeout=60,
    )
    command = ("-m", "celery", "-A", "tasks:celery", "worker", "--concurrency=1", f"--pool={pool}")
    told = run(tmp_path, *command, "--loglevel=INFO", redis_url=redis_url)
    assert told == [f"name_owners JOB {FOUND}", f"name owners JOB {FOUND}"]


def test_rq(tmp_path: Path, redis_url: str) -> None:
    write(tmp_path, page("rq.md"))
    (tmp_path / "pushed.py").write_text("from tasks import *\n\napp.app_context().push()\n")
    queue = """
        import os
        from redis import Redis
        from rq import Queue

        connection = Redis.from_url(os.environ["REDIS_URL"])
        Queue(connection=connection).enqueue("tasks.name_owners")
        Queue(connection=connection).enqueue("pushed.count_owners")
        Queue("bare", connection=connection).enqueue("archive.names_of_owners")
    """
    (tmp_path / "ask.py").write_text(dedent(queue))
    subprocess.run(
        [sys.executable, "ask.py"],
        cwd=tmp_path,
        env={"REDIS_URL": redis_url},
        check=True,
        timeout=60,
    )
    worker = ("-m", "rq.cli", "worker", "--burst", "--url", redis_url)
    assert run(tmp_path, *worker) == [f"name_owners JOB {FOUND}", f"count owners JOB {FOUND}"]
    told = run(tmp_path, *worker, "--worker-class", "tasks.FlaskWorker", "bare")
    assert told == [f"names_of_owners JOB {FOUND}"]


def test_apscheduler(tmp_path: Path) -> None:
    end = """
        from threading import Semaphore

        ended = Semaphore(0)
        scheduler.add_listener(lambda event: ended.release(), 1 << 12)
        scheduler.start()
        for job in scheduler.get_jobs():
            job.modify(next_run_time=__import__("datetime").datetime.now(scheduler.timezone))
            assert ended.acquire(timeout=30)
        scheduler.shutdown()
    """
    write(tmp_path, page("apscheduler.md") + dedent(end))
    told = run(tmp_path, "tasks.py")
    assert sorted(told) == [f"count_owners JOB {FOUND}", f"name_owners JOB {FOUND}"]


@pytest.mark.parametrize("mode", ["threading", "gevent", "eventlet"])
def test_socketio(tmp_path: Path, mode: str) -> None:
    """A real server and, in a process of its own, a real client."""
    patched = {
        "threading": "",
        "gevent": "from gevent import monkey; monkey.patch_all()\n",
        "eventlet": "import eventlet; eventlet.monkey_patch()\n",
    }
    client = """
        import sys, socketio

        client = socketio.Client()
        client.connect(f"http://127.0.0.1:{sys.argv[1]}", wait_timeout=30)
        names = client.call("owners", timeout=30)
        assert len(names) == 10, names
        client.disconnect()
    """
    (tmp_path / "client.py").write_text(dedent(client))
    end = f"""
        import os
        import socket
        import subprocess
        import sys

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

        def ask():
            client = [sys.executable, "client.py", str(port)]
            env = {{"PYTHONPATH": ""}}
            while subprocess.Popen(client, env=env).wait() != 0:
                socketio.sleep(0.1)  # the server is not up yet
            refresh()
            os._exit(0)

        socketio.start_background_task(ask)
        more = {{"allow_unsafe_werkzeug": True}} if {mode!r} == "threading" else {{}}
        socketio.run(app, port=port, **more)
    """
    text = page("socketio.md").replace('async_mode="threading"', f"async_mode={mode!r}")
    write(tmp_path, text + dedent(end))
    module = tmp_path / "tasks.py"
    module.write_text(patched[mode] + module.read_text())
    told = run(tmp_path, "-W", "ignore", "tasks.py")
    assert told == [f"send_owners JOB {FOUND}", f"refresh JOB {FOUND}"]


def test_huey(tmp_path: Path, redis_url: str) -> None:
    text = """
        import os
        from huey import RedisHuey
        from flask_perfkit import PerfKit

        perfkit = PerfKit(app)
        huey = RedisHuey("shop", url=os.environ["REDIS_URL"])

        @huey.task()
        def name_owners():
            with app.app_context():
                return names_of_owners()

        if __name__ == "__main__":
            consumer = huey.create_consumer(workers=1)
            consumer.start()
            assert len(name_owners().get(blocking=True, timeout=30)) == 10
            consumer.stop(graceful=True)
    """
    write(tmp_path, text)
    assert run(tmp_path, "tasks.py", redis_url=redis_url) == [f"name_owners JOB {FOUND}"]


def test_dramatiq(tmp_path: Path, redis_url: str) -> None:
    """Its usual set-up pushes the context in a middleware, before each message."""
    text = """
        import os
        import threading
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker
        from flask_perfkit import PerfKit

        perfkit = PerfKit(app)
        broker = RedisBroker(url=os.environ["REDIS_URL"])
        dramatiq.set_broker(broker)

        class AppContext(dramatiq.Middleware):
            state = threading.local()

            def before_process_message(self, broker, message):
                self.state.context = app.app_context()
                self.state.context.push()

            def after_process_message(self, broker, message, *, result=None, exception=None):
                self.state.context.pop(exception)

        broker.add_middleware(AppContext())

        @dramatiq.actor
        def name_owners():
            names_of_owners()

        name_owners.send()
        worker = dramatiq.Worker(broker, worker_threads=1)
        worker.start()
        broker.join("default", timeout=30_000)
        worker.join()
        worker.stop()
    """
    write(tmp_path, text)
    assert run(tmp_path, "tasks.py", redis_url=redis_url) == [f"name_owners JOB {FOUND}"]


def test_a_worker_without_requests(tmp_path: Path, redis_url: str) -> None:
    """What it imports after PerfKit(app) is watched, and a mute log is said as by a request."""
    text = """
        import logging
        from flask_perfkit import PerfKit

        perfkit = PerfKit(app)
        import redis

        logging.getLogger("flask_perfkit").setLevel("ERROR")
        client = redis.Redis.from_url(os.environ["REDIS_URL"])

        def read_counters():
            with app.app_context():
                return [client.get(f"counter:{number}") for number in range(10)]

        read_counters()
    """
    write(tmp_path, text)
    output = output_of(tmp_path, "tasks.py", redis_url=redis_url)
    assert "TOLD read_counters JOB 0 [('n_plus_one_cache', " in output
    assert "PerfKit's findings are not logged: the level of the logger" in output
