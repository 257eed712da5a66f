"""Keeps a store in an SQLite file that processes share, or in memory."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.store.buckets import buckets_at
from flask_perfkit.store.packing import Packed, summary_of
from flask_perfkit.store.places.database import connect, identity
from flask_perfkit.store.places.place import ALWAYS_KEPT, AVERAGE_SIZE, MOST_TEXTS, Known
from flask_perfkit.store.reading import Found, Period, RequestFilter, Summary
from flask_perfkit.store.tally import Batch
from flask_perfkit.store.totals import Totals, decoded

_MOST_VARIABLES = 500

_SUMMARY = (
    "id, kind, method, name, endpoint, path, status, started, duration, sql_duration, statements,"
    " findings"
)


class SQLitePlace:
    """An SQLite database.

    :param path: the file; None keeps it in memory.
    :param limit: profiles that are kept.
    """

    def __init__(self, path: str | None, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._process = os.getpid()
        self._inherited: list[sqlite3.Connection] = []

    def __del__(self) -> None:
        """Close the database, but not that of the process which this one was forked from."""
        if self._process == os.getpid():
            self._close()

    def write(self, batch: Batch) -> None:
        """Add a batch in one short transaction."""
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                _write_totals(connection, batch)
                _write_texts(connection, batch)
                for packed in batch.profiles:
                    _write_profile(connection, packed)
                if batch.profiles:
                    self._make_room(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def totals(self, names: Sequence[str]) -> list[bytes | None]:
        """Return the totals of buckets as they were encoded."""
        found = dict(self._read_in("SELECT name, body FROM perfkit_totals WHERE name IN", names))
        return [found.get(name) for name in names]

    def texts(self, names: Iterable[str]) -> dict[str, Known]:
        """Return what short names stand for."""
        rows = self._read_in(
            "SELECT name, value, first, last FROM perfkit_texts WHERE name IN", names
        )
        return {name: Known(*known) for name, *known in rows}

    def requests(
        self, period: Period, only: RequestFilter, limit: int, offset: int
    ) -> Found[Summary]:
        """Return the profiles that a filter lets through."""
        where, values = _conditions(period, only)
        order = "started DESC" if only.order == "latest" else "duration DESC"
        with self._opened() as connection:
            rows = connection.execute(
                f"SELECT {_SUMMARY} FROM perfkit_profiles WHERE {where} ORDER BY {order}"
                " LIMIT ? OFFSET ?",
                (*values, limit, offset),
            ).fetchall()
            (total,) = connection.execute(
                f"SELECT count(*) FROM perfkit_profiles WHERE {where}", values
            ).fetchone()
        return Found([_summary(row) for row in rows], total)

    def profile(self, profile_id: str) -> bytes | None:
        """Return the body of a profile."""
        statement = "SELECT body FROM perfkit_profiles WHERE id = ?"
        with self._opened() as connection:
            row = connection.execute(statement, (profile_id,)).fetchone()
        return row[0] if row is not None else None

    def latest_with(self, finding_ids: Iterable[str]) -> dict[str, str]:
        """Return for each finding the id of the latest profile that has it."""
        rows = self._read_in(
            "SELECT finding, profile, max(started) FROM perfkit_found WHERE finding IN",
            finding_ids,
            "GROUP BY finding",
        )
        return {finding: profile for finding, profile, _ in rows}

    def size(self) -> tuple[int, int]:
        """Return how many profiles are kept, and how many bytes they take."""
        with self._opened() as connection:
            return _size(connection)

    def let_go(self) -> None:
        """Close the file: SQLite's locks on it belong to a process, and a child would lack them."""
        if self._path is not None:
            with self._lock:
                self._close()

    def _read_in(self, select: str, names: Iterable[str], more: str = "") -> list[Any]:
        """Return the rows of all names; a statement takes no more than some of them at once."""
        wanted, rows = list(names), []
        with self._opened() as connection:
            for begin in range(0, len(wanted), _MOST_VARIABLES):
                some = wanted[begin : begin + _MOST_VARIABLES]
                marks = ", ".join("?" * len(some))
                rows += connection.execute(f"{select} ({marks}) {more}", some).fetchall()
        return rows

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._process != os.getpid():
                self._begin_in_child()
            elif self._path is not None and identity(self._path) != self._file:
                self._close()  # it was removed, or replaced
            if self._connection is None:
                self._connection = connect(self._path)
                self._file = identity(self._path) if self._path is not None else None
            try:
                yield self._connection
            except sqlite3.DatabaseError:
                if self._path is not None:
                    self._close()
                raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin_in_child(self) -> None:
        """Begin without what the parent had: to close it here could harm the parent's file."""
        if self._connection is not None:
            self._inherited.append(self._connection)
        self._connection, self._process = None, os.getpid()

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Forget the profiles that are worth least, above the limits."""
        count, size = _size(connection)
        most = self._limit * AVERAGE_SIZE
        if count <= self._limit and size <= most:
            return
        latest = max(int(self._limit * ALWAYS_KEPT), 1)
        rows = connection.execute(
            "SELECT id, size FROM perfkit_profiles WHERE started < coalesce((SELECT started FROM"
            " perfkit_profiles ORDER BY started DESC LIMIT 1 OFFSET ? - 1), 0)"
            " ORDER BY interest, started",
            (latest,),
        )
        gone = []
        for profile_id, bytes_of in rows:
            if count <= self._limit and size <= most:
                break
            count, size = count - 1, size - bytes_of
            gone.append((profile_id,))
        rows.close()
        connection.executemany("DELETE FROM perfkit_profiles WHERE id = ?", gone)
        connection.executemany("DELETE FROM perfkit_found WHERE profile = ?", gone)


def _write_totals(connection: sqlite3.Connection, batch: Batch) -> None:
    for bucket in buckets_at(batch.moment):
        for sort, totals in batch.totals.items():
            if not totals:
                continue
            name, merged = bucket.name(sort), Totals(sort)
            row = connection.execute(
                "SELECT body FROM perfkit_totals WHERE name = ?", (name,)
            ).fetchone()
            if row is not None:
                merged.merge(decoded(row[0]))
            merged.merge(totals.items())
            connection.execute(
                "INSERT OR REPLACE INTO perfkit_totals VALUES (?, ?, ?)",
                (name, merged.encode(), bucket.expires),
            )
    connection.execute("DELETE FROM perfkit_totals WHERE expires < ?", (batch.moment,))


def _write_texts(connection: sqlite3.Connection, batch: Batch) -> None:
    connection.executemany(
        "INSERT INTO perfkit_texts VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value, last = excluded.last",
        [(name, value, batch.moment, batch.moment) for name, value in batch.texts.items()],
    )
    connection.execute(
        "DELETE FROM perfkit_texts WHERE name IN"
        " (SELECT name FROM perfkit_texts ORDER BY last DESC LIMIT -1 OFFSET ?)",
        (MOST_TEXTS,),
    )


def _write_profile(connection: sqlite3.Connection, packed: Packed) -> None:
    each = packed.summary
    connection.execute(
        f"INSERT OR REPLACE INTO perfkit_profiles VALUES ({', '.join('?' * 15)})",
        (
            *(each.id, *each.route, each.endpoint, each.path, each.status, each.started_at),
            *(each.duration, each.sql_duration, each.statements, " ".join(each.findings)),
            *(packed.interest, len(packed.body), packed.body),
        ),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO perfkit_found VALUES (?, ?, ?)",
        [(finding, each.started_at, each.id) for finding in packed.finding_ids],
    )


def _size(connection: sqlite3.Connection) -> tuple[int, int]:
    count, size = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM perfkit_profiles"
    ).fetchone()
    return count, size


def _summary(row: Sequence[Any]) -> Summary:
    profile_id, kind, method, name, *others, findings = row
    return summary_of((profile_id, (kind, method, name), *others, findings.split()))


def _conditions(period: Period, only: RequestFilter) -> tuple[str, list[Any]]:
    """Return the WHERE of a filter, with its values."""
    found: list[tuple[str, tuple[Any, ...]]] = [("started BETWEEN ? AND ?", tuple(period))]
    if only.search:
        part = only.search
        found.append(
            ("(instr(lower(path), lower(?)) OR instr(lower(name), lower(?)))", (part, part))
        )
    if only.kind is not None:
        found.append(("kind = ?", (only.kind,)))
    if only.method is not None:
        found.append(("method = ?", (only.method,)))
    if only.route is not None:
        found.append(("kind = ? AND method = ? AND name = ?", tuple(only.route)))
    if only.status is not None:
        of = "status" if only.status >= 100 else "status / 100"
        found.append((f"{of} = ?", (only.status,)))
    if only.slower_than:
        found.append(("duration >= ?", (only.slower_than,)))
    if only.with_findings:
        found.append(("findings != ''", ()))
    if only.finding_id is not None:
        found.append(
            ("id IN (SELECT profile FROM perfkit_found WHERE finding = ?)", (only.finding_id,))
        )
    where = " AND ".join(condition for condition, _ in found)
    return where, [value for _, values in found for value in values]
