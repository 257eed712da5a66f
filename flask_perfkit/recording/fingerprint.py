"""Same statement, other values: the shape of a statement and a fingerprint of its values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from sys import getsizeof
from typing import Any, NamedTuple
from uuid import UUID

LONGEST_SHAPE = 4_000
"""Characters of a shape that are kept; statements can be megabytes long."""

LONGEST_READ = 50_000
"""Characters of a statement that are read token by token; the rest is hashed as a whole."""

WRITES = ("INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE")

_WHOLE = frozenset(
    {str, bytes, int, float, bool, type(None), date, datetime, time, timedelta, Decimal, UUID}
)
"""Types whose values hold nothing beside themselves."""

LARGEST_KEPT = 10_000
"""Bytes of one set of parameters that are kept until the request is over."""

_MOST_KEPT = 1_000
_LONGEST_KEPT = 10_000

_CAST = r"(?:::[\w ]+(?:\([^()]*\))?(?:\[\])*)?"
_PLACEHOLDER = r"(?:\?|%\(\w+\)s|%s|(?<![:\w]):\w+|(?<!\w)\$\d+)"
_NAME = r"(?<![\w.])(?:[A-Za-z_]\w*+|\"[^\"]*+\"|`[^`]*+`)(?:\.(?:\w++|\"[^\"]*+\"|`[^`]*+`))*+"
_TOKENS = re.compile(
    rf"""
    (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<placeholder> {_PLACEHOLDER} )
  | (?P<operator> \b(?:LIMIT|OFFSET|VALUES)\b )
  | (?: (?P<column> {_NAME} ) \s*+ (?:\bNOT\s+)? )?
    (?P<comparison> <= | >= | <> | != | = | < | > | \b(?:LIKE|ILIKE|IN|BETWEEN)\b )
  | (?P<name> "(?:[^"]|"")*" | `[^`]*` )
  | \b[eE]'(?:[^'\\]|\\.|'')*'
  | (?<=\bESCAPE\ )'\\'
  | '(?:[^'\\]|''|\\(?!'))*\\'.*  # MySQL goes on after \', others end: it is safe to go on
  | (?P<open> '(?:[^']|'')*'(?=\w) | '(?:[^']|'')*\Z )
  | (?:\b[nNxXbB])?'(?:[^']|'')*'
  | (?<!\w)\$(?P<tag>\w*)\$(?: .*?\$(?-i:(?P=tag))\$ | (?P<endless>) )
  | (?<![\w$.])(?:0[xbo][\da-f_]+|\d[\d_]*(?:\.[\d_]*)?(?:e[+-]?\d+)?|\.\d+)(?!\w)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_LIST = rf"\?{_CAST}(?:\s*,\s*\?{_CAST})*"
_IN = re.compile(
    rf"\bIN\s*\(\s*(?:VALUES\s*)?((?:\({_LIST}\)|{_LIST})(?:\s*,\s*\({_LIST}\))*)\s*\)",
    re.IGNORECASE,
)
_CUT_IN = re.compile(r"\bIN\s*\([^()]*\Z", re.IGNORECASE)
_ANY_QUOTE = re.compile(r"'|\$\w*\$")
_ROW = r"\((?:[^()]|\([^()]*\))*\)"
_ROWS = re.compile(rf"\b(VALUES\s*{_ROW})(?:\s*,\s*{_ROW})+", re.IGNORECASE)
_SIGN = re.compile(r"([=<>(,]\s*|\b(?:SELECT|BETWEEN|AND|THEN|ELSE)\s+)[-+]\s*\?", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_FIRST_WORD = re.compile(r"(?:[\s(]|--[^\n]*\n|/\*.*?\*/)*+(\w+)", re.DOTALL)
_WRITE = re.compile(
    rf"(?<!\bFOR )(?<!\bKEY )(?<!\bDO )\b({'|'.join(WRITES)})\s+[\w\"`]", re.IGNORECASE
)
_COMPARED_AFTER = re.compile(
    rf"{_CAST}\s*(?P<operator>[<>]=?|=)\s*(?P<column>{_NAME})(?!\s*\()", re.IGNORECASE
)
_TURNED = {"=": "=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_LONGEST_GAP = 100
_BARE = ("?", "%s")


class Comparison(NamedTuple):
    """What a value is compared with: ``documents.user_id`` and ``=``; either may be empty."""

    column: str
    operator: str


class Shape(NamedTuple):
    """A statement without its values.

    ``text`` has no comments, a placeholder for each literal, ``IN`` lists and rows of
    ``VALUES`` folded; ``keys`` is the length of the longest ``IN`` list. ``literals`` are
    hashes of the values that stood in the text. ``compared`` tells for each placeholder what
    it is compared with, ``literals_compared`` for each literal.
    """

    text: str
    keys: int
    literals: tuple[int, ...]
    compared: tuple[Comparison, ...]
    literals_compared: tuple[Comparison, ...]


_shapes: dict[str, Shape] = {}


def shape_of(sql: str) -> Shape:
    """Return the shape of a statement; the result is remembered, within bounds."""
    known = _shapes.get(sql)
    if known is not None:
        return known
    shape = _shape_of(sql)
    if len(sql) <= _LONGEST_KEPT:
        if len(_shapes) >= _MOST_KEPT:
            _shapes.clear()
        _shapes[sql] = shape
    return shape


class _Unpaired(Exception):
    """A quote that has no end: what is inside of quotes cannot be told."""


def _shape_of(sql: str) -> Shape:
    begin = sql[:LONGEST_READ]
    try:
        shape = _read(begin)
    except _Unpaired:
        # A faulty statement, or one that was cut: it is told by what stands before the first.
        shape = _read(_ANY_QUOTE.split(begin, maxsplit=1)[0] + "?")
    if len(begin) == len(sql):
        return shape
    rest = sql[LONGEST_READ:]
    return shape._replace(
        text=_CUT_IN.sub("IN (...)", shape.text),
        keys=max(shape.keys, shape.text.count("?") + rest.count(",")),
        literals=(*shape.literals, hash(rest)),
    )


def _read(sql: str) -> Shape:
    literals: list[int] = []
    literals_compared: list[Comparison] = []
    compared: dict[object, Comparison] = {}
    comparison = Comparison("", "")
    values_end = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal comparison, values_end
        token = match[0]
        between = sql[values_end : min(match.start(), values_end + _LONGEST_GAP)]
        among_values = not between.strip(" \n\t(),-+")
        if operator := match["operator"] or match["comparison"]:
            comparison = Comparison(match["column"] or "", operator.upper())
            values_end = match.end()
            return token
        if match["name"] and (not among_values or sql.startswith(".", match.end())):
            return token
        if among_values:
            values_end = match.end()
        if match["placeholder"]:
            # A name that comes again is one value, a bare mark is the next one.
            mark = len(compared) if token in _BARE else token
            compared.setdefault(mark, _turned(sql, match.end()) or comparison)
            return "?"
        if match["comment"]:
            return " "
        if match["open"] is not None or match["endless"] is not None:
            raise _Unpaired
        literals.append(hash(token))
        literals_compared.append(comparison)
        return "?"

    text = _SIGN.sub(r"\1?", _TOKENS.sub(replace, sql))
    keys = max(map(_members, _IN.findall(text)), default=0)
    text = _ROWS.sub(r"\1, ...", _IN.sub("IN (...)", text))
    text = _SPACE.sub(" ", text).strip()[:LONGEST_SHAPE]
    return Shape(text, keys, tuple(literals), tuple(compared.values()), tuple(literals_compared))


def _turned(sql: str, position: int) -> Comparison | None:
    """Return the comparison of a value that stands before it, as in ``? = posts.user_id``."""
    match = _COMPARED_AFTER.match(sql, position)
    return Comparison(match["column"], _TURNED[match["operator"]]) if match else None


def _members(members: str) -> int:
    return members.count("(") if members.startswith("(") else members.count(",") + 1


def operation_of(sql: str) -> str:
    """Return the first word of a statement, the write where named queries come before one."""
    match = _FIRST_WORD.match(sql)
    word = match[1].upper() if match else ""
    if word == "WITH":
        writes = {write.upper() for write in _WRITE.findall(sql)}
        return next((write for write in WRITES if write in writes), "SELECT")
    return word


def bounded(parameters: Any) -> Any:
    """Return parameters as they are; if they take much memory, numbers that stand for them."""
    values = parameters.values() if type(parameters) is dict else parameters
    # Nearly all hold nothing beside themselves: a few calls into C tell.
    size = getsizeof if _WHOLE.issuperset(map(type, values)) else _size
    if sum(map(size, values)) <= LARGEST_KEPT:
        return parameters
    marks = marks_of(tuple(values))
    return dict(zip(parameters, marks, strict=True)) if type(parameters) is dict else marks


def _size(value: Any) -> int:
    """Return the bytes that a value takes; one that may hold anything is taken for too large."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    if isinstance(value, list | tuple | set):
        return sum(map(_size, value))
    if isinstance(value, str | bytes | bytearray | int | float) or type(value) in _WHOLE:
        return getsizeof(value)
    return LARGEST_KEPT + 1


def in_rows(parameters: Sequence[Any]) -> list[Any]:
    """Return sets of parameters, as the driver got them, each as a row in one order."""
    if None in parameters:  # those of writes and of failed executions are not kept
        kept = [each for each in parameters if each is not None]
        return in_rows(kept) if kept else [()] * len(parameters)
    if isinstance(parameters[0], dict):
        return list(map(tuple, map(dict.values, parameters)))
    return list(parameters)


def fingerprints(rows: Sequence[Any], literals: tuple[int, ...]) -> Iterable[int]:
    """Return one number for each set of parameters: equal sets, equal numbers.

    The numbers hold for this process only, and no value can be read from them.
    """
    try:
        marks = list(map(hash, rows))
    except TypeError:
        marks = [hash(repr(row)) for row in rows]
    return [hash((literals, mark)) for mark in marks] if literals else marks


def marks_of(row: Sequence[Any]) -> tuple[int, ...]:
    """Return one number for each value of a set of parameters, as :func:`fingerprints` does."""
    try:
        return tuple(map(hash, row))
    except TypeError:
        return tuple(hash(repr(value)) for value in row)


def differing(rows: Sequence[Any]) -> set[int]:
    """Return the places of the values that are not the same in all sets of parameters."""
    return {place for place, column in enumerate(zip(*rows, strict=False)) if _differs(column)}


def moving(rows: Sequence[Any], shape: Shape) -> dict[Comparison, bool]:
    """Return what those parameters are compared with that differ between executions.

    With each comes whether its values go one way only, up or down.
    """
    found: dict[Comparison, bool] = {}
    for comparison, column in zip(shape.compared, zip(*rows, strict=False), strict=False):
        if _differs(column):
            # Of "(day, id) < (?, ?)" the first goes one way, the others begin anew.
            found[comparison] = found.get(comparison, False) or _goes_one_way(column)
    return found


def _goes_one_way(column: tuple[Any, ...]) -> bool:
    try:
        ordered = sorted(column)
        return list(column) in (ordered, ordered[::-1])
    except (TypeError, ValueError):
        return True  # such as a value and None, or arrays: nothing speaks against it


def _differs(column: tuple[Any, ...]) -> bool:
    try:
        return len(set(column)) > 1
    except TypeError:
        return len(set(map(repr, column))) > 1
