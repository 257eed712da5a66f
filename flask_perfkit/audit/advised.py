"""Index advice as findings of an audit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flask_perfkit.recording.findings import Finding

if TYPE_CHECKING:
    from flask_perfkit.advice.advice import Advice, Create


def findings_of(advice: Advice) -> Iterator[Finding]:
    """Yield a finding for each index to create and to drop, and for each that nothing reads."""
    for create in advice.create:
        yield Finding(
            kind="missing_index",
            subject=create.name,
            message=f"missing_index: {create.table} {create.index}, {create.reason}; "
            f"{_figures(create)}, {create.proof}; {create.sql}",
            fix=create.sql,
        )
    for drop in advice.drop:
        yield Finding(
            kind="redundant_index",
            subject=drop.name,
            message=f"redundant_index: {drop.table}: {drop.reason}, {drop.proof}; {drop.sql}",
            fix=drop.sql,
        )
    for check in advice.checks:
        if check.kind == "unused_index":
            yield Finding(
                kind=check.kind,
                subject=check.subject,
                message=f"{check.kind}: {check.message}; {check.fix}",
                fix=check.fix,
            )


def _figures(create: Create) -> str:
    gain = f"({create.gain:,.0f}x)"
    if create.unit == "seconds":
        return f"{create.before * 1e3:,.2f} -> {create.after * 1e3:,.2f} ms {gain}"
    return f"{create.unit} {create.before:,.0f} -> {create.after:,.0f} {gain}"
