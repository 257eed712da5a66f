from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import flask_migrate
import pytest
from flask import Flask
from flask.testing import FlaskClient

from example_app import create_app
from example_app.extensions import db
from example_app.models import Document, User


@pytest.fixture
def make_app() -> Iterator[Callable[..., Flask]]:
    """``create_app``, whose applications leave no connection open."""
    apps = []

    def make(**config: Any) -> Flask:
        apps.append(create_app(config))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def empty_app(make_app: Callable[..., Flask], database_url: str) -> Flask:
    """The application on a database without tables."""
    return make_app(TESTING=True, SQLALCHEMY_DATABASE_URI=database_url)


@pytest.fixture
def app(empty_app: Flask) -> Flask:
    """The application with Ada (id 1), who owns documents 1 to 3, and Alan (id 2), who owns 4.

    Grace (id 3) owns nothing. Document n is n * 10 bytes and was uploaded on January n, 2025.
    """
    ada, alan, grace = (
        User(name=name, email=f"{name.lower()}@example.com") for name in ("Ada", "Alan", "Grace")
    )
    with empty_app.app_context():
        flask_migrate.upgrade()
        for user in (ada, alan, grace):
            db.session.add(user)
            db.session.flush()
        for number, (user, kind) in enumerate(
            ((ada, "pdf"), (ada, "txt"), (ada, "pdf"), (alan, "pdf")), start=1
        ):
            db.session.add(
                Document(
                    user_id=user.id,
                    title=f"Document {number}",
                    document_type=kind,
                    size=number * 10,
                    uploaded_at=datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=number - 1),
                    content=f"Content {number}",
                )
            )
            db.session.flush()
        db.session.commit()
    return empty_app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
