"""Which rewrite mends a finding: a patch that nobody has tried yet."""

from __future__ import annotations

from dataclasses import dataclass

from flask_perfkit.audit.patches.refusal import Refusal
from flask_perfkit.audit.patches.source import Source, source_of
from flask_perfkit.cures.loaders import Import, LoaderOption
from flask_perfkit.errors import ExtraMissing
from flask_perfkit.recording.findings import Finding


@dataclass(frozen=True)
class Draft:
    """A file with the text that it would have, and what that imports.

    ``lineno`` is the line that is mended. ``of_select`` says that a select was changed, for all who
    send it; ``saves_statements`` that fewer of them are promised.
    """

    source: Source
    text: str
    imports: tuple[Import, ...]
    lineno: int
    of_select: bool = False
    saves_statements: bool = True


def drafted(findings: tuple[Finding, ...]) -> Draft:
    """Return the rewrite that mends findings of one place.

    :raises Refusal: there is none that is sure.
    :raises ExtraMissing: libcst is not installed.
    """
    try:
        from flask_perfkit.audit.patches.module import ModuleTree
        from flask_perfkit.audit.patches.options import add_options
        from flask_perfkit.audit.patches.rewrites import rewrite_for
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "libcst":
            raise
        raise ExtraMissing("flask perfkit fix", "fix") from error
    finding = findings[0]
    options = [each.cure for each in findings if isinstance(each.cure, LoaderOption)]
    filename, lineno = (finding.origin if options else None) or (finding.filename, finding.lineno)
    if filename is None or lineno is None:
        raise Refusal("no line of the application is known to have asked")
    rewrite = None if options else rewrite_for(finding)
    source = source_of(filename, lineno)
    tree = ModuleTree(source.text, source.module)
    if rewrite is None:
        add_options(tree, lineno, _longest(options))
    else:
        rewrite(tree, lineno, finding)
    text = tree.text()
    saves = finding.kind not in ("blocking_call", "redis_keys")
    return Draft(source, text, tuple(tree.imports), lineno, bool(options), saves)


def _longest(options: list[LoaderOption]) -> list[LoaderOption]:
    """Leave out an option that another one goes on from."""
    return [
        each
        for each in options
        if each.column is not None
        or not any(
            other is not each
            and len(other.steps) > len(each.steps)
            and other.steps[: len(each.steps)] == each.steps
            for other in options
        )
    ]
