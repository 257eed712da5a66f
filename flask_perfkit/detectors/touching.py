"""Which loaded attributes were for nothing."""

from __future__ import annotations

from collections.abc import Set


def is_idle(name: str, touched: Set[str]) -> bool:
    """Tell whether an attribute was left alone while others of its model were read.

    Where none was read, the objects went another way, such as ``vars()`` or a pickle.
    """
    model = name.partition(".")[0] + "."
    return name not in touched and any(other.startswith(model) for other in touched)
