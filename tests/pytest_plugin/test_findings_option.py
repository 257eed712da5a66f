"""``--perfkit``: a finding of severity error fails the test in which it shows up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

WITH_AND_WITHOUT = pytest.mark.parametrize("with_perfkit", [True, False])


def settings(**values: object) -> str:
    """Return the start of a test file whose application gets these settings."""
    return f"""
import pytest

@pytest.fixture
def settings():
    return {values!r}
"""


@WITH_AND_WITHOUT
def test_names_the_problem_to_those_who_never_saw_perfkit(
    run: Run, place: str, with_perfkit: bool
) -> None:
    result = run(
        "--perfkit",
        test_shop=settings(with_perfkit=with_perfkit)
        + """
def test_users(client):
    assert client.get("/users").json["user 0"] == 2

def test_cured(client):
    assert client.get("/cured").json["user 0"] == 2
""",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "PerfKit found n_plus_one of User.documents.",
            "What the test asserts holds, but the code that it runs does avoidable work:",
            f"n_plus_one: User.documents loaded 7 times (* ms) at {place} in *list_users; add *",
            f"    {place}:  return {{user.name: len(user.documents) for user in users}}  # asks",
            "    shop.py:*:  users = db.session.scalars(db.select(User)).all()",
            '    perfkit.allow("n_plus_one", "User.documents", reason="...")',
            "FAILED test_shop.py::test_users - Failed: PerfKit found n_plus_one of User*",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")  # no traceback into the plugin


def test_counts_several_problems_in_its_first_line(run: Run) -> None:
    result = run(
        "--perfkit",
        test_shop="""
import shop

def work():
    users = shop.db.session.scalars(shop.db.select(shop.User)).all()
    [len(user.documents) for user in users]
    for number in range(6):
        shop.db.session.add(shop.User(name="new"))
        shop.db.session.commit()

def test_two_lines(app):
    with app.app_context():
        work()
""",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["PerfKit found n_plus_one* of User* and 1 more."])


def test_is_silent_without_the_option(run: Run) -> None:
    result = run(test_shop="def test_users(client): client.get('/users')")

    result.assert_outcomes(passed=1)


@WITH_AND_WITHOUT
def test_several_requests_are_no_loop(run: Run, with_perfkit: bool) -> None:
    result = run(
        "--perfkit",
        test_shop=settings(with_perfkit=with_perfkit)
        + """
def test_each(client):
    for id in range(1, 8):
        assert client.get(f"/users/{id}").status_code == 200
        assert client.post("/users").status_code == 201
""",
    )

    result.assert_outcomes(passed=1)


def test_warnings_fail_no_test(run: Run) -> None:
    result = run("--perfkit", test_shop="def test_again(client): client.get('/again')")

    result.assert_outcomes(passed=1)  # six times the same parameters: a duplicate_query


def test_the_settings_of_the_application_hold(run: Run) -> None:
    result = run(
        "--perfkit",
        test_shop=settings(PERFKIT_N_PLUS_ONE_THRESHOLD=8)
        + "def test_users(client): client.get('/users')",
    )

    result.assert_outcomes(passed=1)


def test_needs_no_flask_application(run: Run) -> None:
    result = run(
        "--perfkit",
        test_core="""
import sqlalchemy as sa

QUERY = sa.text("SELECT name FROM t WHERE id = :id")

def names(connection):
    return [connection.scalar(QUERY, {"id": id}) for id in range(5)]

def test_names():
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE t (id INTEGER, name TEXT)"))
        assert names(connection) == [None] * 5
    engine.dispose()
""",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["n_plus_one: 5 executions of SELECT name FROM t WHERE id = ?*"])


def test_fixtures_may_do_what_they_like(run: Run) -> None:
    result = run(
        "--perfkit",
        test_shop="""
import pytest

@pytest.fixture
def asked(client):
    client.get("/users")
    yield
    client.get("/users")

def test_nothing(asked):
    pass
""",
    )

    result.assert_outcomes(passed=1)


def test_keeps_the_error_of_the_test_itself(run: Run) -> None:
    result = run(
        "--perfkit",
        test_shop="""
def test_users(client):
    assert client.get("/users").json["user 0"] == 3
""",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E       assert 2 == 3"])
    result.stdout.no_fnmatch_line("PerfKit found*")


def test_an_expected_failure_may_be_a_finding(run: Run) -> None:
    result = run(
        "--perfkit",
        test_shop="""
import pytest

@pytest.mark.xfail(reason="known", strict=True)
def test_users(client):
    client.get("/users")
""",
    )

    result.assert_outcomes(xfailed=1)


def test_watches_coroutines_that_run_in_a_context_of_their_own(run: Run) -> None:
    result = run(
        "--perfkit",
        test_shop="""
import unittest

import shop

class UsersTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = shop.create_app().test_client()
        with self.client.application.app_context():
            shop.fill()
            self.addCleanup(shop.db.engine.dispose)

    async def test_users(self):
        assert self.client.get("/users").status_code == 200
""",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["n_plus_one: User.documents loaded 7 times*"])


def test_the_set_up_of_a_unittest_class_is_no_part_of_the_test(run: Run) -> None:
    result = run(
        "--perfkit",
        test_shop="""
import unittest

import shop

class UsersTest(unittest.TestCase):
    def setUp(self):
        self.client = shop.create_app().test_client()
        with self.client.application.app_context():
            shop.fill()
            self.addCleanup(shop.db.engine.dispose)
        self.client.get("/users")

    def test_cured(self):
        self.client.get("/cured")

    def test_users(self):
        self.client.get("/users")
""",
    )

    result.assert_outcomes(passed=1, failed=1)


@WITH_AND_WITHOUT
def test_requests_that_a_test_dispatches_by_itself_are_no_loop(
    run: Run, place: str, with_perfkit: bool
) -> None:
    result = run(
        "--perfkit",
        test_shop=settings(with_perfkit=with_perfkit)
        + """
@pytest.fixture
def ask(app):
    def ask(path):
        with app.test_request_context(path):
            return app.full_dispatch_request()
    return ask

def test_each_user(ask):
    assert [ask(f"/users/{id}").json["name"] for id in range(1, 8)][0] == "user 0"

def test_users(ask):
    assert ask("/users").json["user 0"] == 2
""",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"n_plus_one: User.documents loaded 7 times (* ms) at {place} *"])


def test_what_the_test_itself_does_line_by_line_is_none(run: Run) -> None:
    """The test makes its rows and looks at them: no other code asks again and again."""
    result = run(
        "--perfkit",
        helpers="""
import shop

def save(name):
    user = shop.User(name=name)
    shop.db.session.add(user)
    shop.db.session.commit()
    return user
""",
        test_shop="""
import helpers, shop

def test_users(app):
    with app.app_context():
        helpers.save("a")
        helpers.save("b")
        helpers.save("c")
        helpers.save("d")
        helpers.save("e")
        users = shop.db.session.scalars(shop.db.select(shop.User)).all()
        assert sum(len(user.documents) for user in users) == 14

def test_its_own_loops(app):
    with app.app_context():
        [helpers.save(name) for name in "abcdef"]
        for user in shop.db.session.scalars(shop.db.select(shop.User)):
            user.documents
""",
    )

    result.assert_outcomes(passed=2)


def test_a_loop_is_whose_frame_its_statements_share(run: Run, pytester: pytest.Pytester) -> None:
    """Helpers and loops in a directory of tests are the test's; what they call is not."""
    pytester.mkdir("tests")
    (pytester.path / "tests" / "helpers.py").write_text(
        """
import shop

def make(number):
    shop.db.session.add(shop.User(name=f"{number}"))
    shop.db.session.commit()

def make_many():
    for number in range(7):
        make(number)

def each(users, look):
    return [look(user) for user in users]
"""
    )
    (pytester.path / "services.py").write_text(
        """
import shop

def titles(user):
    return [document.title for document in user.documents]

def report(users):
    return [titles(user) for user in users]

def imported(number):
    for each in range(number):
        shop.db.session.add(shop.User(name="new"))
        shop.db.session.commit()

def first_names():
    for number in range(1, 8):
        yield shop.db.session.get(shop.User, number).name
        shop.db.session.expire_all()
"""
    )
    (pytester.path / "tests" / "test_services.py").write_text(
        """
import helpers, services, shop

import pytest

@pytest.fixture
def users(app):
    with app.app_context():
        yield shop.db.session.scalars(shop.db.select(shop.User)).all()

def test_helpers(users):
    helpers.make_many()

def test_one_by_one(users):
    assert helpers.each(users, services.titles)

def test_loop(users):
    for user in users:
        services.titles(user)

def test_once_around(users):
    for _ in range(9):
        services.report(users[:2])

def test_report(users):
    services.report(users)

def test_report_in_a_helper(users):
    helpers.each([users], services.report)

def test_writes(users):
    services.imported(6)

def test_generator(users):
    assert len([name for name in services.first_names()]) == 7
"""
    )
    result = run("--perfkit", "--import-mode=prepend", "-p", "no:randomly", "tests")

    result.assert_outcomes(passed=4, failed=4)
    for name in ("report", "report_in_a_helper", "writes", "generator"):
        result.stdout.fnmatch_lines([f"FAILED tests/test_services.py::test_{name} *"])


@WITH_AND_WITHOUT
def test_what_a_library_does_in_one_call_is_its_own_loop(
    run: Run, pytester: pytest.Pytester, with_perfkit: bool
) -> None:
    libraries = pytester.mkdir("site-packages")
    (libraries / "ledger.py").write_text(
        """
from sqlalchemy import insert

def enter(session, model, name):
    session.execute(insert(model).values(name=name))

def enter_all(session, model, names):
    for name in names:
        enter(session, model, name)
"""
    )
    pytester.syspathinsert(libraries)
    result = run(
        "--perfkit",
        services="""
import ledger, shop

def enter_month():
    ledger.enter_all(shop.db.session, shop.User, "abcdefg")
    return {}

def enter_days():
    for name in "abcdefg":
        ledger.enter(shop.db.session, shop.User, name)
    return {}
""",
        test_shop=settings(with_perfkit=with_perfkit)
        + """
import services

def test_month(app):
    with app.app_context():
        services.enter_month()

def test_days(app):
    with app.app_context():
        services.enter_days()

def test_month_by_request(app, client):
    app.add_url_rule("/month", view_func=services.enter_month)
    assert [client.get("/month").status_code for _ in range(6)][0] == 200

def test_days_by_request(app, client):
    app.add_url_rule("/days", view_func=services.enter_days)
    assert client.get("/days").status_code == 200
""",
    )

    result.assert_outcomes(passed=2, failed=2)
    for name in ("days", "days_by_request"):
        result.stdout.fnmatch_lines([f"FAILED test_shop.py::test_{name} *"])


def test_building_an_application_is_set_up(run: Run) -> None:
    result = run(
        "--perfkit",
        grown="""
import shop

def create_app():
    app = shop.create_app(with_perfkit=False)
    with app.app_context():
        shop.fill()
        fill_one_by_one()
    return app

def fill_one_by_one():
    for name in "abcdefg":
        shop.db.session.add(shop.User(name=name))
        shop.db.session.commit()
""",
        test_shop="""
import grown, shop

def test_set_up():
    app = grown.create_app()
    with app.app_context():
        shop.db.engine.dispose()

def test_work():
    app = grown.create_app()
    with app.app_context():
        grown.fill_one_by_one()
        shop.db.engine.dispose()
""",
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED test_shop.py::test_work *"])
