"""What code does with the rows of a statement, read from the function that asked for them.

The call that sent the statement is found by its place in the source, which the code object
knows to the column. What is said of it is certain: each use of the rows is looked at, and where
one is not understood, the rows are used.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from flask_perfkit.detectors.sources import Source, source_of
from flask_perfkit.recording.callsite import Span

_AGGREGATES = {"len": "count", "sum": "sum", "max": "max", "min": "min"}
_ROWS_OF = ("all", "execute", "fetchall", "scalars")
_STILL_ROWS = ("all", "fetchall", "scalars")
_LISTS = ("list", "tuple")
_ALL_NAMES = ("locals", "vars", "eval", "exec")

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
_Comprehension = ast.GeneratorExp | ast.ListComp


class Aggregate(NamedTuple):
    """A function of SQL that gives what the code works out.

    ``attribute`` is what it works on, None where rows are counted; ``by`` the attribute whose
    values the rows are grouped by, if they are.
    """

    function: str
    attribute: str | None = None
    by: str | None = None


@lru_cache(maxsize=500)
def aggregates_of(filename: str, span: Span) -> tuple[Aggregate, ...]:
    """Return what the rows asked for at a place are aggregated to; nothing where they are used."""
    source = source_of(filename)
    if source is None:
        return ()
    code = _Code(source, span)
    return tuple(dict.fromkeys(code.aggregates())) if code.asked is not None else ()


@lru_cache(maxsize=500)
def are_held(filename: str, span: Span) -> bool:
    """Tell whether a variable holds the rows asked for at a place, and so their objects."""
    source = source_of(filename)
    code = _Code(source, span) if source is not None else None
    return code is None or code.asked is None or code.are_held()


class _Used(Exception):
    """The rows are used for more than a number."""


class _Code:
    """The function around a place, and the expression there that asked for rows."""

    def __init__(self, source: Source, span: Span) -> None:
        self.function = _function_around(source, span)
        self.parents = {
            child: node for node in ast.walk(self.function) for child in ast.iter_child_nodes(node)
        }
        self.rebound = source.bound
        self.asked = _expression_at(self.function, span)
        self.iterated = span.iterated

    def aggregates(self) -> list[Aggregate]:
        """Return every aggregate that is made of the rows, if nothing else is."""
        assert self.asked is not None
        try:
            return list(self._uses(self._rows(self.asked)))
        except _Used:
            return []

    def are_held(self) -> bool:
        """Tell whether a variable holds the rows."""
        assert self.asked is not None
        try:
            return self._holder(self._rows(self.asked)) is not None
        except _Used:
            return True

    def _holder(self, rows: ast.expr) -> ast.Assign | ast.AnnAssign | None:
        parent = self.parents.get(rows)
        if isinstance(parent, ast.Assign | ast.AnnAssign) and parent.value is rows:
            return parent
        return None

    def _rows(self, asked: ast.expr) -> ast.expr:
        """Return the outermost expression that is still these rows, each of them once."""
        if self.iterated:
            # Of a comprehension, Python names the whole.
            return asked.generators[0].iter if isinstance(asked, _Comprehension) else asked
        if isinstance(asked, ast.Call) and not self._gives_rows(asked):
            raise _Used
        node = asked
        while True:
            parent = self.parents.get(node)
            if isinstance(parent, ast.Await):
                node = parent
            elif isinstance(parent, ast.Attribute) and parent.attr in _STILL_ROWS:
                call = self.parents.get(parent)
                if not isinstance(call, ast.Call) or call.args or call.keywords:
                    raise _Used
                node = call
            elif isinstance(parent, ast.Call) and self._calls(parent, _LISTS):
                node = parent
            else:
                return node

    def _gives_rows(self, call: ast.Call) -> bool:
        if isinstance(call.func, ast.Attribute):
            return call.func.attr in _ROWS_OF
        return self._calls(call, _LISTS)

    def _calls(self, call: ast.Call, names: tuple[str, ...]) -> bool:
        """Tell whether a call of one argument is one of Python's own functions."""
        return (
            isinstance(call.func, ast.Name)
            and call.func.id in names
            and call.func.id not in self.rebound
            and len(call.args) == 1
            and not call.keywords
        )

    def _uses(self, rows: ast.expr) -> Iterator[Aggregate]:
        holder = self._holder(rows)
        if holder is not None:
            yield from self._of_variable(holder)
        else:
            yield from self._use(rows)

    def _of_variable(self, assignment: ast.Assign | ast.AnnAssign) -> Iterator[Aggregate]:
        targets = assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]
        if len(targets) != 1 or not isinstance(targets[0], ast.Name):
            raise _Used
        if isinstance(self.function, ast.Module):
            raise _Used  # other modules may have it too
        if any(map(_reads_all_names, ast.walk(self.function))):
            raise _Used
        target = targets[0]
        found: list[Aggregate] = []
        for node in ast.walk(self.function):
            if isinstance(node, ast.Name) and node.id == target.id and node is not target:
                if isinstance(node.ctx, ast.Load) and self._tests(node):
                    continue
                found += self._use(node)
            elif isinstance(node, ast.Global | ast.Nonlocal) and target.id in node.names:
                raise _Used
        yield from found

    def _tests(self, name: ast.Name) -> bool:
        """Tell whether it is only asked whether there are rows."""
        parent = self.parents.get(name)
        if isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not):
            return True
        return isinstance(parent, ast.If | ast.IfExp) and parent.test is name

    def _use(self, rows: ast.expr) -> Iterator[Aggregate]:
        parent = self.parents.get(rows)
        if isinstance(parent, ast.Call) and rows in parent.args:
            if not self._calls(parent, ("len",)):
                raise _Used
            yield Aggregate("count")
        elif isinstance(parent, ast.comprehension) and parent.iter is rows:
            yield self._of_comprehension(parent)
        elif isinstance(parent, ast.For) and parent.iter is rows:
            yield from self._of_loop(parent)
        else:
            raise _Used

    def _of_comprehension(self, part: ast.comprehension) -> Aggregate:
        whole = self.parents.get(part)
        if not isinstance(whole, _Comprehension) or len(whole.generators) > 1 or part.ifs:
            raise _Used
        call = self.parents.get(whole)
        if not isinstance(call, ast.Call) or not self._calls(call, tuple(_AGGREGATES)):
            raise _Used
        assert isinstance(call.func, ast.Name)
        function = _AGGREGATES[call.func.id]
        if function == "count" or (function == "sum" and _is_one(whole.elt)):
            if any(isinstance(node, ast.Call | ast.Attribute) for node in ast.walk(whole.elt)):
                raise _Used
            return Aggregate("count")
        return Aggregate(function, _attribute(whole.elt, part.target))

    def _of_loop(self, loop: ast.For) -> Iterator[Aggregate]:
        """Yield what a loop adds up, if it does nothing else."""
        if loop.orelse or not isinstance(loop.target, ast.Name):
            raise _Used
        if self._reads_elsewhere(loop.target.id, loop):
            raise _Used
        for statement in loop.body:
            if not (isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add)):
                raise _Used
            by = self._group(statement.target, loop.target)
            if _is_one(statement.value):
                yield Aggregate("count", by=by)
            else:
                yield Aggregate("sum", _attribute(statement.value, loop.target), by)

    def _group(self, target: ast.expr, row: ast.Name) -> str | None:
        """Return the attribute of the row that a counter is kept for, None for one number."""
        if isinstance(target, ast.Name) and target.id != row.id:
            return None
        if not isinstance(target, ast.Subscript) or not isinstance(target.value, ast.Name):
            raise _Used
        if isinstance(target.slice, ast.Name) and target.slice.id != row.id:
            return None
        return _attribute(target.slice, row)

    def _reads_elsewhere(self, name: str, loop: ast.For) -> bool:
        """Tell whether the last row is read after the loop."""
        inside = set(ast.walk(loop))
        return any(
            isinstance(node, ast.Name) and node.id == name and node not in inside
            for node in ast.walk(self.function)
            if not self._binds_anew(node, name)
        )

    def _binds_anew(self, node: ast.AST, name: str) -> bool:
        """Tell whether a name lies in another loop or comprehension that gives it a value."""
        while (parent := self.parents.get(node)) is not None:
            node = parent
            targets = (
                [node.target]
                if isinstance(node, ast.For)
                else [each.target for each in getattr(node, "generators", ())]
            )
            if any(isinstance(each, ast.Name) and each.id == name for each in targets):
                return True
        return False


def _function_around(source: Source, span: Span) -> _Function:
    """Return the innermost function that a place lies in."""
    found: _Function = source.module
    for node in source.around(span.lineno):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _contains(node, span):
            found = node
    return found


def _expression_at(function: _Function, span: Span) -> ast.expr | None:
    """Return the innermost expression that ends where a place ends and holds all of it.

    Where a chain of calls takes several lines, the place of a call begins at its own name only.
    """
    end = (span.end_lineno, span.end_column)
    found = None
    for node in ast.walk(function):
        if (
            isinstance(node, ast.expr)
            and (node.end_lineno, node.end_col_offset) == end
            and _contains(node, span)
        ):
            found = node
    return found


def _contains(node: ast.stmt | ast.expr, span: Span) -> bool:
    begins = (node.lineno, node.col_offset) <= (span.lineno, span.column)
    ends = (node.end_lineno or 0, node.end_col_offset or 0)
    return begins and (span.end_lineno, span.end_column) <= ends


def _reads_all_names(node: ast.AST) -> bool:
    """Tell whether variables are read that are not named, as in ``render(**locals())``."""
    return isinstance(node, ast.Name) and node.id in _ALL_NAMES


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1 and type(node.value) is int


def _attribute(node: ast.expr, row: ast.expr) -> str:
    """Return the attribute of the row that an expression is."""
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and isinstance(row, ast.Name)
        and node.value.id == row.id
    ):
        return node.attr
    raise _Used
