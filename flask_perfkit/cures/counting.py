"""Whether a database works out of a statement's rows what the code does, and how to ask it to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Select

from flask_perfkit.cures.selects import is_tree
from flask_perfkit.recording.issued import Issued
from flask_perfkit.recording.mappers import entities_of

_LOCK = "FOR"


def only_reads(issued: Issued | None, sql: str) -> bool:
    """Tell whether a statement does nothing beside bringing rows, such as locking them.

    :param sql: its shape, which has to do where SQLAlchemy did not make the statement.
    """
    if issued is None or not is_tree(issued.statement):
        return _LOCK not in sql.upper().split()
    return getattr(issued.statement, "_for_update_arg", None) is None


def brings(issued: Issued | None, attribute: str) -> bool:
    """Tell whether an attribute of a statement's rows is the mapped one of that name.

    A label may give the name to anything else, and a text tells nothing.
    """
    if issued is None or _is_reduced(issued.statement):
        return False
    return any(
        annotations.get("proxy_key", attribute) == attribute
        for annotations in map(_annotations, issued.statement._raw_columns)
        if "parententity" in annotations
    )


def asking_for(
    issued: Issued | None, entity: str, columns: Sequence[str], groups: Sequence[str]
) -> str:
    """Return what asks for columns in the place of the rows, as code where it loses nothing.

    :param columns: what is worked out of the rows, as code.
    :param groups: the columns to group by, as code.
    """
    statement = issued.statement if issued is not None else None
    if not isinstance(statement, Select | CompoundSelect):
        return "SELECT count(*) FROM the same statement as a subquery"
    if _is_reduced(statement):
        return "select(func.count()).select_from(statement.subquery())"
    if _has_conditions(statement):
        kept = f"the same select of {', '.join([*groups, *columns])}, without its order and options"
        return f"{kept}, and with {_grouped(groups)}" if groups else kept
    if columns == ["func.count()"] and not groups:
        return f"select(func.count()).select_from({entity})"
    return select_of(columns, groups)


def select_of(columns: Sequence[str], groups: Sequence[str]) -> str:
    """Return the code of a select of columns by groups."""
    return f"select({', '.join([*groups, *columns])}){_grouped(groups)}"


def _grouped(groups: Sequence[str]) -> str:
    return f".group_by({', '.join(groups)})" if groups else ""


def _annotations(column: Any) -> dict[str, Any]:
    return getattr(column, "_annotations", {})


def _is_reduced(statement: Any) -> bool:
    """Tell whether a statement makes other rows of those that its tables have."""
    if not isinstance(statement, Select):
        return True
    private: Any = statement
    return (
        bool(private._distinct or private._group_by_clauses or private._having_criteria)
        or private._limit_clause is not None
    )


def _has_conditions(statement: Any) -> bool:
    """Tell whether a statement says more than that all objects of one class are wanted."""
    entities = list(entities_of(statement))
    return not len(entities) == len(statement._raw_columns) == 1 or bool(
        statement._where_criteria or statement._setup_joins or statement._from_obj
    )
