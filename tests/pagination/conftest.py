from __future__ import annotations

import getpass
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from flask import Flask
from paging_models import create_app, db

_database_numbers = itertools.count(1)


_MOST_SECONDS_TO_START = 60


@pytest.fixture(scope="session")
def mariadb_server(
    outlived_by_nothing: Callable[[int, Path], AbstractContextManager[None]],
) -> Iterator[str]:
    """Run the MariaDB that is installed, on a unix socket; return the socket's path."""
    if shutil.which("mariadbd") is None:
        pytest.skip("MariaDB is not installed: tox -e mariadb does that where it may")
    directory = Path(tempfile.mkdtemp(prefix="perfkit-mariadb-"))
    user, socket = getpass.getuser(), directory / "socket"
    place = ["--no-defaults", f"--user={user}", f"--datadir={directory / 'data'}"]
    for _ in range(2):  # it fails now and then where two are made at a time
        shutil.rmtree(directory / "data", ignore_errors=True)
        made = subprocess.run(
            ["mariadb-install-db", *place, "--auth-root-authentication-method=normal"],
            capture_output=True,
            text=True,
            timeout=_MOST_SECONDS_TO_START,
        )
        if made.returncode == 0:
            break
    assert made.returncode == 0, made.stdout + made.stderr
    with (
        subprocess.Popen(
            ["mariadbd", *place, f"--socket={socket}", "--skip-networking"],
            stderr=subprocess.DEVNULL,
        ) as server,
        outlived_by_nothing(server.pid, directory),
    ):
        deadline = time.monotonic() + _MOST_SECONDS_TO_START
        while not socket.exists():
            is_starting = server.poll() is None and time.monotonic() < deadline
            assert is_starting, "MariaDB did not start"
            time.sleep(0.05)
        yield str(socket)
        server.terminate()
        server.wait()
    shutil.rmtree(directory)


@pytest.fixture
def mariadb_url(mariadb_server: str) -> Iterator[str]:
    import pymysql

    name = f"test_{next(_database_numbers)}"
    with pymysql.connect(unix_socket=mariadb_server, user="root") as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        yield f"mariadb+pymysql://root@/{name}?unix_socket={mariadb_server}&charset=utf8mb4"
        cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: the test runs once on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    fixture = {"postgresql": "postgres_url", "mariadb": "mariadb_url"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "mariadb: needs the mariadbd of the system")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave MariaDB out unless ``-m mariadb`` asks for it: it comes in no wheel."""
    on_mariadb = [item for item in items if "mariadb" in _parameters(item)]
    for item in on_mariadb:
        item.add_marker("mariadb")
    if "mariadb" not in config.option.markexpr:
        config.hook.pytest_deselected(items=on_mariadb)
        items[:] = [item for item in items if item not in on_mariadb]


def _parameters(item: pytest.Item) -> list[object]:
    return list(item.callspec.params.values()) if hasattr(item, "callspec") else []


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """An application with empty tables, its context pushed."""
    app = create_app(database_url)
    with app.app_context():
        yield app
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()
