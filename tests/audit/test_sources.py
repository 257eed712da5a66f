"""What the source of views shows of code that no request reached."""

from __future__ import annotations

import subprocess
import time
import types
from time import sleep
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView

from flask_perfkit.audit.sources import source_checks

store: Any = types.SimpleNamespace()


def pause() -> None:
    time.sleep(1)


def rarely() -> bool:
    return False


async def waits() -> str:
    if rarely():
        sleep(1)
    return ""


async def waits_imported() -> str:
    if rarely():
        from time import sleep as pause

        pause(1)
    return ""


async def waits_below() -> str:
    if rarely():
        pause()
    return ""


async def runs() -> str:
    if rarely():
        subprocess.run(["true"], check=True)
    return ""


def waits_in_a_thread() -> str:
    time.sleep(0)
    return ""


async def like_it() -> str:
    class time:  # noqa: N801
        sleep = str

    return time.sleep("")


class Keys(MethodView):
    def get(self) -> str:
        return str(store.client.keys("user:*"))

    def post(self) -> str:
        return str(store.client.execute_command("KEYS *"))


def no_keys() -> str:
    return str({"a": 1}.keys())


@pytest.fixture
def app() -> Flask:
    return Flask("sources")


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (waits, "time.sleep at"),
        (waits_imported, "time.sleep at"),
        (waits_below, "time.sleep at"),
        (runs, "subprocess.run at"),
    ],
)
def test_what_would_block_an_event_loop(app: Flask, view: Any, told: str) -> None:
    app.add_url_rule("/", view_func=view)
    (check,) = source_checks(app, ())
    assert (check.kind, check.subject) == ("blocking_call", view.__name__)
    assert check.message.startswith(told)
    assert "test_sources.py:" in check.message


@pytest.mark.parametrize("view", [waits_in_a_thread, like_it, no_keys])
def test_what_is_only_like_it(app: Flask, view: Any) -> None:
    app.add_url_rule("/", view_func=view)
    assert source_checks(app, ()) == []


def test_keys_of_redis(app: Flask) -> None:
    app.add_url_rule("/", view_func=Keys.as_view("keys"))
    checks = source_checks(app, ())
    assert [(check.kind, check.subject) for check in checks] == [("redis_keys", "keys")] * 2


def test_what_was_found_is_not_told_again(app: Flask) -> None:
    app.add_url_rule("/", view_func=waits)
    line = waits.__code__.co_firstlineno + 2
    assert source_checks(app, {(__file__, line)}) == []
