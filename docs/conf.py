"""The documentation's settings; settings, commands and options are read from the package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import Field, fields
from importlib import metadata
from typing import Any

import click

from flask_perfkit.commands import perfkit
from flask_perfkit.config import PREFIX, Settings
from flask_perfkit.pytest_plugin import pytest_addoption

project = "Flask-PerfKit"
author = "The Flask-PerfKit developers"
copyright = "2026, the Flask-PerfKit developers"  # noqa: A001  Sphinx names it so
release = metadata.version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
autodoc_member_order = "bysource"
myst_enable_extensions = ["deflist", "substitution"]
myst_heading_anchors = 3


def _entry(setting: Field[Any]) -> str:
    return f"""\
```{{confval}} {PREFIX}{setting.name.upper()}
:type: {json.dumps(setting.metadata["check"].allowed)}
:default: {json.dumps(f"`{setting.default!r}`")}

{setting.metadata["meaning"]}
```
"""


def _commands() -> Iterator[str]:
    group = click.Context(perfkit)
    for name in perfkit.list_commands(group):
        command = perfkit.get_command(group, name)
        context = click.Context(command, info_name=f"flask perfkit {name}", max_content_width=88)
        yield f"## flask perfkit {name}\n\n```text\n{command.get_help(context)}\n```\n"


class _Options:
    """Takes the place of pytest's parser and notes what is added."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def getgroup(self, *_: str) -> _Options:
        return self

    def addoption(self, name: str, **about: Any) -> None:
        shown = f"{name}={about['metavar']}" if "metavar" in about else name
        self.entries.append(f"`{shown}`\n: {about['help']}\n")


def _pytest_options() -> list[str]:
    options = _Options()
    pytest_addoption(options)  # type: ignore[arg-type]
    return options.entries


myst_substitutions = {
    "settings": "\n".join(_entry(setting) for setting in fields(Settings)),
    "commands": "\n".join(_commands()),
    "pytest_options": "\n".join(_pytest_options()),
}
