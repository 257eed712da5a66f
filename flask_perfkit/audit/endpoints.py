"""Which addresses of an application an audit can ask for by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from werkzeug.routing import BaseConverter, BuildError, IntegerConverter, MapAdapter, Rule

from flask_perfkit.audit.examples import Examples

if TYPE_CHECKING:
    from flask import Flask

_GUESS = 1
_ENDINGS_OF_SESSIONS = ("logout", "signout", "logoff", "delete", "remove", "revoke")


class Address(NamedTuple):
    """An address to ask for, or, without a path, why there is none."""

    endpoint: str
    path: str | None
    reason: str = ""


def addresses_of(app: Flask) -> list[Address]:
    """Return the addresses of each rule that answers a GET, each once.

    Variables are filled from the database's own rows, or a number with 1; what else a rule
    asks for is not known. Endpoints that PerfKit is told to exclude, as its own are, have no
    findings. What may end a session or take something away comes last.
    """
    settings = app.extensions["perfkit"].settings
    urls, examples = app.url_map.bind("localhost"), Examples(app)
    found: dict[tuple[str, str], Address] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if "GET" not in (rule.methods or ()) or rule.websocket or settings.excludes(rule.endpoint):
            continue
        for address in _addresses(app, urls, rule, examples):
            found.setdefault((address.endpoint, address.path or rule.rule), address)
    return sorted(found.values(), key=_may_end_the_session)


def _may_end_the_session(address: Address) -> bool:
    """Only an order: what such an endpoint does is taken back, where that can be."""
    name = address.endpoint.replace("_", "").replace("-", "").lower()
    return any(word in name for word in _ENDINGS_OF_SESSIONS)


def _addresses(app: Flask, urls: MapAdapter, rule: Rule, examples: Examples) -> Iterator[Address]:
    if (static := _static_folder(app, rule)) is not None:
        yield from _one_file(urls, rule, static)
        return
    asked = [name for name in rule.arguments if name not in (rule.defaults or {})]
    unknown = [name for name in asked if not _takes_number(rule, name)]
    known = examples.of(rule) or ([] if unknown else [dict.fromkeys(asked, _GUESS)])
    if not known:
        names = ", ".join(sorted(unknown))
        yield Address(rule.endpoint, None, f"{rule.rule} needs {names}: give it with --path")
    for values in known:
        path = _built(urls, rule, values)
        if path is None:
            yield Address(rule.endpoint, None, f"no address for {rule.rule}: give it with --path")
        else:
            yield Address(rule.endpoint, path)


def _built(urls: MapAdapter, rule: Rule, values: dict[str, Any]) -> str | None:
    """Build the path of this very rule: another of the endpoint may serve the values too."""
    try:
        built = rule.build({**(rule.defaults or {}), **values})
    except (BuildError, ValueError, TypeError):
        return None
    return None if built is None else built[1]


def _static_folder(app: Flask, rule: Rule) -> str | None:
    blueprint, _, name = rule.endpoint.rpartition(".")
    owner = app.blueprints.get(blueprint, app)
    if name != "static" or rule.arguments != {"filename"} or not owner.has_static_folder:
        return None
    return owner.static_folder


def _one_file(urls: MapAdapter, rule: Rule, folder: str) -> Iterator[Address]:
    """Yield the address of one file: all of a folder are sent alike."""
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    first = next(files, None)
    if first is not None:
        path = _built(urls, rule, {"filename": first.relative_to(folder).as_posix()})
        yield Address(rule.endpoint, path)


def _takes_number(rule: Rule, name: str) -> bool:
    """Tell whether a number can stand in a rule: an integer's place, or the like of one."""
    converter: BaseConverter | None = rule._converters.get(name)
    if isinstance(converter, IntegerConverter):
        return True
    try:
        return converter is not None and isinstance(converter.to_python(str(_GUESS)), int)
    except ValueError:
        return False
