"""Views to patch: written into a file, loaded, asked, and what became of their findings."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

from archive import profiles
from flask import Flask

from flask_perfkit import Finding, PerfKit
from flask_perfkit.audit.patches.patch import Patch

HEAD = """\
from archive import Document, User, db
from sqlalchemy import delete, func, insert, select, update

"""
NAMES = itertools.count()


def loaded(directory: Path, body: str, name: str | None = None) -> ModuleType:
    """Write a module and load it."""
    name = name or f"views_to_patch_{next(NAMES)}"
    path = directory / f"{name}.py"
    path.write_text(HEAD + dedent(body))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unloaded(names: Iterable[str]) -> None:
    """Forget modules."""
    for name in names:
        del sys.modules[name]


def finding_of(app: Flask, module: ModuleType, kind: str = "n_plus_one") -> Finding:
    """Ask a module's view, and return its finding of a kind."""
    app.add_url_rule("/", "shown", module.view)
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 200
    return next(each for each in collected[0].findings if each.kind == kind)


def patch_of(app: Flask, finding: Finding, **more: Any) -> Patch:
    """Return the patch for a finding, as a user asks for it."""
    with app.app_context():
        return PerfKit.patch(finding, **more)


def changes(patch: Patch) -> list[str]:
    """Return the lines that a patch takes away and puts there."""
    lines = patch.diff.splitlines()[2:]
    return [line for line in lines if line[0] in "+-"]
