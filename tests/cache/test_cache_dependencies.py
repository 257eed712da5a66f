from __future__ import annotations

import enum
import re
import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_perfkit.cache import Cache
from flask_perfkit.cache.entries.dependencies import dependencies, value_text


class Base(DeclarativeBase):
    pass


class Kind(enum.Enum):
    LETTER = "l"
    INVOICE = "i"


class Paper(Base):
    __tablename__ = "Papers"
    __table_args__ = {"schema": "archive"}  # noqa: RUF012 - as SQLAlchemy's users write it
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int | None]
    kind: Mapped[Kind]
    draft: Mapped[bool]
    title: Mapped[str]
    type: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "type", "polymorphic_identity": "paper"}  # noqa: RUF012


class Contract(Paper):
    __tablename__ = "contracts"
    id: Mapped[int] = mapped_column(sa.ForeignKey(Paper.id), primary_key=True)
    party: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "contract"}  # noqa: RUF012


def names(*depends_on: Any) -> tuple[str, ...]:
    return dependencies(depends_on).names


def test_a_table_may_be_given_as_class_table_or_name() -> None:
    assert names(Paper.__table__) == ("papers",)
    assert names("papers") == names("archive.Papers") == ("papers",)


def test_a_class_stands_for_all_tables_of_its_inheritance() -> None:
    assert names(Paper) == names(Contract) == ("papers", "contracts")


def test_a_column_value_has_the_rows_token_and_its_own() -> None:
    assert dependencies([Paper.owner_id == 7]).names == ("papers.*", "papers.owner_id=7")
    assert dependencies([Paper.owner_id == 7]).columns == (("papers", "owner_id"),)


def test_null_and_booleans_are_values() -> None:
    assert names(Paper.owner_id == None) == ("papers.*", "papers.owner_id=null")  # noqa: E711
    assert names(Paper.owner_id.is_(None)) == ("papers.*", "papers.owner_id=null")
    assert names(Paper.draft == True) == ("papers.*", "papers.draft=1")  # noqa: E712


def test_an_enum_member_has_the_text_of_what_the_database_holds() -> None:
    (_, by_member) = names(Paper.kind == Kind.LETTER)
    assert by_member == f"papers.kind={value_text('LETTER', sa.String())}"


def test_mixed_dependencies_keep_each_name_once() -> None:
    assert names("papers", Paper.owner_id == 1, Paper.owner_id == 2, "papers") == (
        "papers",
        "papers.*",
        "papers.owner_id=1",
        "papers.owner_id=2",
    )


@pytest.mark.parametrize(
    "depends_on",
    [
        [7],
        [""],
        [None],
        [Paper.owner_id],
        [Paper.owner_id > 7],
        [Paper.owner_id.in_([7])],
        [Paper.owner_id == Paper.id],
        [Paper.owner_id == 1.5],
        [sa.select(Paper)],
        [int],
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(depends_on: list[Any]) -> None:
    with pytest.raises(TypeError, match="depend"):
        dependencies(depends_on)


@pytest.mark.parametrize("depends_on", ["papers", Paper, Paper.__table__])
def test_a_single_dependency_without_a_list_is_refused(depends_on: Any) -> None:
    with pytest.raises(TypeError, match="allowed is a list"):
        dependencies(depends_on)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (7, "7"),
        (7, " 007 "),
        (7, Decimal("7.00")),
        (7, 7.0),
        (1, True),
        ("Straße", "STRASSE"),
        ("café", "CAFÉ"),
        ("café", "cafe\N{COMBINING ACUTE ACCENT}"),
        ("resume", "résumé"),
        ("trailing", "trailing   "),
        (uuid.UUID(int=5), str(uuid.UUID(int=5))),
        (uuid.UUID(int=5), uuid.UUID(int=5).hex.upper()),
        (date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_what_a_database_may_take_for_equal_has_equal_text(one: Any, other: Any) -> None:
    assert value_text(one, sa.String()) == value_text(other, sa.String()) is not None


@pytest.mark.parametrize(("one", "other"), [(7, 8), ("a", "b"), (None, 0), (b"c", b"d")])
def test_other_values_have_other_text(one: Any, other: Any) -> None:
    assert value_text(one, sa.String()) != value_text(other, sa.String())


@pytest.mark.parametrize("value", [1.005, Decimal("1.005"), datetime(2026, 1, 2), [], object()])
def test_what_the_database_may_store_as_something_else_has_no_text(value: Any) -> None:
    assert value_text(value, sa.Numeric()) is None


@given(st.text() | st.integers() | st.binary() | st.none() | st.uuids() | st.dates())
def test_every_text_can_stand_in_a_token_name(value: Any) -> None:
    text = value_text(value, sa.String())
    assert text is not None
    assert text.isalnum()
    assert len(text) <= 20


def test_a_name_much_like_that_of_a_table_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache.from_url()
    contrcts = sa.Table("contrcts_", sa.MetaData(), sa.Column("id", sa.Integer))
    for _ in range(2):
        for table in ("contrcts", "contracts", "elsewhere", contrcts):
            cache.get_or_create(f"of {table}", lambda: 1, depends_on=[table])
    cache.invalidate("papres")
    assert [re.findall(r"table (\w+),|if (\w+)", each) for each in caplog.messages] == [
        [("contrcts", ""), ("", "contracts")],
        [("papres", ""), ("", "papers")],
    ]
