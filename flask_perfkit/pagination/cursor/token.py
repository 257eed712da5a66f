"""The text of a cursor: a place in an order, signed and bound to its query."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

from flask_perfkit.errors import CursorError
from flask_perfkit.pagination.cursor.fingerprint import FINGERPRINT_SIZE
from flask_perfkit.pagination.cursor.sealing import seal, unseal

_VERSION = 2
_PLAIN, _SEALED = 0, 1
_BACKWARD, _TIED, _INCLUSIVE, _IS_KEY = 1, 2, 4, 8
# With path and filters it must fit the 4 KB that some servers allow a request line.
LONGEST = 2_000
_SIGNATURE_SIZE = 20
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LABEL = b"flask-perfkit.cursor"


class CursorPosition(NamedTuple):
    """Where a page begins: beyond these values of the order's terms.

    :param backward: whether the page lies before the values.
    :param inclusive: whether it begins with the row that has the values, if that is still there.
    :param is_key: whether the values are those only that find this row; the others were too long.
    :param is_tied: whether the whole page that gave the cursor was equal but for the last term.
    :param values: as the database driver returned them.
    """

    backward: bool
    is_tied: bool
    values: tuple[Any, ...]
    inclusive: bool = False
    is_key: bool = False


def write_cursor(
    place: CursorPosition, fingerprint: bytes, secrets: tuple[bytes, ...], *, sealed: bool
) -> str:
    """Return the URL-safe text of a place.

    :param fingerprint: what the cursor is bound to.
    :param secrets: from the oldest to the one in use.
    :param sealed: whether the values must not be readable.
    :raises TypeError: a value has a type that no cursor can carry.
    :raises ExtraMissing: sealing needs the extra ``sealed``.
    """
    flags = _BACKWARD * place.backward + _TIED * place.is_tied
    flags += _INCLUSIVE * place.inclusive + _IS_KEY * place.is_key
    values = _encode([flags, *map(_tagged, place.values)])
    body = fingerprint + values.encode("utf-8", "surrogatepass")
    if sealed:
        payload = bytes([_VERSION, _SEALED]) + seal(body, secrets)
    else:
        payload = bytes([_VERSION, _PLAIN]) + body
    return _signer(secrets).sign(urlsafe_b64encode(payload).rstrip(b"=")).decode("ascii")


def read_cursor(text: str, fingerprint: bytes, secrets: tuple[bytes, ...]) -> CursorPosition:
    """Return the place that a cursor's text stands for.

    :raises CursorError: the text is forged, cut, too old, or of another query.
    """
    if len(text) > LONGEST:
        raise CursorError(f"Longer than the {LONGEST} characters that a cursor may have.")
    try:
        payload = _decoded(_signer(secrets).unsign(text.encode("ascii")))
    except (BadSignature, UnicodeEncodeError, ValueError):
        raise CursorError("Not a cursor of this application, or changed on its way.") from None
    if payload[:1] != bytes([_VERSION]):
        raise CursorError("Made by another version: start again at the first page.")
    body = unseal(payload[2:], secrets) if payload[1] == _SEALED else payload[2:]
    if body[:FINGERPRINT_SIZE] != fingerprint:
        raise CursorError(
            "Made for another query: sort, filters and address must stay those of its page."
        )
    flags, *values = json.loads(body[FINGERPRINT_SIZE:].decode("utf-8", "surrogatepass"))
    return CursorPosition(
        bool(flags & _BACKWARD),
        bool(flags & _TIED),
        tuple(map(_untagged, values)),
        bool(flags & _INCLUSIVE),
        bool(flags & _IS_KEY),
    )


class _BLAKE2(SigningAlgorithm):
    """Keyed BLAKE2b (RFC 7693): two signatures cost a page less than one HMAC of OpenSSL."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return blake2b(value, key=key, digest_size=_SIGNATURE_SIZE).digest()


@lru_cache(maxsize=8)
def _signer(secrets: tuple[bytes, ...]) -> Signer:
    keys = [hmac.digest(secret, _LABEL, "sha256") for secret in secrets]
    return Signer(keys, key_derivation="none", algorithm=_BLAKE2())


def _decoded(encoded: bytes) -> bytes:
    return urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))


_PLAIN_TYPES = frozenset({str, int, bool, type(None)})

_Writer = tuple[str, Callable[[Any], str]]
_WRITERS: dict[type, _Writer] = {
    datetime: ("t", datetime.isoformat),
    date: ("d", date.isoformat),
    time: ("c", time.isoformat),
    timedelta: ("i", lambda value: f"{value.days},{value.seconds},{value.microseconds}"),
    Decimal: ("n", str),
    float: ("f", repr),
    UUID: ("u", lambda value: value.hex),
    bytes: ("b", lambda value: b64encode(value).decode("ascii")),
    memoryview: ("b", lambda value: b64encode(value).decode("ascii")),
}


def _interval(text: str) -> timedelta:
    days, seconds, microseconds = map(int, text.split(","))
    return timedelta(days, seconds, microseconds)


_READERS: dict[str, Callable[[str], Any]] = {
    "t": datetime.fromisoformat,
    "d": date.fromisoformat,
    "c": time.fromisoformat,
    "i": _interval,
    "n": Decimal,
    "f": float,
    "u": UUID,
    "b": b64decode,
}


def _tagged(value: Any) -> Any:
    if type(value) in _PLAIN_TYPES:
        return value
    writer = _WRITERS.get(type(value)) or _inherited_writer(value)
    if writer is None:
        raise TypeError(
            f"a cursor cannot carry a {type(value).__name__}: "
            "sort by a cast of the column, such as cast(column, String)"
        )
    tag, write = writer
    return [tag, write(value)]


def _inherited_writer(value: Any) -> _Writer | None:
    """Return the writer of a base class: asyncpg has a UUID of its own."""
    return next((writer for kind, writer in _WRITERS.items() if isinstance(value, kind)), None)


def _untagged(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    tag, text = value
    return _READERS[tag](text)
