"""Why no patch is offered."""

from __future__ import annotations


class Refusal(Exception):
    """There is no patch; the message says why, for the reader of a report."""


class Inapplicable(Refusal):
    """One way to mend is not meant for such code; another one has the reason to be told."""


class ByHand(Refusal):
    """No rewrite mends findings of this kind: what they ask for is a decision."""
