"""What a line asks a database for: a select in its steps, who sends it, how the answer is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst
from sqlalchemy.orm import Mapper

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import mapper_in
from flask_perfkit.audit.patches.code.steps import Step


@dataclass(frozen=True)
class Asked:
    """A select that one expression sends.

    ``node`` is what gives the answer. ``session`` is the code of what sends the select; ``query``
    that of the beginning of a legacy query, ``User.query``. ``use`` is ``"rows"``, ``"value"`` of
    the first row if there is one, ``"only value"`` where a second row is an error, ``"certain
    value"`` where none is one too, ``"count"`` or ``"exists"``. ``select`` is what the select is
    called there. ``gone`` are the lines that only built it. ``children`` is the collection of a
    parent that is asked for, as ``user.posts`` in ``user.posts.select()``.
    """

    node: cst.BaseExpression
    function: cst.FunctionDef | None
    session: str
    query: str | None
    root: Sequence[cst.Arg]
    steps: Sequence[Step]
    use: str
    awaits: bool = False
    select: str = "select"
    gone: tuple[cst.SimpleStatementLine, ...] = ()
    children: cst.Attribute | None = None

    def entity(self, tree: ModuleTree) -> Mapper[Any] | None:
        """Return the mapper of what the select begins with."""
        inner = self.root[0].value if self.root else None
        while isinstance(inner, cst.Call) and inner.args:
            inner = inner.args[0].value
        mapper = mapper_in(tree, inner, self.function) if inner is not None else None
        if mapper is None and (of := next(self.arguments("select_from"), None)) is not None:
            mapper = mapper_in(tree, of, self.function)
        return mapper

    def arguments(self, name: str) -> Iterator[cst.BaseExpression]:
        """Yield what all steps of one name are given by position."""
        for step in self.steps:
            if step.name == name:
                yield from (each.value for each in step.args if each.keyword is None)

    @property
    def names(self) -> set[str]:
        """The names of its steps."""
        return {step.name for step in self.steps}
