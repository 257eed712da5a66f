"""Clients that are logged in, for what an application shows to its users only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flask_perfkit.errors import SetupError

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient


def clients(
    app: Flask, login: str | None, headers: Iterable[tuple[str, str]]
) -> Callable[[], FlaskClient]:
    """Return what makes a client for each address, logged in where that was asked for.

    :param login: the id of a user of Flask-Login, or ``module:function``; the function gets a
        client and logs in with it.
    :param headers: what is sent with each request; a session may hold what it began with.
    :raises SetupError: it cannot log in, and why.
    """
    sent = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}
    if login is None:
        return lambda: app.test_client(use_cookies="HTTP_COOKIE" not in sent)
    if "HTTP_COOKIE" in sent:
        raise SetupError(
            f"--login {login} sets cookies of its own: leave out --header Cookie, or let the "
            "function of --login module:function set that one"
        )
    first = app.test_client()
    first.environ_base.update(sent)
    if ":" in login:
        _prepare(first, login)
    else:
        _log_in(app, first, login)
    kept = dict(first._cookies or {})

    def make() -> FlaskClient:
        client = app.test_client()
        client._cookies = dict(kept)  # what one address does to the session is not the next one's
        return client

    return make


def _prepare(client: FlaskClient, login: str) -> None:
    module, _, name = login.partition(":")
    try:
        prepare: Callable[[FlaskClient], object] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SetupError(f"--login {login}: {error}; allowed is module:function") from error
    prepare(client)


def _log_in(app: Flask, client: FlaskClient, user_id: str) -> None:
    """Begin a session as Flask-Login does when this very client logs in: it knows others apart."""
    manager: Any = getattr(app, "login_manager", None)
    if manager is None or manager._user_callback is None:
        raise SetupError(
            f"--login {user_id}: the application has no user_loader of Flask-Login; give "
            "module:function, a function that gets a client and logs in with it"
        )
    with app.test_request_context(environ_base=client.environ_base):
        user = manager._user_callback(user_id)
        mark = manager._session_identifier_generator()
    if user is None:
        raise SetupError(f"--login {user_id}: the user_loader knows no such user")
    with client.session_transaction() as session:
        session.update(_user_id=user.get_id(), _fresh=True, _id=mark)
