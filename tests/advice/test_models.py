"""The models' own lines: what goes is taken out, and what comes is put in."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_perfkit.advice.advice import Advice, Create, Drop
from flask_perfkit.advice.index import Index, IndexKey
from flask_perfkit.advice.output.models import model_changes

MODELS = '''\
"""Größe zählt: columns of a tree are counted in bytes."""

from sqlalchemy import Column, Index, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Tree(Base):
    __tablename__ = "tree"
    __table_args__ = (
        Index("ix_tree_kind", "kind"),
        Index("ix_tree_kind_height", "kind", "height"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    height: Mapped[int] = mapped_column(index=True)
    girth: Mapped[int] = mapped_column("girth", index=True, nullable=False)


class Marked:
    __table_args__ = {"comment": "of a mixin"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]


class Moss(Marked, Base):
    __tablename__ = "moss"


class Fern(Base):
    __tablename__ = "fern"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(key="sort")
    text: Mapped[str] = mapped_column()
    __table_args__ = {"comment": "of its own"}
    __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "fern"}


class Frond(Fern):
    __mapper_args__ = {"polymorphic_identity": "frond"}
    length: Mapped[int] = mapped_column(nullable=True)


weeds = Table("weeds", Base.metadata, Column("kind", String(20)))


class Bush(Base):
    __tablename__ = "bush"
    __table_args__ = (Index("ix_bush_kind", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
'''


LEAF = """

class Base(DeclarativeBase):
    pass


class Leaf(Base):
    __tablename__ = "leaf"
    size: Mapped[int] = mapped_column(primary_key=True)


import decimal
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "garden_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "garden_models", raising=False)
    yield import_module("garden_models")
    del sys.modules["garden_models"]


def drop(table: sa.Table, name: str) -> Drop:
    return Drop(name, f"DROP INDEX {name}", table.name, "", 1, 1, "cost", "", "", "sqlite", table)


def creation(table: sa.Table, *columns: str, descending: bool = False) -> Create:
    keys = tuple(IndexKey(name, name, frozenset({name}), descending) for name in columns)
    values = dict.fromkeys(Create.__dataclass_fields__, "")
    index = Index(table, keys)
    given = {"index": index, "name": index.name, "dialect": "sqlite", "sql": "CREATE ..."}
    return Create(**{**values, **given})  # type: ignore[arg-type]


def changes(advice: Advice) -> tuple[set[str], set[str], tuple[str, ...]]:
    """Return the lines that go, those that come, and what is left to do by hand."""
    changes = model_changes(advice)
    gone, come = set[str](), set[str]()
    for patch in changes.patches:
        compile(patch.after, str(patch.path), "exec")
        before, after = set(patch.before.splitlines()), set(patch.after.splitlines())
        gone, come = gone | (before - after), come | (after - before)
    return gone, come, tuple(words.partition(".py: ")[2] or words for words in changes.by_hand)


@pytest.mark.parametrize(
    ("name", "gone", "come"),
    [
        ("ix_tree_kind", {'        Index("ix_tree_kind", "kind"),'}, set()),
        ("ix_tree_kind_height", {'        Index("ix_tree_kind_height", "kind", "height"),'}, set()),
        (
            "ix_tree_height",
            {"    height: Mapped[int] = mapped_column(index=True)"},
            {"    height: Mapped[int] = mapped_column()"},
        ),
        (
            "ix_tree_girth",
            {'    girth: Mapped[int] = mapped_column("girth", index=True, nullable=False)'},
            {'    girth: Mapped[int] = mapped_column("girth", nullable=False)'},
        ),
    ],
)
def test_what_goes(models: Any, name: str, gone: set[str], come: set[str]) -> None:
    assert changes(Advice(drop=(drop(models.Tree.__table__, name),))) == (gone, come, ())


def test_what_is_alone_is_left_to_the_reader(models: Any) -> None:
    advice = Advice(drop=(drop(models.Bush.__table__, "ix_bush_kind"),))
    assert changes(advice) == (set(), set(), ("ix_bush_kind is dropped: remove it from Bush",))


def test_what_only_the_database_has(models: Any) -> None:
    assert changes(Advice(drop=(drop(models.Bush.__table__, "of_nobody"),))) == (set(), set(), ())


def test_one_comes_and_one_goes(models: Any) -> None:
    table = models.Tree.__table__
    create = creation(table, "girth", "kind")
    gone, come, by_hand = changes(Advice(create=(create,), drop=(drop(table, "ix_tree_kind"),)))
    assert gone == {'        Index("ix_tree_kind", "kind"),'}
    assert come == {'        Index("ix_tree_girth_kind", "girth", "kind"),'}
    assert by_hand == ()


def test_options_stay_the_last(models: Any) -> None:
    advice = Advice(create=(creation(models.Fern.__table__, "kind"),))
    assert changes(advice) == (
        {'    __table_args__ = {"comment": "of its own"}'},
        {
            '        Index("ix_fern_kind", "sort"),',
            '        {"comment": "of its own"},',
        },
        (),
    )


@pytest.mark.parametrize(
    ("table", "columns", "by_hand"),
    [
        ("moss", ("kind",), 'Moss.__table_args__: Index("ix_moss_kind", "kind")'),
        ("weeds", ("kind",), 'the table weeds: Index("ix_weeds_kind", "kind")'),
        ("fern", ("length",), "behind the subclass of Fern that has the column: CREATE ..."),
    ],
)
def test_what_a_class_cannot_take(
    models: Any, table: str, columns: tuple[str, ...], by_hand: str
) -> None:
    """It would hide what a mixin says, is no class, or the column is not its own."""
    created = creation(models.Base.metadata.tables[table], *columns)
    assert changes(Advice(create=(created,))) == (set(), set(), (by_hand,))


def test_a_column_that_has_the_name_of_a_function(models: Any) -> None:
    created = creation(models.Fern.__table__, "kind", descending=True)
    gone, come, (by_hand,) = changes(Advice(create=(created,)))
    assert (gone, come) == (set(), set())
    assert by_hand.startswith("Fern.__table_args__: Index(")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from sqlalchemy import text\n", "from sqlalchemy import text, Index\n"),
        ("import sqlite3\n", "import sqlite3\nfrom sqlalchemy import Index\n"),
    ],
)
def test_the_import_stands_before_the_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    """Not behind the last one: where modules need each other, it stands below the classes."""
    path = tmp_path / "late_models.py"
    path.write_text(f"from sqlalchemy.orm import *\n{before}{LEAF}")
    monkeypatch.syspath_prepend(tmp_path)
    table = import_module("late_models").Leaf.__table__
    (patch,) = model_changes(Advice(create=(creation(table, "size"),))).patches
    del sys.modules["late_models"]
    assert f"\n{after}{LEAF}".partition("class Leaf")[0] in patch.after
    compile(patch.after, "late_models.py", "exec")
