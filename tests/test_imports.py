"""Imports inside the package run one way: down the layers, and never between the rooms."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "flask_perfkit"
SOURCE = Path(__file__).parents[1] / PACKAGE

# From the bottom up; a module imports from its own layer and from those below.
# Every module or subpackage stands here, so a new one is placed on purpose.
LAYERS = (
    {"errors", "config", "faults", "signals", "allowances", "bypass", "edge", "execution"},
    {"callsite", "fingerprint", "reason", "findings", "usage"},
    {"joins"},
    {"profile"},
    {"calls", "causes"},
    {"recorder"},
    {"allow"},
    {"pagination", "cache", "system", "batching"},
    {"alerts", "detectors", "sinks", "measure", "metrics", "system_report"},
    {"analysis"},
    {"state"},
    {"hooks", "traces"},
    {"block"},
    {"counter"},
    {"proof"},
    {"audit"},
    {"testing"},
    {"dashboard", "commands", "pytest_plugin"},
    {"extension"},
    {"__init__"},
)
HEIGHTS = {part: height for height, layer in enumerate(LAYERS) for part in layer}
UPWARD = {
    ("errors", "findings"): "FindingError carries findings; only its annotation names them",
}
# What a part must not import although it stands no higher.
FOREIGN = {
    # Rooms beside the path: each is usable without the others.
    "pagination": ("flask_perfkit.cache", "flask_perfkit.audit", "flask_perfkit.system.figures"),
    "cache": ("flask_perfkit.pagination", "flask_perfkit.audit", "flask_perfkit.system.figures"),
    "audit": ("flask_perfkit.pagination", "flask_perfkit.cache", "flask_perfkit.system.figures"),
    "system": ("flask_perfkit.pagination", "flask_perfkit.cache", "flask_perfkit.audit"),
    # Hooks observe and never judge; a detector is a pure function of a profile.
    "hooks": ("flask_perfkit.detectors",),
    "detectors": ("flask_perfkit.sinks", "flask_perfkit.recording.recorder", "flask", "sqlalchemy"),
}


@dataclass(frozen=True)
class Import:
    """``importer`` names ``imported``; both are dotted module names."""

    importer: str
    imported: str
    for_types_only: bool = False

    @property
    def edge(self) -> tuple[str, str]:
        return _part(self.importer), _part(self.imported)


def _part(module: str) -> str:
    """Return what the layers call a module: ``flask_perfkit.hooks.requests`` is part of ``hooks``."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def _modules(source: Path) -> dict[str, Path]:
    modules = {}
    for path in sorted(source.rglob("*.py")):
        names = [source.name, *path.relative_to(source).with_suffix("").parts]
        modules[".".join(names).removesuffix(".__init__")] = path
    return modules


def read_imports(source: Path) -> Iterator[Import]:
    """Yield every import, at the top of a module, inside a function or for types only."""
    modules = _modules(source)
    for importer, path in modules.items():
        package = importer if path.stem == "__init__" else importer.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = {id(inner) for node in _type_blocks(tree) for inner in ast.walk(node)}
        for node in ast.walk(tree):
            for imported in _imported(node, package, modules):
                yield Import(importer, imported, id(node) in for_types)


def _type_blocks(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from node.body


def _imported(node: ast.AST, package: str, modules: Iterable[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, node.module or ""]).rstrip(".") if node.level else node.module
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            yield submodule if submodule in modules else str(base)


def violations(source: Path) -> list[str]:
    """Name every module without a place, every import that breaks a rule, and a loop."""
    imports = list(read_imports(source))
    unplaced = [module for module in _modules(source) if _part(module) not in HEIGHTS]
    return [
        *(f"{module} has no place in LAYERS" for module in unplaced),
        *(f"{item.importer} imports {item.imported}: {why}" for item, why in _broken(imports)),
        *_loop(imports),
    ]


def _broken(imports: Iterable[Import]) -> Iterator[tuple[Import, str]]:
    for item in imports:
        importer, imported = item.edge
        if any(f"{item.imported}.".startswith(f"{name}.") for name in FOREIGN.get(importer, ())):
            yield item, f"foreign to {importer}"
        elif item.imported.split(".")[0] != PACKAGE or item.edge in UPWARD:
            continue
        elif HEIGHTS.get(imported, 0) > HEIGHTS.get(importer, 0):
            yield item, "it stands above"


def _loop(imports: Iterable[Import]) -> Iterator[str]:
    """Yield one loop among modules, as they load: an import for types only does not count."""
    loads: dict[str, set[str]] = {}
    for item in imports:
        if not item.for_types_only and item.importer != item.imported:
            loads.setdefault(item.importer, set()).add(item.imported)
    try:
        graphlib.TopologicalSorter(loads).prepare()
    except graphlib.CycleError as error:
        yield "loop: " + " -> ".join(error.args[1])


def test_imports_go_down_only() -> None:
    assert violations(SOURCE) == []


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"findings.py": "from flask_perfkit.sinks.log import emit"}, "it stands above"),
        (
            {"findings.py": "def late():\n    import flask_perfkit.measuring.timing"},
            "it stands above",
        ),
        ({"recorder.py": "from .extension import PerfKit"}, "it stands above"),
        ({"cache/keys.py": "from .. import pagination", "pagination.py": ""}, "foreign"),
        ({"hooks/flask.py": "from flask_perfkit.detectors import slow"}, "foreign"),
        ({"detectors/slow.py": "import flask_perfkit.sinks.log"}, "foreign"),
        ({"sinks/log.py": "from flask_perfkit import Finding"}, "it stands above"),
        ({"detectors/slow.py": "from flask import g"}, "foreign"),
        ({"helpers.py": "import json"}, "no place"),
        ({"utils/text.py": ""}, "no place"),
        ({"commands.py": "from flask_perfkit.extension import PerfKit"}, "it stands above"),
        (
            {
                "reason.py": "from flask_perfkit.recording.findings import Finding",
                "findings.py": "def late():\n    from flask_perfkit.recording.reason import Reason",
            },
            "loop",
        ),
        (
            {"config.py": "if TYPE_CHECKING:\n    from flask_perfkit.state import State"},
            "it stands above",
        ),
    ],
)
def test_each_rule_can_fail(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    found = violations(_package(tmp_path, files))
    assert len(found) == 1
    assert complaint in found[0]


def test_what_is_allowed_passes(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from flask_perfkit.extension import PerfKit",
        "extension.py": "from flask_perfkit import cache\nfrom flask_perfkit.hooks import flask",
        "cache/__init__.py": "",
        "hooks/flask.py": "import flask\nfrom flask_perfkit.recording.recorder import start",
        "measure.py": "from flask_perfkit.detectors.slow import detect",
        "errors.py": "if TYPE_CHECKING:\n    from flask_perfkit.recording.findings import Finding",
        "findings.py": "from .errors import PerfKitError",
    }
    assert violations(_package(tmp_path, files)) == []


def _package(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = directory / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / PACKAGE
