"""Watches what all applications of a process share: pools, caches and measured blocks."""

from __future__ import annotations

from flask_perfkit.cache.stats import cache_stats
from flask_perfkit.measuring.timing import listen
from flask_perfkit.metrics.pools import watch_pools
from flask_perfkit.metrics.store.figures import figures
from flask_perfkit.metrics.store.layout import TIMED, TRACKED, Layout
from flask_perfkit.system.figures import MB

_watched: list[object] = []


def watch_process(buckets: tuple[float, ...]) -> None:
    """Watch pools, caches and measured blocks from now on; harmless when called again.

    :raises SettingsError: another application of this process has other buckets.
    """
    figures.choose(Layout(request=buckets))
    watch_pools()
    if not _watched:
        _watched.append(cache_stats)
        cache_stats.listen(_on_cache)
        listen(_on_time, _on_memory)


def _on_cache(name: str, route: str | None, hits: int, misses: int) -> None:
    figures.count_cache(name, hits, misses)


def _on_time(name: str, seconds: float) -> None:
    figures.count_block(TIMED, name, seconds)


def _on_memory(name: str, grown: float) -> None:
    figures.count_block(TRACKED, name, max(grown, 0.0) * MB)  # a sum never falls
