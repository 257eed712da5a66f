"""What each view is expected to show, read from the comments of its own source.

A label is a comment at the end of the line that it speaks of, or on lines of its own above that
line, where lines that begin with three spaces go on with the label::

    for order in orders:
        print(order.customer.name)  # FINDING n_plus_one Order.customer x12

    # FINDING n_plus_one User.documents x10
    #   fix=selectinload(User.documents)
    titles = [document.title for document in user.documents]

In a template it is a Jinja comment. Two labels in one comment are parted by ``;``.

``FINDING kind subject [instead] [anywhere] [xCOUNT] [fix=CODE] [runs=N] [elsewhere=FILE:LINE]``
    This line has this finding. ``subject`` is ``-`` where the contract names none, and
    ``fix`` is code which the finding's fix holds, blanks aside; ``runs`` is how many statements
    the database gets where that is not ``COUNT``; ``elsewhere`` is another line that is as right,
    where no label can stand; with ``anywhere`` every line of the view is, since none of them runs
    the statements.
``ELSEWHERE [subject]``
    This line is as right as the one that the finding's label speaks of.
``ALLOWED kind subject``
    This line may have this finding or not: the contract decides neither.
``SILENT xCOUNT``
    This line runs so many statements (a range: ``x1..10``) and has no finding.
``CALLER [subject] [xCOUNT]``
    This line is one step out from the line of the finding, so many times.
``CALLER? [subject]``
    This line may be named as a caller or not.
``ORIGIN [subject]``
    The statement run here brought the rows that the loop walks.
``REQUEST [METHOD] [/path or ?query] [repeat=N] [status=N]``
    How to ask the view, where a plain GET of its rule will not do.

Two right answers are parted by ``|``, in subjects and in fixes (or ``fix`` is written twice). The
first fix, where it is a loader option, is tried: pasted into the select (``instead`` of the
options there, where SQLAlchemy refuses both) it must end the repetition.

A label inside a view's function belongs to that view. Elsewhere (helpers, models, templates) it
ends with the endpoints which it belongs to: ``@relationships.tree,relationships.breadcrumbs``.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent

APPLICATION = tuple(str(ROOT / part) for part in ("models", "schemas.py", "templates", "views"))
"""What is written as a user writes it; the rest of this package looks at it from outside."""

_WORDS = ("FINDING", "ALLOWED", "SILENT", "CALLER?", "CALLER", "ORIGIN", "ELSEWHERE", "REQUEST")
_JINJA_COMMENT = re.compile(r"\{#-?\s*(.*?)\s*-?#\}", re.DOTALL)
_COUNT = re.compile(r"x(\d+)(?:\.\.(\d+))?")
_SETTINGS = ("fix", "runs", "elsewhere", "repeat", "status")

Line = tuple[str, int]


class LabelError(ValueError):
    """A label breaks the grammar."""


@dataclass(frozen=True)
class Label:
    """One label: its word, what it says, and the line that it speaks of."""

    word: str
    line: Line
    names: tuple[str, ...] = ()
    count: range | None = None
    settings: dict[str, str] = field(default_factory=dict)
    views: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[Line | None, ...]:
        """Return the line, and the other that is as right; None where no line runs."""
        if "anywhere" in self.names:
            return (None,)
        if "elsewhere" not in self.settings:
            return (self.line,)
        filename, _, lineno = self.settings["elsewhere"].rpartition(":")
        return self.line, (filename, int(lineno))

    @property
    def first_fix(self) -> str:
        """Return the first of the right fixes."""
        return self.settings.get("fix", "").partition("|")[0]

    def choices(self, position: int) -> tuple[str, ...]:
        """Return the right answers of the name at ``position``; none means any."""
        if len(self.names) <= position or self.names[position] == "-":
            return ()
        return tuple(self.names[position].split("|"))


def read_all() -> Iterator[Label]:
    """Read every label of the corpus."""
    for path in sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.html")]):
        if str(path).startswith(APPLICATION):
            yield from read(path)


def read(path: Path) -> Iterator[Label]:
    """Read the labels of a Python file or a template."""
    text = path.read_text()
    comments = _template_comments(text) if path.suffix == ".html" else _python_comments(text)
    for comment, lineno in comments:
        for part in comment.split(";"):
            if part.strip().startswith(_WORDS):
                yield _parse(part.split(), (str(path), lineno))


def _parse(tokens: list[str], line: Line) -> Label:
    word, *rest = tokens
    if word not in _WORDS:
        raise LabelError(f"{line}: {word} is no label; known are {', '.join(_WORDS)}")
    names, count, settings, views = [], None, {}, ()
    for token in rest:
        key, equals, value = token.partition("=")
        if match := _COUNT.fullmatch(token):
            least = int(match[1])
            count = range(least, int(match[2] or least) + 1)
        elif token.startswith("@"):
            views = tuple(token[1:].split(","))
        elif equals and key in _SETTINGS:
            settings[key] = f"{settings[key]}|{value}" if key in settings else value
        elif re.match(r"[\w./?|-]+$", token) or token.startswith("?"):
            names.append(token)
        else:
            raise LabelError(f"{line}: cannot read {token!r}")
    return Label(word, line, tuple(names), count, settings, views)


def _python_comments(text: str) -> Iterator[tuple[str, int]]:
    lines = text.splitlines()
    waiting: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        comment, lineno = token.string[1:].rstrip(), token.start[0]
        if not lines[lineno - 1].lstrip().startswith("#"):
            yield comment, lineno
            continue
        if waiting and comment.startswith("   "):
            waiting[-1] += comment
        else:
            waiting.append(comment)
        if not "".join(lines[lineno : lineno + 1]).lstrip().startswith("#"):
            for own in waiting:
                yield own, _next_code(lines, lineno)
            waiting = []


def _template_comments(text: str) -> Iterator[tuple[str, int]]:
    lines = text.splitlines()
    for match in _JINJA_COMMENT.finditer(text):
        first = text.count("\n", 0, match.start())
        last = text.count("\n", 0, match.end())
        alone = lines[first].lstrip().startswith("{#") and lines[last].rstrip().endswith("#}")
        yield match[1], _next_code(lines, last + 1) if alone else first + 1


def _next_code(lines: list[str], after: int) -> int:
    """Return the number of the first line below ``after`` that is no comment."""
    for lineno, line in enumerate(lines[after:], after + 1):
        if line.strip() and not line.lstrip().startswith(("#", "{#")):
            return lineno
    raise LabelError(f"the label above line {after} speaks of no line")
