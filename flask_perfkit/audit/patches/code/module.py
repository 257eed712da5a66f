"""One module as a tree that can be rewritten: where its nodes stand, and what its names mean."""

from __future__ import annotations

import builtins
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from flask_perfkit.audit.patches.code.imports import from_module, with_imports
from flask_perfkit.audit.patches.code.living import living
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.cures.loaders import Import
from flask_perfkit.recording.callsite import Span, is_application
from flask_perfkit.recording.wording import line

_Children = Mapping[cst.CSTNode, Sequence[cst.CSTNode]]
_Parents = Mapping[cst.CSTNode, cst.CSTNode]

N = TypeVar("N", bound=cst.CSTNode)

Mend = Callable[["ModuleTree"], None]
"""What changes the tree of a file; a Refusal says that it is not sure to keep what is done."""


class ModuleTree:
    """The tree of a module's text.

    Replacements are gathered by node and put in at once, so that every finding of one file sees
    the tree that was read.
    """

    def __init__(self, text: str, module: ModuleType) -> None:
        self._lines = text.split("\n")
        self._tree, self._positions, self._children, self._parents = _parsed(text)
        self.module = module
        self.replacements: dict[cst.CSTNode, Callable[[Any], Any]] = {}
        self.imports: dict[Import, None] = {}
        self.taken: set[str] = set()
        self._imported: dict[str, Any] = {}
        self._put: set[tuple[cst.CSTNode, str]] = set()
        self.loops: dict[cst.CSTNode, object] = {}

    def shown(self, lineno: int) -> str:
        """Return a line of the module for a message: the finding may stand in another file."""
        return line(self.module.__file__ or self.module.__name__, lineno)

    @cached_property
    def methods(self) -> defaultdict[str, list[CodeType]]:
        """The functions of the application by their names, wherever they are."""
        found: defaultdict[str, list[CodeType]] = defaultdict(list)
        for each in living():
            if type(each) is FunctionType and is_application(each.__code__.co_filename):
                found[each.__name__].append(each.__code__)
        return found

    def is_method_of_several(self, name: str) -> bool:
        """Tell whether several functions of the application have a name, one of them a method."""
        codes = self.methods[name]
        several = len({(code.co_filename, code.co_firstlineno) for code in codes}) > 1
        return several and any("." in code.co_qualname for code in codes)

    def note(self, node: cst.CSTNode, code: str) -> bool:
        """Note that code is put at a node; false where it is there by another rewrite."""
        is_new = (node, code) not in self._put
        self._put.add((node, code))
        return is_new

    def around(self, lineno: int, kind: type[N]) -> Iterator[N]:
        """Yield the nodes of a kind that a line lies in, the innermost first."""
        found = []
        for node in self.walk():
            if isinstance(node, kind):
                span = self._positions[node]
                if span.start.line <= lineno <= span.end.line:
                    found.append(node)
        yield from reversed(found)

    def expression_at(self, span: Span) -> cst.BaseExpression | None:
        """Return the innermost expression that ends where a place ends and holds all of it.

        Where a chain of calls takes several lines, the place of a call begins at its own name.
        """
        begin = (span.lineno, self._column(span.lineno, span.column))
        end = (span.end_lineno, self._column(span.end_lineno, span.end_column))
        found = None
        for node in self.walk():
            if isinstance(node, cst.BaseExpression):
                place = self._positions[node]
                ends = (place.end.line, place.end.column) == end
                if ends and (place.start.line, place.start.column) <= begin:
                    found = node
        return found

    def _column(self, lineno: int, in_bytes: int) -> int:
        text = self._lines[lineno - 1] if lineno <= len(self._lines) else ""
        return len(text.encode()[:in_bytes].decode(errors="ignore"))

    def walk(self, node: cst.CSTNode | None = None) -> Iterator[cst.CSTNode]:
        """Yield a node and all inside of it, the outer ones first."""
        waiting: list[cst.CSTNode] = [node or self._tree]
        while waiting:
            each = waiting.pop()
            yield each
            waiting += reversed(self.children(each))

    def children(self, node: cst.CSTNode) -> Sequence[cst.CSTNode]:
        """Return what a node is made of; libcst works it out anew each time."""
        found = self._children.get(node)
        return node.children if found is None else found

    def first_line(self, node: cst.CSTNode) -> int:
        """Return the line that a node begins at."""
        return int(self._positions[node].start.line)

    def named_line(self, node: cst.CSTNode) -> int:
        """Return the line that Python names for a node: of an attribute, its name's."""
        func = node.func if isinstance(node, cst.Call) else node
        return self.first_line(func.attr if isinstance(func, cst.Attribute) else node)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """Return what a node stands in."""
        return self._parents.get(node)

    def ancestors(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """Yield what a node stands in, from the inside out."""
        above = self._parents.get(node)
        while above is not None:
            yield above
            above = self._parents.get(above)

    def function_of(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        """Return the function that a node stands in."""
        return next(
            (each for each in self.ancestors(node) if isinstance(each, cst.FunctionDef)), None
        )

    def block_of(self, node: cst.CSTNode) -> cst.CSTNode:
        """Return the block of the loop or the function that a node stands in."""
        for each in self.ancestors(node):
            if isinstance(each, cst.IndentedBlock) and isinstance(
                self._parents.get(each), cst.For | cst.While | cst.FunctionDef
            ):
                return each
        return self._tree

    def is_variable(self, name: cst.Name) -> bool:
        """Tell whether a name is a variable's, and not an attribute's or a keyword's."""
        above = self._parents.get(name)
        return not (
            (isinstance(above, cst.Attribute) and above.attr is name)
            or (isinstance(above, cst.Arg) and above.keyword is name)
        )

    def code(self, node: cst.CSTNode) -> str:
        """Return a node as it is written."""
        return self._tree.code_for_node(node)

    def value(self, node: cst.CSTNode) -> Any:
        """Return what a dotted name means among the module's globals; None where it is no such."""
        if isinstance(node, cst.Name):
            return vars(self.module).get(node.value, self._imported.get(node.value))
        if isinstance(node, cst.Attribute):
            return attribute_of(self.value(node.value), node.attr.value)
        return None

    def is_builtin(self, name: cst.Name) -> bool:
        """Tell whether a name is the language's own, as ``len`` is."""
        return name.value in vars(builtins) and name.value not in vars(self.module)

    def need(self, imports: Sequence[Import]) -> None:
        """Import what the module does not have yet.

        :raises Refusal: a name means something else there, or its import would go in a circle.
        """
        for module, name in imports:
            wanted = getattr(import_module(module), name) if name else import_module(module)
            bound = name or module
            self._imported.setdefault(bound, wanted)
            if bound in vars(self.module):
                if vars(self.module)[bound] is not wanted:
                    raise Refusal(f"{bound} means something else in {self.module.__name__}")
            elif known := self._imported_that_has(name, wanted):
                self.imports[known, name] = None
            elif self.module in vars(import_module(module)).values():
                raise Refusal(
                    f"{module} imports {self.module.__name__}: {name} is to be imported there"
                )
            else:
                self.imports[module, name] = None

    def _imported_that_has(self, name: str, wanted: object) -> str | None:
        """Return a module that names are imported from already, and this one can be too."""
        for node in self._tree.children:
            for each in node.children if isinstance(node, cst.SimpleStatementLine) else ():
                if isinstance(each, cst.ImportFrom) and not isinstance(each.names, cst.ImportStar):
                    known = from_module(each, self.module)
                    if name and getattr(sys.modules.get(known), name, None) is wanted:
                        return known
        return None

    def replace(self, node: cst.CSTNode, change: Callable[[Any], Any]) -> None:
        """Change a node when the text is made; several changes of one are made in turn."""
        before = self.replacements.get(node)
        self.replacements[node] = change if before is None else lambda new: change(before(new))

    def text(self) -> str:
        """Return the module with all replacements and imports."""
        changed = self._tree.visit(_Replacing(self.replacements))
        return (
            with_imports(changed, self.module, self.imports).code if self.imports else changed.code
        )


@lru_cache(maxsize=4)
def _parsed(text: str) -> tuple[cst.Module, Mapping[cst.CSTNode, Any], _Children, _Parents]:
    """Return a text's tree with the places of its nodes, what they are made of and stand in.

    That is most of the time of a rewrite, and several begin at one text.
    """
    wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    positions = wrapper.resolve(PositionProvider)
    children: dict[cst.CSTNode, Sequence[cst.CSTNode]] = {}
    waiting: list[cst.CSTNode] = [wrapper.module]
    while waiting:
        node = waiting.pop()
        children[node] = node.children
        waiting += children[node]
    parents = {child: node for node, inner in children.items() for child in inner}
    return wrapper.module, positions, children, parents


class _Replacing(cst.CSTTransformer):
    def __init__(self, replacements: dict[cst.CSTNode, Callable[[Any], Any]]) -> None:
        super().__init__()
        self._replacements = replacements

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        change = self._replacements.get(original_node)
        return updated_node if change is None else change(updated_node)


def attribute_of(owner: Any, name: str) -> Any:
    """Return an attribute; None where it is not there, or cannot be had by now."""
    try:
        return getattr(owner, name, None)
    except Exception:  # User.query, for one, asks for an application context
        return None


def expression(code: str) -> cst.BaseExpression:
    """Return an expression of code that a cure has built."""
    return cst.parse_expression(code)


def bracketed(node: cst.BaseExpression) -> cst.BaseExpression:
    """Return an expression that an attribute can follow."""
    plain = (cst.Name, cst.Attribute, cst.Call, cst.Subscript)
    if isinstance(node, plain) or node.lpar:
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
