"""Try what a fix says: a loader option in the select that it is for, a statement as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import Executable, event, inspect, orm
from sqlalchemy.orm import ORMExecuteState, Session

from . import models

_LOADERS = r"(?:joined|selectin|subquery|contains_eager|immediate)load|contains_eager"
_COLUMN_OPTIONS = r"undefer_group|undefer|load_only|selectin_polymorphic"
_OPTION = re.compile(rf"\b(?:{_LOADERS}|{_COLUMN_OPTIONS})\(")
_STATEMENT = re.compile(r"\b(?:select|insert|update|delete)\((?!\))")
"""A name with empty brackets, as in "what insert() takes", is words."""

_TUPLE = re.compile(r"\btuple_\(([^()]*)\)\.in_\(keys\)")
_LEFT_OPEN = re.compile(r"\.\w+\(\.\.\.\)")
_CHAINED = re.compile(r"\.\w+\(")
_MEANT_BY_THE_READER = {"keys": [1, 2], "ids": [1, 2]}


def loader_option(text: str) -> str | None:
    """Find the loader option that a fix names; None when it names none."""
    return _expression(_OPTION, text)


def statement(text: str) -> Executable | None:
    """Build the statement that a fix names; None when it names none.

    ``keys`` and ``ids`` are what the reader fills in, as is what stands as ``...``. The keys of
    several columns are tuples of as many values.
    """
    code = _expression(_STATEMENT, text)
    if code is None:
        return None
    meant: dict[str, Any] = dict(_MEANT_BY_THE_READER)
    if several := _TUPLE.search(code):
        meant["keys"] = [(key,) * len(several[1].split(",")) for key in meant["keys"]]
    names = vars(sqlalchemy) | vars(models) | meant
    built: Executable = eval(_LEFT_OPEN.sub("", code), names)
    return built


def _expression(start: re.Pattern[str], text: str) -> str | None:
    found = start.search(text)
    if found is None:
        return None
    end = _closing(text, found.end())
    while chained := _CHAINED.match(text, end):
        end = _closing(text, chained.end())
    return text[found.start() : end]


def _closing(text: str, start: int) -> int:
    depth = 1
    for position, character in enumerate(text[start:], start + 1):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position
    raise ValueError(f"no closing bracket in {text!r}")


@contextmanager
def pasted(code: str, subject: str, *, instead: bool = False) -> Iterator[list[Any]]:
    """Add the option ``code`` to every select of the entity that it begins with.

    Yields the statements that it went into; none means that the view selects no such entity.

    :param instead: the option takes the place of those that the select has.
    :param subject: names the entity of an option that names none itself.
    """
    option = eval(code, vars(orm) | vars(models))
    named = re.search(r"\((\w+)", code)
    root = getattr(models, named[1] if named else subject.partition(".")[0], None)
    entity = inspect(root or getattr(models, subject.partition(".")[0]))
    statements: list[Any] = []

    def paste(state: ORMExecuteState) -> None:
        if not state.is_select or state.is_column_load or state.is_relationship_load:
            return
        if any(_selects(entity, column) for column in state.statement.column_descriptions):
            if instead:
                state.statement._with_options = ()
            state.statement = state.statement.options(option)
            statements.append(state.statement)

    event.listen(Session, "do_orm_execute", paste)
    try:
        yield statements
    finally:
        event.remove(Session, "do_orm_execute", paste)


def _selects(entity: Any, column: Any) -> bool:
    """Return whether a selected column is whole rows of ``entity``, or of its base class."""
    mapper = inspect(column["entity"], raiseerr=False) if column["entity"] else None
    if mapper is None or column["expr"] is not column["entity"]:
        return False
    return entity.isa(mapper.mapper) or mapper.mapper.isa(entity)
