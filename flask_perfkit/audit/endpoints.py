"""Which addresses of an application an audit can ask for by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.routing import BaseConverter, BuildError, IntegerConverter, Rule

if TYPE_CHECKING:
    from flask import Flask

_GUESS = 1


class Address(NamedTuple):
    """An address to ask for, or, without a path, why there is none."""

    endpoint: str
    path: str | None
    reason: str = ""


def addresses_of(app: Flask) -> Iterator[Address]:
    """Yield an address for each endpoint that answers a GET.

    Numbers in a rule are tried as 1; what else a rule asks for cannot be guessed. Endpoints that
    PerfKit is told to exclude, as its own are, have no findings.
    """
    settings = app.extensions["perfkit"].settings
    urls = app.url_map.bind("localhost")
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if "GET" not in (rule.methods or ()) or rule.endpoint.endswith("static"):
            continue
        if settings.excludes(rule.endpoint):
            continue
        asked = [name for name in rule.arguments if name not in (rule.defaults or {})]
        unknown = [name for name in asked if not _takes_number(rule, name)]
        if unknown:
            reason = f"{rule.rule} needs {', '.join(sorted(unknown))}: give it with --path"
            yield Address(rule.endpoint, None, reason)
            continue
        try:
            path = urls.build(rule.endpoint, dict.fromkeys(asked, _GUESS))
        except (BuildError, ValueError, TypeError):
            yield Address(rule.endpoint, None, f"no address for {rule.rule}: give it with --path")
        else:
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
