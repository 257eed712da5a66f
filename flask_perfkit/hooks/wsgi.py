"""The edge to the server: what WSGI says of a response."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def closes_bodies(environ: WSGIEnvironment) -> bool:
    """Tell whether a real server asks: it names itself and closes bodies; a test client may not."""
    return "SERVER_SOFTWARE" in environ


def goes_to_kernel(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Tell whether the server may hand a body to the kernel, as long as it is left as it is."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def status_code(status: str) -> int:
    """Return the number that a status line such as ``200 OK`` begins with; 0 if there is none."""
    code, _, _ = status.partition(" ")
    return int(code) if code.isdecimal() else 0
