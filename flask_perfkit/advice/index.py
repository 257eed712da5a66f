"""An index that could be: its keys, and how it is written in SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2s
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Table
    from sqlalchemy.engine import Dialect

LONGEST_NAME = 63
"""Bytes of a name that PostgreSQL keeps."""

TRIGRAMS = "gin_trgm_ops"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class IndexKey:
    """A key: ``sql`` is a quoted column or an expression, ``columns`` what it is made of.

    ``operators`` is the operator class, or on SQLite the collation.
    """

    sql: str
    column: str | None
    columns: frozenset[str]
    descending: bool = False
    nulls_first: bool = False
    operators: str = ""

    @property
    def expression(self) -> str:
        """The key without its direction, in brackets where it is no column."""
        return self.sql if self.column is not None else f"({self.sql})"

    @property
    def modifiers(self) -> str:
        """Operator class and direction as SQL, where they are not the usual ones."""
        words = [self.operators] if self.operators else []
        if self.descending:
            words.append("DESC" if self.nulls_first else "DESC NULLS LAST")
        elif self.nulls_first:
            words.append("NULLS FIRST")
        return " ".join(words)

    def __str__(self) -> str:
        return f"{self.expression} {self.modifiers}".rstrip()


@dataclass(frozen=True)
class Index:
    """An index that does not exist yet.

    ``extension`` names what the database must load first, as ``pg_trgm`` for trigrams;
    ``declared`` is the name that the models have for it.
    """

    table: Table
    keys: tuple[IndexKey, ...]
    include: tuple[str, ...] = ()
    where: str | None = None
    method: str = "btree"
    declared: str | None = field(default=None, compare=False)

    @property
    def extension(self) -> str | None:
        """The extension of PostgreSQL that it needs."""
        return "pg_trgm" if any(key.operators == TRIGRAMS for key in self.keys) else None

    @property
    def columns(self) -> frozenset[str]:
        """All columns whose change changes the index."""
        return frozenset(self.include).union(*(key.columns for key in self.keys))

    @cached_property
    def name(self) -> str:
        """``ix_table_columns``, and what sets it apart; with a hash where that is too long."""
        if self.declared is not None:
            return self.declared
        parts = ["ix", self.table.name]
        parts += [key.column or "_".join(_WORD.findall(key.sql)) for key in self.keys]
        parts += [key.modifiers.lower().replace(" ", "_") for key in self.keys if key.modifiers]
        parts += ["include", *self.include] if self.include else []
        parts += ["where", *_WORD.findall(self.where)] if self.where else []
        name = "_".join(parts).lower()
        if len(name.encode()) <= LONGEST_NAME:
            return name
        digest = blake2s(name.encode(), digest_size=4).hexdigest()
        kept = name.encode()[: LONGEST_NAME - len(digest) - 1].decode(errors="ignore")
        return f"{kept.rstrip('_')}_{digest}"

    @property
    def shorter(self) -> tuple[str, ...]:
        """The keys of the shorter indexes whose work it does, as a B-tree that begins alike."""
        if self.method != "btree" or self.where:
            return ()
        return tuple(
            f"({', '.join(map(str, self.keys[:count]))})" for count in range(1, len(self.keys))
        )

    def create(self, dialect: Dialect, *, concurrently: bool = False) -> str:
        """Return the statement that builds it."""
        preparer = dialect.identifier_preparer
        words = ["CREATE INDEX", *(["CONCURRENTLY"] if concurrently else [])]
        words += [preparer.quote(self.name), "ON", preparer.format_table(self.table)]
        return " ".join([*words, self.definition(dialect)])

    def definition(self, dialect: Dialect) -> str:
        """Return what stands behind the table in that statement."""
        words = []
        if self.method != "btree":
            words += ["USING", self.method]
        words.append(f"({', '.join(map(str, self.keys))})")
        if self.include:
            quote = dialect.identifier_preparer.quote
            words.append(f"INCLUDE ({', '.join(map(quote, self.include))})")
        if self.where:
            words.append(f"WHERE {self.where}")
        return " ".join(words)

    def covering(self, columns: tuple[str, ...]) -> Index:
        """Return the same index with further columns, from which rows can be answered alone."""
        return replace(self, include=columns, declared=None)

    def __str__(self) -> str:
        keys = ", ".join(map(str, self.keys))
        include = f" include {', '.join(self.include)}" if self.include else ""
        return f"({keys}){include}{f' where {self.where}' if self.where else ''}"


def schema_and_name(table: Table) -> str:
    """Return the table's name as a report has it."""
    return f"{table.schema}.{table.name}" if table.schema else table.name
