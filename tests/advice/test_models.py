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
from flask_perfkit.advice.output.models import model_patches

MODELS = '''\
"""Größe zählt: columns of a tree are counted in bytes."""

from sqlalchemy import Index, String
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


class Bush(Base):
    __tablename__ = "bush"
    __table_args__ = (Index("ix_bush_kind", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
'''


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "garden_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "garden_models", raising=False)
    yield import_module("garden_models")
    del sys.modules["garden_models"]


def drop(table: sa.Table, name: str) -> Drop:
    return Drop(name, f"DROP INDEX {name}", table.name, "", 1, 1, "cost", "", "", "sqlite", table)


def changes(advice: Advice) -> tuple[set[str], set[str], tuple[str, ...]]:
    """Return the lines that go, those that come, and what is left to do by hand."""
    (patch,) = model_patches(advice)
    compile(patch.after, str(patch.path), "exec")
    before, after = set(patch.before.splitlines()), set(patch.after.splitlines())
    return before - after, after - before, patch.by_hand


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
    assert changes(advice) == (set(), set(), ("ix_bush_kind goes: take it out of Bush",))


def test_what_only_the_database_has(models: Any) -> None:
    assert model_patches(Advice(drop=(drop(models.Bush.__table__, "of_nobody"),))) == []


def test_one_comes_and_one_goes(models: Any) -> None:
    table = models.Tree.__table__
    keys = tuple(IndexKey(name, name, frozenset({name})) for name in ("girth", "kind"))
    values = dict.fromkeys(Create.__dataclass_fields__, "")
    index = Index(table, keys)
    create = Create(**{**values, "index": index, "name": index.name, "dialect": "sqlite"})  # type: ignore[arg-type]
    gone, come, by_hand = changes(Advice(create=(create,), drop=(drop(table, "ix_tree_kind"),)))
    assert gone == {'        Index("ix_tree_kind", "kind"),'}
    assert come == {'        Index("ix_tree_girth_kind", "girth", "kind"),'}
    assert by_hand == ()
