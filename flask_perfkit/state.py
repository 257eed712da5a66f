"""What one application owns; it lives in ``app.extensions["perfkit"]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask_perfkit.config import Settings
from flask_perfkit.sinks import Sink


@dataclass(frozen=True, slots=True)
class State:
    """The settings of an application and where its profiles go.

    ``watches_all`` says that the sinks want every profile, not only those with findings or
    while somebody listens to the signal.
    """

    settings: Settings
    db: Any
    sinks: tuple[Sink, ...]
    watches_all: bool = False
