"""A fix as a patch of the source: written, tried on the request, and offered if it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flask_perfkit.audit.patches.code.refusal import ByHand, Refusal
from flask_perfkit.audit.patches.draft import Draft, drafts, together
from flask_perfkit.audit.patches.swap import swapped
from flask_perfkit.audit.proof import recorded
from flask_perfkit.audit.trial.asking import Ask
from flask_perfkit.audit.trial.comparison import compare
from flask_perfkit.cures.loaders import LoaderOption
from flask_perfkit.errors import PerfKitError, SetupError
from flask_perfkit.faults import log_once
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.wording import line, milliseconds, queries

if TYPE_CHECKING:
    from flask import Flask


@dataclass(frozen=True)
class Patch:
    """What mends one or several findings of one place; times are seconds of the processor.

    ``diff`` is a unified diff. It ``holds`` if it was tried and the response was the same, in fewer
    queries and less time. ``reason`` says why it does not; the diff is empty then, unless the patch
    could not be tried. Where there can be none it ``is_by_hand``, and ``reason`` says what to do.
    """

    findings: tuple[Finding, ...]
    diff: str = ""
    holds: bool = False
    reason: str = ""
    queries_before: int | None = None
    queries_after: int | None = None
    time_before: float | None = None
    time_after: float | None = None
    draft: Draft | None = field(default=None, repr=False)
    written: bool = False
    is_by_hand: bool = False

    @property
    def message(self) -> str:
        """The result in one line."""
        about = ", ".join(dict.fromkeys(finding.subject for finding in self.findings))
        if self.is_by_hand or (self.holds and self.reason):
            return f"{about}: {self.reason}"
        if not self.holds:
            return f"no patch for {about}{self._place}: {self.reason}"
        return (
            f"{about}: same response, {self.queries_before} -> {queries(self.queries_after or 0)}, "
            f"{milliseconds(self.time_before or 0)} -> {milliseconds(self.time_after or 0)}"
        )

    @property
    def _place(self) -> str:
        first = self.findings[0]
        return f" at {line(first.filename, first.lineno)}" if first.filename else ""

    def write(self) -> Patch:
        """Write the patched file, in one step; return the patch with what became of it.

        A patch that does not hold, or whose file cannot be written any more, writes nothing.
        """
        if not self.holds or self.draft is None:
            return self
        try:
            self.draft.source.write(self.draft.text)
        except (Refusal, OSError) as error:
            return replace(self, reason=f"{self.draft.source.path} is left as it was: {error}")
        return replace(self, written=True)


def patch(app: Flask, finding: Finding, *, ask: Ask | None = None) -> Patch:
    """Write the fix of a finding into its source, and try it; no file is changed.

    :param ask: does what the finding was found in once more, and returns a status and a body, both
        of which have to stay the same. The recorded GET of the finding's endpoint unless set.
    """
    return patch_of(app, (finding,), ask=ask)


def patched(app: Flask, findings: Iterable[Finding], *, writes: bool) -> Iterator[Patch]:
    """Yield a patch for all findings of each select, or why there is none.

    :param writes: whether those that hold are written, those of one file at once.
    """
    kept: list[Patch] = []
    for group in grouped(findings):
        patch = Context().run(_patch_or_fault, app, group)
        if patch.holds:
            kept.append(patch)
        if not writes or not patch.holds:
            yield patch
    if writes:
        yield from written(kept)


def _patch_or_fault(app: Flask, findings: tuple[Finding, ...]) -> Patch:
    """Return the patch for findings of one place; a fault of ours costs no other place its own."""
    try:
        return patch_of(app, findings)
    except PerfKitError:
        raise
    except Exception as fault:
        log_once("writing a patch")
        reason = f"PerfKit failed at it ({type(fault).__name__}, see the log)"
        return Patch(findings, reason=f"{reason}. By hand: {findings[0].fix}")


def written(patches: Sequence[Patch]) -> Iterator[Patch]:
    """Write patches, those of one file together, and yield them with what became of each."""
    files: dict[Path, list[Patch]] = {}
    for patch in patches:
        if patch.draft is not None:
            files.setdefault(patch.draft.source.path, []).append(patch)
    for of_file in files.values():
        drafts = [patch.draft for patch in of_file if patch.draft is not None]
        draft = replace(drafts[0], text=together(drafts))
        done = replace(of_file[0], draft=draft).write()
        for patch in of_file:
            yield replace(patch, written=done.written, reason=done.reason)


def grouped(findings: Iterable[Finding]) -> list[tuple[Finding, ...]]:
    """Put findings together that one patch mends: those of one select, and what that flushes.

    A line that asks flushes what was written before; it need not where all is asked for at once.
    """
    groups: dict[object, list[Finding]] = {}
    asking: dict[object, list[list[Finding]]] = {}
    writes = []
    for finding in findings:
        line = (finding.filename, finding.lineno)
        if finding.kind == "n_plus_one_write":
            writes.append(finding)
            continue
        is_load = finding.kind == "n_plus_one" and isinstance(finding.cure, LoaderOption)
        kind = "option" if is_load else finding.kind
        about = finding.subject if finding.kind != "n_plus_one" else ""
        place = (finding.endpoint, kind, finding.origin or line, about)
        group = groups.setdefault(place, [])
        group.append(finding)
        if finding.kind == "n_plus_one":
            there = asking.setdefault((finding.endpoint, line), [])
            there += [group] if all(each is not group for each in there) else []
    for finding in writes:
        line = (finding.filename, finding.lineno)
        there = asking.get((finding.endpoint, line), [])
        own = (finding.endpoint, finding.kind, line)
        group = there[0] if len(there) == 1 else groups.setdefault(own, [])
        group.append(finding)
    return [tuple(group) for group in groups.values()]


def patch_of(app: Flask, findings: Sequence[Finding], *, ask: Ask | None = None) -> Patch:
    """Return the patch for findings of one place: the first way to mend them that holds."""
    findings = tuple(findings)
    tried = []
    try:
        for draft in drafts(app, findings):
            tried.append(_tried(app, findings, draft, ask))
            if tried[-1].holds or tried[-1].diff:
                return tried[-1]
    except ByHand as words:
        return Patch(findings, reason=str(words), is_by_hand=True)
    except Refusal as refusal:
        return Patch(findings, reason=f"{refusal}. By hand: {findings[0].fix}")
    return tried[0]


def _tried(app: Flask, findings: tuple[Finding, ...], draft: Draft, ask: Ask | None) -> Patch:
    diff = draft.source.diff(draft.text)
    try:
        ask = ask or recorded(app, findings[0])
    except SetupError:
        return Patch(findings, diff, reason=_untried(findings[0]), draft=draft)
    try:
        result = compare(
            ask,
            lambda: swapped(draft.source, draft.text, draft.imports),
            fewer=draft.saves_statements,
            faster=draft.saves_time,
        )
    except Refusal as refusal:
        return Patch(findings, reason=str(refusal))
    return Patch(
        findings,
        "" if result.reason else diff,
        not result.reason,
        result.reason,
        result.statements_before,
        result.statements_after,
        result.seconds_before,
        result.seconds_after,
        draft,
    )


def _untried(finding: Finding) -> str:
    return (
        f"not tried: no GET of {finding.endpoint!r} was recorded. A request that may do more than "
        "read is not sent again on its own: pass ask= to try the patch"
    )
