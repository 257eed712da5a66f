"""The dependencies that a user names, and a word about those that look mistyped."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from flask_perfkit.cache.entries.dependencies import Dependencies, dependencies
from flask_perfkit.cache.process.log import warn
from flask_perfkit.cache.reads.sessions import declared_tables


def declared(depends_on: Iterable[Any] | Dependencies) -> Dependencies:
    """Turn what a user wrote into token names.

    :raises TypeError: something is neither a table nor a column compared to a value.
    """
    needs = dependencies(depends_on)
    if needs.texts:
        _say_what_looks_mistyped(needs.texts)
    return needs


@lru_cache(maxsize=1024)
def _say_what_looks_mistyped(texts: tuple[str, ...]) -> None:
    """Warn once of a table that nothing declares, where the name of one that is there is near.

    Other tables without a model may well be meant.
    """
    known = declared_tables()
    for table in sorted(set(texts) - known):
        for meant in get_close_matches(table, known, n=1, cutoff=0.8):
            warn(
                "depends_on names the table %s, which no model has: if %s is meant, no commit to "
                "it drops anything until the name is corrected",
                table,
                meant,
            )
