"""A stranger's first minutes: the blog of Flask's tutorial, which knows nothing of PerfKit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def run(directory: Path, *command: str) -> str:
    """Run a Python command in a directory; return what it printed, and what it logged."""
    result = subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env={
            **{key: value for key, value in os.environ.items() if "PYTEST" not in key},
            "PYTHONPATH": f"{directory}:{ROOT}",
            "FLASK_APP": "flaskr",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def visit(blog: Path) -> str:
    return run(blog, "-c", "import flaskr; print(flaskr.create_app().test_client().get('/'))")


@pytest.fixture
def blog(tmp_path: Path) -> Path:
    blog = tmp_path / "blog"
    shutil.copytree(Path(__file__).parent / "flaskr", blog)
    run(blog, "-m", "flask", "init-db")
    run(blog, "fill.py")
    return blog


def test_a_line_is_added_a_fault_is_seen_and_its_fix_is_written(blog: Path) -> None:
    suite = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert "passed" in run(blog, *suite)

    package = blog / "flaskr" / "__init__.py"
    before = "    db.init_app(app)\n"
    source = package.read_text()
    assert before in source
    source = source.replace(before, f"{before}    PerfKit(app, db)\n")
    package.write_text(
        source.replace("from flaskr ", "from flask_perfkit import PerfKit\nfrom flaskr ", 1)
    )

    seen = visit(blog)
    assert "200 OK" in seen
    assert "n_plus_one: Post.author loaded 20 times" in seen
    assert "index.html:7" in seen
    assert "add joinedload(Post.author) to the select at flaskr/blog.py:12" in seen

    assert "joinedload(Post.author)" in run(
        blog, "-m", "flask", "--debug", "perfkit", "fix", "--apply"
    )
    assert ".options(joinedload(Post.author))" in (blog / "flaskr" / "blog.py").read_text()
    assert "n_plus_one" not in visit(blog)
    assert "passed" in run(blog, *suite, "--perfkit")
