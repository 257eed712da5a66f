"""Imports that a rewrite needs, put where a reader looks for them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import resolve_name
from types import ModuleType
from typing import Any

import libcst as cst
from libcst.codemod import CodemodContext
from libcst.codemod.visitors import AddImportsVisitor

from flask_perfkit.cures.loaders import Import

_COMMA = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))


def with_imports(text: cst.Module, module: ModuleType, imports: Iterable[Import]) -> cst.Module:
    """Return a module's text with more imports: among the names that it has of the same module."""
    context = CodemodContext(full_module_name=module.__name__, full_package_name=module.__package__)
    known = {
        from_module(each, module): each
        for line in text.body
        if isinstance(line, cst.SimpleStatementLine)
        for each in line.body
        if isinstance(each, cst.ImportFrom)
    }
    added: dict[cst.ImportFrom, list[str]] = {}
    for home, name in imports:
        node = known.get(home)
        if name and node is not None and not isinstance(node.names, cst.ImportStar):
            added.setdefault(node, []).append(name)
        else:
            AddImportsVisitor.add_needed_import(context, home, name or None)
    changed = text.visit(_Adding(added))
    assert isinstance(changed, cst.Module)
    return AddImportsVisitor(context).transform_module(changed)


def from_module(node: cst.ImportFrom, module: ModuleType) -> str:
    """Return the module that names are imported from, as Python knows it."""
    path = "." * len(node.relative)
    path += cst.Module([]).code_for_node(node.module) if node.module is not None else ""
    return resolve_name(path, module.__package__)


class _Adding(cst.CSTTransformer):
    def __init__(self, added: dict[cst.ImportFrom, list[str]]) -> None:
        super().__init__()
        self._added = added

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        if original_node not in self._added:
            return updated_node
        names = list(updated_node.names)
        between = _between(names, updated_node.lpar)
        for name in self._added[original_node]:
            names = _put(names, name, between)
        return updated_node.with_changes(names=names)


def _between(aliases: list[cst.ImportAlias], opening: cst.LeftParen | None) -> cst.Comma:
    """Return a comma as it stands between the names: before the next one, or before a line."""
    comma = aliases[0].comma if len(aliases) > 1 else _COMMA
    assert isinstance(comma, cst.Comma)
    if len(aliases) == 1 and opening is not None:
        comma = cst.Comma(whitespace_after=opening.whitespace_after)
        if not isinstance(comma.whitespace_after, cst.ParenthesizedWhitespace):
            return _COMMA
    return _with_end(comma, cst.TrailingWhitespace())


def _with_end(comma: cst.Comma, end: cst.TrailingWhitespace) -> cst.Comma:
    """Return a comma with another end of its line, if it has one: that holds a comment."""
    after = comma.whitespace_after
    if not isinstance(after, cst.ParenthesizedWhitespace):
        return comma
    return comma.with_changes(whitespace_after=after.with_changes(first_line=end))


def _put(aliases: list[cst.ImportAlias], name: str, between: cst.Comma) -> list[cst.ImportAlias]:
    """Return names with one more, before the first that comes after it, on a line like theirs."""
    place = next(
        (
            number
            for number, each in enumerate(aliases)
            if _order(str(each.evaluated_name)) > _order(name)
        ),
        len(aliases),
    )
    if place < len(aliases):
        return [*aliases[:place], cst.ImportAlias(cst.Name(name), comma=between), *aliases[place:]]
    *first, last = aliases
    after = last.comma
    if isinstance(after, cst.Comma):
        ended = getattr(after.whitespace_after, "first_line", cst.TrailingWhitespace())
        last = last.with_changes(comma=_with_end(between, ended))
        new = cst.ImportAlias(cst.Name(name), comma=_with_end(after, cst.TrailingWhitespace()))
    else:
        last = last.with_changes(comma=between)
        new = cst.ImportAlias(cst.Name(name))
    return [*first, last, new]


def _order(name: str) -> tuple[int, str]:
    """Return what tells the order of names: constants, classes, functions."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name
