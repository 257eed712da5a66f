"""What happens when our own code fails: it is logged once and the host goes on."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from traceback import format_tb

logger = logging.getLogger("flask_perfkit")

_MOST_PLACES = 1000
_seen: set[tuple[str, str]] = set()


def log_once(place: str) -> None:
    """Log the exception being handled, the first time it occurs at this place.

    A log handler of the host that fails is passed over: nothing leaves this function.
    """
    error = sys.exc_info()[1]
    key = (place, type(error).__name__)
    if error is None or key in _seen or len(_seen) >= _MOST_PLACES:
        return
    _seen.add(key)
    with contextlib.suppress(Exception):
        quotes = any(map(_may_quote_values, _chain(error)))
        logger.error(
            "PerfKit carries on, no request is affected: %s failed and was skipped (logged once): "
            "%s: %s",
            place,
            type(error).__name__,
            _frames(error) if quotes else error,
            exc_info=None if quotes else error,
        )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, and those that a traceback shows with it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]


def _may_quote_values(error: BaseException) -> bool:
    """Tell whether the text of an exception may hold what a statement was given.

    Those of SQLAlchemy do, and those of a driver: a package that tells its level of PEP 249.
    """
    for kind in type(error).__mro__:
        package = kind.__module__.partition(".")[0]
        if package == "sqlalchemy" or hasattr(sys.modules.get(package), "apilevel"):
            return True
    return False


def _frames(error: BaseException) -> str:
    """Write where an exception was raised, without its text."""
    return "its text may hold values of a statement and is left out\n" + "".join(
        format_tb(error.__traceback__)
    )
