"""A loader option: a path of loader steps from an entity as one statement selects it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import orm
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper, RelationshipProperty

from flask_perfkit.cures.entities import entities_of, position_of, takes_joins
from flask_perfkit.recording.issued import Issued

Import = tuple[str, str]
"""A module and a name in it."""


@dataclass(frozen=True)
class LoaderStep:
    """One relationship, the option that loads it, and how often that follows itself.

    ``of_type`` is the subclass that has the next step, where the relationship leads to its base.
    """

    relationship: RelationshipProperty[Any]
    loader: str
    depth: int | None = None
    of_type: Mapper[Any] | None = None


@dataclass(frozen=True)
class ColumnStep:
    """What brings columns at the end of a path.

    ``loader`` is ``"undefer"`` of an attribute, ``"undefer_group"`` of a group's name, or
    ``"selectin_polymorphic"`` of a subclass.
    """

    loader: str
    mapper: Mapper[Any]
    name: str = ""


@dataclass(frozen=True)
class LoaderOption:
    """A loader option for one statement.

    ``position`` tells which of the statement's entities the path begins at. ``subclass`` is the
    one whose objects have the first step, where the statement selects its base.
    """

    issued: Issued
    position: int
    steps: tuple[LoaderStep, ...]
    column: ColumnStep | None = None
    subclass: Mapper[Any] | None = None

    @property
    def is_of_alias(self) -> bool:
        """Whether the path begins at an alias, whose name only the source code knows."""
        return not isinstance(self._entity(self.issued.statement), Mapper)

    @property
    def mapper(self) -> Mapper[Any]:
        """The mapper of the entity that the path begins at."""
        mapper: Mapper[Any] = self._entity(self.issued.statement).mapper
        return mapper

    @property
    def target_code(self) -> str:
        """What the first step or the column is of, as code: ``User.documents``."""
        if self.steps:
            relationship = self.steps[0].relationship
            return f"{relationship.parent.class_.__name__}.{relationship.key}"
        return f"{self.column.mapper.class_.__name__}.{self.column.name}" if self.column else ""

    @property
    def code(self) -> str:
        """The option as code; of an alias, what comes after its name stands behind ``alias``."""
        return self.code_from(None)

    def code_from(self, alias: str | None) -> str:
        """Return the option as code.

        :param alias: the name of the alias that the path begins at, where it does.
        """
        parts = []
        for number, step in enumerate(self.steps):
            owner = step.relationship.parent.class_.__name__
            root = alias if number == 0 and alias else owner
            target = f"{root}.{step.relationship.key}"
            if step.of_type is not None:
                target += f".of_type({step.of_type.class_.__name__})"
            depth = f", recursion_depth={step.depth}" if step.depth else ""
            parts.append(f"{step.loader}({target}{depth})")
        if self.column is not None:
            parts.append(_column_code(self.column, alias, "" if self.steps else self._root))
        code = ".".join(parts)
        if self.subclass is None:
            return code
        base = alias or self._root
        return f"selectin_polymorphic({base}, [{self.subclass.class_.__name__}]), {code}"

    @property
    def imports(self) -> tuple[Import, ...]:
        """What the code needs: loaders, then models."""
        loaders = {self.steps[0].loader} if self.steps else set()
        classes = [each.relationship.parent for each in self.steps]
        classes += [each.of_type for each in self.steps if each.of_type is not None]
        if self.column is not None:
            loaders |= set() if self.steps else {self.column.loader}
            if self.column.loader != "undefer_group":
                classes.append(self.column.mapper)
        if self.subclass is not None:
            loaders.add("selectin_polymorphic")
            classes.append(self.subclass)
        if "selectin_polymorphic" in loaders:
            classes.append(self._entity(self.issued.statement).mapper)
        models = dict.fromkeys((each.class_.__module__, each.class_.__name__) for each in classes)
        return (*(("sqlalchemy.orm", loader) for loader in sorted(loaders)), *models)

    def apply(self, statement: Any) -> Any:
        """Return a statement with this option, in the place of one that contradicts it.

        :raises SQLAlchemyError: it cannot be put on that statement.
        """
        options = self.options(statement)
        added = statement.options(*options)
        own = dict(_strategies(*options))
        kept = [
            option
            for option in statement._with_options
            if not any(own.get(path, way) != way for path, way in _strategies(option))
        ]
        if len(kept) < len(statement._with_options):
            added._with_options = (*kept, *options)
        return added

    @property
    def replaces(self) -> bool:
        """Whether an option of the statement contradicts it and has to go."""
        statement = self.issued.statement
        return len(self.apply(statement)._with_options) <= len(statement._with_options)

    def fits(self) -> bool:
        """Tell whether the statement takes it: it is put on, and compiled for the database."""
        try:
            self.apply(self.issued.statement).compile(dialect=self.issued.dialect)
        except (SQLAlchemyError, AttributeError, TypeError, ValueError):
            return False
        return True

    def __deepcopy__(self, memo: object) -> LoaderOption:
        """Return the option itself: what it holds is SQLAlchemy's, and never changes."""
        return self

    def is_for(self, statement: Any) -> bool:
        """Tell whether a statement selects what this option begins at, and not only counts it."""
        entities = list(entities_of(statement))
        if len(entities) <= self.position:
            return False
        return bool(entities[self.position].mapper is self._entity(self.issued.statement).mapper)

    def options(self, statement: Any) -> tuple[Any, ...]:
        """Return SQLAlchemy's own option objects, from the entity as a statement selects it."""
        root = self._entity(statement).entity
        option: Any = None
        for number, step in enumerate(self.steps):
            start = (
                root if number == 0 and self.subclass is None else step.relationship.parent.entity
            )
            attribute = getattr(start, step.relationship.key)
            if step.of_type is not None:
                attribute = attribute.of_type(step.of_type.entity)
            more = {"recursion_depth": step.depth} if step.depth else {}
            option = getattr(orm if option is None else option, step.loader)(attribute, **more)
        if self.column is not None:
            option = _column_option(self.column, option, root)
        if self.subclass is None:
            return (option,)
        return (orm.selectin_polymorphic(root, [self.subclass.class_]), option)

    @property
    def _root(self) -> str:
        return str(self._entity(self.issued.statement).mapper.class_.__name__)

    def _entity(self, statement: Any) -> Any:
        return list(entities_of(statement))[self.position]


def option_for(
    issued: Issued, steps: tuple[LoaderStep, ...], column: ColumnStep | None = None
) -> LoaderOption | None:
    """Return the option for a statement; None where there is none that it takes."""
    first = steps[0].relationship.parent if steps else column.mapper if column else None
    position = position_of(issued.statement, first) if first is not None else None
    if position is None or first is None:
        return None
    root = list(entities_of(issued.statement))[position].mapper
    subclass = None if root.isa(first) or not steps else first
    joins = takes_joins(issued, position)
    option = LoaderOption(
        issued, position, tuple(_fitted(steps, column, joins=joins)), column, subclass
    )
    return option if option.fits() else None


def column_step(issued: Issued, name: str, group: str | None, *, polymorphic: bool) -> ColumnStep:
    """Return what brings a column, from the statement that loaded it late."""
    mapper = next(entities_of(issued.statement)).mapper
    owner = mapper.attrs[name].parent
    if polymorphic:
        return ColumnStep("selectin_polymorphic", owner)
    if group:
        return ColumnStep("undefer_group", owner, group)
    return ColumnStep("undefer", owner, name)


def _fitted(
    steps: tuple[LoaderStep, ...], column: ColumnStep | None, *, joins: bool
) -> Iterator[LoaderStep]:
    """Choose the loaders for a statement, and name the subclasses that a path leads into."""
    joined = joins
    for number, step in enumerate(steps):
        following = steps[number + 1].relationship.parent if number + 1 < len(steps) else None
        if following is None and column is not None and column.loader == "undefer":
            following = column.mapper
        of_type = (
            None if following is None or step.relationship.mapper.isa(following) else following
        )
        loader = step.loader or ("selectinload" if step.relationship.uselist else "joinedload")
        if not step.loader and (of_type is not None or not joined):
            loader = "selectinload"
        joined = joined or loader == "selectinload"  # it sends a select of its own, which is plain
        yield replace(step, loader=loader, of_type=of_type)


def _strategies(*options: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each path that loader options speak of, with the way in which it is loaded."""
    for option in options:
        for element in getattr(option, "context", ()):
            yield element.path.path, element.strategy


def _column_code(column: ColumnStep, alias: str | None, root: str) -> str:
    if column.loader == "undefer_group":
        return f'undefer_group("{column.name}")'
    name = column.mapper.class_.__name__
    if column.loader == "undefer":
        return f"undefer({alias if root and alias else name}.{column.name})"
    base = f"{alias or root}, " if root else ""
    return f"selectin_polymorphic({base}[{name}])"


def _column_option(column: ColumnStep, option: Any, root: Any) -> Any:
    make = getattr(orm if option is None else option, column.loader)
    if column.loader == "undefer_group":
        return make(column.name)
    if column.loader == "undefer":
        is_of_root = option is None and hasattr(root, column.name)
        return make(getattr(root if is_of_root else column.mapper.entity, column.name))
    subclasses = [column.mapper.class_]
    return make(root, subclasses) if option is None else make(subclasses)
