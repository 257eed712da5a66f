"""The documentation is true: its Python runs, what it names is there, its output is the real one.

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
from configparser import ConfigParser
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import click
import pytest
import yaml
from flask import Flask

import flask_perfkit
from example_app.extensions import db
from example_app.models import Document, User
from flask_perfkit import PerfKitError, cache_stats
from flask_perfkit.commands import perfkit as commands
from flask_perfkit.config import PREFIX, Settings
from flask_perfkit.pytest_plugin import pytest_addoption
from flask_perfkit.recording.findings import KINDS, SEVERITIES
from flask_perfkit.signals import request_profiled

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
WORKFLOW = DOCS / "how-to" / "perfkit-workflow.yml"
PUBLISHED = "https://flask-perfkit.readthedocs.io/en/latest/"
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
    tables = set(db.metadata.tables)
    with app.app_context():
        db.create_all()
        for name in ("Ada", "Grace", "Edsger"):
            documents = [Document(title=f"{name} {n}", document_type="note") for n in range(4)]
            db.session.add(User(name=name, email=f"{name}@example.com", documents=documents))
        db.session.commit()
        page = ModuleType("page")
        monkeypatch.setattr(request_profiled, "receivers", {})  # other tests have none of a page's
        monkeypatch.setitem(sys.modules, "page", page)  # where SQLAlchemy looks for annotations
        names = vars(page)
        names.update(app=app, db=db, User=User, Document=Document)
        yield names
    for value in (app, *names.values()):
        if isinstance(value, Flask) and "sqlalchemy" in value.extensions:
            _close_connections(value)
    for name in db.metadata.tables.keys() - tables:  # of models that a page adds to the example's
        db.metadata.remove(db.metadata.tables[name])
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
    page = DOCS / "tutorial" / "first-finding.md"
    (promised,) = re.findall(r"^n_plus_one: .*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert promised in (ROOT / "README.md").read_text(encoding="utf-8")
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
    # On a machine that is busy with other work the request may be slow as well.
    (said,) = re.findall(r"^n_plus_one: .*$", result.stderr, re.MULTILINE)
    assert MEASURED.sub("", said) == MEASURED.sub("", promised)


def test_every_page_that_the_readme_links_is_there() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = re.findall(rf"{re.escape(PUBLISHED)}(\S+)\.html", readme)
    assert len(linked) > 10
    assert [page for page in linked if not (DOCS / f"{page}.md").is_file()] == []
    (picture,) = re.findall(r"https://raw\.githubusercontent\.com/\S+/main/(docs/\S+)", readme)
    assert (ROOT / picture).is_file()
    assert re.findall(r"\]\((?!https?://)[^)]+\)", readme) == []  # dead where PyPI shows it


def test_every_kind_has_a_page_with_its_severity_and_a_fix() -> None:
    pages = {page.stem: page.read_text() for page in (DOCS / "reference" / "findings").glob("*.md")}
    index, fixes = pages.pop("index"), (DOCS / "how-to" / "fix-findings.md").read_text()
    assert sorted(pages) == sorted(KINDS)
    for kind, page in pages.items():
        assert f"everity: {SEVERITIES[kind]}" in " ".join(page.split()), kind
        assert f"| [{kind}]({kind}.md) | {SEVERITIES[kind]} |" in index, kind
        assert f"/{kind}.md)" in fixes, kind


def test_every_public_name_is_explained() -> None:
    names, errors = ((DOCS / "reference" / page).read_text() for page in ("api.md", "errors.md"))
    for name in flask_perfkit.__all__:
        value = getattr(flask_perfkit, name)
        if isinstance(value, type) and issubclass(value, PerfKitError):
            assert f"`{name}`" in errors
        else:
            assert re.search(rf"^\.\. \w+:: {name}$", names, re.MULTILINE), name


def test_every_extra_for_users_is_explained() -> None:
    package = ConfigParser()
    package.read(ROOT / "setup.cfg")
    extras = set(package["options.extras_require"]) - {"dev", "docs", "example", "test"}
    page = (DOCS / "how-to" / "install.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == extras


def test_every_setting_that_is_named_is_there() -> None:
    known = {PREFIX + item.name.upper() for item in fields(Settings)} | {"PERFKIT_CACHE_SOAK"}
    for page in PAGES:
        if page.name != "changes.md":
            named = set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b(?!\*)", page.read_text()))
            assert named - known == set(), page


def test_every_command_and_option_that_is_shown_is_there() -> None:
    of_pytest = _options_of_the_plugin()
    for page in (*PAGES, WORKFLOW):
        text = page.read_text(encoding="utf-8")
        for name, rest in re.findall(r"flask (?:--?\S+ )*perfkit ([a-z]+)([^`\n&|]*)", text):
            command = commands.get_command(click.Context(commands), name)
            assert command is not None, f"{page}: {name}"
            options = {option for each in command.params for option in each.opts}
            assert set(re.findall(r"(?<= )--[a-z][a-z-]*", rest)) <= options, f"{page}: {rest}"
        assert set(re.findall(r"--perfkit[a-z-]*", text)) <= of_pytest, page


def _options_of_the_plugin() -> set[str]:
    parser = MagicMock()
    pytest_addoption(parser)
    return {call.args[0] for call in parser.getgroup.return_value.addoption.call_args_list}


def test_the_workflow_for_ci_is_one() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    (job,) = workflow["jobs"].values()
    assert all({"uses", "run"} & set(step) for step in job["steps"])
    scripts = "\n".join(step.get("run", "") for step in job["steps"])
    assert "pytest --perfkit --perfkit-budget=" in scripts
    assert "flask perfkit audit --fail-on error" in scripts


def test_ci_runs_the_readme_test_line() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python3 -m venv .*/tox$", readme, re.MULTILINE)
    assert line in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
