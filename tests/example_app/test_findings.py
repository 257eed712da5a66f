"""PerfKit finds the problems of ``/before`` and has nothing to say about what came of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask_migrate import upgrade

from example_app import seed
from flask_perfkit import Finding, Profile
from flask_perfkit.signals import request_profiled


@pytest.fixture
def app(make_app: Callable[..., Flask], database_url: str, redis_url: str) -> Flask:
    app = make_app(DATABASE_URL=database_url, REDIS_URL=redis_url)
    with app.app_context():
        upgrade()
        seed.fill(documents=1500, users=20)
    return app


def findings(app: Flask, path: str) -> dict[str, Finding]:
    profiles: list[Profile] = []

    def keep(_: Flask, profile: Profile) -> None:
        profiles.append(profile)

    with request_profiled.connected_to(keep, app), app.test_client() as client:
        response = client.get(path)
        assert response.status_code == 200, response.text
        response.close()
    (profile,) = profiles
    return {finding.kind: finding for finding in profile.findings}


@pytest.mark.parametrize(
    ("path", "kind", "subject"),
    [
        ("documents", "unbounded_result", "Document"),
        ("analytics", "n_plus_one", "User.documents"),
        ("sleep", "blocking_call", None),
        ("keys", "redis_keys", None),
    ],
)
def test_before_the_audit(app: Flask, path: str, kind: str, subject: str | None) -> None:
    found = findings(app, f"/before/{path}")
    assert found[kind].filename.endswith("example_app/blueprints/before.py")
    assert subject in (None, found[kind].subject)


@pytest.mark.parametrize(
    "path", ["/documents?page=3&sort=-size", "/documents/1", "/users/1/documents", "/analytics"]
)
def test_after_the_audit(app: Flask, path: str) -> None:
    assert findings(app, path) == {}
