from __future__ import annotations

from collections.abc import Callable

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

PROBLEM = "application/problem+json"


def test_documents_are_every_row(client: FlaskClient) -> None:
    rows = client.get("/before/documents").json
    page = client.get("/documents?sort=id").json
    assert sorted(rows, key=lambda row: row["id"]) == page["items"]


def test_sleep_answers(client: FlaskClient) -> None:
    assert client.get("/before/sleep").json == {"slept": 0.05}


def test_keys_are_counted(make_app: Callable[..., Flask], redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as server:
        server.mset({"a": 1, "b": 2})
    client = make_app(REDIS_URL=redis_url, DATABASE_URL="sqlite://").test_client()
    assert client.get("/before/keys").json == {"keys": 2}


@pytest.mark.parametrize("url", [None, "redis://:secret@127.0.0.1:1/0"])
def test_without_redis_the_keys_are_a_problem_that_says_so(
    make_app: Callable[..., Flask], url: str | None
) -> None:
    client = make_app(REDIS_URL=url, DATABASE_URL="sqlite://").test_client()
    response = client.get("/before/keys")
    assert (response.status_code, response.mimetype) == (503, PROBLEM)
    assert "REDIS_URL" in response.json["detail"]
    assert "secret" not in response.text
