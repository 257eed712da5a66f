"""Which line of the user's code asked for a statement, and from where that was called.

Walking the stack for each statement is what makes other profilers slow. Here a walk is made
once for each statement text: it remembers how deep the two application frames lay, and the
hook of the next execution jumps there and compares code and instruction. Only when they
differ does it walk again, so each statement keeps its exact line.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import cache, lru_cache
from importlib.util import find_spec
from opcode import opmap
from operator import attrgetter
from types import CodeType, FrameType
from typing import Any, NamedTuple

from sqlalchemy.orm import attributes
from sqlalchemy.orm.state import InstanceState
from sqlalchemy.orm.unitofwork import UOWTransaction

from flask_perfkit.recording.frames import (
    NO_FILE,
    inherits,
    is_around,
    passes_on,
    source_of,
    upwards,
)

LONGEST_REMEMBERED = 10_000
"""Characters of a statement whose site is remembered."""

_MOST_KEPT = 1_000
_MOST_FILES = 10_000

_ITERATES = (opmap["GET_ITER"], opmap["FOR_ITER"])
PROMPTS = ("<stdin>", "<console>", "<python-input", "<ipython")
_ATTRIBUTES = attributes.__file__
_LOAD_EXPIRED = InstanceState._load_expired.__code__
_FLUSH = UOWTransaction.execute.__code__
_FRAMEWORK = {
    *("sqlalchemy", "flask_sqlalchemy", "flask_perfkit", "flask", "werkzeug", "jinja2", "click"),
    *("greenlet", "asgiref", "aiosqlite", "asyncpg", "psycopg", "psycopg2", "pymysql"),
    *("pytest", "_pytest", "pluggy", "typing_extensions"),
}
"""Packages that ask for nothing by themselves."""

_NO_CODE = compile("", "<nothing>", "exec")

Position = tuple[CodeType, str, int]
"""Code, file and instruction of a frame. Code alone compares equal where two files are alike."""

Key = tuple[Position, Position]
"""Where the application frame was, then where the walk ended."""

position_of = attrgetter("f_code", "f_code.co_filename", "f_lasti")
"""Return the :data:`Position` of a frame, in one call into C."""


class Line:
    """One line of application code; each line is one object.

    Of a template, ``filename`` and ``lineno`` are the template's own (its name where it has no
    file), and ``function`` is its name. A comprehension counts as the function around it.
    """

    __slots__ = ("filename", "function", "lineno")

    def __init__(self, filename: str, lineno: int, function: str) -> None:
        self.filename = filename
        self.lineno = lineno
        self.function = function


class Span(NamedTuple):
    """A place in a source file: lines from 1, columns in bytes from 0, the end not included.

    ``iterated`` tells that a loop was walking what the expression gives.
    """

    lineno: int
    end_lineno: int
    column: int
    end_column: int
    iterated: bool = False


class Sender(NamedTuple):
    """What lay between a statement and the application: see :class:`Site`."""

    touched: str | None = None
    expired: bool = False
    library: str | None = None
    flushing: bool = False

    def past(self, frame: FrameType) -> Sender:
        """Return what is known after one more frame of a library."""
        code = frame.f_code
        if code is _LOAD_EXPIRED:
            return self._replace(expired=True)
        if code is _FLUSH:
            return self._replace(flushing=self.library is None)
        if self.touched is None and (touched := _touched(frame)) is not None:
            return self._replace(touched=touched)
        if self.library is None and (library := library_of(code.co_filename)) is not None:
            return self._replace(library=library)
        return self


class Site:
    """Where a statement was asked for: the deepest application line and its caller.

    ``touched`` is the mapped attribute that was being read, where one was, and ``expired``
    tells that it was known before and had to be read again. ``library`` is the package, beside
    SQLAlchemy, that the line left the asking to; ``flushing`` tells that SQLAlchemy sent the
    statement by itself while a session wrote what had changed in it.
    """

    __slots__ = (
        *("_position", "_spans", "asked", "caller", "expired", "flushing", "library", "touched"),
    )

    def __init__(
        self, asked: Line | None, caller: Line | None, position: Position, sender: Sender
    ) -> None:
        self.asked = asked
        self.caller = caller
        self.touched, self.expired, self.library, self.flushing = sender
        self._position = position
        self._spans: tuple[Span | None, ...] = ()

    @property
    def span(self) -> Span | None:
        """The expression that asked; None where Python does not know its columns."""
        if not self._spans:
            self._spans = (self._expression(),)
        return self._spans[0]

    def _expression(self) -> Span | None:
        code, _, instruction = self._position
        places = _positions(code)[max(instruction, 0) // 2]
        if None in places:
            return None
        return Span(*places)._replace(iterated=code.co_code[instruction] in _ITERATES)


Asked = tuple[str, Site]
"""A statement's text and the site that asked for it."""

memory: dict[str, tuple[int, int, Key, Asked, Any]] = {}
"""Statement text -> depth of the application frame, depth where the walk ended, key, asked, note.

Depths count from the hook that SQLAlchemy calls, which is 0; where no jump is possible they
are 0, which never agrees with the key.
"""

_sites: dict[tuple[Key, Sender], Site] = {}
_lines: dict[tuple[str, int], Line] = {}
_files: dict[str, bool] = {}
_roots: list[str] = []
_edges: list[CodeType] = []


def claim(import_name: str, root_path: str) -> None:
    """Take an application's package for the user's, even where it lies in site-packages.

    :param import_name: the name that the application was made with.
    :param root_path: the directory of that module or package.
    """
    root = os.path.abspath(root_path)
    if not _in_packages(os.path.join(root, "")):
        return  # what lies elsewhere is the user's anyway
    top = sys.modules.get(import_name.partition(".")[0])
    places = [os.path.join(path, "") for path in getattr(top, "__path__", ())]
    # A single module: its directory holds others' as well.
    for place in places or [getattr(top, "__file__", None) or os.path.join(root, "")]:
        if place not in _roots:
            _roots.append(place)
            _files.clear()


def stop_at(code: CodeType) -> None:
    """End walks at frames of this code: what called it did not ask for the statement."""
    if code not in _edges:
        _edges.append(code)


def walk(statement: str | None, frame: FrameType, note: Any) -> Site:
    """Find the application lines above a hook's frame, and remember the way.

    :param statement: the text that was executed; None remembers nothing.
    :param frame: the frame of the hook.
    :param note: what the hook wants to remember of the statement as well.
    """
    asked: FrameType | None = None
    caller: FrameType | None = None
    inner = frame
    asked_at = ended_at = 0
    ended = frame
    jumpable = True
    sender = Sender()
    for depth, current in upwards(frame):
        if depth < 0:
            jumpable = False
        ended, ended_at = current, depth
        if any(current.f_code is edge for edge in _edges):
            break
        if not is_application(current.f_code.co_filename):
            if asked is None:
                sender = sender.past(current)
            continue
        if asked is None:
            asked, asked_at = current, depth
            inner = current
        elif is_around(current.f_code, inner.f_code) or inherits(current, inner):
            inner = current
        elif not passes_on(current):
            caller = current
            break
    key = (_position(asked), _position(ended))
    site = _sites.get((key, sender))
    if site is None:
        site = Site(_line(asked), _line(caller), key[0], sender)
        if len(_sites) >= _MOST_KEPT:
            _sites.clear()
        _sites[key, sender] = site
    if statement is not None and len(statement) <= LONGEST_REMEMBERED:
        if len(memory) >= _MOST_KEPT:
            memory.clear()
        if not jumpable or asked is None:
            asked_at = ended_at = 0
        memory[statement] = (asked_at, ended_at, key, (statement, site), note)
    return site


def _touched(frame: FrameType) -> str | None:
    """Return the attribute that SQLAlchemy is reading in this frame, if it is."""
    code = frame.f_code
    if code.co_name == "get" and code.co_filename == _ATTRIBUTES:
        key = getattr(frame.f_locals.get("self"), "key", None)
        return key if isinstance(key, str) else None
    return None


def _position(frame: FrameType | None) -> Position:
    if frame is None:
        return (_NO_CODE, "", 0)
    code, filename, instruction = position_of(frame)
    if filename == NO_FILE:
        # Templates without a file differ by name; this never agrees with the hook's look.
        filename = source_of(frame)[0]
    return (code, filename, instruction)


@lru_cache(maxsize=50)
def _positions(code: CodeType) -> tuple[Any, ...]:
    """Return where each instruction lies; they can only be walked from the first one on."""
    return tuple(code.co_positions()) or ((None,),)


def _line(frame: FrameType | None) -> Line | None:
    if frame is None:
        return None
    filename, lineno, function = source_of(frame)
    line = _lines.get((filename, lineno))
    if line is None:
        if len(_lines) >= _MOST_KEPT:
            _lines.clear()
        line = _lines[filename, lineno] = Line(filename, lineno, function)
    return line


@cache
def library_of(filename: str) -> str | None:
    """Return the package that a file belongs to, unless it is Python's, ours or the framework's."""
    path = os.path.abspath(filename)
    for directory in ("site-packages", "dist-packages"):
        _, found, inside = path.rpartition(f"{os.sep}{directory}{os.sep}")
        if found:
            package = inside.split(os.sep)[0].removesuffix(".py")
            return None if package in _FRAMEWORK else package
    return None


def is_application(filename: str) -> bool:
    """Tell whether a source file is the user's: no library's and not ours."""
    known = _files.get(filename)
    if known is None:
        known = _is_application(filename)
        if len(_files) >= _MOST_FILES:
            _files.clear()
        _files[filename] = known
    return known


def _is_application(filename: str) -> bool:
    if filename.startswith("<"):
        # Generated code is a library's, but for a prompt's and a template's without a file.
        return filename.startswith((*PROMPTS, NO_FILE))
    path = os.path.abspath(filename)
    if path.startswith(_ours()):
        return False
    for root in _roots:
        if path.startswith(root) and not _in_packages(path.removeprefix(root)):
            return True
    return not (_in_packages(path) or path.startswith(_library_directories()))


def _in_packages(path: str) -> bool:
    return f"{os.sep}site-packages{os.sep}" in path or f"{os.sep}dist-packages{os.sep}" in path


@cache
def _ours() -> str:
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


@cache
def _library_directories() -> tuple[str, ...]:
    """Return where libraries live: Python's own, its scripts, and the framework's checkouts."""
    paths = sysconfig.get_paths()
    places = [paths[name] for name in ("stdlib", "platstdlib", "scripts")]
    for name in ("flask", "werkzeug", "jinja2", "click", "sqlalchemy", "flask_sqlalchemy"):
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            places.append(os.path.dirname(spec.origin))
    return tuple(os.path.join(os.path.abspath(place), "") for place in places)
