"""The documentation is true: its Python runs, its output and its commands are the real ones.

The ``python`` snippets of a page run from top to bottom as one program, in an empty directory. They
find an application ``app`` without PerfKit, its ``db``, and the models ``User`` and ``Document`` of
the example application with a few rows, inside an application context.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from example_app.extensions import db
from example_app.models import Document, User
from flask_perfkit import cache_stats

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
MEASURED = re.compile(r"[\d.,]+ ms")


def _snippets(page: Path) -> list[str]:
    """Return the snippets, each moved down to its line on the page for the traceback."""
    text = page.read_text(encoding="utf-8")
    return [
        "\n" * (text.count("\n", 0, found.start()) + 1) + textwrap.dedent(found[2])
        for found in SNIPPET.finditer(text)
    ]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    cache_stats.reset()
    app = Flask("shop")
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", SECRET_KEY="secret of the snippets")
    db.init_app(app)
    with app.app_context():
        db.create_all()
        for name in ("Ada", "Grace", "Edsger"):
            documents = [Document(title=f"{name} {n}", document_type="note") for n in range(4)]
            db.session.add(User(name=name, email=f"{name}@example.com", documents=documents))
        db.session.commit()
        page = ModuleType("page")
        monkeypatch.setitem(sys.modules, "page", page)  # where SQLAlchemy looks for annotations
        names = vars(page)
        names.update(app=app, db=db, User=User, Document=Document)
        yield names
    for value in (app, *names.values()):
        if isinstance(value, Flask) and "sqlalchemy" in value.extensions:
            _close_connections(value)
    logging.getLogger("flask_perfkit").setLevel(logging.NOTSET)


def _close_connections(app: Flask) -> None:
    with app.app_context():
        for engine in app.extensions["sqlalchemy"].engines.values():
            engine.dispose()


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if _snippets(page)],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_snippets_run(page: Path, names: dict[str, Any]) -> None:
    for snippet in _snippets(page):
        exec(compile(snippet, page, "exec", dont_inherit=True), names)


def test_tutorial_prints_what_a_reader_gets(tmp_path: Path) -> None:
    page = ROOT / "docs" / "tutorial" / "first-finding.md"
    (promised,) = re.findall(r"^n_plus_one: .*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    (tmp_path / "shop.py").write_text(_snippets(page)[0].lstrip())
    ask = "import shop; shop.app.test_client().get('/authors')"
    result = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert MEASURED.sub("", result.stderr.strip()) == MEASURED.sub("", promised)


def test_ci_runs_the_readme_test_line() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python3 -m venv .*/tox$", readme, re.MULTILINE)
    assert line in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
