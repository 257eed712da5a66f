"""A loader option: a path of loader steps from an entity as one statement selects it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import inspect, orm
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper, RelationshipProperty

from flask_perfkit.cures.entities import position_of, takes_joins
from flask_perfkit.recording.callsite import Span
from flask_perfkit.recording.eager import Step
from flask_perfkit.recording.issued import Issued
from flask_perfkit.recording.mappers import entities_of

Import = tuple[str, str]
"""A module and a name in it."""

_OF_ATTRIBUTES = ("undefer", "defer")


class LoaderStep(NamedTuple):
    """One relationship, the option that loads it, and how often that follows itself.

    ``parent`` is the class that has it. ``of_type`` is the subclass that has the next step, where
    the relationship leads to its base.
    """

    parent: type
    key: str
    loader: str
    depth: int | None = None
    of_type: type | None = None

    @property
    def relationship(self) -> RelationshipProperty[Any]:
        """SQLAlchemy's own relationship."""
        mapper: Mapper[Any] = inspect(self.parent)
        return mapper.relationships[self.key]


@dataclass(frozen=True)
class ColumnStep:
    """What brings columns at the end of a path.

    ``loader`` is ``"undefer"`` or ``"defer"`` of an attribute, ``"undefer_group"`` of a group's
    name, or ``"selectin_polymorphic"`` of a subclass, and of ``others`` with the same base.
    """

    loader: str
    owner: type
    name: str = ""
    others: tuple[type, ...] = ()

    @property
    def subclasses(self) -> tuple[type, ...]:
        """The classes whose columns come."""
        return (self.owner, *self.others)


class Sent(NamedTuple):
    """Where a statement was sent: the expression, and the lines one step out with their counts."""

    span: Span | None = None
    callers: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True)
class LoaderOption:
    """A loader option for one statement; it holds classes and names, and nothing of the statement.

    ``position`` tells which of the statement's entities the path begins at, ``entity`` its class;
    ``is_of_alias`` says that it is an alias, whose name only the source code knows. ``subclass`` is
    the one whose objects have the first step, where the statement selects its base. ``replaces``
    says that an option of the statement contradicts it and has to go. ``sent`` says where the
    statement was sent.
    """

    position: int
    entity: type
    steps: tuple[LoaderStep, ...]
    column: ColumnStep | None = None
    subclass: type | None = None
    is_of_alias: bool = False
    replaces: bool = False
    sent: Sent = field(default=Sent(), compare=False)

    def alone(self) -> LoaderOption | None:
        """Return what loads its last step for objects that are there, by a select of these.

        None where it is a column of what a relationship leads to.
        """
        if self.steps and self.column is not None:
            return None
        last = self.steps[-1:]
        owner = last[0].parent if last else self.entity
        return LoaderOption(0, owner, last, self.column)

    @property
    def target_code(self) -> str:
        """What the first step or the column is of, as code: ``User.documents``."""
        if self.steps:
            return f"{self.steps[0].parent.__name__}.{self.steps[0].key}"
        return f"{self.column.owner.__name__}.{self.column.name}" if self.column else ""

    @cached_property
    def code(self) -> str:
        """The option as code; of an alias, what comes after its name stands behind ``alias``."""
        return self.code_from(None)

    def code_from(self, alias: str | None) -> str:
        """Return the option as code.

        :param alias: the name of the alias that the path begins at, where it does.
        """
        parts = []
        for number, step in enumerate(self.steps):
            root = alias if number == 0 and alias else step.parent.__name__
            target = f"{root}.{step.key}"
            if step.of_type is not None:
                target += f".of_type({step.of_type.__name__})"
            depth = f", recursion_depth={step.depth}" if step.depth else ""
            parts.append(f"{step.loader}({target}{depth})")
        if self.column is not None:
            parts.append(
                _column_code(self.column, alias, "" if self.steps else self.entity.__name__)
            )
        code = ".".join(parts)
        if self.subclass is None:
            return code
        base = alias or self.entity.__name__
        return f"selectin_polymorphic({base}, [{self.subclass.__name__}]), {code}"

    @property
    def imports(self) -> tuple[Import, ...]:
        """What the code needs: loaders, then models."""
        loaders = {self.steps[0].loader} if self.steps else set()
        classes = [each.parent for each in self.steps]
        classes += [each.of_type for each in self.steps if each.of_type is not None]
        if self.column is not None:
            loaders |= set() if self.steps else {self.column.loader}
            if self.column.loader != "undefer_group":
                classes += self.column.subclasses
        if self.subclass is not None:
            loaders.add("selectin_polymorphic")
            classes.append(self.subclass)
        if "selectin_polymorphic" in loaders:
            classes.append(self.entity)
        models = dict.fromkeys((each.__module__, each.__name__) for each in classes)
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

    def __deepcopy__(self, memo: object) -> LoaderOption:
        """Return the option itself: what it holds is SQLAlchemy's, and never changes."""
        return self

    def is_for(self, statement: Any) -> bool:
        """Tell whether a statement selects what this option begins at, and not only counts it."""
        entities = list(entities_of(statement))
        if len(entities) <= self.position:
            return False
        return bool(entities[self.position].mapper.class_ is self.entity)

    def options(self, statement: Any) -> tuple[Any, ...]:
        """Return SQLAlchemy's own option objects, from the entity as a statement selects it."""
        root = self._entity(statement).entity
        option: Any = None
        for number, step in enumerate(self.steps):
            start = root if number == 0 and self.subclass is None else step.parent
            attribute = getattr(start, step.key)
            if step.of_type is not None:
                attribute = attribute.of_type(step.of_type)
            more = {"recursion_depth": step.depth} if step.depth else {}
            option = getattr(orm if option is None else option, step.loader)(attribute, **more)
        if self.column is not None:
            option = _column_option(self.column, option, root)
        if self.subclass is None:
            return (option,)
        return (orm.selectin_polymorphic(root, [self.subclass]), option)

    def _entity(self, statement: Any) -> Any:
        return list(entities_of(statement))[self.position]


def loader_step(step: Step) -> LoaderStep | None:
    """Return a recorded step as one of a cure; None where nobody has recorded its class."""
    return LoaderStep(step.parent, step.name, step.loader) if step.parent is not None else None


@dataclass(frozen=True)
class DropOption:
    """A statement loads a relationship along by an option that nobody needs.

    ``entity`` is what the statement selects, ``step`` the relationship, ``sent`` as above.
    """

    entity: type
    step: LoaderStep
    sent: Sent = field(default=Sent(), compare=False)

    @property
    def target_code(self) -> str:
        """The relationship as code."""
        return f"{self.step.parent.__name__}.{self.step.key}"


@dataclass(frozen=True)
class ReadAgain:
    """Objects of a class have lost their columns: one select of all keys reads them again."""

    entity: type


@dataclass(frozen=True)
class CommitOnce:
    """Objects lose their columns in each turn of a loop, since it commits: once is enough."""


def key_names(entity: type) -> tuple[str, ...]:
    """Return the attributes of a class that are its primary key."""
    mapper: Mapper[Any] = inspect(entity)
    return tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)


def combined(options: Sequence[LoaderOption]) -> list[LoaderOption]:
    """Return options that one statement takes, without one that another goes on from.

    SQLAlchemy refuses two options that each load subclasses of one base.
    """
    found: list[LoaderOption] = []
    for each in options:
        if each in found or any(_goes_on(other, each) for other in options if other is not each):
            continue
        alike = next((other for other in found if _loads_subclasses_too(other, each)), None)
        if alike is None or alike.column is None or each.column is None:
            found.append(each)
        elif each.column.owner not in alike.column.subclasses:
            others = (*alike.column.others, each.column.owner)
            both = replace(alike, column=replace(alike.column, others=others))
            found[found.index(alike)] = both
    return found


def _goes_on(longer: LoaderOption, option: LoaderOption) -> bool:
    """Tell whether one option loads all that another does, on its way."""
    steps = option.steps
    return (
        option.column is None
        and longer.position == option.position
        and longer.subclass is option.subclass
        and len(longer.steps) + (longer.column is not None) > len(steps)
        and longer.steps[: len(steps)] == steps
    )


def _loads_subclasses_too(one: LoaderOption, other: LoaderOption) -> bool:
    return all(
        each.column is not None and each.column.loader == "selectin_polymorphic"
        for each in (one, other)
    ) and (one.position, one.steps) == (other.position, other.steps)


_known: WeakKeyDictionary[Any, dict[Any, LoaderOption | None]] = WeakKeyDictionary()
"""The options of each statement that SQLAlchemy knows: compiling one leaves traces in mappers."""


def option_for(
    issued: Issued, steps: tuple[LoaderStep, ...], column: ColumnStep | None = None
) -> LoaderOption | None:
    """Return the option for a statement; None where there is none that it takes."""
    options = _known.setdefault(issued.compiled(), {})
    key = (steps, column, issued.streams)
    if key not in options:
        options[key] = _built(issued, steps, column)
    return options[key]


def _built(
    issued: Issued, steps: tuple[LoaderStep, ...], column: ColumnStep | None
) -> LoaderOption | None:
    owner = steps[0].parent if steps else column.owner if column is not None else None
    first: Any = inspect(owner) if owner is not None else None
    position = position_of(issued.statement, first) if first is not None else None
    if position is None:
        return None
    root = list(entities_of(issued.statement))[position]
    option = LoaderOption(
        position,
        root.mapper.class_,
        tuple(_fitted(steps, column, joins=takes_joins(issued, position))),
        column,
        owner if steps and not root.mapper.isa(first) else None,
        is_of_alias=not isinstance(root, Mapper),
    )
    try:
        changed = option.apply(issued.statement)
        changed.compile(dialect=issued.dialect)
    except (SQLAlchemyError, AttributeError, TypeError, ValueError):
        return None
    before = len(issued.statement._with_options)
    return replace(option, replaces=len(changed._with_options) <= before)


def class_of(issued: Issued) -> type:
    """Return the class whose objects a statement brings first."""
    mapper: Mapper[Any] = next(entities_of(issued.statement)).mapper
    return mapper.class_


def defer_option(issued: Issued, name: str) -> LoaderOption | None:
    """Return the option that leaves a column out of what a statement brings.

    :param name: the column's class and attribute: ``"Document.content"``.
    """
    model, _, key = name.partition(".")
    for entity in entities_of(issued.statement):
        attribute = entity.mapper.column_attrs.get(key)
        if attribute is not None and attribute.parent.class_.__name__ == model:
            return option_for(issued, (), ColumnStep("defer", attribute.parent.class_, key))
    return None


def column_step(issued: Issued, name: str, group: str | None, *, polymorphic: bool) -> ColumnStep:
    """Return what brings a column, from the statement that loaded it late."""
    mapper = next(entities_of(issued.statement)).mapper
    owner = mapper.attrs[name].parent.class_
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
        following = steps[number + 1].parent if number + 1 < len(steps) else None
        if following is None and column is not None and column.loader in _OF_ATTRIBUTES:
            following = column.owner
        target = step.relationship.mapper.class_
        of_type = None if following is None or issubclass(target, following) else following
        loader = step.loader or ("selectinload" if step.relationship.uselist else "joinedload")
        if not step.loader and (of_type is not None or not joined):
            loader = "selectinload"
        joined = joined or loader == "selectinload"  # it sends a select of its own, which is plain
        yield step._replace(loader=loader, of_type=of_type)


def _strategies(*options: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each path that loader options speak of, with the way in which it is loaded."""
    for option in options:
        for element in getattr(option, "context", ()):
            yield element.path.path, element.strategy


def _column_code(column: ColumnStep, alias: str | None, root: str) -> str:
    if column.loader == "undefer_group":
        return f'undefer_group("{column.name}")'
    if column.loader in _OF_ATTRIBUTES:
        name = alias if root and alias else column.owner.__name__
        return f"{column.loader}({name}.{column.name})"
    base = f"{alias or root}, " if root else ""
    return f"selectin_polymorphic({base}[{', '.join(each.__name__ for each in column.subclasses)}])"


def _column_option(column: ColumnStep, option: Any, root: Any) -> Any:
    make = getattr(orm if option is None else option, column.loader)
    if column.loader == "undefer_group":
        return make(column.name)
    if column.loader in _OF_ATTRIBUTES:
        is_of_root = option is None and hasattr(root, column.name)
        return make(getattr(root if is_of_root else column.owner, column.name))
    subclasses = list(column.subclasses)
    return make(root, subclasses) if option is None else make(subclasses)
