"""Why no patch is offered."""

from __future__ import annotations


class Refusal(Exception):
    """There is no patch; the message says why, for the reader of a report."""


class ByHand(Refusal):
    """No rewrite mends findings of this kind: what they ask for is a decision."""
