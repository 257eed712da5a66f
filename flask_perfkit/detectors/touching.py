"""Which attributes were loaded and never read."""

from __future__ import annotations

from collections.abc import Set

from flask_perfkit.recording.profile import Profile


def shows_reads(profile: Profile) -> bool:
    """Tell whether what was read can be judged: it was noted, and the view did all its work.

    One that redirects, refuses or answers 304 left off halfway: what it loaded is for the rest.
    """
    if profile.touched is None:
        return False
    return profile.status is None or 200 <= profile.status < 300


def is_idle(name: str, touched: Set[str]) -> bool:
    """Tell whether an attribute was left alone while others of its model were read.

    Where none was read, the objects went another way, such as ``vars()`` or a pickle.
    """
    model = name.partition(".")[0] + "."
    return name not in touched and any(other.startswith(model) for other in touched)
