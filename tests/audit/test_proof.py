"""A fix is proven by asking the same request again; nothing that it writes is kept."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from archive import Document, User, archive, db, profiles
from flask import Flask, request

from flask_perfkit import Finding, PerfKit, SetupError
from flask_perfkit.audit.proof import Proof
from flask_perfkit.cures.loaders import ColumnStep


@pytest.fixture
def app(tmp_path: Any) -> Iterator[Flask]:
    """The archive in tests: ten documents, each with its user."""
    with archive(TESTING=True) as app:
        yield app


def view(app: Flask) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return app.route("/", endpoint="owners")


def finding_of(app: Flask, path: str = "/", **options: Any) -> Finding:
    with profiles(app) as collected:
        assert app.test_client().get(path, **options).status_code == 200
    (finding,) = [each for each in collected[0].findings if each.kind == "n_plus_one"]
    return finding


def proof_of(app: Flask, finding: Finding) -> Proof:
    with app.app_context():
        return PerfKit.prove(finding)


def names() -> list[str]:
    return [document.user.name for document in db.session.scalars(sa.select(Document))]


def test_a_fix_that_holds(app: Flask) -> None:
    view(app)(names)
    proof = proof_of(app, finding_of(app))
    assert (proof.holds, proof.identical, proof.reason) == (True, True, "")
    assert (proof.queries_before, proof.queries_after) == (11, 1)
    assert proof.message.startswith(
        "proven: joinedload(Document.user): same response, 11 -> 1 query, "
    )
    assert proof.to_dict()["finding"]["subject"] == "Document.user"


def test_the_request_is_asked_as_it_was(app: Flask) -> None:
    @view(app)
    def owners() -> Any:
        if request.headers.get("Authorization") != "Bearer 1" or request.args["of"] != "all":
            return "nothing", 403
        return names()

    finding = finding_of(app, "/?of=all", headers={"Authorization": "Bearer 1"})
    assert proof_of(app, finding).holds


@pytest.mark.parametrize(
    "path", ["/of/50%25", "/of/a%3Fb", "/of/%C3%A9", "/of/x?of=%C3%A9&of=%25", "/of/x?of=%FF"]
)
def test_whatever_the_address_is_spelled_with(app: Flask, path: str) -> None:
    asked = []

    @app.get("/of/<name>")
    def owners_of(name: str) -> list[str]:
        asked.append((name, request.args.getlist("of")))
        return names()

    assert proof_of(app, finding_of(app, path)).holds
    assert len(asked) == 7
    assert all(each == asked[0] for each in asked)


def test_nothing_that_the_view_commits_is_kept(app: Flask) -> None:
    @view(app)
    def owners() -> list[str]:
        db.session.add(User(name="new"))
        db.session.commit()
        return names()

    finding = finding_of(app)  # a request as ever: its commit is kept
    proof = proof_of(app, finding)
    assert proof.holds, proof.reason
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count(User.id))) == 11
        db.session.add(User(name="later"))
        db.session.commit()  # commits are as ever again
        db.session.rollback()
        assert db.session.scalar(sa.select(sa.func.count(User.id))) == 12


def test_a_fix_that_changes_the_response_is_not_proven(app: Flask) -> None:
    @view(app)
    def owners() -> dict[str, Any]:
        documents = db.session.scalars(sa.select(Document)).all()
        were_loaded = "user" in vars(documents[0])
        return {"loaded": were_loaded, "names": [document.user.name for document in documents]}

    proof = proof_of(app, finding_of(app))
    assert (proof.holds, proof.identical) == (False, False)
    assert proof.message == (
        "not proven: joinedload(Document.user): the response differs (status 200, with it 200)"
    )


def test_a_fix_that_makes_the_view_fail_is_not_proven(app: Flask) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @view(app)
    def owners() -> list[str]:
        documents = db.session.scalars(sa.select(Document)).all()
        if "user" in vars(documents[0]):
            raise ValueError("loaded already")
        return [document.user.name for document in documents]

    proof = proof_of(app, finding_of(app))
    assert not proof.holds
    assert proof.reason == "the response differs (status 200, with it 500)"


def test_a_fix_that_does_not_help_is_not_proven(app: Flask) -> None:
    view(app)(names)
    finding = finding_of(app)
    column = ColumnStep("undefer", Document, "title")
    finding = replace(finding, cure=replace(finding.cure, steps=(), column=column))
    proof = proof_of(app, finding)
    assert (proof.holds, proof.reason) == (False, "it takes 11 queries, without it 11")


def test_tokens_may_differ_and_nothing_else(app: Flask) -> None:
    @view(app)
    def owners() -> list[Any]:
        return [secrets.token_urlsafe(32), *names()]

    proof = proof_of(app, finding_of(app))
    assert proof.holds, proof.reason


def test_a_response_that_never_repeats_proves_nothing(app: Flask) -> None:
    numbers = itertools.count()

    @view(app)
    def owners() -> list[Any]:
        return [next(numbers), *names()]

    proof = proof_of(app, finding_of(app))
    assert not proof.holds
    assert proof.reason == "the response differs from one time to the next without it"


def test_code_to_be_written_is_not_tried(app: Flask) -> None:
    @view(app)
    def owners() -> list[str]:
        return [
            db.session.scalar(sa.select(User.name).where(User.id == number)) or ""
            for number in range(1, 11)
        ]

    proof = proof_of(app, finding_of(app))
    assert not proof.holds
    assert proof.reason == "it is code to be written, no loader option"


def test_a_finding_of_no_recorded_get_is_refused(app: Flask) -> None:
    view(app)(names)
    finding = replace(finding_of(app), endpoint="elsewhere")
    with pytest.raises(SetupError, match="no GET of 'elsewhere' was recorded"):
        proof_of(app, finding)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_a_get_is_kept(app: Flask, method: str) -> None:
    app.add_url_rule("/", "owners", names, methods=[method])
    with profiles(app) as collected:
        app.test_client().open("/", method=method)
    (finding,) = collected[0].findings
    with pytest.raises(SetupError, match="was recorded"):
        proof_of(app, finding)


def test_in_production_no_request_is_kept() -> None:
    with archive() as app:
        view(app)(names)
        finding = finding_of(app)
        with pytest.raises(SetupError, match="in debug or tests"):
            proof_of(app, finding)


def test_a_cache_hides_nothing_from_a_proof_and_sees_commits_afterwards(app: Flask) -> None:
    perfkit = PerfKit()
    view(app)(perfkit.cached_response(names))
    finding = finding_of(app)
    assert app.test_client().get("/").json[0] == "user 1"
    proof = proof_of(app, finding)
    assert (proof.holds, proof.queries_before, proof.queries_after) == (True, 11, 1)
    with app.app_context():
        db.session.get_one(User, 1).name = "Ada"
        db.session.commit()
    assert app.test_client().get("/").json[0] == "Ada"


def test_a_count_at_the_same_line_does_not_get_the_option(app: Flask) -> None:
    """A page is asked for and counted in one line."""

    @view(app)
    def paged() -> list[str]:
        page = db.paginate(sa.select(Document).order_by(Document.id), per_page=8)
        return [document.user.name for document in page]

    proof = proof_of(app, finding_of(app))
    assert (proof.reason, proof.queries_before, proof.queries_after) == ("", 10, 2)


def test_other_models_and_columns_at_the_same_line_do_not_get_the_option(app: Flask) -> None:
    @view(app)
    def owners() -> list[str]:
        ask = db.session.scalars
        found = [ask(sa.select(each)).all() for each in (Document, User.name, Document.id)]
        return [document.user.name for document in found[0]]

    proof = proof_of(app, finding_of(app))
    assert (proof.reason, proof.queries_before, proof.queries_after) == ("", 13, 3)
