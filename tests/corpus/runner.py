"""Find the views of the corpus, gather their labels, and run them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

from flask import Flask

from . import views
from .app import create_app
from .labels import ROOT, Label, LabelError, Line, read

_HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@dataclass
class View:
    """A view, a command or a job, with what its labels say."""

    name: str
    module: ModuleType
    how: str
    target: Any
    rule: str = ""
    method: str = "GET"
    labels: list[Label] = field(default_factory=list)

    def of(self, *words: str) -> list[Label]:
        """Return the labels that begin with one of ``words``."""
        return [label for label in self.labels if label.word in words]

    def run(self, app: Flask) -> None:
        """Run the view as its labels ask, and check that it did its work."""
        if self.how == "command":
            group, command = self.name.split(".")
            result = app.test_cli_runner().invoke(args=[group, command.replace("_", "-")])
            assert result.exit_code == 0, result.output
        elif self.how == "job":
            self.target(app)
        else:
            self._request(app)

    def _request(self, app: Flask) -> None:
        path, status, repeat = self.rule, 200, 1
        for label in self.of("REQUEST"):
            for name in label.names:
                path = name if name.startswith("/") else path + name if "?" in name else path
            status = int(label.settings.get("status", status))
            repeat = int(label.settings.get("repeat", repeat))
        for _ in range(repeat):
            response = app.test_client().open(path, method=self.method)
            body = response.get_data(as_text=True)
            response.close()
            assert response.status_code == status, body[:500]


@cache
def all_views() -> tuple[View, ...]:
    """Return every view of the corpus with its labels."""
    found: dict[str, View] = {}
    for info in pkgutil.iter_modules(views.__path__):
        module = importlib.import_module(f"{views.__name__}.{info.name}")
        found |= {view.name: view for view in _views(module)}
    for path in sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.html")]):
        if path.parent != ROOT or path.name in ("helpers.py", "schemas.py"):
            for label in read(path):
                _assign(label, found)
    return tuple(found.values())


def _assign(label: Label, found: dict[str, View]) -> None:
    if unknown := set(label.views) - found.keys():
        raise LabelError(f"{label.line}: no such view: {', '.join(sorted(unknown))}")
    owners = [found[name] for name in label.views] or [
        view for view in found.values() if _inside(label.line, view.target)
    ]
    if not owners:
        raise LabelError(f"{label.line}: this {label.word} belongs to no view; add @endpoint")
    for view in owners:
        view.labels.append(label)
        if label.word == "REQUEST" and label.names and label.names[0] in _HTTP_METHODS:
            view.method = label.names[0]


def _inside(line: Line, target: Any) -> bool:
    filename, lineno = line
    if filename != inspect.getsourcefile(target):
        return False
    source, start = inspect.getsourcelines(target)
    return start <= lineno < start + len(source)


def _views(module: ModuleType) -> Iterator[View]:
    app = create_app(module, "sqlite://", watched=False)
    for rule in app.url_map.iter_rules():
        if rule.endpoint != "static":
            target = _innermost(app.view_functions[rule.endpoint])
            method = next(m for m in _HTTP_METHODS if m in rule.methods)
            yield View(rule.endpoint, module, "request", target, rule.rule, method)
    group = app.cli.commands.get(module.bp.name)
    for command in getattr(group, "commands", {}).values():
        target = _innermost(command.callback)
        yield View(f"{module.bp.name}.{target.__name__}", module, "command", target)
    for job in getattr(module, "JOBS", ()):
        yield View(f"{module.bp.name}.{job.__name__}", module, "job", _innermost(job))


def _innermost(function: Callable[..., Any]) -> Any:
    return getattr(function, "view_class", None) or inspect.unwrap(function)
