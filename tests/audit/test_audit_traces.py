"""An audit leaves nothing behind, misses no rule, and ends."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_login
import pytest
import sqlalchemy as sa
from archive import Document, archive, db, names_of_owners
from click.testing import Result
from flask import Flask, Response, abort, redirect, request, session
from flask.testing import FlaskClient

from flask_perfkit.audit.asking import Limits
from flask_perfkit.audit.audit import audit


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive(TESTING=True, slow_request=None, slow_query=None) as app:
        app.secret_key = "secret"
        yield app


def audited(app: Flask, *options: str) -> Result:
    return app.test_cli_runner().invoke(args=["perfkit", "audit", *options])


def paths_of(app: Flask) -> list[str | None]:
    return [visit.address.path for visit in audit(app).visits]


def test_every_rule_of_an_endpoint_is_asked_and_each_address_once(app: Flask) -> None:
    def owners(page: int = 1) -> str:
        return f"{page} {names_of_owners()}"

    app.add_url_rule("/owners", "owners", owners)
    app.add_url_rule("/owners/page/<int:page>", "owners", owners)
    app.add_url_rule("/people", "owners", owners, defaults={"page": 2})
    app.add_url_rule("/owners", "again", owners, methods=["GET", "POST"])
    result = audit(app)
    asked = [visit.address.path for visit in result.visits]
    assert sorted(map(str, asked)) == ["/owners", "/owners", "/owners/page/1", "/people"]
    (problem,) = result.problems
    assert problem.finding.subject == "Document.user"
    assert len(problem.addresses) == 3, "one line, though several addresses show it"


def test_values_come_from_the_row_with_the_most_behind_it_and_the_least(app: Flask) -> None:
    with app.app_context():
        db.session.execute(sa.update(Document).where(Document.id <= 7).values(user_id=4))
        db.session.commit()
    app.add_url_rule("/users/<int:user_id>/documents", "of_user", lambda user_id: f"{user_id}")
    app.add_url_rule(
        "/users/<int:user_id>/documents/<int:document_id>",
        "one",
        lambda user_id, document_id: f"{user_id} {document_id}",
    )
    assert paths_of(app) == [
        "/users/4/documents",
        "/users/10/documents",
        "/users/10/documents/10",
        "/users/4/documents/1",
    ]


def test_what_an_address_writes_is_noticed_and_rolled_back(app: Flask) -> None:
    @app.get("/purge")
    def purge() -> str:
        db.session.execute(sa.delete(Document))
        db.session.commit()
        return "gone"

    app.add_url_rule("/purge/again", "again", purge)
    app.add_url_rule("/then", "then", lambda: f"{db.session.query(Document).count()}")
    result = audited(app)
    assert (
        "  /purge, /purge/again: it writes by GET; what it wrote was rolled back" in result.stdout
    )
    with app.app_context():
        assert db.session.query(Document).count() == 10


def log_in(client: FlaskClient) -> None:
    client.post("/login", data={"name": "ada"})


@pytest.fixture
def guarded(app: Flask) -> Flask:
    app.add_url_rule("/account", "account", lambda: session["name"])
    app.add_url_rule("/zoo", "zoo", lambda: session["name"])

    @app.post("/login")
    def login() -> str:
        session["name"] = request.form["name"]
        return "welcome"

    @app.get("/logout")
    def logout() -> Any:
        session.clear()
        return "bye"

    @app.before_request
    def guard() -> Any:
        return redirect("/") if "name" not in session and request.method == "GET" else None

    return app


def test_who_logs_out_by_the_way_stays_logged_in(guarded: Flask) -> None:
    report = audited(guarded, "--login", f"{__name__}:log_in").stdout
    assert "Turned away" not in report
    assert "/logout: it changes who is logged in; no other request was sent with that" in report
    assert audit(guarded).visits[-1].address.path == "/logout", "asked last"
    assert "Turned away" in audited(guarded).stdout


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ("nowhere:log_in", "No module named 'nowhere'; allowed is module:function"),
        (f"{__name__}:nothing", "has no attribute 'nothing'; allowed is module:function"),
        ("7", "no user_loader of Flask-Login"),
    ],
)
def test_a_login_that_cannot_be(guarded: Flask, login: str, said: str) -> None:
    result = audited(guarded, "--login", login)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())


def test_a_user_of_flask_login(app: Flask) -> None:
    class Person(flask_login.UserMixin):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.id = name

    manager = flask_login.LoginManager(app)
    manager.session_protection = "strong"  # a session from elsewhere is ended
    manager.user_loader(lambda name: Person(name) if name == "7" else None)

    @app.get("/mine")
    @flask_login.fresh_login_required
    def mine() -> str:
        return str(flask_login.current_user.id)

    assert "/mine: 401" in audited(app).stdout
    for options in ((), ("--header", "User-Agent: Browser 1")):
        report = audited(app, "--login", "7", *options).stdout
        assert "/mine" not in report.partition("endpoint ")[0]
    assert "leave out --header" in audited(app, "--login", "7", "--header", "Cookie: a=b").output
    assert "knows no such user" in audited(app, "--login", "8").output


@pytest.mark.timeout(120, method="thread")  # the signal of the other method ends the wait
def test_an_address_that_does_not_end_is_left(app: Flask) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "data: tick\n\n"

    def waits() -> str:
        time.sleep(60)
        return "at last"

    app.add_url_rule("/a", "stream", lambda: Response(endless(), mimetype="text/event-stream"))
    app.add_url_rule("/b", "waits", waits)
    app.add_url_rule("/c", "owners", names_of_owners)
    result = audit(app, limits=Limits(seconds=3, size=50_000_000))
    reasons = {visit.address.path: visit.reason for visit in result.visits}
    too_long = "was left: it takes more than 3 s, as an endless stream does"
    assert reasons == {"/a": f"/a {too_long}", "/b": f"/b {too_long}", "/c": ""}
    assert result.failed == ()
    assert [problem.finding.subject for problem in result.problems] == ["Document.user"]


def test_an_answer_is_read_up_to_a_limit(app: Flask) -> None:
    app.add_url_rule("/dump", "dump", lambda: Response(b"x" * 100_000 for _ in range(1_000)))
    (visit,) = audit(app, limits=Limits(seconds=20, size=1_000_000)).visits
    assert visit.notes == ("only the first 1 MB were read",)


def test_ctrl_c_leaves_a_report_of_what_was_found(app: Flask) -> None:
    def interrupts() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
        return "never"

    app.add_url_rule("/a", "owners", names_of_owners)
    app.add_url_rule("/b", "interrupts", interrupts)
    app.add_url_rule("/c", "later", lambda: "later")
    result = audited(app)
    assert result.exit_code == 130
    assert "Interrupted: this is what was found until then." in result.stdout
    assert "n_plus_one: Document.user" in result.stdout
    assert "later: /c was no longer requested" in result.stdout


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "answered 400: give an address that it accepts with --path or --data"),
        (405, "answered 405"),
        (422, "answered 422"),
        (429, "answered 429: turn the rate limit off for the audit"),
        (404, "is not there: give another with --path"),
    ],
)
def test_what_was_refused_was_not_looked_at(app: Flask, status: int, said: str) -> None:
    app.add_url_rule("/refused", "refused", lambda: abort(status))
    report = audited(app).stdout
    assert said in " ".join(report.partition("Not audited:")[2].split())
    assert "\nrefused " not in report, "no row in the list of endpoints"


@pytest.mark.parametrize(("options", "code"), [((), 1), (("--allow-errors",), 0)])
def test_a_path_that_is_not_there_does_not_pass(
    app: Flask, options: tuple[str, ...], code: int
) -> None:
    result = audited(app, "--path", "/owner", *options)
    assert result.exit_code == code
    assert "Not there:\n  /owner: 404\n" in result.stdout


def test_addresses_from_a_file(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "addresses"
    file.write_text("# the search\n/search?q=a\n\n/search?q=b\n")
    app.add_url_rule("/search", "search", lambda: request.args["q"])
    report = json.loads(audited(app, "--data", str(file), "--json", "--allow-errors").stdout)
    asked = {each["path"]: each["status"] for each in report["requests"]}
    assert asked == {"/search?q=a": 200, "/search?q=b": 200, "/search": 400}


def test_what_the_application_prints_stays_out_of_json(app: Flask) -> None:
    def prints() -> str:
        print("debugging")
        return "ok"

    app.add_url_rule("/", "prints", prints)
    result = audited(app, "--json")
    assert json.loads(result.stdout)["requests"][0]["endpoint"] == "prints"
    assert "debugging" in result.stderr


def test_one_file_of_a_static_folder_is_asked_for(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("body {}")
    (tmp_path / "b.css").write_text("body {}")
    app.static_folder = str(tmp_path)
    result = audit(app)
    assert [visit.address.path for visit in result.visits] == ["/static/a.css"]
    assert [problem.finding.kind for problem in result.problems] == ["uncached_static"]


def test_what_one_setting_cures_everywhere_is_told_once(app: Flask) -> None:
    for length in (20_000, 60_000, 30_000):
        app.add_url_rule(f"/{length}", f"{length}", lambda length=length: "a" * length)
    (problem,) = audit(app).problems
    assert "60000: sent 60 kB of text/html" in problem.finding.message
    assert len(problem.addresses) == 3


def test_the_dearest_comes_first_and_advice_by_the_way_last(app: Flask) -> None:
    @app.get("/a")
    async def short() -> str:
        time.sleep(0.02)
        return "short"

    @app.get("/b")
    async def long() -> str:
        time.sleep(0.2)
        return "long"

    problems = audit(app).problems
    assert [each.finding.endpoint for each in problems] == ["long", "short"]
    assert problems[0].cost > problems[1].cost
