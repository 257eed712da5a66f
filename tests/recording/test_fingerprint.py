from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from archive import Document, User
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import selectinload

from flask_perfkit.recording.fingerprint import (
    LONGEST_SHAPE,
    Comparison,
    fingerprints,
    in_rows,
    moving,
    operation_of,
    shape_of,
)


def text_of(sql: str) -> str:
    return shape_of(sql).text


# Literals, each with what must not be seen of it


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def escaped(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def dollar_quoted(tag: str, text: str) -> str:
    return f"${tag}${text}${tag}$"


# Everything that means something to a lexer stands in the text of literals.
texts = st.lists(
    st.sampled_from(
        ["secret", "hunter2", "''", "'", '"', "`", "--", "/*", "*/", "?", "%s", ":x", "$1", "$$",
         "\n", " ", "(", ")", ",", ".", "=", "IN (", "VALUES (", "E", "é", "0", "x=1", ";", "#"]
    ),
    max_size=8,
).map("".join)  # fmt: skip
strings = texts.map(quoted)
escapes = st.tuples(texts, st.sampled_from(["", "\\"])).map(lambda parts: escaped("".join(parts)))
dollars = st.tuples(
    st.sampled_from(["", "a", "body", "é"]), texts.map(lambda t: t.replace("$", ""))
).map(lambda parts: dollar_quoted(*parts))
prefixed = st.tuples(st.sampled_from("nNxXbB"), texts.map(quoted)).map("".join)
numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["0x1F", "0b101", "0o17", "1_000_000", "1e10", "1.5E-3", ".5", "5."]),
).map(str)
literals = st.one_of(strings, escapes, dollars, prefixed, numbers)

PLACES = [
    "SELECT * FROM t WHERE a = {} AND b = ?",
    "SELECT * FROM t WHERE a={}\nORDER BY b",
    "SELECT * FROM t WHERE t.a <> {} OR ({} < b)",
    'SELECT {} AS x, "col""umn", `tick` FROM t1',
    "SELECT * FROM t WHERE a IN ({}, {}) LIMIT 3",
    "INSERT INTO t (a, b) VALUES ({}, {})",
    "UPDATE t SET a = {}, b = {} WHERE id = %(id)s",
    'SELECT f({}, g({})) FROM "it\'s" WHERE a BETWEEN {} AND {}',
    "SELECT a -- it's {}\nFROM t /* it's */ WHERE a = {}",
]


@given(place=st.sampled_from(PLACES), data=st.data())
@settings(deadline=None, max_examples=300)
def test_a_literal_has_the_shape_of_a_placeholder(place: str, data: st.DataObject) -> None:
    values = [data.draw(literals) for _ in range(place.count("{}"))]
    comment = place.partition("\n")[0].find("--")
    if 0 <= comment < place.find("{}"):
        values[0] = values[0].replace("\n", " ")
    marks = ["?"] * len(values)
    assert text_of(place.format(*values)) == text_of(place.format(*marks))


@given(place=st.sampled_from(PLACES[:-1]), data=st.data())
@settings(deadline=None)
def test_a_literal_never_survives(place: str, data: st.DataObject) -> None:
    secret = "Zq8secretZq8"
    filler = data.draw(texts)
    kinds = [quoted, escaped, lambda text: dollar_quoted("t", text.replace("$", ""))]
    write = data.draw(st.sampled_from(kinds))
    values = [write(f"{filler}{secret}{filler}")] * place.count("{}")
    assert secret not in repr(shape_of(place.format(*values)))


def test_other_literals_are_told_apart_by_their_fingerprint() -> None:
    one, two = shape_of("SELECT 1 WHERE a = 'x'"), shape_of("SELECT 1 WHERE a = 'y'")
    assert one.text == two.text
    assert one.literals != two.literals
    assert one.literals == shape_of("SELECT 1 WHERE a = 'x' ").literals


@pytest.mark.parametrize("sign", ["-", "+", "- ", " -"])
def test_a_signed_number_is_one_literal(sign: str) -> None:
    assert text_of(f"SELECT * FROM t WHERE a = {sign}5") == "SELECT * FROM t WHERE a = ?"
    assert shape_of(f"SELECT * FROM t WHERE a IN (1, {sign}5)").keys == 2
    assert text_of(f"SELECT * FROM t WHERE a BETWEEN {sign}5 AND {sign}1") == (
        "SELECT * FROM t WHERE a BETWEEN ? AND ?"
    )


def test_a_difference_is_no_sign() -> None:
    assert text_of("SELECT a - 5, a -5, a-5 FROM t") == "SELECT a - ?, a -?, a-? FROM t"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT col1, t2.c3, \"c 4\", `c5`, é6 FROM t1_2 AS x7",
        "SELECT numeric_8, $1, x$9 FROM schema1.table2",
        "SELECT \"it's\" FROM t",
        "SELECT \"a\" FROM \"t\" JOIN \"u\" ON \"t\".\"id\" = \"u\".\"t_id\"",
        "INSERT INTO \"t\" (\"a\") VALUES (?) RETURNING \"id\"",
        "SELECT 1::int" .replace("1", "a"),
    ],
)  # fmt: skip
def test_names_stay_as_they_are(sql: str) -> None:
    assert text_of(sql) == sql.replace("$1", "?")


# Statements that databases read in different ways


@pytest.mark.parametrize(
    "sql",
    [
        r"SELECT * FROM t WHERE a = 'O\'secret' AND b = 'secret'",
        r"SELECT * FROM t WHERE a = 'x\'secret' AND b = 'y\'secret'",
        r"SELECT * FROM t WHERE a = 'C:\' AND b = 'secret'",
        r"SELECT * FROM t WHERE a = 'x\\' AND b = 'secret'",
        "SELECT * FROM t WHERE a = \"secret\"",
        "SELECT * FROM t WHERE a LIKE \"%secret%\" AND b = 1",
        "SELECT * FROM t WHERE a IN (1, \"secret\", \"secret too\")",
        "INSERT INTO t (a, b) VALUES (1, \"secret\"), (2, \"secret\")",
        "SELECT * FROM t WHERE a = 'O'secret' OR b = 1",
        "SELECT 'secret",
        "SELECT * FROM t WHERE a = 'it's secret' AND b = 'x'",
        "SELECT * FROM t WHERE a = 'it's secret",
    ],
)  # fmt: skip
def test_a_literal_of_another_dialect_or_a_faulty_one_does_not_survive(sql: str) -> None:
    assert "secret" not in text_of(sql)
    assert text_of(sql).startswith(sql[:12].replace("'", "?")[:7])


def test_a_backslash_as_escape_character_ends_nothing() -> None:
    sql = r"SELECT * FROM t WHERE a LIKE ? ESCAPE '\' AND b = ?"
    assert text_of(sql) == "SELECT * FROM t WHERE a LIKE ? ESCAPE ? AND b = ?"


def test_tags_of_dollar_quotes_are_told_apart_by_case() -> None:
    assert text_of("SELECT $A$ one $a$ secret $A$ FROM t") == "SELECT ? FROM t"


# Comments and white space


@given(
    comment=texts.map(lambda text: text.replace("*/", "")).filter(
        lambda text: not text.endswith("*")
    ),
    line=texts.map(lambda text: text.replace("\n", "")),
)
@settings(deadline=None)
def test_comments_and_layout_change_nothing(comment: str, line: str) -> None:
    plain = shape_of("SELECT a FROM t WHERE b = 5 AND c IN (1, 2)")
    noted = shape_of(
        f"/*{comment}*/ SELECT a\n\n FROM t --{line}\n\tWHERE b = 5 AND /*{comment}*/ c IN (1,2)"
    )
    assert noted == plain


def test_a_comment_mark_in_a_string_is_no_comment() -> None:
    assert text_of("SELECT '--', '/*' FROM t") == "SELECT ?, ? FROM t"


# Lists and rows


@given(st.integers(1, 40), st.sampled_from(["?", "%s", "$1", ":a", "%(a)s::INTEGER", "'x'", "7"]))
@settings(deadline=None)
def test_an_in_list_is_one_shape_with_its_length(members: int, mark: str) -> None:
    shape = shape_of(f"SELECT a FROM t WHERE b IN ({', '.join([mark] * members)}) AND c = 1")
    assert shape.text == "SELECT a FROM t WHERE b IN (...) AND c = ?"
    assert shape.keys == members


def test_an_in_list_of_pairs_is_one_shape() -> None:
    two = shape_of("SELECT a FROM t WHERE (b, c) IN ((?, ?), (?, ?))")
    three = shape_of("SELECT a FROM t WHERE (b, c) IN ((?, ?), (?, ?), (?, ?))")
    assert (two.text, two.keys) == ("SELECT a FROM t WHERE (b, c) IN (...)", 2)
    assert (three.text, three.keys) == (two.text, 3)


def test_the_longest_in_list_counts() -> None:
    assert shape_of("SELECT 1 WHERE a IN (?, ?) AND b NOT IN (?, ?, ?) OR c IN (?)").keys == 3


def test_an_in_with_a_query_is_no_list() -> None:
    sql = "SELECT a FROM t WHERE b IN (SELECT c FROM u WHERE d = ?)"
    assert (text_of(sql), shape_of(sql).keys) == (sql, 0)


@given(st.integers(2, 30), st.sampled_from(["(?, ?)", "('a', now())", "(%s, (1 + 2) * 3)"]))
@settings(deadline=None)
def test_rows_of_values_are_one_shape(rows: int, row: str) -> None:
    text = text_of(f"INSERT INTO t (a, b) VALUES {', '.join([row] * rows)} RETURNING id")
    assert text == text_of(f"INSERT INTO t (a, b) VALUES {row}, {row} RETURNING id")
    assert text.endswith(", ... RETURNING id")


# What SQLAlchemy writes for each database


STATEMENTS: list[sa.Executable] = [
    sa.select(User.name).where(User.id == 7),
    sa.select(Document).where(Document.user_id.in_([1, 2, 3])).order_by(Document.title).limit(5),
    sa.select(Document.id).where(Document.title.like("%x%"), Document.id > 3),
    sa.update(User).where(User.id == 1).values(name="secret"),
    sa.insert(Document).values([{"id": n, "user_id": 1, "title": "secret"} for n in (1, 2)]),
    sa.delete(Document).where(Document.id.between(1, 9)),
    sa.select(sa.func.count()).select_from(User).join(Document).where(User.name == "secret"),
]
DIALECTS = {
    "sqlite": sqlite.dialect(),
    "psycopg": postgresql.psycopg.dialect(),
    "asyncpg": postgresql.asyncpg.dialect(),
    "mysql": mysql.dialect(),
    "named": sqlite.dialect(paramstyle="named"),
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("statement", STATEMENTS, ids=range(len(STATEMENTS)))
def test_parameters_and_literals_have_one_shape_in_every_dialect(statement: Any, name: str) -> None:
    dialect = DIALECTS[name]
    bound = str(statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))
    written = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    without_casts = shape_of(bound).text
    for cast in ("::VARCHAR", "::INTEGER"):
        without_casts = without_casts.replace(cast, "")
    assert without_casts == shape_of(written).text
    assert "secret" not in without_casts


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t WHERE t.b = ? AND c > ? LIMIT ? OFFSET ?",
        "SELECT a FROM t WHERE t.b = %s AND c > %s LIMIT %s OFFSET %s",
        "SELECT a FROM t WHERE t.b = $1 AND c > $2 LIMIT $3 OFFSET $4",
        "SELECT a FROM t WHERE t.b = :b AND c > :c_1 LIMIT :l OFFSET :o",
        "SELECT a FROM t WHERE t.b = %(b)s AND c > %(c)s::INTEGER LIMIT %(l)s OFFSET %(o)s",
    ],
)
def test_placeholders_know_what_they_are_compared_with(sql: str) -> None:
    assert shape_of(sql).compared == (
        Comparison("t.b", "="),
        Comparison("c", ">"),
        Comparison("", "LIMIT"),
        Comparison("", "OFFSET"),
    )


@pytest.mark.parametrize(
    ("condition", "compared"),
    [
        ("t.b NOT IN (?)", ("t.b", "IN")),
        ("b NOT LIKE ?", ("b", "LIKE")),
        ("b = ANY(?)", ("b", "=")),
        ("? < b", ("b", ">")),
        ("? = t.b", ("t.b", "=")),
        ("%(b)s::INTEGER = b", ("b", "=")),
        ("? = coalesce(b)", ("", "")),
        ('"t"."b" >= ?', ('"t"."b"', ">=")),
        ("true ORDER BY b LIMIT ?", ("", "LIMIT")),
    ],
)
def test_a_condition_names_its_column(condition: str, compared: tuple[str, str]) -> None:
    assert shape_of(f"SELECT a FROM t WHERE {condition}").compared == (Comparison(*compared),)


def test_a_named_placeholder_that_comes_twice_is_one_value() -> None:
    shape = shape_of("SELECT a FROM t WHERE b = :x OR c = :x OR d = :y")
    assert shape.compared == (Comparison("b", "="), Comparison("d", "="))


def test_literals_know_what_they_are_compared_with() -> None:
    shape = shape_of('SELECT a FROM t WHERE "t"."b" = 5 AND c LIKE \'x%\'')
    assert shape.literals_compared == (Comparison('"t"."b"', "="), Comparison("c", "LIKE"))


# Bounds


def test_a_shape_is_bounded() -> None:
    shape = shape_of("SELECT " + ", ".join(f"column_{number}" for number in range(100_000)))
    assert len(shape.text) == LONGEST_SHAPE


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t WHERE id IN (" + ", ".join(map(str, range(100_000))) + ")",
        "INSERT INTO t VALUES " + ", ".join(["(1, 'abc')"] * 50_000),
        "SELECT '" + "''" * 200_000,
        "SELECT " + "a." * 200_000,
        "SELECT " + "(" * 200_000,
        '"' * 400_001,
        "SELECT a" + " " * 400_000 + "b",
    ],
    ids=["keys", "rows", "open string", "dots", "parentheses", "quotes", "spaces"],
)
@pytest.mark.timeout(20)  # each takes well below a second; one that backtracks takes hours
def test_a_long_statement_of_any_form_has_a_shape(sql: str) -> None:
    assert len(shape_of(sql).text) <= LONGEST_SHAPE


@given(st.text())
@settings(deadline=None)
def test_no_text_is_too_odd(sql: str) -> None:
    assert shape_of(sql) == shape_of(sql)
    assert len(shape_of(sql).compared) <= len(sql)


# Operations


@pytest.mark.parametrize(
    ("sql", "operation"),
    [
        ("SELECT 1", "SELECT"),
        ("select 1", "SELECT"),
        ("(SELECT 1) UNION (SELECT 2)", "SELECT"),
        ("\n    UPDATE t SET a = 1", "UPDATE"),
        ("INSERT\nINTO t VALUES (1)", "INSERT"),
        ("\tDELETE\tFROM t", "DELETE"),
        ("/* job=7 */ DELETE FROM t", "DELETE"),
        ("-- job 7\nINSERT INTO t VALUES (1)", "INSERT"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "SELECT"),
        ("WITH x AS (SELECT 1) UPDATE t SET a = 1", "UPDATE"),
        ("WITH x AS (SELECT 1)\nDELETE\nFROM t", "DELETE"),
        ("WITH x AS (SELECT 1) SELECT * FROM t FOR UPDATE SKIP LOCKED", "SELECT"),
        ("WITH x AS (SELECT 1) SELECT * FROM t FOR NO KEY UPDATE OF t", "SELECT"),
        ("WITH gone AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM gone", "INSERT"),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1", "INSERT"),
        ("SAVEPOINT sa_savepoint_1", "SAVEPOINT"),
        ("", ""),
    ],
)
def test_the_operation_of_a_statement(sql: str, operation: str) -> None:
    assert operation_of(sql) == operation


# Values


def test_equal_values_have_equal_fingerprints_and_others_other_ones() -> None:
    one, again, two = fingerprints([(1, "a"), (1, "a"), (2, "a")], ())
    assert one == again != two


def test_values_that_cannot_be_hashed_have_fingerprints_too() -> None:
    one, again, two = fingerprints([(1, [1]), (1, [1]), (1, [2])], ())
    assert one == again != two


def test_literals_belong_to_the_fingerprint() -> None:
    (one,), (two,) = fingerprints([()], (1,)), fingerprints([()], (2,))
    assert one != two


@given(st.lists(st.tuples(st.text(min_size=4), st.integers(10**6)), min_size=1))
@settings(deadline=None)
def test_a_fingerprint_shows_no_value(rows: list[tuple[str, int]]) -> None:
    marks = list(fingerprints(rows, ()))
    assert all(isinstance(mark, int) for mark in marks)
    assert not {number for _, number in rows} & set(marks)


def test_parameters_are_rows_in_one_order() -> None:
    assert in_rows([{"a": 1, "b": 2}, {"a": 3, "b": 4}]) == [(1, 2), (3, 4)]
    assert in_rows([(1, 2), (3, 4)]) == [(1, 2), (3, 4)]
    assert in_rows([None, None]) == [(), ()]


@pytest.mark.parametrize(
    "parameters", [[(1,), None, (2,)], [None, (1,), (2,)], [{"a": 1}, None, {"a": 2}]], ids=repr
)
def test_executions_whose_parameters_were_not_kept_are_passed_over(parameters: list[Any]) -> None:
    rows = in_rows(parameters)
    assert rows == [(1,), (2,)]
    assert moving(rows, shape_of("SELECT 1 WHERE a = ?")) == {Comparison("a", "="): True}


def test_what_moves_is_told_by_its_column() -> None:
    shape = shape_of("SELECT a FROM t WHERE b = ? AND c > ? LIMIT ?")
    assert moving([(1, 5, 10), (1, 6, 10)], shape) == {Comparison("c", ">"): True}
    assert moving([(1, [5], 10), (2, [5], 10)], shape) == {Comparison("b", "="): True}
    assert moving([(1, 5, 10)], shape) == {}


@pytest.mark.parametrize(
    ("column", "one_way"), [((1, 2, 3), True), ((3, 2, 2), True), ((1, 3, 2), False)], ids=repr
)
def test_what_moves_one_way_is_told(column: tuple[int, ...], one_way: bool) -> None:
    shape = shape_of("SELECT a FROM t WHERE b > ?")
    assert moving([(value,) for value in column], shape) == {Comparison("b", ">"): one_way}


class Vector:
    """As numpy's arrays: its comparison is no truth value, and it has no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value is ambiguous")

    __ne__ = __lt__ = __eq__  # type: ignore[assignment]


def test_values_that_cannot_be_compared_move() -> None:
    shape = shape_of("SELECT a FROM t WHERE b = ?")
    rows = [(Vector(),), (Vector(),)]
    assert moving(rows, shape) == {Comparison("b", "="): True}
    assert len(list(fingerprints(rows, ()))) == 2


def test_values_that_jump_do_not_go_one_way() -> None:
    shape = shape_of("SELECT a FROM t WHERE (day, id) > (?, ?)")
    assert moving([(1, 5), (1, 9), (2, 1)], shape) == {Comparison("", ">"): True}
    assert moving([(3, 5), (1, 9), (2, 1)], shape) == {Comparison("", ">"): False}


def test_loaders_of_the_orm_have_a_list_of_keys() -> None:
    statement = sa.select(User).options(selectinload(User.documents))
    assert shape_of(str(statement.compile(dialect=sqlite.dialect()))).keys == 0
