"""An entry as bytes: what it was stored under, then its value.

Three lines of ASCII, then the JSON text::

    perfkit1 <epoch> <flags> <expires> <stale> <cost>
    <names of the tokens>
    <the tokens>

``expires`` is when the value's life ends (seconds since 1970), ``stale`` how many seconds it
is kept beyond that, ``cost`` how many its creator took. A format that changes gets
another first word, so that processes of two releases read each other's entries as misses.
"""

from __future__ import annotations

from dataclasses import dataclass

_FORMAT = "perfkit1"
_TAGGED = "t"
_PLAIN = "-"


@dataclass(slots=True)
class Entry:
    """A stored value, not yet decoded, with what tells whether it is still good."""

    epoch: str
    tagged: bool
    expires: float
    stale: float
    cost: float
    names: tuple[str, ...]
    tokens: tuple[str, ...]
    text: str


def pack(entry: Entry) -> bytes:
    """Write an entry."""
    flags = _TAGGED if entry.tagged else _PLAIN
    return (
        f"{_FORMAT} {entry.epoch} {flags} {entry.expires:.3f} {entry.stale:.3f} {entry.cost:.6f}\n"
        f"{' '.join(entry.names)}\n{' '.join(entry.tokens)}\n{entry.text}"
    ).encode()


def unpack(payload: bytes) -> Entry | None:
    """Read an entry; None for anything that is none, or is one of another format."""
    try:
        head, names, tokens, text = payload.decode().split("\n", 3)
        form, epoch, flags, expires, stale, cost = head.split(" ")
        if form != _FORMAT:
            return None
        entry = Entry(
            epoch,
            flags == _TAGGED,
            float(expires),
            float(stale),
            float(cost),
            tuple(names.split()),
            tuple(tokens.split()),
            text,
        )
    except ValueError:
        return None
    return entry if len(entry.names) == len(entry.tokens) else None
