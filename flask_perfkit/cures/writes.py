"""One write for many rows, in the place of one write for each of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Delete, Insert, Update
from sqlalchemy.orm import Mapper

from flask_perfkit.cures.code import Unwritable, code_of
from flask_perfkit.cures.selects import compared_keys, conditions, in_code
from flask_perfkit.recording.issued import Issued
from flask_perfkit.recording.mappers import mapper_of


def write_advice(issued: Issued | None, varying: set[int], operation: str, *, flushed: bool) -> str:
    """Say what writes all rows at once, and keeps what the statement for one row does.

    :param flushed: whether the unit of work sent it, whose events and cascades come along.
    """
    statement = issued.statement if issued is not None else None
    if issued is None or not isinstance(statement, Insert | Update | Delete):
        of_all = {"UPDATE": "update()", "DELETE": "delete()"}.get(operation, "insert()")
        return f"give the statement a list of rows, as {of_all} takes one: execute(statement, rows)"
    name = _name(statement.table)
    if flushed:
        return _after_the_loop(operation, name, mapper_of(statement.table))
    if isinstance(statement, Insert):
        return _insert(statement, name)
    if isinstance(statement, Update):
        return _update(issued, varying, name)
    return _delete(issued, name)


def _after_the_loop(operation: str, name: str, mapper: Mapper[Any] | None) -> str:
    if operation == "INSERT":
        return "collect the objects and session.add_all(objects) with one flush, after the loop"
    if operation == "UPDATE" or mapper is None:
        return (
            "change the objects and flush once after the loop; where no event counts, "
            f"session.execute(update({name}), rows), with the primary key in each row"
        )
    key = in_code([code_of(each) for each in mapper.primary_key], "ids")
    return (
        "delete the objects and flush once after the loop; where neither a cascade nor an event "
        f"counts, session.execute(delete({name}).where({key}))"
    )


def _insert(statement: Any, name: str) -> str:
    if statement.select is not None:
        return "one INSERT from one SELECT of all rows"
    kept = [
        *(["ON CONFLICT"] if statement._post_values_clause is not None else []),
        *(["RETURNING"] if statement._returning else []),
    ]
    if kept:
        return (
            f"session.execute(statement, rows) once, with insert({name}) and its "
            f"{' and '.join(kept)} as the statement, and no values in it"
        )
    return f"session.execute(insert({name}), rows)"


def _update(issued: Issued, varying: set[int], name: str) -> str:
    statement = issued.statement
    names = {issued.parameters[place] for place in varying if place < len(issued.parameters)}
    compared = dict(compared_keys(statement, names))
    keys = list(compared.values())
    mapper = mapper_of(statement.table)
    if keys and names and names == set(compared):
        others = len(list(conditions(statement._where_criteria))) > len(keys)
        rest = ", with its other conditions and values as they are" if others else ""
        return f"session.execute(update({name}).where({_in(keys)}).values(...)){rest}"
    if mapper is not None and _is_key(keys, mapper) and len(keys) == len(statement._where_criteria):
        return (
            f"session.execute(update({name}), rows), with the primary key in each row, which has "
            "to be there"
        )
    return (
        "give the statement all rows at once, with bindparam() for what differs: "
        f"connection.execute(update({name}).where(...).values(...), rows)"
    )


def _delete(issued: Issued, name: str) -> str:
    statement = issued.statement
    keys = [key for _, key in compared_keys(statement, None)]
    if not keys:
        return f"one session.execute(delete({name})) for all rows, with .in_(ids)"
    others = len(list(conditions(statement._where_criteria))) > len(keys)
    rest = ", with its other conditions as they are" if others else ""
    return f"session.execute(delete({name}).where({_in(keys)})){rest}"


def _in(keys: list[Any]) -> str:
    try:
        return in_code([code_of(key) for key in keys], "ids")
    except Unwritable:
        return "key.in_(ids)"


def _is_key(keys: list[Any], mapper: Mapper[Any]) -> bool:
    return {key.key for key in keys} == {each.key for each in mapper.primary_key}


def _name(table: Any) -> str:
    mapper = mapper_of(table)
    return mapper.class_.__name__ if mapper is not None else str(table.name)
