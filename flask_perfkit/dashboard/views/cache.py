"""How often caches had what they were asked for, by name and by route, and what dropped it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_perfkit.dashboard.views.page import Page
from flask_perfkit.store.reading import CacheTotals

if TYPE_CHECKING:
    from flask_perfkit.dashboard.asked import Asked
    from flask_perfkit.dashboard.desk import Desk


def cache(desk: Desk, asked: Asked) -> Page:
    """Show hits and misses, and which tables' changes dropped what was there."""
    by_route = desk.store.caches(asked.period)
    names: dict[str, CacheTotals] = {}
    for each in by_route:
        before = names.get(each.name, CacheTotals(each.name, None, 0, 0))
        names[each.name] = CacheTotals(
            each.name, None, before.hits + each.hits, before.misses + each.misses
        )
    drops = desk.store.drops(asked.period)
    data = {"names": list(names.values()), "by_route": by_route, "drops": drops}
    return Page("cache.html", "Cache", "/cache", data)
