from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

PROBLEM = "application/problem+json"


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    """A client of the application without tables: the router refuses before it would need one."""
    return make_app(DATABASE_URL="sqlite://").test_client()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/documents/", 404),
        ("GET", "/documents/%ff", 404),
        ("PUT", "/documents", 405),
        ("POST", "/analytics", 405),
        ("BREW", "/documents/1", 405),
    ],
)
def test_what_the_router_refuses_is_a_problem(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    response = client.open(path, method=method)
    assert (response.status_code, response.mimetype) == (status, PROBLEM)
    assert response.json["type"] == "about:blank"
    assert response.json["status"] == status
    assert {"title", "detail"} <= set(response.json)


def test_refused_method_still_names_the_allowed_ones(client: FlaskClient) -> None:
    assert set(client.put("/documents").allow) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/nowhere", 404)])
def test_head_is_get_without_a_body(client: FlaskClient, path: str, status: int) -> None:
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.mimetype) == (status, get.mimetype)
    assert head.data == b""


def test_options_are_answered(client: FlaskClient) -> None:
    assert "PATCH" in client.options("/documents/1").allow


def test_fault_of_the_server_is_a_problem_without_its_details(client: FlaskClient) -> None:
    response = client.get("/analytics")
    assert (response.status_code, response.mimetype) == (500, PROBLEM)
    assert "documents" not in response.text


def test_health(client: FlaskClient) -> None:
    assert client.get("/health").json == {"status": "ok", "database": "ok"}


def test_health_without_database_is_a_problem(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    app = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/missing/example.db")
    response = app.test_client().get("/health")
    assert (response.status_code, response.mimetype) == (503, PROBLEM)
