"""An import is put among those that a file has, in the way that the file is written."""

from __future__ import annotations

from types import ModuleType

import libcst as cst
import pytest

from flask_perfkit.audit.patches.code.imports import with_imports


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from sqlalchemy import select", "from sqlalchemy import func, select"),
        (
            "from sqlalchemy import (\n    select,\n)",
            "from sqlalchemy import (\n    func,\n    select,\n)",
        ),
        (
            "from sqlalchemy import (\n    delete,  # rows\n    exists,  # one\n)",
            "from sqlalchemy import (\n    delete,  # rows\n    exists,  # one\n    func,\n)",
        ),
        (
            "from sqlalchemy import (delete,\n                        exists)",
            (
                "from sqlalchemy import (delete,\n                        exists,\n"
                "                        func)"
            ),
        ),
    ],
    ids=["one line", "one name", "comments", "aligned"],
)
def test_a_name_is_written_as_its_neighbours_are(before: str, after: str) -> None:
    made = with_imports(cst.parse_module(before), ModuleType("views"), [("sqlalchemy", "func")])
    assert made.code == after
