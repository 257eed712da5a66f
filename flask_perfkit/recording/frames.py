"""What the frames of a stack tell: whose they are, where they stand, and who only passed on."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from opcode import opmap
from types import CodeType, FrameType

NO_FILE = "<template>"
"""The file of a template that has none."""

_VARARGS, _VARKEYWORDS, _COROUTINE = 0x04, 0x08, 0x80
_CALL_WITH_ARGUMENTS = opmap["CALL_FUNCTION_EX"]
_INLINE = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


def upwards(frame: FrameType) -> Iterator[tuple[int, FrameType]]:
    """Yield the frames above one with their depths; below zero beyond a greenlet's edge.

    An async engine runs SQLAlchemy in a greenlet, whose stack ends there; the line that
    awaits is in the greenlet's parent.
    """
    depth = 0
    current = frame.f_back
    greenlet = None
    while True:
        while current is not None:
            depth += 1 if depth >= 0 else -1
            yield depth, current
            current = current.f_back
        if "greenlet" not in sys.modules:
            return
        if greenlet is None:
            greenlet = sys.modules["greenlet"].getcurrent()
        greenlet = greenlet.parent
        if greenlet is None or greenlet.gr_frame is None:
            return
        depth, current = -abs(depth), greenlet.gr_frame


def source_of(frame: FrameType) -> tuple[str, int, str]:
    """Return the file, line and function of a frame as the user wrote them."""
    code = frame.f_code
    template = frame.f_globals.get("__jinja_template__")
    if template is None:
        return (code.co_filename, frame.f_lineno, function_of(code))
    filename = code.co_filename if code.co_filename != NO_FILE else template.name or NO_FILE
    lineno = int(template.get_corresponding_lineno(frame.f_lineno))
    return (str(filename), lineno, str(template.name or "template"))


def function_of(code: CodeType) -> str:
    """Return the name of a function as the user wrote it, with its class."""
    names = code.co_qualname.split(".")
    while names and names[-1] in (*_INLINE, "<locals>"):
        names.pop()
    return ".".join(names).rpartition("<locals>.")[2] or "<module>"


def passes_on(frame: FrameType) -> bool:
    """Tell whether this is a wrapper such as a logging decorator makes.

    It takes ``*args, **kwargs`` and is calling something with these very arguments just now.
    """
    code = frame.f_code
    if not (code.co_flags & _VARARGS and code.co_flags & _VARKEYWORDS):
        return False
    calls = (
        _CALL_WITH_ARGUMENTS in code.co_code[::2]
        if code.co_flags & _COROUTINE  # it awaits what it called
        else code.co_code[frame.f_lasti] == _CALL_WITH_ARGUMENTS
    )
    return calls and _reads_arguments(code, frame.f_lineno)


def _reads_arguments(code: CodeType, lineno: int) -> bool:
    """Tell whether a line reads the ``*args`` of its function."""
    name = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
    for instruction in dis.get_instructions(code):
        at = instruction.positions.lineno if instruction.positions is not None else None
        names = (
            instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        )
        if at == lineno and instruction.opname.startswith("LOAD_FAST") and name in names:
            return True
    return False


def is_around(code: CodeType, inner: CodeType) -> bool:
    """Tell whether a function is the one that a comprehension stands in."""
    return (
        inner.co_name in _INLINE
        and code.co_filename == inner.co_filename
        and inner in code.co_consts
    )


def inherits(frame: FrameType, inner: FrameType) -> bool:
    """Tell whether a template's line only says where a block stands, or what is extended.

    Jinja calls a parent template there, and the parent its blocks: nobody's code called.
    """
    if "__jinja_template__" not in frame.f_globals or inner.f_back is not frame:
        return False  # super() of a block goes through Jinja's own code
    if inner.f_code.co_name.startswith("block_"):
        return True
    return frame.f_code.co_name == "root" and frame.f_locals.get("parent_template") is not None
