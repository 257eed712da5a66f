"""cartesian_product: a join that multiplies the rows of two collections."""

from __future__ import annotations

from collections.abc import Iterator

from flask_perfkit.config import Settings
from flask_perfkit.cures.loaders import LoaderOption, LoaderStep, loader_step, option_for
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.eager import Step
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.issued import known
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place

_FAR_ABOVE = 2
_JOINED = ("joinedload", "contains_eager")


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find selects that fetched far more rows than their branches have by themselves."""
    return [_finding(cause, profile) for cause in profile.causes if _is_product(cause)]


def _is_product(cause: Cause) -> bool:
    rows, expected = cause.joined
    return 0 < expected * _FAR_ABOVE <= rows


def _finding(cause: Cause, profile: Profile) -> Finding:
    rows, expected = cause.joined
    fix = _fix(cause)
    message = (
        f"{rows:,} rows fetched where {expected:,} would do "
        f"({milliseconds(cause.time)}) {place(cause, profile)}: the joins multiply each other; "
        f"use {fix}"
    )
    return finding_of("cartesian_product", cause, profile, message=message, fix=fix)


def _fix(cause: Cause) -> str:
    """Return the option that takes the last collection out of the join, or words."""
    loaded = [option for option in _options(cause) if not option.is_of_alias]
    if loaded:
        return min(loaded, key=lambda option: len(option.steps)).code
    if cause.collections:
        return f"selectinload() for {cause.collections[-1]}, in the place of its join"
    return "exists() where a join only filters, and a condition where none connects two tables"


def _options(cause: Cause) -> Iterator[LoaderOption]:
    """Yield the options that load a joined collection by a select of its own, the last first."""
    issued = known(cause.issued)
    ways = {str(each.steps[-1]): each.steps for each in cause.reason.eager if each.steps}
    for name in reversed(cause.collections):
        steps = ways.get(name, ())
        if issued is None or not steps or steps[-1].loader not in _JOINED:
            continue
        way = tuple(_steps(steps, ways))
        option = option_for(issued, way) if len(way) == len(steps) else None
        if option is not None:
            yield option


def _steps(steps: tuple[Step, ...], ways: dict[str, tuple[Step, ...]]) -> Iterator[LoaderStep]:
    """Yield the way to a collection, each step but the last as it is loaded now."""
    for step in map(loader_step, steps):
        if step is None:
            return
        now = ways.get(f"{step.parent.__name__}.{step.key}", ())
        is_last = step == loader_step(steps[-1])
        loader = "selectinload" if is_last else now[-1].loader if now else ""
        yield step._replace(loader=loader)
