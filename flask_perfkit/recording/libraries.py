"""Which library does something all by itself: with its own code, on tables of its own.

The application has no line there that it could change, and no model whose loading it could choose.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.orm.mapper import _all_registries

from flask_perfkit.recording.callsite import is_application, library_of
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.profile import Profile


def acting_library(cause: Cause, profile: Profile) -> str | None:
    """Return the library whose own work a cause is; None where the application has a part in it.

    It has one where a line of it was on the stack, where its view answered, since what a view
    returns may be read when it has ended, and where a table is not certainly the library's.
    """
    library = cause.library
    if library is None or cause.filename is not None or profile.view is not None:
        return None
    tables = cause.reason.tables
    owners = {table: set[str | None]() for table in tables}
    for mapper in (each for registry in _all_registries() for each in registry.mappers):
        for table in tables.intersection(_tables_of(mapper)):
            owners[table].add(_owner(mapper.class_))
    return library if tables and all(each == {library} for each in owners.values()) else None


def _tables_of(mapper: Mapper[Any]) -> Iterator[str]:
    """Yield the names of a mapper's tables, those between its relationships included."""
    for table in mapper.tables:
        yield str(getattr(table, "name", "")).lower()
    for each in mapper._props.values():  # mapper.relationships would configure what is not yet
        if isinstance(each, RelationshipProperty):
            yield str(getattr(getattr(each, "secondary", None), "name", "")).lower()


def _owner(mapped: type) -> str | None:
    """Return the library that a class comes from; None where the application has a part in it."""
    files = [getattr(sys.modules.get(each.__module__), "__file__", None) for each in mapped.__mro__]
    if any(is_application(file) for file in files if file is not None) or files[0] is None:
        return None
    return library_of(files[0])
