"""An index as Python code: the arguments of ``op.create_index`` and of ``Index``."""

from __future__ import annotations

from flask_perfkit.advice.index import Index, IndexKey


def columns_code(index: Index, text: str) -> list[str]:
    """Return the keys as code: names of columns, and ``text(...)`` for all else.

    :param text: how ``sqlalchemy.text`` is called where the code goes.
    """
    return [
        repr_of(key.column) if _is_bare(key) and key.column else f"{text}({repr_of(str(key))})"
        for key in index.keys
    ]


def options_code(index: Index, dialect: str, text: str) -> list[str]:
    """Return the keyword arguments as code."""
    options = []
    if index.method != "btree":
        options.append(f"{dialect}_using={repr_of(index.method)}")
    operators = {key.column: key.operators for key in index.keys if key.operators and _is_bare(key)}
    if operators:
        pairs = ", ".join(f"{repr_of(str(one))}: {repr_of(two)}" for one, two in operators.items())
        options.append(f"{dialect}_ops={{{pairs}}}")
    if index.include:
        options.append(f"{dialect}_include=[{', '.join(map(repr_of, index.include))}]")
    if index.where:
        options.append(f"{dialect}_where={text}({repr_of(index.where)})")
    return options


def _is_bare(key: IndexKey) -> bool:
    """Tell whether a key is a column whose direction is the usual one."""
    is_collated = key.operators.startswith("COLLATE ")
    return key.column is not None and not (key.descending or key.nulls_first or is_collated)


def repr_of(text: str) -> str:
    """Return a string as code, in double quotes where it has none itself."""
    return repr(text) if '"' in text or "\\" in text else f'"{text}"'
