"""The documentation's settings; the page of settings is written from ``flask_perfkit.config``."""

from __future__ import annotations

import json
from dataclasses import Field, fields
from importlib import metadata
from typing import Any

from flask_perfkit.config import PREFIX, Settings

project = "Flask-PerfKit"
author = "The Flask-PerfKit developers"
copyright = "2026, the Flask-PerfKit developers"  # noqa: A001  Sphinx names it so
release = metadata.version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
autodoc_member_order = "bysource"
myst_enable_extensions = ["substitution"]
myst_heading_anchors = 3


def _entry(setting: Field[Any]) -> str:
    return f"""\
```{{confval}} {PREFIX}{setting.name.upper()}
:type: {json.dumps(setting.metadata["check"].allowed)}
:default: {json.dumps(f"`{setting.default!r}`")}

{setting.metadata["meaning"]}
```
"""


myst_substitutions = {"settings": "\n".join(_entry(setting) for setting in fields(Settings))}
