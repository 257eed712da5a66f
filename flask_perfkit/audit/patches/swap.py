"""Lets the functions of a module run as a patch would make them, for a trial."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import CodeType, FunctionType

from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.source import Source, codes_of, likeness
from flask_perfkit.cures.loaders import Import


@contextmanager
def swapped(source: Source, text: str, imports: tuple[Import, ...]) -> Iterator[None]:
    """Give each function of a module the code of a new text for a block.

    :param imports: what the new text imports beside what the module has.
    :raises Refusal: a function cannot be given its new code while it lives.
    """
    pairs = _pairs(source, text)
    namespace = vars(source.module)
    with ExitStack() as stack:
        for module, name in imports:
            bound = name or module
            if bound not in namespace:
                loaded = import_module(module)
                namespace[bound] = getattr(loaded, name) if name else loaded
                stack.callback(namespace.pop, bound)
        for function, code in pairs:
            stack.callback(setattr, function, "__code__", function.__code__)
            stack.callback(setattr, function, "__kwdefaults__", function.__kwdefaults__)
            new = set(_by_name_only(code)) - set(_by_name_only(function.__code__))
            function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), **dict.fromkeys(new, ())}
            function.__code__ = code
        yield


def _by_name_only(code: CodeType) -> tuple[str, ...]:
    """Return the parameters by name only; a patch adds options only, () unless given."""
    first = code.co_argcount
    return code.co_varnames[first : first + code.co_kwonlyargcount]


def _pairs(source: Source, text: str) -> list[tuple[FunctionType, CodeType]]:
    filename = str(source.path)
    after = codes_of(text, filename)
    changed = {
        (old.co_qualname, old.co_firstlineno): (old, after.get(key))
        for key, old in codes_of(source.text, filename).items()
        if key not in after or likeness(after[key]) != likeness(old)
    }
    pairs = []
    for function in source.functions:
        code = function.__code__
        old, new = changed.get((code.co_qualname, code.co_firstlineno), (None, None))
        if old is None or likeness(old) != likeness(code):
            continue
        if new is None or new.co_freevars != code.co_freevars:
            raise Refusal(f"{code.co_qualname} cannot be tried: it uses other variables around it")
        pairs.append((function, new))
    if not pairs:
        raise Refusal("no function that is there now would run otherwise")
    return pairs
