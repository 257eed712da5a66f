"""Gives trees to the statements that an application sends as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask_perfkit.advice.shapes.databases import databases_of
from flask_perfkit.advice.shapes.expressions import Unreadable
from flask_perfkit.advice.shapes.reading import read
from flask_perfkit.advice.workload import RecordedStatement, database_of
from flask_perfkit.errors import ExtraMissing
from flask_perfkit.recording.fingerprint import shape_of

if TYPE_CHECKING:
    from flask import Flask


def read_texts(app: Flask, statements: Iterable[RecordedStatement]) -> list[str]:
    """Read what was sent as text with the models' tables, and return what is to be said of it."""
    texts = [one for one in statements if one.is_text]
    known = databases_of(app) if texts else ()
    metadatas = {database_of(engine): metadata for engine, metadata in known}
    missing = ""
    for one in texts:
        metadata = metadatas.get(database_of(one.engine))
        if metadata is None:
            continue
        try:
            shape, dialect = shape_of(one.sql), one.engine.dialect.name
            one.parsed = read(shape.text, metadata, dialect).tree
        except ExtraMissing as error:
            missing = f": {error}"
        except Unreadable:
            continue
    unread = sum(one.parsed is None for one in texts)
    if not unread:
        return []
    plural = "s" if unread > 1 else ""
    return [f"{unread} statement{plural} sent as text could not be read and got no index{missing}"]
