"""``flask perfkit audit`` on a small application, and on one that was slow on purpose."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from archive import Document, User, archive, db, names_of_owners, profiles
from click.testing import Result
from flask import Flask, abort, g, redirect, request, session

from flask_perfkit import PerfKit
from flask_perfkit.audit.audit import audit


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive(TESTING=True) as app:
        app.add_url_rule("/owners", "owners", lambda: names_of_owners())
        app.add_url_rule("/health", "health", lambda: "ok")
        app.add_url_rule("/write", "write", lambda: "no", methods=["POST"])

        @app.get("/documents/<int:number>")
        def document(number: int) -> str:
            return db.get_or_404(Document, number).title

        @app.get("/missing/<int:number>")
        def missing(number: int) -> str:
            abort(404)

        @app.get("/users/<name>")
        def user(name: str) -> str:
            return db.session.execute(sa.select(User.name).filter_by(name=name)).scalar_one()

        yield app


def audited(app: Flask, *options: str) -> Result:
    return app.test_cli_runner().invoke(args=["perfkit", "audit", *options])


def test_the_report(app: Flask) -> None:
    result = audited(app)
    assert result.exit_code == 0, result.output
    report = result.stdout
    assert report.startswith("7 requests, 1 finding\n")
    assert "ERROR  owners\n  n_plus_one: Document.user loaded 10 times" in report
    assert "joinedload(Document.user)" in report
    assert "proven" not in report
    marks = {name: bounded for name, bounded, *_ in map(str.split, report.splitlines()[-5:])}
    assert marks == {
        "document": "yes",
        "health": "yes",
        "owners": "NO",
        "user": "yes",
        "endpoint": "bounded",
    }
    progress = [line for line in result.stderr.splitlines() if line.startswith("GET ")]
    assert progress == [
        "GET /documents/10",
        "GET /documents/1",
        "GET /health",
        "GET /missing/1",
        "GET /owners",
        "GET /users/user%201",
        "GET /users/user%209",
    ]


def test_outside_of_debug_nothing_is_missing() -> None:
    """What is noted in debug and tests is noted for an audit, from the first request on."""
    with archive() as app:
        app.add_url_rule("/owners", "owners", lambda: names_of_owners())

        @app.get("/unused")
        def unused() -> list[int]:
            chosen = sa.select(Document).options(sa.orm.joinedload(Document.user)).limit(10)
            return [document.id for document in db.session.scalars(chosen)]

        report = audited(app, "--prove").stdout
    assert "unused_eager_load" in report
    assert "same response" in report


def test_what_perfkit_asks_for_itself_is_no_work_of_the_application(app: Flask) -> None:
    """The rows that rules are filled in with are read in contexts of its own."""
    with profiles(app) as collected:
        assert "/documents/10" in audited(app).stderr
        with app.app_context():
            audit(app)
    assert [each.method for each in collected if each.method != "GET"] == []


def test_what_was_not_audited_is_said(app: Flask) -> None:
    """Not where another address of the endpoint was."""
    app.add_url_rule("/tags/<word>", "tag", lambda word: word)
    app.add_url_rule("/health/<word>", "health")
    _, _, missed = audited(app).stdout.partition("Not audited:\n")
    assert missed.partition("\n\n")[0].splitlines() == [
        "  tag: /tags/<word> needs word: give it with --path",
        "  missing: /missing/1 is not there: give another with --path",
    ]


def test_an_address_is_asked_for_as_well(app: Flask) -> None:
    result = audited(app, "--path", "/users/user 1", "--path", "/documents/3", "--json")
    paths = [each["path"] for each in json.loads(result.stdout)["requests"]]
    assert paths[:2] == ["/users/user 1", "/documents/3"]
    assert len(paths) == len(set(paths)) == 9


def test_an_endpoint_that_fails_is_said(app: Flask) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    assert audited(app, "--allow-errors").exit_code == 0
    result = audited(app)
    assert result.exit_code == 1, "nothing that is broken passes a gate"
    assert "Answered with an error:\n  /broken: 500: see the application's log\n" in result.stdout
    assert "(/broken): see above for why; --allow-errors lets that pass" in result.stderr
    result = audited(app, "--json")
    assert result.exit_code == 1
    statuses = {each["path"]: each["status"] for each in json.loads(result.stdout)["requests"]}
    assert (statuses["/broken"], statuses["/health"]) == (500, 200)
    assert audited(app, "--allow-errors").exit_code == 0
    assert audited(app, "--allow-errors", "--fail-on", "error").exit_code == 1


def test_an_error_that_the_application_passes_on_fails_the_audit_and_is_logged(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    result = audited(app)
    assert result.exit_code == 1
    assert "  /broken: 500: ZeroDivisionError, see the application's log\n" in result.stdout
    messages = [each.getMessage() for each in caplog.records if each.exc_info]
    assert set(messages) == {"Exception on /broken [GET]"}


@pytest.mark.parametrize(("status", "code"), [(403, 0), (429, 0), (500, 1), (503, 1)])
def test_which_answers_fail_the_audit(app: Flask, status: int, code: int) -> None:
    app.add_url_rule("/away", "away", lambda: ("no", status))
    assert audited(app).exit_code == code


def test_an_address_that_is_not_there_fails_the_audit(app: Flask) -> None:
    result = audited(app, "--path", "/documents/77", "--path", "/helth")
    assert result.exit_code == 1
    assert "Not there:\n  /documents/77: 404\n  /helth: 404\n" in result.stdout
    assert "2 addresses answered with an error or were not found" in result.stderr
    assert audited(app, "--path", "/helth", "--allow-errors").exit_code == 0


@pytest.fixture
def guarded(app: Flask) -> Flask:
    """The owners are for those who are logged in, by a cookie or by a token."""

    @app.get("/login")
    def login() -> str:
        session["seen"] = "by all"  # a cookie of its own, which must not replace the given one
        return "name?"

    @app.before_request
    def guard() -> Any:
        known = request.cookies.get("user") == "1" or request.authorization is not None
        return redirect("/login") if request.path == "/owners" and not known else None

    app.secret_key = "secret"
    return app


def test_what_turned_the_audit_away_is_said(guarded: Flask) -> None:
    report = audited(guarded).stdout
    assert report.startswith("8 requests, 0 findings\n")
    assert (
        "Turned away or redirected, so that little was seen of what they do"
        " (--login or --header may open them):\n" in report
    )
    assert "  /owners: 302\n" in report


@pytest.mark.parametrize("header", ["Cookie: user=1", "cookie:user=1", "Authorization: Bearer x"])
def test_logs_in_with_a_header(guarded: Flask, header: str) -> None:
    report = audited(guarded, "--prove", "--header", header).stdout
    assert report.startswith("8 requests, 1 finding\n")
    assert "Turned away" not in report
    assert "proven: joinedload(Document.user): same response, 11 -> 1 query" in report


def test_each_request_stands_alone(app: Flask) -> None:
    """In the command's own context they would share flask.g and the objects that are known."""

    @app.get("/again")
    def again() -> str:
        g.count = g.get("count", 0) + 1
        return f"{g.count} {names_of_owners()}"

    paths = ("--path", "/again?a", "--path", "/again?b")
    report = json.loads(audited(app, *paths, "--json").stdout)
    queries = [each["queries"] for each in report["requests"] if each["endpoint"] == "again"]
    assert queries == [11, 11, 11]
    assert "proven: joinedload(Document.user)" in audited(app, "--prove").stdout


@pytest.mark.parametrize("header", ["secret", ":secret", "Cookie:"])
def test_a_header_that_is_none_is_refused(app: Flask, header: str) -> None:
    result = audited(app, "--header", header)
    assert result.exit_code == 2
    assert 'allowed is "NAME: VALUE"' in result.output
    assert "secret" not in result.output


def test_two_addresses_of_one_endpoint_show_one_finding(app: Flask) -> None:
    report = audited(app, "--path", "/owners?page=2").stdout
    assert report.startswith("8 requests, 1 finding\n")
    assert re.search(r"also shown by /owners(\?page=2)?; [\d.]+ ms in all", report)


def test_json(app: Flask) -> None:
    report = json.loads(audited(app, "--json").stdout)
    told = {
        "requests",
        "findings",
        "proofs",
        "checks",
        "not_audited",
        "interrupted",
        "index_advice",
    }
    assert set(report) == told
    (finding,) = report["findings"]
    assert (finding["kind"], finding["severity"], finding["count"]) == ("n_plus_one", "error", 10)
    assert (finding["endpoint"], finding["fix"]) == ("owners", "joinedload(Document.user)")
    queries = {each["endpoint"]: each["queries"] for each in report["requests"]}
    assert queries == {"owners": 11, "health": 0, "document": 1, "missing": 0, "user": 1}
    assert [each["endpoint"] for each in report["not_audited"]] == ["missing"]
    assert report["proofs"] == []


def test_prove(app: Flask) -> None:
    assert "\n  proven: joinedload(Document.user): same response, 11 -> 1 query, " in (
        audited(app, "--prove").stdout
    )
    (proof,) = json.loads(audited(app, "--prove", "--json").stdout)["proofs"]
    assert (proof["holds"], proof["queries_before"], proof["queries_after"]) == (True, 11, 1)


@pytest.mark.parametrize("severity", ["error", "warning", "info"])
def test_fails_on_an_error(app: Flask, severity: str) -> None:
    result = audited(app, "--fail-on", severity)
    assert result.exit_code == 1
    assert "1 finding" in result.stdout


@pytest.mark.parametrize(("severity", "code"), [("error", 0), ("warning", 1), ("info", 1)])
def test_fails_on_nothing_better_than_it_is_told(severity: str, code: int) -> None:
    def again() -> str:
        same = sa.select(User.name).where(User.id == 1)
        return str([db.session.scalar(same) for _ in range(5)])

    with archive(TESTING=True) as app:
        app.add_url_rule("/", "again", again)
        result = audited(app, "--fail-on", severity)
    assert "WARNING  again\n  duplicate_query" in result.stdout
    assert result.exit_code == code


def test_a_severity_that_is_none_is_refused(app: Flask) -> None:
    result = audited(app, "--fail-on", "fatal")
    assert result.exit_code == 2
    assert "'error', 'warning', 'info'" in result.output


def test_without_findings_it_is_content() -> None:
    with archive(TESTING=True) as app:
        app.add_url_rule("/health", "health", lambda: "ok")
        result = audited(app, "--fail-on", "info")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "1 request, 0 findings",
        "",
        "endpoint  bounded  no N+1  quick  lean  indexed  cached  measured",
        "health    yes      yes     yes    yes   yes      -       NO",
    ]


def test_findings_are_logged_again_afterwards(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    audited(app, "--prove")
    assert caplog.messages == []
    app.test_client().get("/owners")
    assert [message.partition(":")[0] for message in caplog.messages] == ["n_plus_one"]


def test_the_figures_of_the_machine(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["perfkit", "system"])
    assert result.exit_code == 0
    assert "cpu" in result.stdout


def test_an_application_that_is_not_watched_has_no_such_command() -> None:
    with archive(perfkit=False) as app:
        assert audited(app).exit_code == 2
    off: Any = Flask("off")
    off.config["PERFKIT_ENABLED"] = False
    PerfKit(off)
    assert audited(off).exit_code == 2


def test_what_a_cache_hides_is_found_all_the_same() -> None:
    with archive(TESTING=True) as app:

        @app.get("/")
        @PerfKit().cached_response
        def owners() -> list[str]:
            return [document.user.name for document in db.session.scalars(sa.select(Document))]

        assert app.test_client().get("/").status_code == 200
        for _ in range(2):
            (finding,) = audit(app).findings
            assert (finding.kind, finding.subject) == ("n_plus_one", "Document.user")
