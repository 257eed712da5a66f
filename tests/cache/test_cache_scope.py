"""Whose data an entry shows: databases, schemas, roles, tenants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy

from flask_perfkit import PerfKit
from flask_perfkit.cache.entries.databases import database_text
from flask_perfkit.errors import SettingsError

BASE = "postgresql+psycopg://web:secret@db/shop"


def text_of(url: str = BASE, **options: Any) -> str:
    return database_text(sa.create_engine(url, **options))


OTHERS: dict[str, Callable[[], str]] = {
    "socket": lambda: text_of("postgresql+psycopg://web:secret@/shop?host=/run/one"),
    "another socket": lambda: text_of("postgresql+psycopg://web:secret@/shop?host=/run/two"),
    "search path": lambda: text_of(f"{BASE}?options=-csearch_path%3Dtenant"),
    "search path by arguments": lambda: text_of(
        connect_args={"options": "-c search_path=tenant_b"}
    ),
    "role": lambda: text_of("postgresql+psycopg://admin:secret@db/shop"),
    "schema": lambda: text_of(execution_options={"schema_translate_map": {None: "tenant"}}),
    "another schema": lambda: text_of(execution_options={"schema_translate_map": {None: "other"}}),
    "database": lambda: text_of("postgresql+psycopg://web:secret@db/other"),
    "creator": lambda: text_of(creator=lambda: None),
    "another creator": lambda: text_of(creator=lambda: None),
}


def test_all_that_decides_which_data_a_url_means_counts() -> None:
    texts = [text_of(), *(text() for text in OTHERS.values())]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("postgresql+psycopg://web:another@db/shop", {}),
        (f"{BASE}?application_name=worker", {}),
        (BASE, {"connect_args": {"connect_timeout": 3}}),
        (BASE, {"pool_size": 3}),
    ],
)
def test_what_does_not_decide_that_does_not(url: str, options: dict[str, Any]) -> None:
    assert text_of(url, **options) == text_of()


def make_app(tmp_path: Path, perfkit: PerfKit, **config: Any) -> Flask:
    app = Flask("shop")
    app.config.update(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'test.db'}", **config)
    SQLAlchemy(app)
    perfkit.init_app(app)
    return app


def test_a_namespace_tells_tenants_and_releases_apart(tmp_path: Path, redis_url: str) -> None:
    perfkit = PerfKit()
    runs: list[int] = []

    @perfkit.cached(depends_on=[])
    def number() -> int:
        runs.append(1)
        return len(runs)

    apps = [
        make_app(tmp_path, perfkit, PERFKIT_REDIS_URL=redis_url, PERFKIT_CACHE_NAMESPACE=name)
        for name in ("one", "two", "one")
    ]
    seen = []
    for app in apps:
        with app.app_context():
            seen.append(number())
    assert seen == [1, 2, 1]


def test_a_namespace_may_be_asked_for_at_each_call(tmp_path: Path) -> None:
    perfkit = PerfKit()
    runs: list[int] = []

    @perfkit.cached(depends_on=[])
    def number() -> int:
        runs.append(1)
        return len(runs)

    app = make_app(tmp_path, perfkit, PERFKIT_CACHE_NAMESPACE=lambda: request.headers.get("Tenant"))
    app.add_url_rule("/", view_func=lambda: str(number()), endpoint="index")
    client = app.test_client()
    seen = [client.get("/", headers={"Tenant": name}).text for name in ("a", "b", "a", "b")]
    assert seen == ["1", "2", "1", "2"]


def test_a_namespace_is_a_text_or_a_callable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"PERFKIT_CACHE_NAMESPACE is 7; allowed is a text"):
        make_app(tmp_path, PerfKit(), PERFKIT_CACHE_NAMESPACE=7)
