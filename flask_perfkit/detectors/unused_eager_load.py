"""unused_eager_load: a relationship that was loaded eagerly and never touched.

Found where reads of attributes are noted, in debug and tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from flask_perfkit.config import Settings
from flask_perfkit.cures.loaders import DropOption, LoaderOption, loader_step, option_for
from flask_perfkit.detectors.loading import sent_by
from flask_perfkit.detectors.touching import is_idle, shows_reads
from flask_perfkit.detectors.wholes import may_go_whole
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.eager import Step
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.issued import known
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place

_ALONG = ("joinedload",)
_MANY_ROWS = 10


class _Along(NamedTuple):
    """The way to a relationship that was loaded along, and whether only the mapping asked.

    ``model`` is the class of its objects.
    """

    steps: tuple[Step, ...]
    model: str
    by_default: bool

    def __str__(self) -> str:
        return str(self.steps[-1])

    @property
    def owners(self) -> tuple[str, ...]:
        """The class that has the relationship."""
        parent = self.steps[-1].parent
        return (f"{parent.__module__}.{parent.__qualname__}",) if parent is not None else ()


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find eager loads, in a join or in statements of their own, that were for nothing.

    What the mapping loads by default costs little for a few objects: it is found with many.
    """
    touched = profile.touched
    if touched is None or not shows_reads(profile):
        return []
    options = set(_by_option(profile))
    return [
        _finding(along, cause, profile)
        for cause in profile.causes
        if cause.rows
        for along in _loaded_along(cause, options)
        if is_idle(str(along), touched)
        and not _answers(cause, along, profile)
        and not any(is_idle(str(step), touched) for step in along.steps[:-1])
        and (not along.by_default or cause.most_rows >= _MANY_ROWS)
        and not may_go_whole(cause, along.owners, profile)
    ]


def _answers(cause: Cause, along: _Along, profile: Profile) -> bool:
    """Tell whether the objects spared more statements than it took to load them.

    Another way to them, such as a to-one relationship, found them in the session already.
    """
    statements = cause.count if cause.reason.kind == "batch" else 0
    return profile.answered[along.model] > statements


def _by_option(profile: Profile) -> Iterator[str]:
    for cause in profile.causes:
        for eager in cause.reason.eager:
            if eager.steps and not eager.by_default:
                yield str(eager.steps[-1])


def _loaded_along(cause: Cause, options: set[str]) -> Iterator[_Along]:
    if cause.reason.kind == "batch":
        model = cause.reason.entity[0].rpartition(".")[2]
        yield _Along(cause.reason.steps, model, cause.reason.subject not in options)
    for eager in cause.reason.eager:
        if eager.steps and eager.steps[-1].loader in _ALONG:
            yield _Along(eager.steps, eager.entity[0].rpartition(".")[2], eager.by_default)


def _finding(along: _Along, cause: Cause, profile: Profile) -> Finding:
    loader = "its own statement" if cause.reason.kind == "batch" else "a join"
    fix = f"drop the option that loads {along}"
    advice = fix
    if along.by_default:
        way = [f"defaultload({step})" for step in along.steps[:-1]]
        fix = ".".join([*way, f"lazyload({along})"])
        advice = f'add {fix} to the select, or set lazy="select" in the mapping'
    message = (
        f"{along} was loaded in {loader} ({milliseconds(cause.time)}) {place(cause, profile)} "
        f"and nothing touched it; {advice}"
    )
    subject = str(along)
    cure = _cure(along, cause)
    return finding_of(
        "unused_eager_load", cause, profile, message=message, fix=fix, subject=subject, cure=cure
    )


def _cure(along: _Along, cause: Cause) -> LoaderOption | DropOption | None:
    """Return what leaves it out; None where its way is not known."""
    way = [step for step in map(loader_step, along.steps) if step is not None]
    issued = known(cause.issued)
    if len(way) < len(along.steps) or issued is None:
        return None
    sent = sent_by(cause)
    if not along.by_default:
        return DropOption(way[0].parent, way[-1], sent) if len(way) == 1 else None
    if cause.reason.kind == "batch":
        return None  # it is an option of another statement
    steps = [step._replace(loader="defaultload") for step in way[:-1]]
    option = option_for(issued, (*steps, way[-1]._replace(loader="lazyload")))
    return replace(option, sent=sent) if option is not None else None
