"""An audit as one HTML file, which can be mailed: nothing in it is loaded from elsewhere."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files

from jinja2 import Environment

from flask_perfkit.audit.audit import Audit
from flask_perfkit.audit.checklist import CHECKS, checklist
from flask_perfkit.recording.wording import line, milliseconds


def page_of(audit: Audit, name: str, at: datetime) -> str:
    """Return an audit as a page; all that the application's code and data say is escaped.

    :param name: the application's.
    :param at: when it was audited.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(milliseconds=milliseconds)
    template = environment.from_string(
        files("flask_perfkit.audit").joinpath("report.html").read_text(encoding="utf-8")
    )
    return template.render(
        audit=audit,
        name=name,
        at=at.strftime("%Y-%m-%d %H:%M"),
        checks=CHECKS,
        rows=list(checklist(audit)),
        line=line,
    )
