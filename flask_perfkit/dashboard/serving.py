"""Answers for the pages of the dashboard: guarded, made safe, and never at the cost of the host."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from flask import Response, abort, request
from werkzeug.exceptions import HTTPException

from flask_perfkit.dashboard.asked import Asked
from flask_perfkit.dashboard.guard import Token, admit, sealed
from flask_perfkit.dashboard.plain import plain
from flask_perfkit.dashboard.rendering import render
from flask_perfkit.dashboard.views.page import unreadable
from flask_perfkit.errors import StoreError
from flask_perfkit.faults import log_once

if TYPE_CHECKING:
    from flask_perfkit.dashboard.desk import Desk
    from flask_perfkit.dashboard.views.page import Page, Show

_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "badge.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files that may be asked for."""


class Serving:
    """The views of one dashboard.

    :param auth: says whether the current request may see it; None lets in whoever asks in debug.
    """

    def __init__(self, desk: Desk, path: str, auth: Callable[..., object] | None) -> None:
        self._desk = desk
        self._path = path
        self._auth = auth

    def view(self, show: Show) -> Callable[..., Response]:
        """Return the view of a page."""

        def view(perfkit_host: str = "", **variables: Any) -> Response:
            admit(self._desk.app, self._auth)
            try:
                return self._answer(show, variables)
            except HTTPException:
                raise
            except Exception:
                log_once(f"the page {request.path}")
                return self._failed()

        return view

    def static(self, name: str, perfkit_host: str = "") -> Response:
        """Answer with a file that pages are made of."""
        admit(self._desk.app, self._auth)
        if name not in _TYPES:
            abort(404)
        content = files(__package__).joinpath("static", name).read_bytes()
        return sealed(content, 200, _TYPES[name], secrets.token_urlsafe())

    def _answer(self, show: Show, variables: dict[str, Any]) -> Response:
        token = Token()
        if request.method == "POST":
            token.demand()
        asked = Asked.of(request, self._path)
        try:
            page = show(self._desk, asked, **variables)
        except StoreError as error:
            page = unreadable(str(error))
        response = self._response(page, asked, token)
        token.keep(response, request.script_root + self._path)
        return response

    def _response(self, page: Page, asked: Asked, token: Token) -> Response:
        nonce = secrets.token_urlsafe()
        if asked.wants_json:
            text = json.dumps(plain(page.data), indent=2)
            return sealed(text + "\n", page.status, "application/json", nonce)
        html = render(page, asked, self._desk.app, nonce=nonce, csrf=token.value)
        return sealed(html, page.status, "text/html; charset=utf-8", nonce)

    @staticmethod
    def _failed() -> Response:
        text = "This page of Flask-PerfKit failed; the log says why. The application goes on.\n"
        return sealed(text, 500, "text/plain; charset=utf-8", secrets.token_urlsafe())
