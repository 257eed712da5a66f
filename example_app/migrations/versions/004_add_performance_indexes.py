"""The six indexes that the audit found missing."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision = "004"
down_revision = "003"

INDEXES = (
    ("ix_documents_user_id", "documents", ["user_id"]),
    ("ix_documents_document_type", "documents", ["document_type"]),
    ("ix_documents_uploaded_at", "documents", ["uploaded_at"]),
    ("ix_users_active_document_id", "users", ["active_document_id"]),
    ("ix_documents_user_id_document_type", "documents", ["user_id", "document_type"]),
    ("ix_documents_user_id_uploaded_at", "documents", ["user_id", "uploaded_at"]),
)


def upgrade() -> None:
    with _beside_writers():
        built = _built()
        for name, table, columns in INDEXES:
            if name not in built:
                # An interrupted concurrent build leaves its index INVALID: written to, never
                # read. IF NOT EXISTS would accept it.
                op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
                op.create_index(name, table, columns, postgresql_concurrently=True)


def downgrade() -> None:
    with _beside_writers():
        for name, table, _ in INDEXES:
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


@contextmanager
def _beside_writers() -> Iterator[None]:
    """Let PostgreSQL work outside a transaction, and give up rather than wait long for a lock."""
    if not _on_postgresql():
        yield
        return
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '5s'")
        op.execute("SET statement_timeout = 0")
        try:
            yield
        finally:
            op.execute("RESET statement_timeout")
            op.execute("RESET lock_timeout")


def _built() -> set[str]:
    """Return the names of our indexes that are whole; a script (``--sql``) cannot look."""
    if not _on_postgresql() or op.get_context().as_sql:
        return set()
    valid = sa.text(
        "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE indisvalid AND pg_table_is_visible(indexrelid)"
    )
    return set(op.get_bind().scalars(valid))


def _on_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"
