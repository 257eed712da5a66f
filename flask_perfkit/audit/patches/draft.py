"""Which rewrite mends a finding: a patch that nobody has tried yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_perfkit.audit.patches.callers import function_at, is_shared, view_of
from flask_perfkit.audit.patches.refusal import Refusal
from flask_perfkit.audit.patches.source import Source, source_of
from flask_perfkit.cures.loaders import Import, LoaderOption
from flask_perfkit.errors import ExtraMissing
from flask_perfkit.recording.findings import Finding

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.audit.patches.module import ModuleTree


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
    findings: tuple[Finding, ...]
    of_select: bool = False
    saves_statements: bool = True


def drafted(app: Flask, findings: tuple[Finding, ...]) -> Draft:
    """Return the rewrite that mends findings of one place.

    :raises Refusal: there is none that is sure.
    :raises ExtraMissing: libcst is not installed.
    """
    finding = findings[0]
    is_of_select = isinstance(finding.cure, LoaderOption)
    filename, lineno = (finding.origin if is_of_select else None) or (
        finding.filename,
        finding.lineno,
    )
    if filename is None or lineno is None:
        raise Refusal("no line of the application is known to have asked")
    source = source_of(filename, lineno)
    tree = _tree(source)
    _mend(app, source, tree, lineno, findings)
    saves = finding.kind not in ("blocking_call", "redis_keys")
    imports = tuple(tree.imports)
    return Draft(source, tree.text(), imports, lineno, findings, is_of_select, saves)


def together(app: Flask, drafts: Sequence[Draft]) -> str:
    """Return the text of one file with the rewrites of all drafts."""
    tree = _tree(drafts[0].source)
    for draft in {draft.text: draft for draft in drafts}.values():
        _mend(app, draft.source, tree, draft.lineno, draft.findings)
    return tree.text()


def _tree(source: Source) -> ModuleTree:
    try:
        from flask_perfkit.audit.patches.module import ModuleTree
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "libcst":
            raise
        raise ExtraMissing("flask perfkit fix", "fix") from error
    return ModuleTree(source.text, source.module)


def _mend(
    app: Flask, source: Source, tree: ModuleTree, lineno: int, findings: tuple[Finding, ...]
) -> None:
    from flask_perfkit.audit.patches.options import add_options, pass_options
    from flask_perfkit.audit.patches.rewrites import rewrite_for

    options = [each.cure for each in findings if isinstance(each.cure, LoaderOption)]
    if options:
        helper = function_at(source, lineno)
        if helper is not None and is_shared(app, source, helper):
            view = view_of(app, source, findings[0].endpoint)
            pass_options(tree, lineno, _longest(options), view)
        else:
            add_options(tree, lineno, _longest(options))
    else:
        rewrite_for(findings[0])(tree, lineno, findings[0])


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
