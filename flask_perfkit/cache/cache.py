"""The cache that an application uses: values by key, dropped when a table they depend on changes."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flask import has_request_context, request

from flask_perfkit.cache import reading, writes
from flask_perfkit.cache.backend_memory import MemoryBackend
from flask_perfkit.cache.breaker import Unavailable
from flask_perfkit.cache.dependencies import NONE, Dependencies, dependencies
from flask_perfkit.cache.entry import Entry, pack
from flask_perfkit.cache.invalidation import Invalidator
from flask_perfkit.cache.maker import Maker, Request, is_due, plain
from flask_perfkit.cache.near import Near
from flask_perfkit.cache.reader import Reader
from flask_perfkit.cache.serializer import decode, encode
from flask_perfkit.cache.tokens import Backend, Sightings
from flask_perfkit.measure import cache_stats

if TYPE_CHECKING:
    from flask_perfkit.config import Settings

_log = logging.getLogger(__name__)
