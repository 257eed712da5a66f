"""Which function it is: by its code and by the variables that it closes over, not by name alone.

A factory makes many functions of one name, a module holds many lambdas, a function inside a
view closes over the view's variables. What a variable holds is told by its value where that is
plain data; functions, classes, modules, tables and engines by what they are; any other object
is only itself, under a name that no other process knows.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

import sqlalchemy as sa
from flask.sansio.scaffold import Scaffold

from flask_perfkit.cache.entries.databases import database_text
from flask_perfkit.cache.entries.texts import digest, fresh, stable_text

_WRITES = frozenset({"STORE_DEREF", "DELETE_DEREF"})
_LENGTH = 8

_objects: dict[int, tuple[ref[Any], str]] = {}


class FunctionIdentity:
    """What tells a function apart from every other.

    ``name`` is the function's dotted name. One that others may bear, as it was defined inside
    a function or has none of its own, is followed by a digest of the code.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._kept: dict[str, tuple[object, str]] = {}
        named = _innermost(function)
        module = getattr(named, "__module__", None) or ""
        qualname = getattr(named, "__qualname__", None) or type(named).__qualname__
        self.name = f"{module}.{qualname}"
        self.code = digest(self._text(_code_only(function), "", frozenset()))
        if "<" in qualname or named is not function:
            self.name += f"#{self.code[:_LENGTH]}"
        self.closes = not _stands_alone(function)

    def variables(self) -> str:
        """Write what the function closes over, as it is now; empty where that is nothing."""
        return self._text(self._function, "", frozenset()) if self.closes else ""

    def _text(self, value: Any, path: str, around: frozenset[int]) -> str:
        if id(value) in around:
            return "itself"
        inner = around | {id(value)}
        if isinstance(value, types.FunctionType):
            return self._function_text(value, path, inner)
        if isinstance(value, types.CodeType):
            return _code_text(value)
        if isinstance(value, types.MethodType):
            owner = self._text(value.__self__, f"{path}.self", inner)
            return f"method({self._text(value.__func__, path, inner)},{owner})"
        if isinstance(value, functools.partial):
            parts = (
                value.func,
                *value.args,
                *(part for pair in value.keywords.items() for part in pair),
            )
            texts = (self._text(part, f"{path}.{place}", inner) for place, part in enumerate(parts))
            return f"partial({len(value.args)},{','.join(texts)})"
        known = _known_text(value)
        if known is not None:
            return known
        wrapped = getattr(value, "__wrapped__", None)
        if isinstance(wrapped, types.FunctionType):
            return f"{_type_name(type(value))}({self._text(wrapped, path, inner)})"
        return f"object({self._object_name(value, path)})"

    def _function_text(
        self, function: types.FunctionType, path: str, around: frozenset[int]
    ) -> str:
        code = function.__code__
        own = _own_variables(code)
        texts = [f"{function.__module__}.{function.__qualname__}", _code_text(code)]
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if name in own:
                continue
            try:
                content = cell.cell_contents
            except ValueError:
                texts.append(f"{name} is empty")
            else:
                texts.append(f"{name}={self._text(content, f'{path}.{name}', around)}")
        if path:  # of the cached function itself these are arguments of the call
            for default in (
                *(function.__defaults__ or ()),
                *(function.__kwdefaults__ or {}).values(),
            ):
                texts.append(self._text(default, f"{path}.{len(texts)}", around))
        return f"function({';'.join(texts)})"

    def _object_name(self, value: object, path: str) -> str:
        """Name an object that is only itself, for as long as it lives."""
        known = _objects.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        held = self._kept.get(path)
        if held is not None and held[0] is value:
            return held[1]
        name = fresh()
        place = id(value)
        try:
            _objects[place] = (ref(value, lambda gone: _forget(place, gone)), name)
        except TypeError:  # a list or a dict cannot be followed without being held
            self._kept[path] = (value, name)
        return name


def _forget(place: int, gone: ref[Any]) -> None:
    known = _objects.get(place)
    if known is not None and known[0] is gone:
        del _objects[place]


def _innermost(function: Any) -> Any:
    while isinstance(function, functools.partial | types.MethodType):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    return function


def _code_only(function: Any) -> Any:
    inner = _innermost(function)
    return getattr(inner, "__code__", None) or _type_name(type(inner))


def _stands_alone(function: Any) -> bool:
    """Say whether nothing but its code and its arguments makes the function what it is."""
    return isinstance(function, types.FunctionType) and not function.__closure__


@functools.lru_cache(maxsize=2048)
def _own_variables(code: types.CodeType) -> frozenset[str]:
    """Name the variables from outside that the function itself sets: what it counts is no input."""
    found = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname in _WRITES
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _own_variables(constant)
    return frozenset(found)


@functools.lru_cache(maxsize=2048)
def _code_text(code: types.CodeType) -> str:
    """Hash what the code does; not where its file lies, which differs by machine and release."""
    parts = [code.co_name, code.co_code.hex(), repr(code.co_names), repr(code.co_varnames)]
    parts += [
        repr(code.co_freevars),
        f"{code.co_argcount} {code.co_kwonlyargcount} {code.co_flags}",
    ]
    parts += _constants(code)
    return digest("\n".join(parts))


def _constants(code: types.CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield _code_text(constant)
        else:
            yield f"{type(constant).__name__} {_constant_text(constant)}"


def _constant_text(constant: Any) -> str:
    try:
        return stable_text(constant)
    except TypeError:  # a complex number or an ellipsis
        return repr(constant)


def _known_text(value: Any) -> str | None:
    """Write a value that means the same wherever it is; None for one that may not."""
    if isinstance(value, types.ModuleType):
        return f"module({value.__name__})"
    if isinstance(value, type):
        return f"class({_type_name(value)})" if "<" not in value.__qualname__ else None
    if isinstance(value, types.BuiltinFunctionType):
        return f"builtin({value.__module__}.{value.__qualname__})" if value.__module__ else None
    if isinstance(value, Scaffold):
        return f"{type(value).__name__}({value.import_name},{value.name})"
    if isinstance(value, sa.Engine):
        return f"engine({database_text(value)})"
    if isinstance(value, sa.Table):
        return f"table({value.fullname!r})"
    if isinstance(value, list | dict | set | bytearray):
        return None  # it may be filled with something else while it stays the same
    try:
        return stable_text(value)
    except TypeError:
        return None


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
