"""Notes how long templates take, for the pages that show where a request spends its time."""

from __future__ import annotations

from sys import _getframe
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from flask import before_render_template, template_rendered

from flask_perfkit.faults import log_once
from flask_perfkit.hooks.requests import RequestRecorder, request_of
from flask_perfkit.recording.callsite import walk
from flask_perfkit.recording.recorder import current

if TYPE_CHECKING:
    from flask import Flask
    from jinja2 import Template


def watch_templates(app: Flask) -> None:
    """Note each rendering of a template by Flask in a request; harmless again."""
    before_render_template.connect(_begin, app)
    template_rendered.connect(_end, app)


def _begin(_: Flask, template: Template, **__: Any) -> None:
    request = request_of(current())
    if request is not None:
        request.rendering.append((template, perf_counter_ns()))


def _end(_: Flask, template: Template, **__: Any) -> None:
    request = request_of(current())
    if request is None:
        return
    try:
        # What failed meanwhile was begun and never ended.
        while request.rendering:
            begun, started = request.rendering.pop()
            if begun is template:
                _note(request, template.name or "", started)
                return
    except Exception:
        log_once("watching a template")


def _note(request: RequestRecorder, name: str, started: int) -> None:
    site = walk(None, _getframe(), None)
    request.note("template", name, 0, started, perf_counter_ns(), site)
