"""Encrypt what a cursor carries but its reader must not see (AES-SIV, RFC 5297)."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

from flask_perfkit.errors import CursorError, ExtraMissing

_LABEL = b"flask-perfkit.cursor.sealed"


def require_sealing() -> None:
    """Raise ExtraMissing where cursors cannot be sealed."""
    _cipher(b"")


def seal(plain: bytes, secrets: Sequence[bytes]) -> bytes:
    """Encrypt and authenticate with a key made of the secret in use."""
    return bytes(_cipher(secrets[-1]).encrypt(plain, [_LABEL]))


def unseal(sealed: bytes, secrets: Sequence[bytes]) -> bytes:
    """Decrypt with the first of the secrets, the newest first, that fits.

    :raises CursorError: none of them does.
    """
    ciphers = [_cipher(secret) for secret in reversed(secrets)]
    from cryptography.exceptions import InvalidTag  # type: ignore[import-not-found,unused-ignore]

    for cipher in ciphers:
        try:
            return bytes(cipher.decrypt(sealed, [_LABEL]))
        except InvalidTag:
            continue
    raise CursorError("Not a cursor of this application, or changed on its way.")


def _cipher(secret: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import (  # type: ignore[import-not-found,unused-ignore]
            AESSIV,
        )
    except ImportError:
        raise ExtraMissing(
            "A cursor over a sort value that the response does not show", "sealed"
        ) from None
    return AESSIV(hmac.digest(secret, _LABEL, "sha512"))
