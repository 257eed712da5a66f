"""What a statement costs, counted in what the database reads, not in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from flask_perfkit.pagination import CursorPage

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


def efforts_by_depth(
    engine: Engine, rows: int, page_at: Callable[[str | None, int], CursorPage]
) -> dict[tuple[int, bool], int]:
    """Return what the page after and the page before a row take, by the depth of that row.

    :param rows: how many there are in all.
    :param page_at: returns the page of a cursor and a size.
    """
    efforts = {}
    for depth in (10, rows // 2, rows * 9 // 10):
        here = page_at(page_at(None, depth).next_cursor, 10)
        for cursor in (here.next_cursor, here.previous_cursor):
            with effort_of(engine) as effort:
                page_at(cursor, 10)
            efforts[depth, cursor == here.next_cursor] = effort.amount
    return efforts


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
