"""What a fix is: code to paste, or words."""

from __future__ import annotations

import ast


def is_code(fix: str) -> bool:
    """Tell whether a fix is an expression to paste, or words that say what to do."""
    try:
        ast.parse(fix, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
