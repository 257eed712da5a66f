from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
import redis
import sqlalchemy as sa

pytestmark = pytest.mark.slow

SKIPS = """
import pytest

def test_needs_a_server():
    pytest.skip("no server here")

@pytest.mark.xfail(reason="known", strict=True)
def test_known_fault():
    assert False
"""
MODULE_SKIPS = """
import pytest

pytest.importorskip("a_package_that_nobody_has")

def test_anything():
    pass
"""


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    """A pytest run of its own that uses our conftest."""
    (pytester.path / "tests").mkdir()
    for name, place in (("conftest.py", "."), ("postgres.py", "tests")):
        shutil.copy(Path(__file__).with_name(name), pytester.path / place)
    pytester.makeini("[pytest]\npythonpath = .")
    return pytester


def test_skip_is_reported_to_a_newcomer(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    inner.makepyfile(SKIPS)
    result = inner.runpytest("-rs")
    result.assert_outcomes(skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["SKIPPED * no server here"])


def test_skip_fails_in_ci(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    inner.makepyfile(SKIPS)
    result = inner.runpytest()
    result.assert_outcomes(failed=1, xfailed=1)
    result.stdout.fnmatch_lines(["*a skipped test fails in CI: *no server here*"])


def test_skipped_module_fails_in_ci(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    inner.makepyfile(MODULE_SKIPS)
    result = inner.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*a_package_that_nobody_has*"])


def test_each_database_is_empty_and_writable(database_url: str) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        assert sa.inspect(connection).get_table_names() == []
        connection.exec_driver_sql("CREATE TABLE leftover (id INTEGER)")
    engine.dispose()


@pytest.mark.parametrize("turn", [1, 2])
def test_postgres_database_is_new_for_each_test(postgres_url: str, turn: int) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SHOW server_version_num").scalar_one() >= "180000"
        connection.exec_driver_sql("CREATE TABLE only_once (id INTEGER)")
    engine.dispose()


@pytest.mark.parametrize("turn", [1, 2])
def test_redis_is_empty_for_each_test(redis_url: str, turn: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("leftover", turn)


KILLED = """
import os, signal

def test_killed_in_the_middle(postgres_server, redis_server, request):
    with open("servers", "w") as file:
        print(postgres_server.get_pid(), postgres_server.pgdata, file=file)
        print(redis_server._process.pid, redis_server.data_dir, file=file)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_servers_end_with_a_killed_run(inner: pytest.Pytester) -> None:
    inner.makepyfile(KILLED)
    assert inner.runpytest_subprocess().ret == -signal.SIGKILL
    for line in (inner.path / "servers").read_text().splitlines():
        pid, directory = line.split()
        _wait_for_the_end_of(int(pid), Path(directory))


def _wait_for_the_end_of(pid: int, directory: Path) -> None:
    deadline = time.monotonic() + 20
    while _runs(pid) or directory.exists():
        assert time.monotonic() < deadline, f"process {pid} or {directory} is still there"
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
