from __future__ import annotations

import logging
from collections.abc import Iterator

import click
import pytest
from archive import archive, db, names_of_owners, profiles
from flask import Flask
from flask.cli import AppGroup, with_appcontext

from flask_perfkit import FindingError
from flask_perfkit.recording.recorder import current


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive() as app:
        yield app
    assert current() is None


def test_a_command_is_profiled(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @app.cli.command("nightly")
    def nightly() -> None:
        click.echo(len(names_of_owners()))

    with profiles(app) as collected:
        result = app.test_cli_runner().invoke(args=["nightly"])

    assert (result.output, result.exit_code) == ("10\n", 0)
    (profile,) = collected
    assert (profile.endpoint, profile.method) == ("flask nightly", "CLI")
    assert (profile.path, profile.rule, profile.status) == (None, None, None)
    assert profile.query_count == 11
    (finding,) = profile.findings
    assert (finding.kind, finding.subject, finding.endpoint) == (
        "n_plus_one",
        "Document.user",
        "flask nightly",
    )
    assert [line for _, line, _ in finding.callers] == [
        nightly.callback.__wrapped__.__code__.co_firstlineno + 2  # type: ignore[union-attr]
    ]
    assert caplog.messages == [finding.message]


def test_a_command_with_arguments_works_as_ever(app: Flask) -> None:
    @app.cli.command("greet")
    @click.argument("name")
    @click.option("--times", default=1)
    @click.pass_context
    def greet(ctx: click.Context, name: str, times: int) -> None:
        """Say hello."""
        assert ctx.info_name == "greet"
        click.echo(f"hello {name} " * times)

    invoke = app.test_cli_runner().invoke
    assert invoke(args=["greet", "you", "--times", "2"]).output == "hello you hello you \n"
    assert invoke(args=["greet"]).exit_code == 2
    assert "Say hello." in invoke(args=["greet", "--help"]).output
    assert "greet" in invoke(args=["--help"]).output


def test_commands_of_a_group_are_profiled(app: Flask) -> None:
    jobs = AppGroup("jobs")

    @jobs.command("nightly")
    def nightly() -> None:
        names_of_owners()

    app.cli.add_command(jobs)
    with profiles(app) as collected:
        for _ in range(2):
            assert app.test_cli_runner().invoke(args=["jobs", "nightly"]).exit_code == 0
    assert [profile.query_count for profile in collected] == [11, 11]
    assert all(str(profile.endpoint).startswith("flask jobs") for profile in collected)


def test_a_command_that_fails_is_reported_and_fails(app: Flask) -> None:
    @app.cli.command("broken")
    def broken() -> None:
        names_of_owners()
        raise ZeroDivisionError("of the command")

    with profiles(app) as collected:
        result = app.test_cli_runner().invoke(args=["broken"])
    assert isinstance(result.exception, ZeroDivisionError)
    assert [len(profile.findings) for profile in collected] == [1]


@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_code_is_kept(app: Flask, code: int) -> None:
    @app.cli.command("leave")
    @click.pass_context
    def leave(ctx: click.Context) -> None:
        names_of_owners()
        ctx.exit(code)

    with profiles(app) as collected:
        assert app.test_cli_runner().invoke(args=["leave"]).exit_code == code
    assert len(collected) == 1


def test_a_command_without_a_database_is_quiet(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    app.cli.command("hello")(lambda: click.echo("hello"))
    with caplog.at_level(logging.INFO):
        assert app.test_cli_runner().invoke(args=["hello"]).output == "hello\n"
    assert caplog.messages == []


def test_a_command_may_take_its_time() -> None:
    with archive(slow_request=1e-9) as app:
        app.cli.command("slow")(lambda: names_of_owners() and None)
        with profiles(app) as collected:
            app.test_cli_runner().invoke(args=["slow"])
    assert [finding.kind for finding in collected[0].findings] == ["n_plus_one"]


def test_findings_of_a_command_are_raised_where_they_are_to_be() -> None:
    with archive(on_finding="raise") as app:
        app.cli.command("nightly")(lambda: names_of_owners() and None)
        result = app.test_cli_runner().invoke(args=["nightly"])
    assert isinstance(result.exception, FindingError)


def test_an_error_of_a_command_is_not_masked() -> None:
    with archive(on_finding="raise") as app:

        @app.cli.command("broken")
        def broken() -> None:
            names_of_owners()
            raise ZeroDivisionError

        result = app.test_cli_runner().invoke(args=["broken"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_the_users_command_object_is_left_alone(app: Flask) -> None:
    @click.command("shared")
    @with_appcontext
    def shared() -> None:
        names_of_owners()

    invoke = shared.invoke
    app.cli.add_command(shared)
    with profiles(app) as collected:
        for _ in range(3):
            app.test_cli_runner().invoke(args=["shared"])
    assert [profile.query_count for profile in collected] == [11, 11, 11]
    assert shared.invoke == invoke
    assert app.cli.commands["shared"] is shared


def test_a_disabled_application_leaves_commands_alone() -> None:
    with archive(enabled=False) as app:
        app.cli.command("nightly")(lambda: names_of_owners() and None)
        with profiles(app) as collected:
            assert app.test_cli_runner().invoke(args=["nightly"]).exit_code == 0
    assert collected == []


def test_an_unknown_command_is_refused_as_ever(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["nothing"])
    assert result.exit_code == 2
    assert "No such command" in result.output


def test_requests_of_a_command_are_profiles_of_their_own(app: Flask) -> None:
    app.add_url_rule("/", endpoint="names", view_func=names_of_owners)

    @app.cli.command("warm")
    def warm() -> None:
        app.test_client().get("/")
        db.session.remove()

    with profiles(app) as collected:
        app.test_cli_runner().invoke(args=["warm"])
    assert [(profile.endpoint, profile.query_count) for profile in collected] == [
        ("names", 11),
        ("flask warm", 11),
    ]
