"""Who may see the dashboard, who may have it do something, and what a browser may do with it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from flask import Response, abort, current_app, request

from flask_perfkit.pages import passes

if TYPE_CHECKING:
    from flask import Flask

_COOKIE = "perfkit_csrf"
_FIELD = "csrf"
_LONGEST_TOKEN = 100


def admit(app: Flask, auth: Callable[..., object] | None) -> None:
    """Let a request in, or answer as if there were no dashboard.

    :raises HTTPException: a 404, or what ``auth`` aborts with.
    """
    if auth is None:
        if not app.debug:
            abort(404)
    elif not passes(app, auth, "PERFKIT_DASHBOARD_AUTH"):
        abort(404)


class Token:
    """What a form must bring along: a secret of the browser's own cookie, sent twice.

    Another site can make a browser send the cookie, but can neither read it nor put it in a form.
    It needs no secret of the application, so that all workers agree on it.
    """

    def __init__(self) -> None:
        given = request.cookies.get(_COOKIE, "")[:_LONGEST_TOKEN]
        self._is_new = not given
        self.value = given or secrets.token_urlsafe()

    def demand(self) -> None:
        """Refuse what no form of the dashboard has sent.

        :raises HTTPException: a 403.
        """
        sent = request.form.get(_FIELD, "")
        from_here = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
        if self._is_new or not from_here or not compare_digest(sent.encode(), self.value.encode()):
            abort(403)

    def keep(self, response: Response, path: str) -> None:
        """Have the browser keep the secret for as long as it is open."""
        if self._is_new:
            response.set_cookie(
                _COOKIE,
                self.value,
                path=path,
                secure=request.is_secure,
                httponly=True,
                samesite="Strict",
            )


class Sealed(Response):
    """A response whose own word on safety is the last: hooks of the application come before."""

    nonce = ""

    def get_wsgi_headers(self, environ: Any) -> Any:
        """Return the headers as they are sent."""
        headers = super().get_wsgi_headers(environ)
        for name in ("Content-Security-Policy-Report-Only", "ETag", "Last-Modified", "Expires"):
            headers.remove(name)
        for name, value in _SAFETY.items():
            headers[name] = value
        headers["Content-Security-Policy"] = _POLICY.format(nonce=self.nonce)
        return headers


_SAFETY = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def sealed(body: str | bytes, status: int, content_type: str, nonce: str) -> Response:
    """Return a response that no hook of the application makes less safe."""
    # Flask turns what is not of the application's own class into one, headers and all.
    own = current_app.response_class
    kind = Sealed if issubclass(Sealed, own) else type("Sealed", (Sealed, own), {})
    response: Sealed = kind(body, status, content_type=content_type)
    response.nonce = nonce
    return response
