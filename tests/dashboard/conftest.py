from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from flask import Flask

from example_app import create_app
from example_app.extensions import db
from example_app.seed import fill

PICTURES = os.environ.get("PERFKIT_PICTURES")
DOCUMENTS, USERS = (4_000, 400) if PICTURES else (60, 20)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a database of the example application, of which tests only read."""
    path = tmp_path_factory.mktemp("archive") / "archive.db"
    app = create_app({"DATABASE_URL": f"sqlite:///{path}"})
    with app.app_context():
        flask_migrate.upgrade()
        fill(DOCUMENTS, USERS)
        db.engine.dispose()
    return path


@pytest.fixture
def make_archive(filled: Path) -> Iterator[Callable[..., Flask]]:
    """Makes the example application in debug, with nothing in its store."""
    apps = []

    def make(**config: Any) -> Flask:
        apps.append(create_app({"DEBUG": True, "DATABASE_URL": f"sqlite:///{filled}", **config}))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def archive(make_archive: Callable[..., Flask]) -> Flask:
    return make_archive()
