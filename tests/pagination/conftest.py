from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from paging_models import create_app, db


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """An application with empty tables, its context pushed."""
    app = create_app(database_url)
    with app.app_context():
        yield app
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()
