"""Sends each profile to the receivers of ``request_profiled``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_perfkit.faults import log_once
from flask_perfkit.recording.profile import Profile
from flask_perfkit.signals import request_profiled
from flask_perfkit.sinks import Sink

if TYPE_CHECKING:
    from flask import Flask


def send_signal(app: Flask) -> Sink:
    """Return a sink that sends the profiles of an application; one receiver's fault is its own."""

    def send(profile: Profile) -> None:
        for receiver in list(request_profiled.receivers_for(app)):
            try:
                receiver(app, profile=profile)
            except Exception:
                log_once("a receiver of request_profiled")

    return send
