"""An application as a user writes it: mypy checks that our types help and do not hinder.

Nothing here runs. Where a line is wrong on purpose, mypy has to say so: an ignore that is not
needed is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import assert_type

from flask import Flask, Response
from marshmallow import Schema, fields
from sqlalchemy import ForeignKey, Select, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from flask_perfkit import (
    CursorError,
    CursorPage,
    CursorParams,
    Finding,
    FindingError,
    Page,
    PaginationParams,
    PerfKit,
    PerfKitError,
    Profile,
    QueryCounter,
    cache_stats,
    detector,
    get_system_metrics,
    memory_tracker,
    paginate,
    timeit,
    timer,
    track_memory,
)
from flask_perfkit.alerts import P95, Alert, ErrorRate
from flask_perfkit.audit import Workload, advise
from flask_perfkit.batching import auto_batch
from flask_perfkit.signals import request_profiled
from flask_perfkit.testing.assertions import Assertions


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    documents: Mapped[list[Document]] = relationship(back_populates="user")


class Document(Base):
    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    user: Mapped[User] = relationship(back_populates="documents")


class DocumentSchema(Schema):
    id = fields.Integer()
    title = fields.String()


@detector("chatty_view", severity="warning")
def chatty_view(profile: Profile) -> Iterator[Finding]:
    if profile.query_count > 30:
        yield Finding("chatty_view", profile.endpoint or "", "chatty_view: many", "ask once")


perfkit = PerfKit()
app = Flask(__name__)
app.config["PERFKIT_DETECTORS"] = (chatty_view,)
perfkit.init_app(app)


@app.get("/documents")
@perfkit.paginated(DocumentSchema, sortable={"title": Document.title}, default_sort="-title")
def list_documents() -> Select[tuple[Document]]:
    return select(Document)


@app.get("/documents/<int:user_id>")
@perfkit.cached_response(ttl=60, depends_on=lambda user_id: [Document.user_id == user_id])
def show(user_id: int) -> Response:
    return Response(str(count(user_id)))


@perfkit.cached(ttl=60)
def count(user_id: int, *, drafts: bool = False) -> int:
    return user_id


@perfkit.cached
async def rate(currency: str) -> float:
    return 1.0


@app.get("/report")
@perfkit.allow("n_plus_one", "User.documents", reason="ten users at most")
def report() -> dict[str, int]:
    return {"a": 1}


def of_the_cache() -> None:
    assert_type(count(7), int)
    assert_type(count.cache_key(7, drafts=True), str)
    count.drop(7)
    count("7")  # type: ignore[arg-type]
    count.drop()  # type: ignore[call-arg]
    perfkit.cached(seconds=60)  # type: ignore[call-overload]
    kept = perfkit.cache.get_or_create("key", lambda: 7, depends_on=[Document])
    assert_type(kept, int)
    assert_type(cache_stats.report(), str)


async def of_coroutines() -> None:
    assert_type(await rate("EUR"), float)


def of_pages(session: Session) -> None:
    numbered = paginate(select(Document), PaginationParams(page=2), session=session)
    assert_type(numbered, Page)
    assert_type(numbered.total_pages, int | None)
    assert_type(paginate(select(Document), CursorParams(), session=session), CursorPage)
    paginate(select(Document), 2, session=session)  # type: ignore[call-overload]
    PaginationParams(page="2")  # type: ignore[arg-type]


@timeit
def timed(title: str) -> str:
    return title


@track_memory(on_result=lambda name, grown: logging.info("%s %s", name, grown))
async def tracked(title: str) -> bytes:
    return title.encode()


async def of_measuring() -> None:
    assert_type(timed("a"), str)
    assert_type(await tracked("a"), bytes)
    timed(7)  # type: ignore[arg-type]
    with timer("import") as t, memory_tracker("import") as m:
        pass
    assert_type(t.duration, float)
    assert_type(m.delta, float)
    assert_type(get_system_metrics().memory_rss, int | None)
    with QueryCounter(threshold=None) as counter, auto_batch("User.documents"):
        assert_type(counter.count, int)
    assert_type(counter.findings, tuple[Finding, ...])
    QueryCounter(threshold="10")  # type: ignore[arg-type]


def of_findings(sender: Flask, profile: Profile) -> None:
    for finding in profile.findings:
        assert_type(finding.lineno, int | None)
        assert_type(finding.callers, tuple[tuple[str, int, int], ...])
        finding.count = 7  # type: ignore[misc]
        assert_type(perfkit.prove(finding).holds, bool)
        assert_type(perfkit.patch(finding).diff, str)
    assert_type(chatty_view(profile), list[Finding])


def tell(alert: Alert) -> None:
    assert_type(alert.message, str)


def of_the_rest() -> None:
    request_profiled.connect(of_findings, app)
    perfkit.alert(when=P95(over=0.5), then=tell)
    perfkit.alert(when=ErrorRate(over=0.05), then=tell, cooldown=60)
    perfkit.alert(when=0.5, then=tell)  # type: ignore[arg-type]
    with perfkit.watch("nightly export"):
        pass
    with Workload(app) as workload, workload.times(200):
        app.test_client().get("/documents")
    assert_type([index.sql for index in advise(workload).create], list[str])
    try:
        app.test_client().get("/")
    except FindingError as error:
        assert_type(error.findings, tuple[Finding, ...])
    except (CursorError, PerfKitError):
        pass


def test_report(perfkit: Assertions) -> None:
    with perfkit.assert_queries(max=3) as block, perfkit.assert_no_findings():
        app.test_client().get("/report")
    assert_type(block.count, int)
    perfkit.assert_queries("3")  # type: ignore[arg-type]
