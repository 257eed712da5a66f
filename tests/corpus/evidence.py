"""Whether the labels of a view are true: what a plain listener saw against what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .labels import Label, Line
from .runner import View
from .witness import Witness

_AGAIN_AND_AGAIN = 5


def repeated(witness: Witness, label: Label, *, writes: bool) -> int:
    """Return how often the lines that a label names ran the statements that they repeat."""
    return sum(witness.repeated_at(line, writes=writes) for line in label.lines)


def untrue_labels(view: View, witness: Witness) -> Iterator[str]:
    """Yield what the listener saw otherwise than the labels say."""
    runs: Counter[tuple[Line | None, bool]] = Counter()
    for label in view.of("FINDING"):
        if label.count:
            writes = label.names[0] == "n_plus_one_write"
            runs[label.lines[0], writes] += int(label.settings.get("runs", label.count[0]))
    for label in view.of("FINDING"):
        for writes in (False, True):
            said, seen = runs[label.lines[0], writes], repeated(witness, label, writes=writes)
            if label.count and said != seen:
                yield f"{label.line} repeats {seen} statements, writes: {writes}, not {said}"
    for label in view.of("SILENT"):
        seen = len(witness.at(label.line))
        if label.count and seen not in label.count:
            yield f"{label.line} runs {seen} statements, not {label.count}"
    for label in view.of("CALLER"):
        seen = len(witness.below(label.line))
        if label.count and seen < label.count[0]:
            yield f"{label.line} calls for {seen} statements, not {label.count}"
    for label in view.of("ORIGIN"):
        if not witness.at(label.line):
            yield f"{label.line} runs no statement, so it brings no rows"
    yield from _unlabelled_repetitions(view, witness)


def _unlabelled_repetitions(view: View, witness: Witness) -> Iterator[str]:
    labels = view.of("FINDING", "SILENT", "ALLOWED")
    spoken_of = {line for label in labels for line in label.lines}
    shapes = Counter((next(iter(e.lines), None), e.statement) for e in witness.executions)
    for (line, statement), count in shapes.items():
        if count >= _AGAIN_AND_AGAIN and line not in spoken_of:
            yield f"{line} has no label and repeats {count} times: {statement}"
