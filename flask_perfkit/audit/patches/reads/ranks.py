"""The first rows of each key, numbered by a window, in the place of one LIMIT for each."""

from __future__ import annotations

from collections.abc import Callable

from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.reads.answers import Answer
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.keys import Keyed, dialects

_NUMBERS_ROWS = {"sqlite", "postgresql"}
_OUTER = "\n    "


def first_of_each(
    asked: Asked,
    split: Keyed,
    selected: str,
    new_name: Callable[[str], str],
    *,
    of: str | None,
    limit: str,
    is_one: bool,
) -> Answer:
    """Return the first rows of each key.

    :param of: the noun of the objects that are selected, if they are objects.
    :param limit: how many, as code; ``is_one`` says that only the first one is asked for.
    :raises Refusal: they cannot be numbered.
    """
    if not dialects() <= _NUMBERS_ROWS:
        raise Refusal("this database may not number the rows of each key")
    if len(split.keys) != 1 or asked.names & {"options", "distinct"}:
        raise Refusal("the first rows of each key have more to it")
    if "with_for_update" in asked.names:
        raise Refusal("numbered rows cannot be locked")
    (key,) = split.keys
    ranked, order = new_name("ranked"), _order(split)
    number = f"func.row_number().over(partition_by={key.code}, order_by={order})"
    shown = selected if of else f'{selected}.label("value")'
    columns = [f'{key.code}.label("key")', shown, f'{number}.label("place")']
    of_rows = f",{_OUTER}    ".join(columns)
    session = asked.session or f"{asked.query}.session"
    source = asked.select
    first = new_name(f"first_{of}s") if of else ""
    found = f"{ranked}.c.key, {first or f'{ranked}.c.value'}"

    def before(keys: str) -> list[str]:
        steps = split.written(keys, _OUTER, without=frozenset({"order_by"}))
        statement = f"{source}({_OUTER}    {of_rows}{_OUTER}){steps}{_OUTER}.subquery()"
        lines = [f"{ranked} = ({_OUTER}{statement}\n)"]
        return [*lines, f"{first} = aliased({selected}, {ranked})"] if first else lines

    def asking(_keys: str, between: str) -> str:
        steps = (f".where({ranked}.c.place <= {limit})", f".order_by({ranked}.c.place)")
        statement = between.join((f"{source}({found})", *steps))
        return f"{session}.execute({between}{statement}{between[:-4]})"

    imports = [("sqlalchemy", "func"), ("sqlalchemy", "select")]
    imports += [("sqlalchemy.orm", "aliased")] if first else []
    keeps, missing = ("each", "") if is_one else ("all", "()")
    row = ["key", "value"]
    return Answer("found", asking, row, "key", "value", keeps, missing, before, imports)


def _order(split: Keyed) -> str:
    (order,) = [code for name, code in split.steps if name == "order_by"]
    inner = order.removeprefix(".order_by(").removesuffix(")")
    return f"[{inner}]" if "," in inner else inner
