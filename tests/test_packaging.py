"""What is published: the wheel, its metadata, and what an import of it costs the application."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the tree stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "flask_perfkit",
        source / "flask_perfkit",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    target = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", target, source)
    (built,) = target.glob("*.whl")
    return built


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


def test_metadata_names_the_floor_and_the_readme(metadata: Message) -> None:
    assert metadata["Name"] == "Flask-PerfKit"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "text/markdown" in metadata["Description-Content-Type"]
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_extra_is_published(metadata: Message) -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert set(metadata.get_all("Provides-Extra", [])) == set(config["options.extras_require"])


def test_an_application_installs_three_packages(metadata: Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(required) == ["Flask>=3.1.3", "SQLAlchemy>=2.0", "marshmallow>=3.23"]


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
