"""Opens an SQLite database with the tables of a store.

They have a prefix of their own, so that a file which holds other tables is left intact.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

_LONGEST_WAIT = 1.0  # seconds, for another process that writes
_VERSION = 1

_SCHEMA = """
CREATE TABLE perfkit_totals (name TEXT PRIMARY KEY, body BLOB, expires REAL) WITHOUT ROWID;
CREATE INDEX perfkit_totals_expires ON perfkit_totals (expires);
CREATE TABLE perfkit_texts (
    name TEXT PRIMARY KEY, value TEXT, first REAL, last REAL
) WITHOUT ROWID;
CREATE INDEX perfkit_texts_last ON perfkit_texts (last);
CREATE TABLE perfkit_profiles (
    id TEXT PRIMARY KEY, kind TEXT, method TEXT, name TEXT, endpoint TEXT, path TEXT,
    status INTEGER, started REAL, duration REAL, sql_duration REAL, statements INTEGER,
    findings TEXT, interest INTEGER, size INTEGER, body BLOB
);
CREATE INDEX perfkit_profiles_started ON perfkit_profiles (started);
CREATE INDEX perfkit_profiles_duration ON perfkit_profiles (duration);
CREATE INDEX perfkit_profiles_interest ON perfkit_profiles (interest, started, size);
CREATE TABLE perfkit_found (
    finding TEXT, started REAL, profile TEXT, PRIMARY KEY (finding, started, profile)
) WITHOUT ROWID;
CREATE INDEX perfkit_found_profile ON perfkit_found (profile);
"""
_TABLES = ("totals", "texts", "profiles", "found")


def identity(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another one of its name."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def connect(path: str | None) -> sqlite3.Connection:
    """Open a database with all tables; None is one in memory."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        path or ":memory:", timeout=_LONGEST_WAIT, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 8000000")
        _create_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create_tables(connection: sqlite3.Connection) -> None:
    """Create what is missing; what another version of PerfKit left is dropped."""
    if _version(connection) == _VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) != _VERSION:  # another process may have been faster
        for table in (*_TABLES, "version"):
            connection.execute(f"DROP TABLE IF EXISTS perfkit_{table}")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("CREATE TABLE perfkit_version (number INTEGER)")
        connection.execute("INSERT INTO perfkit_version VALUES (?)", (_VERSION,))
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int | None:
    tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'perfkit_version'")
    if tables.fetchone() is None:
        return None
    row = connection.execute("SELECT number FROM perfkit_version").fetchone()
    return row[0] if row is not None else None
