from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from archive import Document, archive, db, names_of_owners, profiles
from flask import Flask, Response, abort, stream_with_context
from hand_made import VIEWS, cause, profile

from flask_perfkit import Finding, FindingError, Profile
from flask_perfkit.sinks.headers import server_timing
from flask_perfkit.sinks.log import FindingLog
from flask_perfkit.sinks.strict import raise_findings


def finding(kind: str = "n_plus_one", **more: Any) -> Finding:
    values: dict[str, Any] = {
        "subject": "Document.user",
        "message": f"{kind}: Document.user loaded 25 times",
        "fix": "joinedload(Document.user)",
        "count": 25,
        "duration": 0.0123,
        "filename": VIEWS,
        "lineno": 41,
    }
    return Finding(kind=kind, **(values | more))


def with_findings(*findings: Finding, **more: Any) -> Profile:
    return profile(cause("SELECT a FROM t", count=3), findings=findings, **more)


def stream() -> Response:
    def rows() -> Iterator[str]:
        for number in range(1, 11):
            yield f"{db.session.get(Document, number)}"
            db.session.expunge_all()

    return Response(stream_with_context(rows()))


# Log


def test_a_finding_is_one_line_at_its_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "flask_perfkit"):
        FindingLog(60)(
            with_findings(finding(), finding("slow_query"), finding("unused_eager_load"))
        )
    assert [(record.name, record.levelno, record.getMessage()) for record in caplog.records] == [
        ("flask_perfkit", logging.WARNING, "n_plus_one: Document.user loaded 25 times"),
        ("flask_perfkit", logging.WARNING, "slow_query: Document.user loaded 25 times"),
        ("flask_perfkit", logging.INFO, "unused_eager_load: Document.user loaded 25 times"),
    ]


def test_per_cent_signs_are_no_placeholders(caplog: pytest.LogCaptureFixture) -> None:
    FindingLog(60)(with_findings(finding(message="LIKE '%s' %d %")))
    assert caplog.messages == ["LIKE '%s' %d %"]


def test_an_n_plus_one_is_logged_once_a_request(caplog: pytest.LogCaptureFixture) -> None:
    with archive() as app:
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        app.test_client().get("/")
    (message,) = caplog.messages
    assert re.fullmatch(
        r"n_plus_one: Document\.user loaded 10 times \([\d.]+ ms\) at tests/archive\.py:\d+ "
        r"in names_of_owners, called from tests/sinks/test_sinks\.py:\d+ \(10x\); add "
        r"joinedload\(Document\.user\) to the select at tests/archive\.py:\d+ "
        r"\(instead of 10 queries\), or set PERFKIT_AUTO_BATCH \(about 3 queries\)",
        message,
    )


def test_ignored_findings_are_recorded_but_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with archive(on_finding="ignore") as app:
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        with profiles(app) as collected:
            app.test_client().get("/")
    assert caplog.messages == []
    assert len(collected[0].findings) == 1


# Server-Timing

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED = r'"(?:[^"\\\x00-\x1f\x7f-\U0010ffff]|\\["\\])*"'
METRIC = rf"({TOKEN})((?:;{TOKEN}=(?:{TOKEN}|{QUOTED}))*)"


def metrics(value: str) -> dict[str, dict[str, str]]:
    """Read a header as a browser does; fail where it is no Server-Timing header."""
    assert re.fullmatch(rf"{METRIC}(?:, {METRIC})*", value), value
    found = {}
    for match in re.finditer(METRIC, value):
        pairs = re.findall(rf";({TOKEN})=({TOKEN}|{QUOTED})", match[2])
        found[match[1]] = {
            name: re.sub(r"\\(.)", r"\1", text.removeprefix('"').removesuffix('"'))
            for name, text in pairs
        }
    return found


def test_the_header_has_times_statements_and_findings() -> None:
    assert metrics(server_timing(with_findings(finding()))) == {
        "total": {"dur": "10.0"},
        "db": {"dur": "3.0", "desc": "3 statements"},
        "n_plus_one": {
            "dur": "12.3",
            "desc": f"Document.user 25x at {VIEWS}:41: joinedload(Document.user)",
        },
    }


def test_one_statement_is_said_in_the_singular() -> None:
    assert 'desc="1 statement"' in server_timing(profile(cause("SELECT 1")))


@pytest.mark.parametrize(
    "text",
    [
        'say "hi"',
        "back\\slash",
        "line\nbreak\r\nSet-Cookie: a=b",
        "caf\u00e9 \u2603",
        "tab\t\x00\x7f",
        ", ; =",
    ],
    ids=repr,
)
def test_whatever_a_finding_says_stays_inside_of_its_quotes(text: str) -> None:
    value = server_timing(with_findings(finding(fix=text, subject=text)))
    assert set(metrics(value)) == {"total", "db", "n_plus_one"}
    assert value.isascii()
    assert value.isprintable()


def test_the_header_is_bounded() -> None:
    many = [finding(fix="\\" * 100_000, subject='"' * 100_000)] * 100
    assert len(server_timing(with_findings(*many))) < 5_000


def test_the_header_is_sent_where_it_is_on() -> None:
    with archive(server_timing=True) as app:
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        response = app.test_client().get("/")
        found = metrics(response.headers["Server-Timing"])
    assert found["db"]["desc"] == "11 statements"
    assert "joinedload(Document.user)" in found["n_plus_one"]["desc"]


def test_the_header_stands_beside_the_applications_own() -> None:
    with archive(server_timing=True) as app:
        app.add_url_rule("/", view_func=lambda: ("ok", {"Server-Timing": "cache;dur=1"}))
        response = app.test_client().get("/")
    assert [value.partition(";")[0] for value in response.headers.getlist("Server-Timing")] == [
        "cache",
        "total",
    ]


@pytest.mark.parametrize("path", ["/nothing", "/fails", "/stream"])
def test_the_header_is_on_every_answer(path: str) -> None:
    with archive(server_timing=True) as app:
        app.add_url_rule("/fails", endpoint="fails", view_func=lambda: 1 / 0)
        app.add_url_rule("/stream", endpoint="stream", view_func=stream)
        response = app.test_client().get(path)
        assert metrics(response.headers["Server-Timing"])["total"]
        response.close()


def test_the_header_is_off_in_production() -> None:
    with archive() as app:
        app.add_url_rule("/", view_func=lambda: "ok")
        assert "Server-Timing" not in app.test_client().get("/").headers


# Raising


def test_nothing_is_raised_of_nothing() -> None:
    raise_findings(profile())


def test_all_findings_are_raised_in_one_error() -> None:
    findings = finding(), finding("slow_query")
    with pytest.raises(FindingError) as caught:
        raise_findings(with_findings(*findings))
    assert caught.value.findings == findings
    assert str(caught.value) == "\n".join(each.message for each in findings)


@pytest.fixture
def strict() -> Iterator[Flask]:
    with archive(on_finding="raise", TESTING=True) as app:
        yield app


def test_a_finding_fails_the_request_of_a_test(strict: Flask) -> None:
    strict.add_url_rule("/", view_func=lambda: names_of_owners())
    with (
        profiles(strict) as collected,
        pytest.raises(FindingError, match=r"n_plus_one: Document\.user loaded 10 times"),
    ):
        strict.test_client().get("/")
    assert len(collected) == 1


def test_a_finding_is_an_assertion_that_failed(strict: Flask) -> None:
    strict.add_url_rule("/", view_func=lambda: names_of_owners())
    with pytest.raises(AssertionError):
        strict.test_client().get("/")


def test_a_finding_becomes_a_500_where_errors_do() -> None:
    with archive(on_finding="raise") as app:
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        with profiles(app) as collected:
            assert app.test_client().get("/").status_code == 500
    assert [profile.status for profile in collected] == [500]
    assert len(collected[0].findings) == 1


def test_a_clean_request_is_answered(strict: Flask) -> None:
    strict.add_url_rule("/", view_func=lambda: str(db.session.scalar(sa.select(Document.id))))
    assert strict.test_client().get("/").text == "1"


def test_a_finding_of_a_stream_fails_its_reader(strict: Flask) -> None:
    strict.add_url_rule("/", view_func=stream)
    response = strict.test_client().get("/")
    with pytest.raises(FindingError, match="n_plus_one: 10 executions"):
        _ = response.data
    response.close()


def test_a_stream_that_is_left_raises_when_it_is_closed(strict: Flask) -> None:
    strict.add_url_rule("/", view_func=stream)
    response = strict.test_client().get("/")
    pieces = response.iter_encoded()
    for _ in range(6):
        next(pieces)
    with pytest.raises(FindingError, match="n_plus_one: 6 executions"):
        response.close()


def test_an_error_of_the_view_is_not_masked(strict: Flask) -> None:
    @strict.get("/")
    def fail() -> str:
        names_of_owners()
        raise ZeroDivisionError("of the view")

    with pytest.raises(ZeroDivisionError, match="of the view"):
        strict.test_client().get("/")


def test_an_error_of_a_stream_is_not_masked(strict: Flask) -> None:
    @strict.get("/")
    def fail() -> Response:
        def rows() -> Iterator[str]:
            yield f"{names_of_owners()}"
            raise ZeroDivisionError("of the stream")

        return Response(stream_with_context(rows()))

    response = strict.test_client().get("/")
    with pytest.raises(ZeroDivisionError, match="of the stream"):
        _ = response.data
    response.close()


def test_an_error_that_became_a_500_stays_one(caplog: pytest.LogCaptureFixture) -> None:
    with archive(on_finding="raise") as app:

        @app.get("/")
        def fail() -> str:
            names_of_owners()
            raise ZeroDivisionError("of the view")

        @app.errorhandler(500)
        def answer(error: Exception) -> tuple[str, int]:
            return f"sorry for {error.original_exception!r}", 500  # type: ignore[attr-defined]

        response = app.test_client().get("/")
    assert (response.status_code, response.text) == (
        500,
        "sorry for ZeroDivisionError('of the view')",
    )


def test_an_aborted_request_raises_its_findings(strict: Flask) -> None:
    @strict.get("/")
    def refuse() -> str:
        names_of_owners()
        abort(404)

    with pytest.raises(FindingError):
        strict.test_client().get("/")


# A function of the application


def test_a_function_gets_each_finding() -> None:
    found: list[Finding] = []
    with archive(on_finding=found.append, unbounded_rows=5) as app:
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        with profiles(app) as collected:
            app.test_client().get("/")
    assert tuple(found) == collected[0].findings
    assert sorted(each.kind for each in found) == ["n_plus_one", "unbounded_result"]


def test_a_function_is_called_without_any_receiver(caplog: pytest.LogCaptureFixture) -> None:
    found: list[Finding] = []
    with archive(on_finding=found.append) as app:
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        app.test_client().get("/")
    assert (len(found), caplog.messages) == (1, [])


# The signal


def test_the_signal_is_sent_when_a_stream_is_over() -> None:
    with archive() as app:
        app.add_url_rule("/", view_func=stream)
        with profiles(app) as collected:
            response = app.test_client().get("/")
            assert collected == []
            _ = response.data
            assert len(collected) == 1
            response.close()
        assert len(collected) == 1


def test_worst_findings_come_first() -> None:
    with archive(unbounded_rows=5, slow_request=1e-9) as app:
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        with profiles(app) as collected:
            app.test_client().get("/")
    severities = [each.severity for each in collected[0].findings]
    assert severities == ["error", "error", "warning"]
