"""Work outside of requests: application contexts that no request opened, and named blocks."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import gevent
import pytest
import sqlalchemy as sa
from archive import Document, archive, db, line_of, names_of_owners, profiles
from flask import Flask, copy_current_request_context, current_app, g, stream_with_context
from sqlalchemy.ext.asyncio import create_async_engine
from werkzeug.test import create_environ, run_wsgi_app

from flask_perfkit import FindingError, PerfKit, PerfKitError, Profile, QueryCounter
from flask_perfkit.recording.recorder import current


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive() as app:
        yield app


@pytest.fixture
def shared_app(tmp_path: Path) -> Iterator[Flask]:
    """One whose database threads may share."""
    with archive(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'a.db'}") as app:
        yield app


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    assert current() is None
    yield
    assert current() is None


def ask(number: int = 1) -> str | None:
    return db.session.scalar(sa.select(Document.title).where(Document.id == number))


def told(collected: list[Profile]) -> list[tuple[str | None, str | None, int]]:
    return [(profile.endpoint, profile.method, profile.query_count) for profile in collected]


def broken(app: Flask) -> None:
    with app.app_context():
        names_of_owners()
        raise ZeroDivisionError


def in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(60)


# What is a piece of work, and what it is called


def test_a_context_is_named_by_the_function_that_opened_it(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    def nightly_export() -> None:
        with app.app_context():
            names_of_owners()

    with profiles(app) as collected:
        nightly_export()
    (profile,) = collected
    assert told(collected) == [("nightly_export", "JOB", 11)]
    assert (profile.path, profile.rule, profile.status) == (None, None, None)
    (finding,) = profile.findings
    assert (finding.kind, finding.subject) == ("n_plus_one", "Document.user")
    assert finding.endpoint == "nightly_export"
    assert [(file, line) for file, line, _ in finding.callers] == [
        line_of(nightly_export, "names_of_owners()")
    ]
    assert caplog.messages == [finding.message]


def test_a_base_of_all_tasks_leaves_its_name_to_the_task(app: Flask) -> None:
    class Task:
        def __init__(self, run: Callable[..., Any]) -> None:
            self.run = run

        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    @Task
    def send_invoices(number: int) -> str | None:
        return ask(number)

    with profiles(app) as collected:
        assert send_invoices(3) == "document 3"
    assert told(collected) == [("send_invoices", "JOB", 1)]


def test_a_hook_that_pushes_before_each_task_leaves_its_name_to_the_task(app: Flask) -> None:
    opened = []

    def before_task() -> None:
        context = app.app_context()
        context.push()
        opened.append(context)

    def after_task() -> None:
        opened.pop().pop()

    def rebuild() -> None:
        ask()

    def nested() -> None:
        with app.app_context():
            ask()
            ask()

    def worker() -> None:
        for task in (rebuild, nested):
            before_task()
            run(task)
            after_task()

    def run(task: Callable[[], None]) -> None:
        functools.partial(task)()

    with profiles(app) as collected:
        worker()
    # What is outermost of the application here is the test's own thread of calls.
    assert [count for _, _, count in told(collected)] == [1, 2]
    assert told(collected)[1][0] == "nested"


def test_a_thread_pool(shared_app: Flask) -> None:
    def load(number: int) -> str | None:
        with shared_app.app_context():
            return ask(number)

    with profiles(shared_app) as collected, ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load, (1, 2))) == ["document 1", "document 2"]
    assert told(collected) == [("load", "JOB", 1)] * 2


def test_a_request_context_without_a_request(app: Flask) -> None:
    def render_mail() -> None:
        with app.test_request_context("/mail"):
            names_of_owners()

    with profiles(app) as collected:
        render_mail()
    assert told(collected) == [("render_mail", "JOB", 11)]


def test_an_async_engine(app: Flask) -> None:
    async def collect_figures() -> int:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with engine.connect() as connection:
            with app.app_context():
                rows = [(await connection.execute(sa.text("SELECT 1"))).all() for _ in range(3)]
        await engine.dispose()
        return len(rows)

    with profiles(app) as collected:
        assert asyncio.run(collect_figures()) == 3
    assert told(collected) == [("collect_figures", "JOB", 3)]


def test_contexts_inside_belong_to_the_one_around(app: Flask) -> None:
    def helper(number: int) -> None:
        with app.app_context():
            ask(number)

    def report() -> None:
        with app.app_context():
            for number in range(1, 7):
                helper(number)

    with profiles(app) as collected:
        report()
    assert told(collected) == [("report", "JOB", 6)]
    assert [finding.kind for finding in collected[0].findings] == ["n_plus_one"]


def test_the_same_context_pushed_twice_is_one_piece(app: Flask) -> None:
    def twice() -> None:
        context = app.app_context()
        with context:
            with context:
                ask()
            ask()

    with profiles(app) as collected:
        twice()
    assert told(collected) == [("twice", "JOB", 2)]


def test_a_context_from_an_exit_stack(app: Flask) -> None:
    def gather() -> None:
        with ExitStack() as stack:
            stack.enter_context(app.app_context())
            ask()

    with profiles(app) as collected:
        gather()
    assert told(collected) == [("gather", "JOB", 1)]


def test_a_context_in_which_nothing_is_asked_for_is_not_told_of(app: Flask) -> None:
    with profiles(app) as collected, app.app_context():
        assert current_app.name == "archive"
    assert collected == []


def test_a_context_that_requests_pass_in_is_their_surroundings(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: str(ask()))
    with profiles(app) as collected, app.app_context():
        names_of_owners()
        app.test_client().get("/")
    assert told(collected) == [("<lambda>", "GET", 1)]


def test_what_a_view_does_in_a_context_of_its_own_is_of_the_request(app: Flask) -> None:
    @app.get("/")
    def show() -> str:
        with app.app_context():
            return str(ask())

    @app.get("/stream")
    def stream() -> Any:
        return app.response_class(stream_with_context(str(ask(each)) for each in (1, 2)))

    with profiles(app) as collected:
        app.test_client().get("/")
        app.test_client().get("/stream").get_data()
    assert told(collected) == [("show", "GET", 1), ("stream", "GET", 2)]


def test_commands_are_told_of_once(app: Flask) -> None:
    @app.cli.command("nightly")
    def nightly() -> None:
        with app.app_context():
            ask()

    with profiles(app) as collected:
        app.test_cli_runner().invoke(args=["nightly"])
    assert told(collected) == [("flask nightly", "CLI", 1)]


# Threads and greenlets of a request


def test_threads_of_a_request(shared_app: Flask) -> None:
    """One that was given the request's context counts with it; the others stand alone."""

    def own() -> None:
        with shared_app.app_context():
            ask()

    @shared_app.get("/")
    def show() -> str:
        @copy_current_request_context
        def copied() -> None:
            ask(2)
            ask(3)

        in_thread(own)
        in_thread(copied)
        given = contextvars.copy_context()
        in_thread(lambda: given.run(own))
        return str(ask())

    with profiles(shared_app) as collected:
        assert shared_app.test_client().get("/").text == "document 1"
    assert told(collected) == [("own", "JOB", 1), ("copied", "JOB", 2), ("show", "GET", 2)]


def test_greenlets(shared_app: Flask) -> None:
    def mail() -> None:
        with shared_app.app_context():
            names_of_owners()

    greenlets = []

    @shared_app.get("/")
    def show() -> str:
        greenlets.append(gevent.spawn(copy_current_request_context(names_of_owners)))
        return "ok"

    with profiles(shared_app) as collected:
        gevent.joinall([gevent.spawn(mail)], timeout=10, raise_error=True)
        shared_app.test_client().get("/")
        gevent.joinall(greenlets, timeout=10, raise_error=True)
    jobs = [each for each in told(collected) if each[1] == "JOB"]
    assert jobs == [("mail", "JOB", 11), ("names_of_owners", "JOB", 11)]


@pytest.mark.slow
def test_eventlet(tmp_path: Path) -> None:
    """In a process of its own, which eventlet changes."""
    script = """
        import warnings
        warnings.simplefilter("ignore")
        import eventlet
        eventlet.monkey_patch()
        from archive import archive, names_of_owners, profiles

        def mail():
            with app.app_context():
                names_of_owners()

        with archive() as app, profiles(app) as collected:
            eventlet.spawn(mail).wait()
        print([(each.endpoint, each.method, each.query_count) for each in collected])
    """
    assert _run(tmp_path / "mails.py", script).stdout == "[('mail', 'JOB', 11)]\n"


def _run(
    path: Path, script: str, *command: str, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    path.write_text(dedent(script))
    tests = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, *(command or [str(path)])],
        cwd=path.parent,
        input=typed,
        env={"PYTHONPATH": f"{tests}:{tests.parent}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


# Scripts


def test_a_script_that_never_pops_its_context_is_reported_when_it_ends(tmp_path: Path) -> None:
    script = """
        import logging
        from archive import archive, names_of_owners

        logging.basicConfig(format="%(message)s")
        archived = archive()
        app = archived.__enter__()
        app.app_context().push()
        names_of_owners()
        print("done")
    """
    result = _run(tmp_path / "export.py", script)
    assert result.stdout == "done\n"
    assert result.stderr.startswith("n_plus_one: Document.user loaded 10 times")


def test_a_script_is_named_by_its_file(tmp_path: Path) -> None:
    script = """
        from archive import archive, names_of_owners, profiles

        with archive() as app, profiles(app) as collected:
            with app.app_context():
                names_of_owners()
        print([(each.endpoint, each.query_count) for each in collected])
    """
    assert _run(tmp_path / "export.py", script).stdout == "[('export.py', 11)]\n"


def test_the_shell(tmp_path: Path) -> None:
    script = """
        from archive import archive, names_of_owners
        from flask_perfkit.signals import request_profiled

        archived = archive()
        app = archived.__enter__()

        @request_profiled.connect
        def tell(sender, profile):
            print("TOLD", profile.endpoint, profile.query_count)
    """
    typed = "from archive import names_of_owners\nx = names_of_owners()\n"
    command = ("-m", "flask", "--app", "shop", "shell")
    result = _run(tmp_path / "shop.py", script, *command, typed=typed)
    assert "TOLD shell 11" in result.stdout


def test_a_module_that_pushes_a_context_when_imported_hides_no_work(tmp_path: Path) -> None:
    (tmp_path / "wsgi.py").write_text(
        dedent("""
        from archive import archive
        archived = archive()
        app = archived.__enter__()
        app.app_context().push()
        """)
    )
    script = """
        from archive import names_of_owners, profiles
        from wsgi import app
        from flask_perfkit.recording.recorder import current

        assert current() is None

        def task():
            with app.app_context():
                names_of_owners()

        with profiles(app) as collected:
            task()
        print([(each.endpoint, each.query_count) for each in collected])
    """
    assert _run(tmp_path / "worker.py", script).stdout == "[('task', 11)]\n"


# How it ends


def test_an_error_goes_on_and_is_reported(app: Flask) -> None:
    with profiles(app) as collected, pytest.raises(ZeroDivisionError):
        broken(app)
    assert [len(profile.findings) for profile in collected] == [1]


def test_findings_are_raised_where_they_are_to_be() -> None:
    with archive(on_finding="raise") as app:
        with pytest.raises(FindingError, match=r"Document\.user"), app.app_context():
            names_of_owners()
        with pytest.raises(ZeroDivisionError):
            broken(app)


def test_what_the_teardown_asks_for_counts(app: Flask) -> None:
    @app.teardown_appcontext
    def count(error: BaseException | None) -> None:
        g.pop("nothing", None)
        with db.engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))

    def job() -> None:
        with app.app_context():
            ask()

    with profiles(app) as collected:
        job()
    assert told(collected) == [("job", "JOB", 2)]


def test_settings_hold_for_jobs_too() -> None:
    def job() -> None:
        with app.app_context():
            names_of_owners()

    for settings in ({"enabled": False}, {"sample_rate": 0.0}, {"exclude": ("job",)}):
        with archive(**settings) as app, profiles(app) as collected:
            job()
            assert collected == [], settings


def test_a_request_that_is_left_out_is_no_job() -> None:
    """As a server asks: a test client is the surroundings of what it asks for."""

    def own() -> str:
        with app.app_context():
            names_of_owners()
        return str(ask())

    with archive(sample_rate=1e-9) as app:
        app.add_url_rule("/", view_func=own)
        with profiles(app) as collected, pytest.MonkeyPatch.context() as patch:
            patch.setattr("flask_perfkit.hooks.jobs.random", lambda: 0.0)
            body, status, _ = run_wsgi_app(app, create_environ("/"))
            assert (list(body), status) == ([b"document 1"], "200 OK")
            assert collected == []
            with app.app_context():
                ask()
    assert [method for _, method, _ in told(collected)] == ["JOB"]


def test_two_applications_are_apart(app: Flask) -> None:
    with archive(perfkit=False) as other, profiles(app) as collected:
        with other.app_context():
            names_of_owners()
        with app.app_context():
            ask()
    assert [count for _, _, count in told(collected)] == [1]


def test_a_counter_counts_what_contexts_inside_it_ask_for(app: Flask) -> None:
    with QueryCounter() as counter, app.app_context():
        names_of_owners()
    assert (counter.count, len(counter.findings)) == (11, 1)


def test_the_fixture_of_a_test_is_no_work(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})")
    pytester.makepyfile(
        """
        import unittest

        import pytest
        from archive import User, archive, db, names_of_owners, profiles
        from flask_perfkit import FindingError

        def add_users():
            for number in range(100, 110):
                db.session.add(User(id=number, name="x"))
                db.session.commit()

        @pytest.fixture
        def app():
            with archive(on_finding="raise") as app:
                with app.app_context():
                    add_users()
                    yield app

        def test_set_up(app):
            names_of_owners()

        def test_the_work_itself(app):
            def work():
                with app.app_context():
                    names_of_owners()

            with pytest.raises(FindingError):
                work()

        class TestSetUp(unittest.TestCase):
            def setUp(self):
                self.archived = archive(on_finding="raise")
                self.context = self.archived.__enter__().app_context()
                self.context.push()
                add_users()

            def tearDown(self):
                self.context.pop()
                self.archived.__exit__(None, None, None)

            def test_nothing(self):
                pass
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)


# perfkit.watch


def test_a_block_with_a_name(app: Flask) -> None:
    perfkit = PerfKit(app_without_perfkit := Flask("other"))

    def job() -> None:
        with app.app_context(), perfkit.watch("nightly export"):
            names_of_owners()

    with profiles(app) as collected:
        job()
    assert told(collected) == [("nightly export", "JOB", 11)]
    assert collected[0].findings[0].endpoint == "nightly export"
    assert app_without_perfkit.extensions["perfkit"] is not app.extensions["perfkit"]


def test_a_block_outside_of_any_context(app: Flask) -> None:
    alone = Flask("alone")
    perfkit = PerfKit(alone)
    with app.app_context():
        engine = db.engine
    with profiles(alone) as collected, perfkit.watch("sync"), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    assert told(collected) == [("sync", "JOB", 1)]

    PerfKit.init_app(perfkit, Flask("second"))
    with pytest.raises(PerfKitError, match="watches 2 applications"), perfkit.watch("sync"):
        pass


def test_functions_with_a_name(app: Flask) -> None:
    perfkit = PerfKit()

    @perfkit.watch("export")
    def export(number: int) -> str | None:
        return ask(number)

    @perfkit.watch("import")
    async def load(number: int) -> str | None:
        return ask(number)

    with profiles(app) as collected, app.app_context():
        assert (export(1), export(2)) == ("document 1", "document 2")
        assert asyncio.run(load(3)) == "document 3"
    assert told(collected) == [("export", "JOB", 1)] * 2 + [("import", "JOB", 1)]

    with pytest.raises(TypeError, match="inside it"):

        @perfkit.watch("rows")
        def rows() -> Iterator[int]:
            yield 1

    for wrong in (export, "", None):
        with pytest.raises(TypeError, match="allowed is a name"):
            perfkit.watch(wrong)  # type: ignore[arg-type]


def test_a_name_that_is_excluded_and_an_application_that_is_off() -> None:
    for settings in ({"exclude": ("export",)}, {"enabled": False}):
        with archive(perfkit=False, **settings) as app:
            perfkit = PerfKit(app)
            with profiles(app) as collected, perfkit.watch("export"):
                pass
            assert collected == []
