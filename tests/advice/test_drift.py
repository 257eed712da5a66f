"""What the models have and the database has not, and the other way round."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from flask_perfkit.advice.drift import drift_of


@pytest.fixture
def metadata() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "stone",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("weight", sa.Integer, index=True),
        sa.Column("colour", sa.String(20)),
        sa.Column("code", sa.String(20), unique=True),
        sa.Index("ix_stone_lower_colour", sa.text("lower(colour)")),
    )
    sa.Table("pebble", metadata, sa.Column("id", sa.Integer, primary_key=True))
    return metadata


def drift(url: str, metadata: sa.MetaData, *changes: str, **options: object) -> dict[str, str]:
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    with engine.begin() as connection:
        for change in changes:
            connection.exec_driver_sql(change)
        found = drift_of(connection, metadata, **options)  # type: ignore[arg-type]
        told = {one.subject: one.message for one in found}
    engine.dispose()
    return told


def test_none(database_url: str, metadata: sa.MetaData) -> None:
    assert drift(database_url, metadata) == {}


def test_what_is_on_one_side_only(database_url: str, metadata: sa.MetaData) -> None:
    assert drift(
        database_url,
        metadata,
        "DROP TABLE pebble",
        "DROP INDEX ix_stone_weight",
        "CREATE INDEX stone_by_colour ON stone (colour, weight)",
        "ALTER TABLE stone ADD COLUMN shape varchar(20)",
    ) == {
        "pebble": "the table is in the models and not in the database",
        "ix_stone_weight": "the index of stone (weight) is in the models and not in the database",
        "stone_by_colour": "the index of stone (colour, weight) is in the database and not in the "
        "models: the next revision drops it",
        "stone.shape": "the column is in the database and not in the models: the next revision "
        "drops it",
    }


def test_an_index_of_another_name_is_the_same(database_url: str, metadata: sa.MetaData) -> None:
    renamed = ("DROP INDEX ix_stone_weight", "CREATE INDEX heavy ON stone (weight)")
    assert drift(database_url, metadata, *renamed) == {}


def test_what_is_advised_is_not_told_again(database_url: str, metadata: sa.MetaData) -> None:
    gone = "DROP INDEX ix_stone_weight"
    assert drift(database_url, metadata, gone, advised={"ix_stone_weight"}) == {}
