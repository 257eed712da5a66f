"""Which database a statement went to, and with which of the application's execution options.

One text that was sent to two databases, to two schemas or for two tenants is two questions. As
with causes, a loop of a hundred statements is looked at by calls into C over whole columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

Target = tuple[Hashable, ...]

_compiled, _options, _seen = itemgetter(5), itemgetter(6), itemgetter(4)
_dialect = attrgetter("dialect")
_INTERNAL = ("_", "perfkit_")
_HOW = {"compiled_cache", "logging_token", "max_row_buffer", "stream_results", "yield_per"}
"""Options that say how rows are fetched, and not which."""
_PLAIN = (str, bytes, int, float, bool, type(None))


def by_target(records: Sequence[Any]) -> Iterator[tuple[Target, Sequence[Any]]]:
    """Split executions of one text by where they went."""
    compiled = list(map(_compiled, records))
    # What went to the driver was not compiled: what was seen of its rows knows the dialect.
    seen = map(_seen, records) if compiled[0] is None else compiled
    dialects = list(map(id, map(_dialect, seen)))
    options = list(map(_options, records))
    names = _names(options)
    if not names and dialects.count(dialects[0]) == len(dialects):
        yield (dialects[0],), records
        return
    groups: defaultdict[Target, list[Any]] = defaultdict(list)
    for record, dialect, each in zip(records, dialects, options, strict=True):
        values = ((name, _value(each.get(name))) for name in names)
        groups[dialect, *values].append(record)
    yield from groups.items()


def _names(options: Sequence[Any]) -> tuple[str, ...]:
    """Return the names of the options that are the application's own, or name a schema."""
    known = set(chain.from_iterable(set(map(frozenset, options))))
    return tuple(sorted(name for name in known - _HOW if not str(name).startswith(_INTERNAL)))


def _value(value: Any) -> Hashable:
    """Return an option's value as it can be compared; what cannot be is one for all."""
    if isinstance(value, dict):
        return tuple((_value(key), _value(value[key])) for key in value)
    if isinstance(value, tuple | list):
        return tuple(map(_value, value))
    return value if isinstance(value, _PLAIN) else None
