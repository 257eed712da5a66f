"""What a statement in plain text writes, as far as its words tell.

Words inside of comments, strings and quoted names are none. A statement that begins with a word
that is not known here, and a writing word whose table cannot be made out, write *anything*.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from flask_perfkit.cache.entries.dependencies import ANYTHING, table_token
from flask_perfkit.cache.writes.functions import is_known_function


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOKEN = re.compile(
    r"""(?P<hint>/\*!)                               # MySQL executes what is in such a comment
      | (?P<blank>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<string>'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | (?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]\n]*\])
      | (?P<word>[^\W\d][\w$]*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)

_HARMLESS = _words(
    """
    select with values table show explain describe desc pragma set reset start commit end
    rollback abort savepoint release lock unlock analyze vacuum fetch move close listen
    notify unlisten use deallocate checkpoint discard grant revoke comment reindex cluster
    optimize kill flush attach detach
    """
)
_WRITES = _words("insert replace merge update delete truncate copy")
_NO_STATEMENT_AFTER = _words("for key do then on no matched")
_MODIFIERS = _words(
    """
    or ignore abort fail rollback low_priority high_priority delayed quick only into table
    """
)
_BEGINS = _words("transaction work tran immediate exclusive deferred isolation read")
_COMMITS = _words("create alter drop truncate rename commit end")
_MADE = _words("table view")
_NO_DATA = _words(
    """
    index sequence type domain database schema extension role user function procedure
    trigger aggregate collation operator cast language policy publication subscription
    server statistics event rule tablespace unique
    """
)
_BEFORE_KIND = _words(
    """
    or replace temp temporary global local unlogged materialized recursive force external
    virtual foreign
    """
)
_BEFORE_NAME = _words("if not exists only concurrently")
_SWITCHES = _words("role search_path authorization")
_NO_NAME = _words("select set values where from using default as on with and")


@dataclass(frozen=True)
class Token:
    """A word, a quoted name or a sign; ``key`` is the word in lower case, or the sign."""

    kind: str
    text: str

    @property
    def key(self) -> str:
        return self.text.lower() if self.kind in ("word", "other") else ""


_END = Token("end", "")


@dataclass(frozen=True)
class TextFacts:
    """What a text does: the tables that it writes, and whether that may end the transaction.

    ``switches``: it makes the connection see other data (a role, a search path).
    ``cascades``: rows may be deleted or keys changed, so that other tables follow.
    """

    writes: frozenset[str]
    commits: bool
    switches: bool
    cascades: bool
    empties: bool


def text_facts(text: str) -> TextFacts:
    """Tell what a whole statement, or several, in plain text does."""
    tokens = list(_tokens(text))
    writes: set[str] = set()
    switches = False
    for statement in _statements(tokens):
        reader = Reader(statement)
        writes |= reader.written()
        switches |= reader.switches()
    first = {statement[0].key for statement in _statements(tokens)}
    words = {token.key for token in tokens}
    return TextFacts(
        frozenset(writes),
        commits=bool(first & _COMMITS) or {"prepare", "transaction"} <= words,
        switches=switches,
        cascades=bool(words & {"delete", "update", "replace", "truncate", "drop", "merge"}),
        empties=bool(words & {"truncate", "drop", "merge"}),
    )


def fragment_writes(text: str) -> frozenset[str]:
    """Name the tables that a piece of text inside a statement writes."""
    return frozenset(Reader(list(_tokens(text))).written_inside())


def names_in(text: str) -> frozenset[str]:
    """Write every word and quoted name of a text as the name of a table."""
    return frozenset(
        table_token(token.text.strip('"`[]'))
        for token in _tokens(text)
        if token.kind in ("word", "name")
    )


def _tokens(text: str) -> Iterator[Token]:
    if "\\" in text and "'" in text:
        # Whether it escapes a quote differs by database: the words may be in a string or not.
        text = re.sub(r"\\.", "", text, flags=re.DOTALL)
        if any(word in text.lower() for word in _WRITES):
            yield Token("hint", "")
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup if match.lastgroup != "tag" else "string"
        if kind != "blank":
            yield Token(kind or "string", match[0])


def _statements(tokens: list[Token]) -> Iterator[list[Token]]:
    statement: list[Token] = []
    for token in [*tokens, Token("other", ";")]:
        if token.key != ";":
            statement.append(token)
        elif statement:
            yield statement
            statement = []


class Reader:
    """Reads one statement from its beginning to its end."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens

    def written(self) -> set[str]:
        """Name the tables that the statement writes."""
        place = 0
        while self._at(place).key == "(":
            place += 1
        first = self._at(place).key
        if first in ("create", "alter", "drop", "refresh"):
            return self._defined(first, place + 1) | (
                self.written_inside() if first == "create" else set()
            )
        found = self.written_inside()
        if first == "begin":
            following = self._at(place + 1)
            return found if following is _END or following.key in _BEGINS else {ANYTHING}
        if first == "declare":
            return found if self._has("cursor") else {ANYTHING}
        if first == "prepare":
            return found
        if first not in _HARMLESS and first not in _WRITES:
            return {ANYTHING}
        if first == "select" and not self._has("from") and self._calls_unknown():
            found.add(ANYTHING)
        return found

    def written_inside(self) -> set[str]:
        """Name the tables that writing words are followed by, wherever these stand."""
        found: set[str] = set()
        place = 0
        while place < len(self._tokens):
            token = self._tokens[place]
            if token.kind == "hint":
                found.add(ANYTHING)
            elif token.key in _WRITES and self._is_statement(place):
                names, place = self._after(token.key, place + 1)
                found |= names
                continue
            elif token.key == "into":
                name, _ = self._name(place + 1)
                if self._at(place + 1).key != "@":
                    found.add(name or ANYTHING)
            place += 1
        return found

    def switches(self) -> bool:
        """Say whether the connection sees other data from here on."""
        keys = [token.key for token in self._tokens]
        if keys[0] in ("set", "reset"):
            return bool(_SWITCHES & set(keys)) or "." in keys
        return keys[0] == "use" or "set_config" in keys

    def _at(self, place: int) -> Token:
        return self._tokens[place] if 0 <= place < len(self._tokens) else _END

    def _has(self, word: str) -> bool:
        return any(token.key == word for token in self._tokens)

    def _is_statement(self, place: int) -> bool:
        before, after = self._at(place - 1), self._at(place + 1)
        if before.key in _NO_STATEMENT_AFTER or before.key in (".", ",", "=", "<", ">", "+", "-"):
            return False
        return after.key not in ("(", ".", ",", ")", "=") and after is not _END

    def _after(self, word: str, place: int) -> tuple[set[str], int]:
        if word == "copy":
            return self._copied(place)
        if word == "replace" and self._at(place).key in (
            "view",
            "function",
            "procedure",
            "trigger",
        ):
            return set(), place  # CREATE OR REPLACE
        start = place
        while self._at(place).key in _MODIFIERS or self._at(place).key == "replace":
            place += 1
        if word == "delete":
            if self._at(place).key == "from":
                place += 1
            elif self._has("from"):  # DELETE a, b FROM ...: names or aliases
                return {ANYTHING}, place
        names, place = self._names(place, several=word in ("truncate", "update"))
        if not names:
            return {ANYTHING}, max(place, start)
        if word in ("update", "delete"):
            names |= self._meant(names)
        return names, place

    def _names(self, place: int, *, several: bool) -> tuple[set[str], int]:
        """Read names; of an UPDATE of several tables those of its joins as well."""
        found: set[str] = set()
        while True:
            while self._at(place).key in ("only", "("):
                place += 1
            name, place = self._name(place)
            if name is None:
                return (found | {ANYTHING} if found else found), place
            found.add(name)
            ahead = place
            while self._at(ahead).kind == "word" and self._at(ahead).key not in (
                "set",
                "join",
                "restart",
                "cascade",
            ):
                ahead += 1
            while self._at(ahead).key in (")", "*"):
                ahead += 1
            if not several or self._at(ahead).key not in (",", "join"):
                return found, place
            place = ahead + 1

    def _name(self, place: int) -> tuple[str | None, int]:
        """Read a table's name, without its schema."""
        last = None
        while True:
            token = self._at(place)
            if token.kind == "name":
                mark = token.text[0]
                last = token.text[1:-1].replace(mark * 2, mark)
            elif token.kind == "word" and token.key not in _NO_NAME:
                last = token.text
            else:
                return None, place
            place += 1
            if self._at(place).key != ".":
                return table_token(last), place
            place += 1

    def _meant(self, names: set[str]) -> set[str]:
        """Name the tables that a name is an alias of (UPDATE d SET ... FROM documents d)."""
        found = set()
        for place, token in enumerate(self._tokens):
            if token.key in ("from", "join", ","):
                name, after = self._name(place + 1)
                if self._at(after).key == "as":
                    after += 1
                alias, _ = self._name(after)
                if name is not None and alias in names:
                    found.add(name)
        return found

    def _copied(self, place: int) -> tuple[set[str], int]:
        if self._at(place).key == "(":
            return set(), place
        name, place = self._name(place)
        if self._at(place).key == "(":
            while self._at(place) is not _END and self._at(place).key != ")":
                place += 1
            place += 1
        if name is not None and self._at(place).key == "to":
            return set(), place
        return {name or ANYTHING}, place

    def _defined(self, word: str, place: int) -> set[str]:
        """Name the tables whose rows a definition changes, makes or takes away."""
        while self._at(place).key in _BEFORE_KIND:
            place += 1
        kind = self._at(place).key
        if kind in _NO_DATA and not (word == "drop" and kind in ("schema", "database")):
            return set()
        if kind in _MADE:
            place += 1
        elif word != "refresh":
            return {ANYTHING}
        while self._at(place).key in _BEFORE_NAME:
            place += 1
        names, _ = self._names(place, several=word == "drop")
        return names or {ANYTHING}

    def _calls_unknown(self) -> bool:
        return any(
            token.kind in ("word", "name")
            and self._at(place + 1).key == "("
            and not is_known_function(token.text.strip('"`[]'))
            for place, token in enumerate(self._tokens)
        )
