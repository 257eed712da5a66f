"""The rows of the corpus, and the way back to them after a view has written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Table, delete, insert, select, text

from . import models

START = datetime(2024, 1, 1, 12)
METADATA = (models.db.metadata, models.PlainBase.metadata)


def create(engine: Engine) -> None:
    """Create every table and fill it."""
    for metadata in METADATA:
        metadata.create_all(engine)
    reset(engine)


def reset(engine: Engine) -> None:
    """Bring every table back to the seeded rows."""
    rows = _rows()
    with engine.begin() as connection:
        for metadata in METADATA:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
            for table in metadata.sorted_tables:
                if table.name in rows:
                    connection.execute(insert(table), rows[table.name])
                if engine.dialect.name == "postgresql" and "id" in table.primary_key.columns:
                    connection.execute(_sequence_past_rows(table))


def rows(engine: Engine) -> list[list[str]]:
    """Return the rows of every table, sorted, to compare what two runs have left."""
    with engine.connect() as connection:
        return [
            sorted(map(repr, connection.execute(select(*_told(table))).all()))
            for metadata in METADATA
            for table in metadata.sorted_tables
        ]


def _told(table: Table) -> list[Any]:
    """Return the columns whose values do not come from a clock."""
    return [column for column in table.columns if column.server_default is None]


def _sequence_past_rows(table: Table) -> Any:
    return text(
        f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'),"
        f" (SELECT coalesce(max(id), 0) + 1 FROM {table.name}), false)"
    )


def _rows() -> dict[str, list[dict[str, Any]]]:
    return _people() | _documents() | _trees_and_staff() | _shop() | _records() | _books()


def _people() -> dict[str, list[dict[str, Any]]]:
    users = range(1, 11)
    return {
        "users": [{"id": i, "name": f"user {i}", "email": f"user{i}@example.org"} for i in users],
        "profiles": [{"id": i, "user_id": i, "city": f"city {i}"} for i in users],
        "teams": [{"id": i, "name": f"team {i}"} for i in range(1, 13)],
        "memberships": [
            {"user_id": i, "team_id": team, "role": "member"} for i in users for team in (i, i + 2)
        ],
        "posts": [
            {"id": i, "author_id": (i - 1) // 2 + 1, "body": f"post {i}"} for i in range(1, 21)
        ],
    }


def _documents() -> dict[str, list[dict[str, Any]]]:
    documents = range(1, 31)
    return {
        "documents": [
            {
                "id": i,
                "user_id": (i - 1) // 3 + 1,
                "title": f"document {i}",
                "kind": ("pdf", "png", "txt")[i % 3],
                "state": "draft" if i % 3 == 0 else "final",
                "size": i * 100,
                "uploaded_at": START + timedelta(days=i),
                "content": f"content {i}",
                "summary": f"summary {i}",
                "abstract": f"abstract {i}",
            }
            for i in documents
        ],
        "tags": [{"id": i, "name": f"tag {i}"} for i in range(1, 16)],
        "document_tags": [
            {"document_id": i, "tag_id": tag}
            for i in documents
            for tag in (i % 15 + 1, (i + 7) % 15 + 1)
        ],
        "comments": [
            {
                "id": i,
                "document_id": (i - 1) // 2 + 1,
                "author_id": i % 10 + 1,
                "body": f"comment {i}",
            }
            for i in range(1, 61)
        ],
    }


def _trees_and_staff() -> dict[str, list[dict[str, Any]]]:
    wide = [(1, None), *((i, 1) for i in (2, 3, 4)), *((i, (i - 5) // 3 + 2) for i in range(5, 14))]
    deep = [(14, None), *((i, i - 1) for i in range(15, 21))]
    employees = range(1, 25)
    managers = [i for i in employees if i % 2]
    engineers = [i for i in employees if not i % 2]
    return {
        "categories": [
            {"id": i, "parent_id": parent, "name": f"category {i}"} for i, parent in wide + deep
        ],
        "companies": [{"id": i, "name": f"company {i}"} for i in range(1, 7)],
        "employees": [
            {
                "id": i,
                "company_id": (i - 1) // 4 + 1,
                "name": f"employee {i}",
                "type": "manager" if i % 2 else "engineer",
            }
            for i in employees
        ],
        "managers": [{"id": i, "bonus": i * 10} for i in managers],
        "engineers": [{"id": i, "language": "python", "level": i} for i in engineers],
        "laptops": [
            {"id": i, "engineer_id": engineers[(i - 1) // 2], "serial": f"serial {i}"}
            for i in range(1, 25)
        ],
    }


def _shop() -> dict[str, list[dict[str, Any]]]:
    orders = range(1, 13)
    lines = [(order, number) for order in orders for number in (1, 2)]
    return {
        "addresses": [
            {"id": i, "street": f"street {i}", "city": f"city {i}"} for i in range(1, 37)
        ],
        "customers": [{"id": i, "name": f"customer {i}", "address_id": i} for i in orders],
        "orders": [
            {
                "id": i,
                "customer_id": i,
                "billing_address_id": 12 + i,
                "shipping_address_id": 24 + i,
                "seller_id": i - 10 if i > 10 else None,
                "status": "open" if i % 2 else "paid",
                "placed_at": START + timedelta(hours=i),
            }
            for i in orders
        ],
        "products": [{"id": i, "name": f"product {i}", "price": i * 5} for i in range(1, 25)],
        "order_lines": [
            {"order_id": order, "number": number, "product_id": i, "quantity": 1}
            for i, (order, number) in enumerate(lines, 1)
        ],
        "allocations": [
            {"id": i, "order_id": order, "line_number": number, "shelf": f"shelf {i}"}
            for i, (order, number) in enumerate(lines, 1)
        ],
        "payments": [
            {
                "id": i,
                "order_id": (i - 1) // 2 + 1,
                "amount": i * 10,
                "type": "card" if i % 2 else "bank",
                "last_digits": "4242" if i % 2 else None,
                "iban": None if i % 2 else f"iban {i}",
            }
            for i in range(1, 25)
        ],
    }


def _records() -> dict[str, list[dict[str, Any]]]:
    albums = range(1, 13)
    return {
        "labels": [{"id": i, "name": f"label {i}"} for i in range(1, 7)],
        "albums": [{"id": i, "label_id": (i - 1) // 2 + 1, "title": f"album {i}"} for i in albums],
        "tracks": [
            {"id": i, "album_id": (i - 1) // 3 + 1, "title": f"track {i}", "seconds": 60 + i}
            for i in range(1, 37)
        ],
        "reviews": [
            {"id": i, "album_id": (i - 1) // 2 + 1, "stars": i % 5 + 1} for i in range(1, 25)
        ],
        "awards": [{"id": i, "album_id": i, "name": f"award {i}"} for i in albums],
        "shelves": [{"id": i, "name": f"shelf {i}"} for i in range(1, 11)],
        "boxes": [
            {"id": i, "shelf_id": (i - 1) // 2 + 1, "content": f"box {i}"} for i in range(1, 21)
        ],
        "tickets": [
            {"id": i, "subject": f"ticket {i}", "state": "open", "version": 1} for i in range(1, 11)
        ],
        "readings": [
            {
                "id": i,
                "sensor": f"sensor {i % 10 + 1}",
                "value": i,
                "taken_at": START + timedelta(minutes=i),
            }
            for i in range(1, 301)
        ],
        "settings": [
            {"name": name, "value": f"value of {name}"}
            for name in ("vat", "currency", "language", "theme", "timezone", "banner")
        ],
        "metrics": [{"id": i, "name": f"metric {i % 10 + 1}", "value": i} for i in range(1, 41)],
        **{
            f"metrics_{month}": [{"id": i, "value": i * month} for i in range(1, 6)]
            for month in range(1, 9)
        },
    }


def _books() -> dict[str, list[dict[str, Any]]]:
    return {
        "authors": [{"id": i, "name": f"author {i}"} for i in range(1, 21)],
        "books": [
            {
                "id": i,
                "author_id": (i - 1) // 2 + 1,
                "translator_id": (i - 1) // 2 + 11,
                "title": f"book {i}",
                "copies": i,
            }
            for i in range(1, 21)
        ],
        "chapters": [
            {"id": i, "book_id": (i - 1) // 2 + 1, "heading": f"chapter {i}"} for i in range(1, 41)
        ],
    }
