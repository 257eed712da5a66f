"""The archive in tests, and modules of views that are written for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from archive import archive
from flask import Flask
from patching import loaded, unloaded


@pytest.fixture
def app() -> Iterator[Flask]:
    """The archive in tests: ten documents, each with its user."""
    with archive(TESTING=True) as app:
        yield app


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Callable[..., ModuleType]]:
    """Write a module of views, and load it; under a name of its own unless one is given."""
    names: list[str] = []

    def write(body: str, name: str | None = None) -> ModuleType:
        module = loaded(tmp_path, body, name)
        names.append(module.__name__)
        return module

    yield write
    unloaded(names)
