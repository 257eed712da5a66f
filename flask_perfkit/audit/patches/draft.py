"""Which rewrite mends a finding: a patch that nobody has tried yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from flask_perfkit.audit.patches.code.refusal import Inapplicable, Refusal
from flask_perfkit.audit.patches.code.source import Source, source_of
from flask_perfkit.cures.loaders import Import, LoaderOption, ReadAgain
from flask_perfkit.errors import ExtraMissing
from flask_perfkit.recording.findings import Finding

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.audit.patches.code.module import Mend, ModuleTree

_TOO_MUCH = ("unused_columns", "unused_eager_load")
_WITHOUT_TIME = ("blocking_call", "redis_keys", "python_aggregation")
"""What others wait for, and what takes the longer the more rows there are."""

_SAVES_STATEMENTS = ("n_plus_one", "n_plus_one_write")


@dataclass(frozen=True)
class Draft:
    """A file with the text that it would have, and what that imports.

    ``mend`` makes it of the file's tree. ``saves_statements`` and ``saves_time`` say what is
    promised beside the same answer.
    """

    source: Source
    text: str
    imports: tuple[Import, ...]
    mend: Mend = field(repr=False)
    saves_statements: bool = True
    saves_time: bool = True


def require_libcst() -> None:
    """Raise ExtraMissing where libcst is not installed, without importing it."""
    if find_spec("libcst") is None:
        raise ExtraMissing("flask perfkit fix", "fix")


def drafts(app: Flask, findings: tuple[Finding, ...]) -> Iterator[Draft]:
    """Yield the rewrites that may mend findings of one place, the best one first.

    :raises Refusal: there is none that is sure.
    :raises ExtraMissing: libcst is not installed.
    """
    require_libcst()
    refusals = []
    is_any = False
    for way in _ways(app, findings):
        try:
            draft = _drafted(*way(), findings[0])
        except Refusal as refusal:
            refusals.append(refusal)
        else:
            is_any = True
            yield draft
    if not is_any:
        raise next((each for each in refusals if type(each) is Refusal), refusals[0])


def together(drafts: Sequence[Draft]) -> str:
    """Return the text of one file with the rewrites of all drafts."""
    tree = _tree(drafts[0].source)
    for draft in {draft.text: draft for draft in drafts}.values():
        draft.mend(tree)
    return tree.text()


def _drafted(source: Source, mend: Mend, finding: Finding) -> Draft:
    tree = _tree(source)
    mend(tree)
    return Draft(
        source,
        tree.text(),
        tuple(tree.imports),
        mend,
        saves_statements=finding.kind in _SAVES_STATEMENTS,
        saves_time=finding.kind not in _WITHOUT_TIME,
    )


def _tree(source: Source) -> ModuleTree:
    from flask_perfkit.audit.patches.code.module import ModuleTree

    return ModuleTree(source.text, source.module)


def _ways(app: Flask, findings: tuple[Finding, ...]) -> Iterator[Callable[[], tuple[Source, Mend]]]:
    """Yield what looks for a way to mend, the best one first."""
    if findings[0].kind in _TOO_MUCH:
        from flask_perfkit.audit.patches.loads.unused import leaving_out

        yield partial(leaving_out, app, findings[0])
    elif isinstance(findings[0].cure, LoaderOption | ReadAgain):
        from flask_perfkit.audit.patches.loads.loads import ways_to_load

        yield from ways_to_load(app, findings)
    else:
        yield partial(_rewritten, findings[0])
        if findings[0].kind == "n_plus_one":
            yield partial(_where_called, findings[0])


def _rewritten(finding: Finding) -> tuple[Source, Mend]:
    from flask_perfkit.audit.patches.rewrites import rewrite_for

    rewrite = rewrite_for(finding)
    if finding.filename is None or finding.lineno is None:
        raise Refusal("no line of the application is known to have sent it")
    lineno = finding.lineno
    return source_of(finding.filename, lineno), lambda tree: rewrite(tree, lineno, finding)


def _where_called(finding: Finding) -> tuple[Source, Mend]:
    """Return the one other module whose loops call what asks, and what mends them."""
    from flask_perfkit.audit.patches.reads.lookups import prefetch

    filename, lineno = finding.filename, finding.lineno
    lines = dict(each[:2] for each in finding.callers)
    if filename is None or lineno is None or len(lines) != 1 or filename in lines:
        raise Inapplicable("it is not called by one other module")
    source = source_of(filename, lineno)
    ((calling, line),) = lines.items()
    return source_of(calling, line), lambda tree: prefetch(_tree(source), lineno, finding, tree)
