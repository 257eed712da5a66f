"""The rewrites by the kind of finding that they mend."""

from __future__ import annotations

from collections.abc import Callable

from flask_perfkit.audit.patches.code.calls import scan_keys, sleep_without_blocking
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.refusal import ByHand
from flask_perfkit.audit.patches.reads.aggregates import aggregate
from flask_perfkit.audit.patches.reads.lookups import prefetch
from flask_perfkit.audit.patches.writes.commits import commit_once
from flask_perfkit.audit.patches.writes.writes import write_at_once
from flask_perfkit.cures.loaders import CommitOnce
from flask_perfkit.recording.findings import Finding

Rewrite = Callable[[ModuleTree, int, Finding], None]

_REWRITES: dict[str, Rewrite] = {
    "n_plus_one": prefetch,
    "n_plus_one_write": write_at_once,
    "blocking_call": sleep_without_blocking,
    "redis_keys": scan_keys,
    "python_aggregation": aggregate,
}


def rewrite_for(finding: Finding) -> Rewrite:
    """Return what mends a finding.

    :raises ByHand: nothing does.
    """
    if isinstance(finding.cure, CommitOnce):
        return commit_once
    rewrite = _REWRITES.get(finding.kind)
    if rewrite is None:
        raise ByHand(f"{finding.kind} has to be fixed by hand: {finding.fix}")
    return rewrite
