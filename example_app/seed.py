"""``flask seed``: users and documents with the skew of a real archive, the same on every run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random
from time import perf_counter
from typing import Any

import click
from flask.cli import with_appcontext
from sqlalchemy import func, insert, inspect, or_, select, text, update
from sqlalchemy.exc import NoSuchTableError

from example_app.extensions import db
from example_app.models import Document, User

DOCUMENTS = 100_000
USERS = 1_000

_TABLES = (User.__table__, Document.__table__)
_CHUNK = 5_000  # rows in memory at a time
_END = datetime(2026, 1, 1, tzinfo=UTC)
_TWO_YEARS = 2 * 365 * 24 * 3600
_TYPES = {"pdf": 45, "docx": 25, "xlsx": 12, "pptx": 7, "txt": 5, "png": 3, "csv": 2, "eml": 1}
_SUBJECTS = ("Invoice", "Contract", "Report", "Minutes", "Offer", "Letter", "Plan", "Manual")
_FIRST_NAMES = ("Ada", "Alan", "Barbara", "Donald", "Edsger", "Frances", "Grace", "Niklaus")
_LAST_NAMES = ("Allen", "Dijkstra", "Hopper", "Knuth", "Liskov", "Lovelace", "Turing", "Wirth")


@click.command("seed")
@click.option(
    "--documents",
    type=click.IntRange(1, 100_000_000),
    default=DOCUMENTS,
    show_default=True,
    help="How many documents to add.",
)
@click.option(
    "--users",
    type=click.IntRange(1, 1_000_000),
    default=USERS,
    show_default=True,
    help="How many users to add; they own the documents.",
)
@click.option("--force", is_flag=True, help="Add to a database that is not empty.")
@with_appcontext
def seed(documents: int, users: int, force: bool) -> None:
    """Fill the database with users and documents."""
    if not is_migrated():
        raise click.ClickException("The tables are missing or old: run `flask db upgrade` first.")
    if not force and not is_empty():
        raise click.ClickException("The database is not empty: --force adds to what is there.")
    fill(documents, users)


def is_migrated() -> bool:
    inspector = inspect(db.engine)
    try:
        return all(
            {column["name"] for column in inspector.get_columns(table.name)} >= set(table.c.keys())
            for table in _TABLES
        )
    except NoSuchTableError:
        return False


def is_empty() -> bool:
    return not db.session.scalar(select(or_(select(User).exists(), select(Document).exists())))


def count_documents() -> int:
    return db.session.scalar(select(func.count()).select_from(Document)) or 0


def fill(documents: int, users: int = USERS) -> None:
    """Add users and documents in one transaction: an interrupted run leaves nothing behind."""
    started = perf_counter()
    known = db.session.scalar(select(func.max(User.id))) or 0
    random = Random(known)
    for size in _chunks(users):
        db.session.execute(insert(User), [_user(random) for _ in range(size)])
    owners = list(db.session.scalars(select(User.id).where(User.id > known).order_by(User.id)))
    random.shuffle(owners)
    zipf = list(accumulate(1 / rank for rank in range(1, users + 1)))
    with click.progressbar(length=documents, label="Filling in documents", show_pos=True) as bar:
        for size in _chunks(documents):
            chosen = random.choices(owners, cum_weights=zipf, k=size)
            types = random.choices(list(_TYPES), list(_TYPES.values()), k=size)
            rows = [_document(random, *pair) for pair in zip(chosen, types, strict=True)]
            db.session.execute(insert(Document), rows)
            bar.update(size)
    _open_latest_document(of_users_after=known)
    for table in _TABLES:
        db.session.execute(text(f"ANALYZE {table.name}"))
    db.session.commit()
    click.echo(f"{documents:,} documents of {users:,} users in {perf_counter() - started:.1f} s")


def _chunks(total: int) -> Iterator[int]:
    for start in range(0, total, _CHUNK):
        yield min(_CHUNK, total - start)


def _user(random: Random) -> dict[str, Any]:
    first, last = random.choice(_FIRST_NAMES), random.choice(_LAST_NAMES)
    number = random.randrange(10**6)
    return {
        "name": f"{first} {last}",
        "email": f"{first}.{last}.{number}@example.com".lower(),
    }


def _document(random: Random, owner: int, document_type: str) -> dict[str, Any]:
    subject, number = random.choice(_SUBJECTS), random.randrange(10**6)
    size = 1 + int(random.lognormvariate(4, 1))  # bytes; half are above 54
    sentence = f"{subject} number {number}, shortened: a seed keeps no files. "
    return {
        "user_id": owner,
        "title": f"{subject} {number:06}",
        "document_type": document_type,
        "size": size,
        "uploaded_at": _END - timedelta(seconds=random.randrange(_TWO_YEARS)),
        "content": (sentence * (size // len(sentence) + 1))[:size],
    }


def _open_latest_document(*, of_users_after: int) -> None:
    latest = (
        select(Document.user_id, func.max(Document.id).label("id"))
        .where(Document.user_id > of_users_after)
        .group_by(Document.user_id)
        .subquery()
    )
    db.session.execute(
        update(User).where(User.id == latest.c.user_id).values(active_document_id=latest.c.id),
        execution_options={"synchronize_session": False},
    )
