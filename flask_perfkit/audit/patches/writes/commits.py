"""One commit behind a loop, where each turn commits and so forgets the objects still to come."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.writes.writes import write_at_once
from flask_perfkit.recording.findings import Finding

_COMMITS = m.Call(func=m.Attribute(attr=m.Name("commit")), args=[])


def commit_once(tree: ModuleTree, lineno: int, finding: Finding) -> None:
    """Let the loop around a line commit once.

    :raises Refusal: it is not seen to commit, or not of the plain kind for which that is sure.
    """
    for loop in tree.around(lineno, cst.For):
        commits = [each for each in tree.walk(loop.body) if m.matches(each, _COMMITS)]
        if len(commits) == 1:
            write_at_once(tree, tree.first_line(commits[0]), finding)
            return
    raise Refusal("the loop is not seen to commit")
