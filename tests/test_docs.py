"""The documentation is true: its Python runs, its commands are those that CI runs.

The ``python`` snippets of a page run from top to bottom as one program, in an empty directory. They
find an application ``app`` without PerfKit, its ``db``, and the models ``User`` and ``Document`` of
the example application with a few rows, inside an application context.
"""

from __future__ import annotations

import logging
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from example_app.extensions import db
from example_app.models import Document, User

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


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
    app = Flask("shop")
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", SECRET_KEY="secret of the snippets")
    db.init_app(app)
    with app.app_context():
        db.create_all()
        for name in ("Ada", "Grace", "Edsger"):
            documents = [Document(title=f"{name} {n}", document_type="note") for n in range(4)]
            db.session.add(User(name=name, email=f"{name}@example.com", documents=documents))
        db.session.commit()
        yield {"__name__": "snippets", "app": app, "db": db, "User": User, "Document": Document}
        db.session.remove()
        db.engine.dispose()
    logging.getLogger("flask_perfkit").setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if _snippets(page)],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_snippets_run(page: Path, names: dict[str, Any]) -> None:
    for snippet in _snippets(page):
        exec(compile(snippet, page, "exec"), names)


def test_ci_runs_the_readme_test_line() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python3 -m venv .*/tox$", readme, re.MULTILINE)
    assert line in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
