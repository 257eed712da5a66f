"""What a statement loads along with its objects, and by which way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Mapper, RelationshipProperty

from flask_perfkit.recording.mappers import names_of

_LOADERS = {
    "joined": "joinedload",
    "selectin": "selectinload",
    "subquery": "subqueryload",
    "immediate": "immediateload",
}

_DEEPEST_DEFAULT = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One relationship on the way from an entity to what was loaded.

    ``loader`` is the option that loads it now, where one does; ``parent`` is the class
    that has it, which a cure is built from.
    """

    owner: str
    name: str
    to_many: bool
    loader: str = ""
    parent: type | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


@dataclass(frozen=True, slots=True)
class Eager:
    """A relationship that a statement loads along, with the way to it.

    ``entity`` is the class of its objects and its mapped bases.
    ``by_default`` tells that the mapping asks for it, and no option of the statement.
    """

    steps: tuple[Step, ...]
    entity: tuple[str, ...]
    by_default: bool = False


def steps_of(path: Any) -> Iterator[Step]:
    """Yield the relationships of one of the ORM's paths."""
    for part in path:
        if isinstance(part, RelationshipProperty):
            yield step_of(part)


def step_of(relationship: RelationshipProperty[Any]) -> Step:
    """Return a relationship as plain data."""
    return Step(
        relationship.parent.class_.__name__,
        relationship.key,
        bool(relationship.uselist),
        parent=relationship.parent.class_,
    )


def eager_of(compiled: Any, mapper: Mapper[Any]) -> Iterator[Eager]:
    """Yield what a statement loads along: by its options, then by the mapping's defaults."""
    for option in getattr(compiled.statement, "_with_options", ()):
        for element in getattr(option, "context", ()):
            path = element.path
            steps = tuple(steps_of(path))
            if steps and isinstance(path[-1], Mapper):
                *way, last = steps
                loader = _LOADERS.get(str(dict(element.strategy or ()).get("lazy")), "defaultload")
                if "eager_from_alias" in (element.local_opts or {}):
                    loader = "contains_eager"
                yield Eager((*way, replace(last, loader=loader)), names_of(path[-1]))
    yield from _Defaults(compiled).below(mapper, (), joined=True)


_Way = tuple[RelationshipProperty[Any], ...]


class _Defaults:
    """The loaders of the mapping that hold for a statement, as SQLAlchemy compiled it.

    An option overrules them, by the relationship's name or for all relationships.
    """

    def __init__(self, compiled: Any) -> None:
        attributes = getattr(getattr(compiled, "compile_state", None), "attributes", {})
        paths = [key for key in attributes if isinstance(key, tuple) and len(key) == 2]
        self._joined = {_way(path) for name, path in paths if name == "eager_row_processor"}
        options = [path for name, path in paths if name == "loader"]
        self._said = {_way(path) for path in options if not _is_for_all(path)}
        self._said_for_all = {_way(path) for path in options if _is_for_all(path)}

    def below(
        self, mapper: Mapper[Any], way: _Way, steps: tuple[Step, ...] = (), *, joined: bool
    ) -> Iterator[Eager]:
        """Yield what is loaded along with the objects at the end of a way.

        :param joined: whether the same statement brings these objects.
        """
        if any(way[: len(each)] == each for each in self._said_for_all):
            return
        for relationship in mapper.relationships:
            loader = _LOADERS.get(str(relationship.lazy))
            further = (*way, relationship)
            if loader is None or further in self._said:
                continue
            along = joined and loader == "joinedload"
            if along and further not in self._joined:
                continue
            now = (*steps, replace(step_of(relationship), loader=loader))
            yield Eager(now, names_of(relationship.mapper), by_default=True)
            if len(now) < _DEEPEST_DEFAULT:
                yield from self.below(relationship.mapper, further, now, joined=along)


def _way(path: Any) -> _Way:
    return tuple(part for part in path if isinstance(part, RelationshipProperty))


def _is_for_all(path: Any) -> bool:
    return isinstance(path[-1], str) and path[-1].startswith("relationship:")
