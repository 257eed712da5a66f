"""Find the views of the corpus, gather their labels, run them, and keep what came of it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

from flask import Flask
from sqlalchemy import Engine

from flask_perfkit import Finding, Profile, QueryCounter
from flask_perfkit.audit.patches.draft import Draft, drafts
from flask_perfkit.audit.patches.patch import Patch, patch_of
from flask_perfkit.signals import request_profiled

from . import seed, views
from .app import create_app, dispose
from .labels import Label, LabelError, read_all
from .prove import pasted
from .witness import Witness, witnessing

_HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@dataclass
class View:
    """A view, a command or a job, with what its labels say."""

    name: str
    module: ModuleType = field(repr=False)
    how: str
    target: Any = field(repr=False)
    rule: str = ""
    method: str = "GET"
    labels: list[Label] = field(default_factory=list, repr=False)

    def of(self, *words: str) -> list[Label]:
        """Return the labels that begin with one of ``words``."""
        return [label for label in self.labels if label.word in words]

    def run(self, app: Flask, target: Any = None) -> bytes:
        """Run the view as its labels ask, check that it did its work, and return what it said.

        :param target: the function of a job, where that is not the view's own.
        """
        if self.how == "command":
            group, command = self.name.split(".")
            result = app.test_cli_runner().invoke(args=[group, command.replace("_", "-")])
            assert result.exit_code == 0, result.output
            return result.output.encode()
        if self.how == "job":
            return repr((target or self.target)(app)).encode()
        return self._request(app)

    def _request(self, app: Flask) -> bytes:
        path, status, repeat, body = self.rule, 200, 1, ""
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
        return body.encode()


@dataclass(frozen=True)
class Outcome:
    """What a view ran, and what was found in it: when it was new, and when it ran again."""

    witness: Witness
    findings: tuple[Finding, ...]
    findings_again: tuple[Finding, ...]


class Outcomes:
    """Runs views on one database, whose rows are brought back after each that wrote."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._apps: dict[str, Flask] = {}
        self._known: dict[str, Outcome] = {}

    def of(self, view: View) -> Outcome:
        """Return what came of ``view``; it runs twice when it is first asked for."""
        if view.name not in self._known:
            _, findings = self._run(view)
            self._known[view.name] = Outcome(*self._run(view), findings)
        return self._known[view.name]

    def with_option(self, view: View, code: str, subject: str, *, instead: bool) -> Witness | None:
        """Run ``view`` with a loader option pasted in; None where no select takes it."""
        with pasted(code, subject, instead=instead) as statements:
            witness, _ = self._run(view)
        return witness if statements else None

    def patch_of(self, view: View, findings: Sequence[Finding]) -> Patch:
        """Return the patch for findings of one place, tried in the application that runs."""
        try:
            return patch_of(self._app(view), findings, ask=lambda: (200, view.run(self._app(view))))
        finally:
            seed.reset(self._engine)

    def draft_of(self, view: View, findings: Sequence[Finding]) -> Draft:
        """Return the first rewrite for findings of one place, which nobody has tried."""
        app = self._app(view)
        with app.app_context():
            return next(drafts(app, tuple(findings)))

    def run_text(self, view: View, text: str | None) -> tuple[bytes, int, object]:
        """Run a view with another text of its module, in an application of its own.

        Returns what it said, how many statements that took, and the rows that it left.
        """
        module = ModuleType(view.module.__name__)
        module.__package__, module.__file__ = views.__name__, view.module.__file__
        text = text if text is not None else inspect.getsource(view.module)
        exec(compile(text, str(module.__file__), "exec"), vars(module))
        app = create_app(module, self._url)
        target = getattr(module, view.target.__name__, None) if view.how == "job" else None
        try:
            with witnessing() as witness:
                said = view.run(app, target)
            return said, len(witness.executions), seed.rows(self._engine)
        finally:
            dispose(app)
            seed.reset(self._engine)

    def close(self) -> None:
        """Close the connections of every application."""
        for app in self._apps.values():
            dispose(app)

    @property
    def _url(self) -> str:
        return self._engine.url.render_as_string(hide_password=False)

    def _app(self, view: View) -> Flask:
        key = view.module.__name__
        return self._apps.get(key) or self._apps.setdefault(key, create_app(view.module, self._url))

    def _run(self, view: View) -> tuple[Witness, tuple[Finding, ...]]:
        app = self._app(view)
        findings: list[Finding] = []

        def keep(sender: Flask, profile: Profile) -> None:
            findings.extend(profile.findings)

        try:
            with witnessing() as witness, request_profiled.connected_to(keep, sender=app):
                if view.how == "job":
                    with QueryCounter() as counter:
                        view.run(app)
                    findings.extend(counter.findings)
                else:
                    view.run(app)
        finally:
            if any(execution.writes for execution in witness.executions):
                seed.reset(self._engine)
        return witness, tuple(findings)


@cache
def all_views() -> tuple[View, ...]:
    """Return every view of the corpus with its labels."""
    found: dict[str, View] = {}
    for info in pkgutil.iter_modules(views.__path__):
        module = importlib.import_module(f"{views.__name__}.{info.name}")
        found |= {view.name: view for view in _views(module)}
    for label in read_all():
        _assign(label, found)
    return tuple(found.values())


def _assign(label: Label, found: dict[str, View]) -> None:
    if unknown := set(label.views) - found.keys():
        raise LabelError(f"{label.line}: no such view: {', '.join(sorted(unknown))}")
    filename, lineno = label.line
    owners = [found[name] for name in label.views] or [
        view
        for view in found.values()
        if _place_of(view.target)[0] == filename and lineno in _place_of(view.target)[1]
    ]
    if not owners:
        raise LabelError(f"{label.line}: this {label.word} belongs to no view; add @endpoint")
    for view in owners:
        view.labels.append(label)
        if label.word == "REQUEST" and label.names and label.names[0] in _HTTP_METHODS:
            view.method = label.names[0]


@cache
def _place_of(target: Any) -> tuple[str | None, range]:
    """Return the file of a view and the numbers of its lines."""
    source, start = inspect.getsourcelines(target)
    return inspect.getsourcefile(target), range(start, start + len(source))


def _views(module: ModuleType) -> Iterator[View]:
    app = create_app(module, "sqlite://")
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in ("static", "perfkit_metrics"):
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
