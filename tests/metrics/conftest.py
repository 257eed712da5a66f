"""Every test counts from zero, as a process does that was just started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_perfkit.metrics.pools import _pools
from flask_perfkit.metrics.store.figures import figures


@pytest.fixture(autouse=True)
def from_zero(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    _forget()
    yield
    _forget()


def _forget() -> None:
    figures.close()
    figures.directory = None
    figures._chosen = None
    figures._many = False
    _pools.clear()
