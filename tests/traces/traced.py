"""What the fixtures of these tests are, for annotations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

Spans = Callable[[], list[ReadableSpan]]
Points = Callable[[str], list[Any]]
