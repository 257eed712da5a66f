"""Asks an application for each of its addresses, and notes what came and which statements."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_perfkit.advice.workload import Workload
from flask_perfkit.audit.asking import DEFAULT_LIMITS, Asker, Limits, Visit
from flask_perfkit.audit.endpoints import Address, addresses_of
from flask_perfkit.audit.filters import filtered
from flask_perfkit.audit.login import clients
from flask_perfkit.audit.trial.untouched import nothing_kept
from flask_perfkit.hooks.attributes import watch_attributes
from flask_perfkit.recording.recorder import unrecorded

if TYPE_CHECKING:
    from flask import Flask

Progress = Callable[[Address, int, int], object]
"""Gets each address before it is asked for, its number and how many there are."""


@dataclass(frozen=True)
class Survey:
    """What was asked for, the addresses of which nothing is known, and the statements sent.

    An address that is refused, or that nobody could make, is left out where another one of its
    endpoint was seen.
    ``interrupted`` says that it was ended before all were asked.
    """

    visits: tuple[Visit, ...]
    missed: tuple[Address, ...]
    workload: Workload
    interrupted: bool


def survey(
    app: Flask,
    *,
    paths: Iterable[str] = (),
    headers: Iterable[tuple[str, str]] = (),
    login: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = lambda address, number, total: None,
) -> Survey:
    """Ask for each address, in this process and by GET only.

    The application's caches are passed by, so that what they hide is seen. What it writes to its
    databases is rolled back. Ctrl-C ends the asking.

    :param paths: addresses to ask for beside those that are known.
    :param headers: sent with each request, such as the cookie or the token of one who is logged in.
    :param login: see :func:`flask_perfkit.audit.login.clients`.
    :raises SetupError: it cannot log in.
    """
    watch_attributes()
    state = app.extensions["perfkit"]
    state.notes_reads = True
    paths, sent = list(dict.fromkeys(paths)), list(headers)
    addresses = [Address("", path) for path in paths]
    with unrecorded():
        addresses += [known for known in addresses_of(app) if known.path not in paths]
        addresses += filtered(app, addresses)
    asked = [address for address in addresses if address.path is not None]
    workload = Workload(app)
    visits: list[Visit] = []
    interrupted = False
    with ExitStack() as stack:
        state.is_audited = True
        stack.callback(setattr, state, "is_audited", False)
        stack.enter_context(nothing_logged())
        stack.enter_context(nothing_kept())
        asker = Asker(app, clients(app, login, sent), sent, limits)
        try:
            for address in asked[:1]:
                asker.ask(address)  # the first request of a process is slower than it will be
            stack.enter_context(workload)
            for number, address in enumerate(asked):
                progress(address, number, len(asked))
                visits.append(asker.ask(address))
        except KeyboardInterrupt:
            interrupted = True
    seen = {visit.endpoint for visit in visits if visit.was_seen}
    missed = [each for each in addresses if each.path is None and each.endpoint not in seen]
    missed += [
        visit.address._replace(reason=visit.reason)
        for visit in visits
        if visit.reason and not (visit.was_refused and visit.endpoint in seen)
    ]
    missed += [
        address._replace(reason=f"{address.path} was no longer requested")
        for address in asked[len(visits) :]
    ]
    return Survey(tuple(visits), tuple(missed), workload, interrupted)


@contextmanager
def nothing_logged() -> Iterator[None]:
    """Keep findings out of the log while they go into the report."""
    log = logging.getLogger("flask_perfkit")
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled
