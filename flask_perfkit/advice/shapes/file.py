"""A file of statement shapes: what ``pytest --perfkit-record`` writes and the advice reads.

It is JSON, so that nothing in it is ever evaluated, and it holds no values.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flask_perfkit.advice.shapes.shape import StatementShape
from flask_perfkit.errors import SetupError

VERSION = 1
_KIND = "flask-perfkit workload"
_LARGEST = 20_000_000
_MOST_STATEMENTS = 5_000
_KINDS: dict[str, tuple[type, ...]] = {
    "sql": (str,),
    "count": (int,),
    "seconds": (int, float),
    "rows": (int,),
    "place": (str,),
}


def write_shapes(path: Path, shapes: Iterable[StatementShape]) -> int:
    """Write shapes, those that took most first, and return how many; an old file is replaced."""
    kept = sorted(shapes, key=lambda one: (-one.seconds, one.sql))[:_MOST_STATEMENTS]
    statements = [{**vars(one), "seconds": round(one.seconds, 6)} for one in kept]
    data = {"file": _KIND, "version": VERSION, "statements": statements}
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    os.replace(new, path)
    return len(kept)


def read_shapes(path: Path) -> list[StatementShape]:
    """Read the shapes of a file.

    :raises SetupError: it is no such file, and what is wrong with it.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise SetupError(f"{path} has more than {_LARGEST:,} bytes: no workload is that large")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SetupError(f"{path} cannot be read as a workload: {error}") from error
    if not isinstance(data, dict) or data.get("file") != _KIND:
        raise SetupError(f"{path} is no workload: pytest --perfkit-record=FILE writes one")
    if data.get("version") != VERSION:
        raise SetupError(
            f"{path} is a workload of version {data.get('version')!r}, and {VERSION} is known: "
            "record it again"
        )
    statements = data.get("statements")
    if not isinstance(statements, list) or len(statements) > _MOST_STATEMENTS:
        raise SetupError(f"{path}: allowed are up to {_MOST_STATEMENTS:,} statements")
    return [_shape(path, number, one) for number, one in enumerate(statements, start=1)]


def _shape(path: Path, number: int, data: Any) -> StatementShape:
    is_whole = isinstance(data, dict) and data.keys() == _KINDS.keys()
    if not is_whole or not all(type(data[name]) in kinds for name, kinds in _KINDS.items()):
        raise SetupError(f"{path}: statement {number} is not as it was written: record it again")
    if data["count"] < 1 or data["seconds"] < 0 or data["rows"] < 0:
        raise SetupError(f"{path}: statement {number} has a negative count: record it again")
    return StatementShape(**data)
