"""Hands requests, jobs and commands over to the store: a request only leaves a few numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter, itemgetter, sub
from time import perf_counter_ns, time
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_perfkit.detectors.analysis import analyse
from flask_perfkit.faults import log_once
from flask_perfkit.hooks.facts import path_of, view_of
from flask_perfkit.hooks.requests import RequestRecorder
from flask_perfkit.recording.recorder import Recorder

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import Rule

    from flask_perfkit.config import Settings
    from flask_perfkit.recording.causes import Record
    from flask_perfkit.recording.profile import Profile
    from flask_perfkit.sinks import Sink
    from flask_perfkit.state import State
    from flask_perfkit.store.writer import Writer

_SECONDS = 1e-9

_asked, _started, _ended = map(itemgetter, (0, 2, 3))
_text = itemgetter(0)
_facts = attrgetter("asked.url_rule", "asked.method", "response.status_code", "elapsed")


def storing_sink(state: State, writer: Writer) -> Sink:
    """Return the sink that hands profiles over; what an audit asks is nobody's traffic."""

    def store_profile(profile: Profile) -> None:
        if not state.is_audited:
            writer.park(profile, at_once=profile.status is None)

    return store_profile


def storing(recorder: type[RequestRecorder], writer: Writer) -> type[RequestRecorder]:
    """Return the recorder of requests that are handed over."""
    own = {
        "writer": writer,
        "pass_on": writer.passed.append,
        "keep_from": writer.keep_from,
        "forget": recorder.discard,
    }
    return type("StoredRequest", (StoredRequest, recorder), own)


class StoredRequest(RequestRecorder):
    """The recorder of a request that is handed over when it is let go.

    Its class has what it is handed over to: ``pass_on`` takes a few numbers, ``keep_from`` says
    from how many nanoseconds on a request of an endpoint is kept, and ``writer`` takes what is;
    ``forget`` is how the request would be discarded without a store.
    """

    writer: Writer
    forget: Callable[[], None]
    pass_on: Callable[[tuple[Any, ...]], None]
    keep_from: dict[str, float]

    def discard(self) -> None:
        """Hand over what the store counts, and forget what the request saw.

        Nearly every request comes by here: each step of it is counted too.
        """
        try:
            if self.elapsed >= self.keep_from[self.asked.url_rule.endpoint]:  # type: ignore[union-attr]
                self._keep()
            elif self:
                self.pass_on((*_facts(self), *_statements_of(self)))
            else:
                self.pass_on(_facts(self))
        except (AttributeError, KeyError):
            self._pass_rare()
        self.forget()

    def drop(self) -> None:
        """Count a request in which nothing was looked for."""
        self.elapsed = perf_counter_ns() - self.started
        self._pass_rare()
        super().drop()

    def _pass_rare(self) -> None:
        """Hand over a request of a new endpoint, of none, or one that Flask did not answer."""
        try:
            rule = self.asked.url_rule if self.asked is not None else None
            is_new = rule is not None and rule.endpoint not in self.keep_from
            if is_new and self.response is not None:
                self._keep()
            else:
                method = self.environ["REQUEST_METHOD"]
                self.pass_on((rule, method, self.status, self.elapsed, *_statements_of(self)))
                self.writer.run()
        except Exception:
            log_once("handing a request over to the store")

    def _keep(self) -> None:
        """Hand over all that is needed to look at the request later."""
        rule, method, status, elapsed = _facts(self)
        if not self.sampled:
            self.pass_on((rule, method, status, elapsed, *_statements_of(self)))
            self.writer.run()
            return
        self.keep_from[rule.endpoint] = elapsed + 1  # a slower one may come before the next write
        environ = self.environ
        kept = Kept(
            rule=rule,
            method=method,
            mount=environ.get("SCRIPT_NAME", ""),
            path=path_of(environ),
            status=status,
            ended_at=time(),
            started=self.started,
            elapsed=elapsed,
            records=self[:],
        )
        self.writer.park(partial(profile_of, self.app, self.state.settings, kept))


def _statements_of(recorder: Recorder) -> tuple[list[str], list[int]]:
    """Return the texts of the statements, and how many nanoseconds each took."""
    texts = list(map(_text, map(_asked, recorder)))
    return texts, list(map(sub, map(_ended, recorder), map(_started, recorder)))


class Kept(NamedTuple):
    """What there is to look at of a request that was let go; ``elapsed`` is in nanoseconds."""

    rule: Rule
    method: str
    mount: str
    path: str
    status: int
    ended_at: float
    started: int
    elapsed: int
    records: list[Record]


def profile_of(app: Flask, settings: Settings, kept: Kept) -> Profile:
    """Look at a request that was let go."""
    recorder = Recorder()
    recorder.started = kept.started
    recorder += kept.records
    recorder.close()
    duration = kept.elapsed * _SECONDS
    return analyse(
        recorder,
        settings,
        endpoint=kept.rule.endpoint,
        rule=kept.rule.rule,
        method=kept.method,
        path=kept.path,
        status=kept.status,
        started_at=datetime.fromtimestamp(kept.ended_at - duration, UTC),
        duration=duration,
        view=view_of(app, kept.rule.endpoint, kept.method),
        mount=kept.mount,
        sample_rate=settings.sample_rate,
    )
