"""What a statement asks of a table, where one clause stands for several columns."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Bundle, DeclarativeBase, Mapped, aliased, mapped_column

from flask_perfkit.advice.asked import plain_dialect
from flask_perfkit.advice.statement.needs import needs_of
from flask_perfkit.advice.statement.terms import Scope


class Base(DeclarativeBase):
    pass


class Plot(Base):
    __tablename__ = "plot"
    bed: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)


OTHER = aliased(Plot)


@pytest.mark.parametrize(
    "group",
    [Plot, OTHER, Bundle("both", Plot.bed, Plot.place), sa.tuple_(Plot.bed, Plot.place)],
    ids=["class", "alias", "bundle", "tuple"],
)
def test_what_stands_for_several_columns_groups_by_each(group: Any) -> None:
    scope = Scope(None, {}, plain_dialect(sa.make_url("sqlite://").get_dialect()()))
    entity = OTHER if group is OTHER else Plot
    (need,) = needs_of(sa.select(entity).group_by(group), scope)
    assert [key.term.column for key in need.grouped] == ["bed", "place"]
