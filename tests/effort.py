"""What a statement costs, counted in what the database reads, not in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

# What a page of ten needs at most; a walk through the table needs over a hundred times as much.
ENOUGH = {"sqlite": 3_000, "postgresql": 120, "mariadb": 120}


class Effort:
    """What the database did: steps on SQLite, pages on PostgreSQL, rows on MariaDB."""

    amount = 0


@contextmanager
def effort_of(engine: Engine) -> Iterator[Effort]:
    effort = Effort()
    run = {"sqlite": _count_steps, "postgresql": _count_pages, "mariadb": _count_rows}
    measure = run[engine.dialect.name]

    def measured(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        effort.amount += measure(cursor, statement, parameters)

    event.listen(engine.dialect, "do_execute", measured)
    yield effort
    event.remove(engine.dialect, "do_execute", measured)


def _count_steps(cursor: Any, statement: str, parameters: Any) -> int:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    cursor.connection.set_progress_handler(step, 1)
    cursor.execute(statement, parameters).fetchall()
    cursor.connection.set_progress_handler(None, 0)
    return steps


def _count_pages(cursor: Any, statement: str, parameters: Any) -> int:
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
    plan = cursor.fetchone()[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _count_rows(cursor: Any, statement: str, parameters: Any) -> int:
    def rows_read() -> int:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(count) for _, count in cursor.fetchall())

    before = rows_read()
    cursor.execute(statement, parameters)
    cursor.fetchall()
    return rows_read() - before
