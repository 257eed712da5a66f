"""What is published: the wheel, its metadata, and what an import of it costs the application."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import flask_perfkit

ROOT = Path(__file__).parents[1]

LOADED_BY_IMPORT = """
import flask, sqlalchemy, sys
before = {name.partition(".")[0] for name in sys.modules}
import flask_perfkit
after = {name.partition(".")[0] for name in sys.modules}
print(*sorted(after - before - sys.stdlib_module_names))
"""

IMPORT_EVERYTHING = """
import importlib, pkgutil, flask_perfkit
for module in pkgutil.walk_packages(flask_perfkit.__path__, "flask_perfkit."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        print(error.name)
"""


def _run(*command: str | Path) -> str:
    # Else pip takes for installed what lies where a test before let its processes look.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


PUBLISHED = ("flask_perfkit", "tests", "docs", "example_app", "benchmarks", ".ci")
FILES = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "tox.ini", "README.md", "CHANGES.md")
TEXTS = ("CONTRIBUTING.md", "LICENSE")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that is built from it; made of a copy, so the tree stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in (*FILES, *TEXTS):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__", "_build", "instance")
    for name in PUBLISHED:
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    target = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source)
    return target


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (built,) = distributions.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked."""
    (built,) = distributions.glob("*.tar.gz")
    target = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built) as archive:
        archive.extractall(target, filter="data")
    (root,) = target.iterdir()
    return root


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_wheel_holds_the_whole_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "flask_perfkit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == source
    assert "flask_perfkit/py.typed" in names


def test_wheel_carries_the_licence(wheel: Path, metadata: Message) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    assert metadata["License"] == "BSD-3-Clause"


def test_sdist_holds_all_that_its_tests_need(unpacked: Path) -> None:
    missing = [
        path.relative_to(ROOT).as_posix()
        for name in PUBLISHED
        for path in (ROOT / name).rglob("*")
        if path.is_file()
        and not {"__pycache__", "_build", "instance"} & set(path.parts)
        and not (unpacked / path.relative_to(ROOT)).is_file()
    ]
    assert missing == []
    assert all((unpacked / name).is_file() for name in (*FILES, *TEXTS))


@pytest.mark.slow
def test_sdist_runs_its_tests(unpacked: Path) -> None:
    tests = ("tests/test_errors.py", "tests/test_misuse.py", "tests/test_two_apps.py")
    run = "import os, sys, pytest; os.chdir(sys.argv[1]); sys.exit(pytest.main(sys.argv[2:]))"
    assert "passed" in _run(sys.executable, "-c", run, unpacked, "-q", *tests)


def test_metadata_names_the_floor_and_the_readme(metadata: Message) -> None:
    assert metadata["Name"] == "Flask-PerfKit"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Version"] == flask_perfkit.__version__
    labels = {line.partition(",")[0] for line in metadata.get_all("Project-URL", [])}
    assert {"Documentation", "Source", "Changes", "Issues"} <= labels
    assert "text/markdown" in metadata["Description-Content-Type"]
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_extra_is_published(metadata: Message) -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert set(metadata.get_all("Provides-Extra", [])) == set(config["options.extras_require"])


def test_all_is_every_extra_that_adds_a_feature() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    features = set(extras) - {"all", "dev", "docs", "example", "test"}
    assert extras["all"] == f"Flask-PerfKit[{','.join(sorted(features))}]"


def test_an_application_installs_three_packages(metadata: Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(required) == ["Flask>=3.1.3", "SQLAlchemy>=2.0.16", "marshmallow>=3.23"]


def test_every_public_name_is_there() -> None:
    _run(sys.executable, "-W", "error", "-c", "from flask_perfkit import *")


def test_import_loads_nothing_beyond_flask_and_sqlalchemy() -> None:
    assert _run(sys.executable, "-c", LOADED_BY_IMPORT).split() == ["flask_perfkit"]


@pytest.mark.slow
def test_wheel_installs_into_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    _run(sys.executable, "-m", "venv", "--without-pip", environment)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    _run(sys.executable, "-m", "pip", "--python", scripts / "python", "install", wheel)
    _run(scripts / "python", "-W", "error", "-c", "import flask_perfkit")
    missing = set(_run(scripts / "python", "-c", IMPORT_EVERYTHING).split())
    assert missing == {"libcst", "opentelemetry", "prometheus_client", "pytest"}
    app = tmp_path / "app.py"
    app.write_text(
        "import flask, flask_perfkit\napp = flask.Flask(__name__)\nflask_perfkit.PerfKit(app)\n"
    )
    assert "audit" in _run(scripts / "flask", "--app", app, "perfkit", "--help")
    files = tmp_path / "monitoring"
    _run(scripts / "flask", "--app", app, "perfkit", "monitoring", files)
    assert (files / "dashboard.json").is_file()
