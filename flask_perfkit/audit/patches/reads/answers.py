"""What one select for all keys brings, and where each turn finds its part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flask_perfkit.cures.loaders import Import

_SHORT = 80
_BREAK = "\n        "


@dataclass(frozen=True)
class Answer:
    """What makes the code of the select for all keys, and how its rows are kept.

    ``row`` is what a row is taken apart to, ``key`` and ``value`` what is kept of it. ``keeps`` is
    ``"each"``, ``"first"``, ``"all"``, ``"keys"`` or ``"single keys"``.
    ``leaves_alone`` are the tables that other rows may be added to meanwhile, ``told_by`` the
    attributes that may not change. ``fails_without`` says that a key without a row is an error.
    """

    name: str
    select: Callable[[str, str], str]
    row: Sequence[str]
    key: str
    value: str
    keeps: str
    missing: str = ""
    before: Callable[[str], Sequence[str]] | None = None
    imports: Sequence[Import] = field(default=())
    leaves_alone: frozenset[str] = frozenset()
    told_by: frozenset[str] | None = None
    fails_without: bool = False

    @property
    def is_list(self) -> bool:
        """Whether each key has a list of its own."""
        return self.keeps == "all"

    def fetching(
        self, name: str, keys: str, new_name: Callable[[str], str], *, awaits: bool
    ) -> list[str]:
        """Return the statements that ask for all keys."""
        asked = _awaited(self.select(keys, ""), awaits)
        if len(asked) > _SHORT:
            asked = _awaited(self.select(keys, _BREAK), awaits)
        before = list(self.before(keys)) if self.before is not None else []
        if self.keeps == "keys":
            return [f"{name} = set({asked})"]
        if self.keeps == "single keys":
            return [f"{name} = {{key for (key,) in {asked}}}"]
        if self.keeps == "each":
            made = f"{self.key}: {self.value} for {', '.join(self.row)} in {asked}"
            if len(made) + len(name) < _SHORT:
                return [*before, f"{name} = {{{made}}}"]
            made = made.replace(
                f" for {', '.join(self.row)} in ", f"\n    for {', '.join(self.row)} in ", 1
            )
            return [*before, f"{name} = {{\n    {made}\n}}"]
        names = {each: new_name(each) for each in self.row}
        key = names.get(self.key) or self.key.replace("row.", f"{names.get('row')}.")
        value = names.get(self.value, self.value)
        kept = {
            "all": f"{name}.setdefault({key}, []).append({value})",
            "first": f"{name}.setdefault({key}, {value})",
        }[self.keeps]
        row = ", ".join(names[each] for each in self.row)
        return [*before, f"{name} = {{}}", f"for {row} in {asked}:\n    {kept}"]

    def found(self, name: str, key: str) -> str:
        """Return what stands where the statement was sent."""
        if self.keeps in ("keys", "single keys"):
            return f"{key} in {name}"
        return f"{name}.get({key}{f', {self.missing}' if self.missing else ''})"


def _awaited(asked: str, awaits: bool) -> str:
    return f"(await {asked})" if awaits else asked
