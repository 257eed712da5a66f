"""The document that a user works on."""

import sqlalchemy as sa
from alembic import op

revision = "003"
down_revision = "002"

FOREIGN_KEY = "fk_users_active_document_id"


def upgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("active_document_id", sa.BigInteger))
        users.create_foreign_key(
            FOREIGN_KEY, "documents", ["active_document_id"], ["id"], ondelete="SET NULL"
        )


def downgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.drop_constraint(FOREIGN_KEY, type_="foreignkey")
        users.drop_column("active_document_id")
