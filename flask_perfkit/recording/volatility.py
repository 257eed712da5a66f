"""Whether a statement may give another answer though nothing was written.

A function says so by its name only where it is known; one that is not known may do anything.
The tree of the statement is asked. Of a text, each word before a parenthesis may be a function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ColumnClause, Label, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TableSample

_STABLE_NAMES = """
    abs any array_agg array_length array_position array_remove array_to_string array_upper avg
    bool_and bool_or btrim cardinality cast ceil ceiling char_length character_length coalesce
    concat concat_ws count cume_dist date date_add date_bin date_format date_part date_sub
    date_trunc datediff datetime day dayofmonth decode dense_rank distinct encode every exists
    extract first_value
    floor format glob greatest group_concat grouping hex hour if ifnull iif instr
    json json_agg json_array json_array_length json_build_array json_build_object json_each
    json_extract json_extract_path json_extract_path_text json_group_array json_group_object
    json_object json_object_agg json_query json_type json_valid json_value jsonb_agg
    jsonb_array_elements jsonb_build_object jsonb_object_agg julianday lag last_value lead least
    left len length like ln localtime locate log lower lpad ltrim make_date max md5 min minute
    mod mode month now nth_value ntile nullif nvl octet_length percent_rank percentile_cont
    percentile_disc position pow power printf quarter quote rank regexp_match regexp_replace
    repeat replace reverse right round row_number rpad rtrim second sign some split_part sqrt
    st_area st_contains st_distance st_dwithin st_intersects st_within stddev stddev_pop
    stddev_samp strftime string_agg strpos substr substring sum time to_char to_date to_number
    to_timestamp to_tsquery to_tsvector total trim trunc truncate ts_rank typeof unhex unicode
    unistr unixepoch unnest upper values var_pop var_samp variance week year
"""
_STABLE = frozenset(_STABLE_NAMES.split())
"""Functions of databases that answer alike inside of one transaction."""

_WORD_NAMES = """
    all and array as between by case check distinct else end except filter from group having in
    insert intersect into is join key lateral like materialized not on only or over partition
    recursive returning row select set some then union using values when where with within
    bigint bit char character decimal double float int integer nchar nvarchar numeric real
    smallint text time timestamp varbinary varchar varying
"""
_WORDS = frozenset(_WORD_NAMES.split())
"""Words of SQL and types that may stand before a parenthesis."""

_CALLED = re.compile(r"\b([a-z_][\w$]*)\s*\(", re.IGNORECASE)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`")


def is_volatile(statement: Any, sql: str) -> bool:
    """Tell whether a statement may give another answer though nothing was written.

    :param statement: the statement that was compiled; None for SQL that went to the driver.
    :param sql: its shape.
    """
    if statement is None or isinstance(statement, TextClause):
        return _calls_unknown(sql)
    if getattr(statement, "_for_update_arg", None) is not None:
        return True  # it waits for a lock, and reads what others wrote meanwhile
    return any(map(_may_differ, _elements(statement)))


def _elements(statement: Any) -> Iterator[Any]:
    for element in visitors.iterate(statement):
        yield element
        if isinstance(element, Label):
            yield element.element


def _may_differ(element: Any) -> bool:
    if isinstance(element, FunctionElement):
        name = getattr(element, "name", None)
        return name is not None and name.lower() not in _STABLE
    if isinstance(element, TextClause):
        return _calls_unknown(element.text)
    if isinstance(element, ColumnClause) and element.is_literal:
        return _calls_unknown(element.name)
    return isinstance(element, TableSample)


def _calls_unknown(sql: str) -> bool:
    names = {name.lower() for name in _CALLED.findall(_QUOTED.sub("", sql))}
    return not names <= _STABLE | _WORDS
