"""Signals that an application can listen to."""

from __future__ import annotations

from blinker import Namespace

request_profiled = Namespace().signal("request-profiled")
"""Sent once when a request is really over, after a streamed body too.

The sender is the application, the keyword ``profile`` a :class:`~flask_perfkit.Profile`.
"""
