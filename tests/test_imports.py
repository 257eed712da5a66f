"""The plan of the house, from top to bottom: a room imports from the floors below it only."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = "flask_perfkit"
SOURCE = Path(__file__).parents[1] / PACKAGE
PAGE = SOURCE.parent / "docs" / "explanation" / "architecture.md"

PLAN = """
    __init__
    extension
    commands  pytest_plugin  wiring
    audit  dashboard  testing
    advice  metrics  traces
    measuring
    hooks
    state
    alerts  detectors  sinks  store
    batching  cache  cures  pages  pagination  system
    config  wsgi
    errors
    recording
    bypass  faults  given  signals  standin
"""
MOST_FLOORS = 14

ONLY = {"detectors": ("analysis", "own")}
"""What others may import of a room, where that is not all."""

NEVER = {"detectors": {"flask", "sqlalchemy"}, "recording": {"flask"}}
"""Libraries that a room does without."""

FLOORS = {
    room: floor
    for floor, rooms in enumerate(reversed(PLAN.strip().splitlines()))
    for room in rooms.split()
}


def _modules(source: Path) -> dict[str, Path]:
    """Return each module's file by its name in the package: ``hooks.redis``, ``hooks``."""
    modules = {}
    for path in sorted(source.rglob("*.py")):
        name = ".".join(path.relative_to(source).with_suffix("").parts)
        modules[name.removesuffix(".__init__")] = path
    return modules


def _imports(source: Path) -> Iterator[tuple[str, str]]:
    """Yield who imports what, also inside functions and for types only; libraries by ``:name``."""
    modules = _modules(source)
    for importer, path in modules.items():
        package = [PACKAGE, *path.relative_to(source).parts[:-1]]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for imported in _named(node, package):
                yield importer, _place(imported, modules)


def _named(node: ast.AST, package: list[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *filter(None, [node.module])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


def _place(imported: str, modules: Iterable[str]) -> str:
    """Return the module that an imported name comes from."""
    library, _, name = imported.partition(".")
    if library != PACKAGE:
        return f":{library}"
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or "__init__"


def violations(source: Path) -> list[str]:
    """Name every module without a floor, every import that breaks a rule, and each circle."""
    imports = list(_imports(source))
    return [
        *(f"{name} has no floor" for name in _modules(source) if _room(name) not in FLOORS),
        *(f"{one} imports {other}: {why}" for one, other in imports for why in _why(one, other)),
        *_circles(source, imports),
    ]


def _why(importer: str, imported: str) -> Iterator[str]:
    """Say why one module must not import another, if so."""
    room, other = _room(importer), _room(imported)
    if imported.startswith(":"):
        if imported[1:] in NEVER.get(room, ()):
            yield f"{room} does without"
    elif room != other:
        if FLOORS.get(other, 0) >= FLOORS.get(room, 0):
            yield "it lies no lower"
        if other in ONLY and imported not in {f"{other}.{module}" for module in ONLY[other]}:
            yield f"others ask {' and '.join(ONLY[other])} only"


def _room(name: str) -> str:
    return name.partition(".")[0]


def _circles(source: Path, imports: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a circle among modules, and one among the rooms inside of a room."""
    folders = {".".join(path.parent.relative_to(source).parts) for path in source.rglob("*.py")}
    graphs: list[dict[str, set[str]]] = [{}, {}]
    for importer, imported in imports:
        pair = (importer, imported), (_inner(importer, folders), _inner(imported, folders))
        for graph, (one, other) in zip(graphs, pair, strict=True):
            if one != other and _room(one) == _room(other):
                graph.setdefault(one, set()).add(other)
    for graph in graphs:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            yield "circle: " + " -> ".join(error.args[1])
            return


def _inner(name: str, folders: set[str]) -> str:
    """Return the room inside of a room that a module lies in, or the module itself."""
    inner = ".".join(name.split(".")[:2])
    return inner if inner in folders else name


def test_imports_go_down_only() -> None:
    assert violations(SOURCE) == []
    assert max(FLOORS.values()) < MOST_FLOORS


def test_the_page_about_it_shows_this_plan() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page.partition("| floor | rooms |\n")[2].partition("\n\n")[0].splitlines()[1:]
    shown = [sorted(re.findall(r"`(\w+)`", row)) for row in table]
    assert shown == [sorted(rooms.split()) for rooms in PLAN.strip().splitlines()]
    assert [room for room in FLOORS if f"**`{room}`**" not in page] == []


def test_the_page_about_it_names_all_that_is_in_a_room_with_a_table() -> None:
    tables = re.findall(r"\| in `(\w+)` \| \|\n\| --- .*\n((?:\|.*\n)+)", PAGE.read_text("utf-8"))
    assert len(tables) > 5
    for room, rows in tables:
        firsts = "".join(re.findall(r"^\| (.*?) \|", rows, re.MULTILINE))
        named = set(re.findall(r"`(\w+)(?:/\w*)*`", firsts))
        there = {path.stem for path in (SOURCE / room).iterdir() if path.name[0] != "_"}
        assert named == there, room


def test_the_page_about_it_leads_to_functions_that_are_there() -> None:
    steps = 0
    for part in PAGE.read_text("utf-8").split("\n## "):
        base = re.search(r"paths are below `(\w+)/`", part)
        for path, names in re.findall(r"`([\w/]+\.py)`((?:,\s+`[\w.]+`)*)", part):
            if not path.startswith("tests/"):
                source = (SOURCE / (base[1] if base else "") / path).read_text("utf-8")
                steps += 1
                for name in re.findall(r"(\w+)`", names):
                    is_there = re.search(rf"^ *(?:(?:async )?def |class )?{name}\b", source, re.M)
                    assert is_there, f"{path}: {name}"
    assert steps > 50


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"recording/recorder.py": "from flask_perfkit.sinks import log"}, "lies no lower"),
        ({"recording/recorder.py": "from ..extension import PerfKit"}, "lies no lower"),
        ({"sinks/log.py": "def late():\n    import flask_perfkit.measuring"}, "lies no lower"),
        ({"sinks/log.py": "from flask_perfkit import Finding"}, "lies no lower"),
        ({"cache/keys.py": "from .. import pagination", "pagination.py": ""}, "lies no lower"),
        ({"config.py": "if TYPE_CHECKING:\n    from .state import State"}, "lies no lower"),
        (
            {
                "hooks/redis.py": "from flask_perfkit.detectors.slow import detect",
                "detectors/slow.py": "",
            },
            "analysis and own only",
        ),
        ({"detectors/slow.py": "from flask import g"}, "does without"),
        ({"helpers.py": "import json"}, "no floor"),
        ({"utils/text.py": ""}, "no floor"),
        (
            {
                "recording/reason.py": "from flask_perfkit.recording.joins import joins",
                "recording/joins.py": "def late():\n    from .reason import Reason",
            },
            "circle: recording.",
        ),
        (
            {
                "cache/stores/near.py": "from flask_perfkit.cache.writes.marks import Mark",
                "cache/writes/marks.py": "",
                "cache/writes/begin.py": "from flask_perfkit.cache.stores.redis import Redis",
                "cache/stores/redis.py": "",
            },
            "circle: cache.",
        ),
    ],
)
def test_each_rule_can_fail(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    (found,) = violations(_package(tmp_path, files))
    assert complaint in found


def test_what_is_allowed_passes(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from flask_perfkit.extension import PerfKit",
        "extension.py": "from flask_perfkit import cache\nfrom .hooks import requests",
        "cache/__init__.py": "from flask_perfkit.cache.cache import Cache",
        "cache/cache.py": "from flask_perfkit.cache.stores.near import Near",
        "cache/stores/near.py": "",
        "hooks/requests.py": "import flask\nfrom flask_perfkit.detectors.analysis import analyse",
        "detectors/analysis.py": "from flask_perfkit.detectors import slow_query",
        "detectors/slow_query.py": "",
        "errors.py": "if TYPE_CHECKING:\n    from flask_perfkit.recording.findings import Finding",
        "recording/findings.py": "",
    }
    assert violations(_package(tmp_path, files)) == []


def _package(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = directory / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / PACKAGE
