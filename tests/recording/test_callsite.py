"""Which application line a statement is charged to, and which line called that one."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from archive import (
    USERS,
    Document,
    User,
    archive,
    database,
    db,
    in_threads,
    line_of,
    names_of_owners,
    profiles,
)
from flask import Flask, render_template, render_template_string
from flask.typing import ResponseReturnValue
from jinja2 import DictLoader
from sqlalchemy.orm import Session

from flask_perfkit import Finding, QueryCounter


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    with database() as engine:
        yield engine


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive() as app:
        yield app


def places(counter: QueryCounter) -> list[tuple[str | None, int | None]]:
    return [(query.filename, query.lineno) for query in counter.queries]


def only(findings: tuple[Finding, ...]) -> Finding:
    assert [finding.kind for finding in findings] == ["n_plus_one"]
    return findings[0]


def place(finding: Finding) -> tuple[str | None, int | None]:
    return finding.filename, finding.lineno


def load(path: Path, name: str, source: str) -> ModuleType:
    """Write a module and import it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def title_of(session: Session, number: int) -> str | None:
    return session.scalar(sa.select(Document.title).where(Document.id == number))


# Lines and callers


def test_line_is_the_deepest_of_the_application(session: Session) -> None:
    with QueryCounter() as counter:
        title_of(session, 1)

    (query,) = counter.queries
    assert (query.filename, query.lineno) == line_of(title_of, "session.scalar")
    assert query.function == "title_of"


def test_callers_are_one_step_out_most_frequent_first(session: Session) -> None:
    def show() -> None:
        for number in range(1, 4):
            title_of(session, number)  # three
        for number in range(4, 9):
            title_of(session, number)  # five

    with QueryCounter() as counter:
        show()

    finding = only(counter.findings)
    assert place(finding) == line_of(title_of, "session.scalar")
    assert finding.callers == (
        (*line_of(show, "# five"), 5),
        (*line_of(show, "# three"), 3),
    )


def test_two_lines_of_one_loop_that_call_one_helper_are_one_finding(session: Session) -> None:
    def show() -> None:
        for number in range(1, 6):
            title_of(session, number)  # first
            title_of(session, number + 5)  # second

    with QueryCounter() as counter:
        show()

    finding = only(counter.findings)
    assert finding.count == 10
    assert set(finding.callers) == {
        (*line_of(show, "# first"), 5),
        (*line_of(show, "# second"), 5),
    }


def test_two_loops_with_one_statement_are_two_findings(session: Session) -> None:
    def show() -> None:
        for number in range(1, 7):
            session.scalar(sa.select(Document.title).where(Document.id == number))  # first
        for number in range(1, 6):
            session.scalar(sa.select(Document.title).where(Document.id == number))  # second

    with QueryCounter() as counter:
        show()

    found = {(finding.lineno, finding.count) for finding in counter.findings}
    assert found == {
        (line_of(show, "# first")[1], 6),
        (line_of(show, "# second")[1], 5),
    }


def test_lines_that_take_turns_keep_their_own_counts(session: Session) -> None:
    def show() -> None:
        for number in range(1, 9):
            if number % 2:
                session.get(User, number)  # odd
            else:
                session.get(User, number)  # even

    with QueryCounter() as counter:
        show()

    odd, even = line_of(show, "# odd"), line_of(show, "# even")
    assert places(counter) == [odd, even] * 4


def test_two_statements_of_one_line_are_one_line(session: Session) -> None:
    with QueryCounter() as counter:
        for number in range(1, 6, 2):
            _ = (title_of(session, number), title_of(session, number + 1))

    finding = only(counter.findings)
    assert finding.count == 6
    assert [count for *_, count in finding.callers] == [6]


def test_recursion_is_charged_to_its_line_with_both_callers(session: Session) -> None:
    def descend(number: int) -> None:
        session.get(User, number)  # asks
        if number < USERS:
            descend(number + 1)  # goes on

    def begin() -> None:
        descend(1)  # begins

    with QueryCounter() as counter:
        begin()

    finding = only(counter.findings)
    assert place(finding) == line_of(descend, "# asks")
    assert finding.callers == (
        (*line_of(descend, "# goes on"), 9),
        (*line_of(begin, "# begins"), 1),
    )


def test_one_helper_at_two_depths_of_the_stack(session: Session) -> None:
    def near() -> None:
        title_of(session, 1)  # near

    def far() -> None:
        title_of(session, 1)  # far

    def further(call: Callable[[], None], steps: int) -> None:
        if steps:
            further(call, steps - 1)
        else:
            call()

    with QueryCounter() as counter:
        for _ in range(3):
            near()
            further(far, 3)

    (cause,) = {(query.sql, query.lineno) for query in counter.queries}
    assert cause[1] == line_of(title_of, "session.scalar")[1]
    assert counter.count == 6


# Wrappers


def test_a_decorator_that_passes_the_call_on_is_no_caller(session: Session) -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @logged
    @logged
    def title(number: int) -> str | None:
        return session.scalar(sa.select(Document.title).where(Document.id == number))

    def show() -> None:
        for number in range(1, 6):
            title(number)  # calls

    with QueryCounter() as counter:
        show()

    assert only(counter.findings).callers == ((*line_of(show, "# calls"), 5),)


def test_a_decorator_made_of_a_class_is_no_caller(session: Session) -> None:
    class Timed:
        def __init__(self, function: Callable[..., Any]) -> None:
            self.function = function

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.function(*args, **kwargs)

    @Timed
    def title(number: int) -> str | None:
        return session.scalar(sa.select(Document.title).where(Document.id == number))

    def show() -> None:
        for number in range(1, 6):
            title(number)  # calls

    with QueryCounter() as counter:
        show()

    assert only(counter.findings).callers == ((*line_of(show, "# calls"), 5),)


def test_a_coroutine_decorator_is_no_caller(session: Session) -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

        return wrapper

    @logged
    async def title(number: int) -> str | None:
        return session.scalar(sa.select(Document.title).where(Document.id == number))

    async def show() -> None:
        for number in range(1, 6):
            await title(number)  # calls

    with QueryCounter() as counter:
        asyncio.run(show())

    assert only(counter.findings).callers == ((*line_of(show, "# calls"), 5),)


def test_a_method_that_takes_any_arguments_and_loops_is_a_caller(session: Session) -> None:
    class View:
        def get(self, *args: Any, **kwargs: Any) -> None:
            for number in range(1, 6):
                title_of(session, number)  # loops

    with QueryCounter() as counter:
        View().get()

    assert only(counter.findings).callers == ((*line_of(View.get, "# loops"), 5),)


def test_a_closure_that_takes_any_arguments_and_loops_is_a_caller(session: Session) -> None:
    def view(*args: Any, **kwargs: Any) -> None:
        for number in range(1, 6):
            title_of(session, number)  # loops

    with QueryCounter() as counter:
        view()

    assert only(counter.findings).callers == ((*line_of(view, "# loops"), 5),)


# Comprehensions, generators, lambdas


def comprehended_list(session: Session) -> Any:
    return [user.documents for user in session.scalars(sa.select(User))]  # walks


def comprehended_set(session: Session) -> Any:
    return {len(user.documents) for user in session.scalars(sa.select(User))}  # walks


def comprehended_dict(session: Session) -> Any:
    return {user.id: user.documents for user in session.scalars(sa.select(User))}  # walks


def generated(session: Session) -> Any:
    return list(user.documents for user in session.scalars(sa.select(User)))  # noqa: C400 walks


def nested_list(session: Session) -> Any:
    return [[document for document in user.documents] for user in session.scalars(sa.select(User))]  # noqa: C416 walks


def nested_generators(session: Session) -> Any:
    users = session.scalars(sa.select(User)).all()
    return list(list(u.documents for u in pair) for pair in itertools.batched(users, 2))  # noqa: C400 walks


def generator_in_list(session: Session) -> Any:
    users = session.scalars(sa.select(User)).all()
    return [sum(len(u.documents) for u in (user,)) for user in users]  # walks


if sys.version_info < (3, 12):

    def pairs(users: Any, size: int) -> Any:
        return zip(*[iter(users)] * size, strict=True)

    itertools.batched = pairs  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "function",
    [
        comprehended_list,
        comprehended_set,
        comprehended_dict,
        generated,
        nested_list,
        nested_generators,
        generator_in_list,
    ],
)
def test_a_comprehension_counts_as_the_function_around_it(
    session: Session, function: Callable[[Session], Any]
) -> None:
    def show() -> None:
        function(session)  # calls

    with QueryCounter() as counter:
        show()

    finding = only(counter.findings)
    assert place(finding) == line_of(function, "walks")
    assert finding.function == function.__name__
    assert finding.callers == ((*line_of(show, "# calls"), 10),)


def test_a_comprehension_over_a_helper_is_called_from_its_line(session: Session) -> None:
    def show() -> None:
        _ = [title_of(session, number) for number in range(1, 6)]  # list
        _ = list(title_of(session, number) for number in range(1, 8))  # noqa: C400 generator

    with QueryCounter() as counter:
        show()

    assert only(counter.findings).callers == (
        (*line_of(show, "generator"), 7),
        (*line_of(show, "# list"), 5),
    )


def test_a_comprehension_over_several_lines_keeps_the_line_that_asks(session: Session) -> None:
    def show() -> list[Any]:
        return [
            (
                user.name,
                user.documents,  # asks
            )
            for user in session.scalars(sa.select(User))
        ]

    with QueryCounter() as counter:
        show()

    assert place(only(counter.findings)) == line_of(show, "# asks")


def test_a_lambda_is_a_function(session: Session) -> None:
    def show() -> Any:
        return sorted(
            session.scalars(sa.select(User)),
            key=lambda user: len(user.documents),
        )

    with QueryCounter() as counter:
        show()

    finding = only(counter.findings)
    assert place(finding) == line_of(show, "lambda")
    assert finding.function == "<lambda>"


def test_a_generator_function_is_charged_where_it_stands(session: Session) -> None:
    def titles() -> Iterator[str | None]:
        for number in range(1, 6):
            yield session.scalar(sa.select(Document.title).where(Document.id == number))  # asks

    def show() -> None:
        for _ in titles():  # consumes
            pass

    with QueryCounter() as counter:
        show()

    finding = only(counter.findings)
    assert place(finding) == line_of(titles, "# asks")
    assert finding.callers == ((*line_of(show, "# consumes"), 5),)


def test_a_method_is_named_with_its_class(session: Session) -> None:
    with QueryCounter() as counter:
        Reader(session).read()

    (query,) = counter.queries
    assert query.function == "Reader.read"


class Reader:
    def __init__(self, session: Session) -> None:
        self.session = session

    def read(self) -> None:
        self.session.get(User, 1)


# One line that touches many attributes


def test_deferred_columns_of_one_line_are_told_apart(session: Session) -> None:
    def dump() -> None:
        for user in session.scalars(sa.select(User)):
            for name in ("bio", "motto"):
                getattr(user, name)  # any

    with QueryCounter() as counter:
        dump()

    found = {(finding.subject, finding.lineno, finding.count) for finding in counter.findings}
    line = line_of(dump, "# any")[1]
    assert found == {("User.bio", line, 10), ("User.motto", line, 10)}


def test_relationships_of_one_line_are_told_apart(session: Session) -> None:
    def dump(objects: Any, name: str) -> None:
        for each in objects:
            getattr(each, name)  # any

    users = session.scalars(sa.select(User)).all()
    documents = session.scalars(sa.select(Document)).all()
    with QueryCounter() as counter:
        dump(users, "documents")
        dump(users, "bio")
        session.expire_all()
        dump(documents, "title")

    found = {(finding.subject, finding.count) for finding in counter.findings}
    assert found == {("User.documents", 10), ("User.bio", 10), ("Document.title", 10)}


# Files


SAME = """
import sqlalchemy as sa

def title(session, number):
    return session.scalar(sa.text("SELECT title FROM document WHERE id = :id"), {"id": number})
"""


def test_equal_functions_of_two_files_are_told_apart(tmp_path: Path, session: Session) -> None:
    first = load(tmp_path / "v1" / "views.py", "v1", SAME)
    second = load(tmp_path / "v2" / "views.py", "v2", SAME)

    with QueryCounter() as counter:
        for module in (first, second):
            for number in range(1, 6):
                module.title(session, number)

    files = {finding.filename for finding in counter.findings}
    assert files == {first.__file__, second.__file__}


def test_equal_callers_of_two_files_are_told_apart(tmp_path: Path, session: Session) -> None:
    source = "def show(title, session):\n    for n in range(1, 6):\n        title(session, n)\n"
    first = load(tmp_path / "v1" / "views.py", "v1", source)
    second = load(tmp_path / "v2" / "views.py", "v2", source)

    with QueryCounter() as counter:
        first.show(title_of, session)
        second.show(title_of, session)

    callers = only(counter.findings).callers
    assert set(callers) == {(first.__file__, 3, 5), (second.__file__, 3, 5)}


def test_code_of_a_text_is_charged_to_the_line_that_runs_it(session: Session) -> None:
    def run(code: str) -> None:
        exec(code, {"session": session, "sa": sa})  # runs

    with QueryCounter() as counter:
        run("session.execute(sa.text('SELECT 1'))")

    assert places(counter) == [line_of(run, "# runs")]


@pytest.mark.parametrize(
    "filename", ["<stdin>", "<console>", "<python-input-3>", "<ipython-input-1>"]
)
def test_code_typed_at_a_prompt_is_the_users(session: Session, filename: str) -> None:
    code = compile("\n\nsession.execute(sa.text('SELECT 1'))", filename, "exec")
    with QueryCounter() as counter:
        exec(code, {"session": session, "sa": sa})

    assert places(counter) == [(filename, 3)]


def test_a_library_is_never_the_line(tmp_path: Path, session: Session) -> None:
    library = load(
        tmp_path / "site-packages" / "library" / "__init__.py",
        "library",
        "def call(function, *args):\n    return function(*args)\n\n\n"
        "def ask(session):\n    return session.connection().exec_driver_sql('SELECT 1')\n",
    )

    def show() -> None:
        library.ask(session)  # asks
        library.call(title_of, session, 1)  # calls

    with QueryCounter() as counter:
        show()

    assert places(counter) == [line_of(show, "# asks"), line_of(title_of, "session.scalar")]


def test_an_environment_inside_the_project_is_no_application(
    tmp_path: Path, session: Session
) -> None:
    library = load(
        tmp_path / "project" / ".venv" / "lib" / "python3" / "site-packages" / "shop.py",
        "library",
        "def ask(session):\n    return session.connection().exec_driver_sql('SELECT 1')\n",
    )
    project = load(
        tmp_path / "project" / "shop" / "views.py",
        "shop_views",
        "def view(library, session):\n    library.ask(session)\n",
    )
    with QueryCounter() as counter:
        project.view(library, session)

    assert places(counter) == [(project.__file__, 2)]


# An application that is installed in site-packages


LIBRARY = "def call(function, *args):\n    return function(*args)\n"
VIEWS = """
from other_library import call

def show(db):
    def ask():
        db.session.connection().exec_driver_sql("SELECT 1")
    call(ask)
    return "ok"
"""


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of installed packages, with a library in it."""
    directory = tmp_path / "site-packages"
    directory.mkdir()
    (directory / "other_library.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(directory)
    before = set(sys.modules)
    monkeypatch.setattr("flask_perfkit.recording.callsite._roots", [])
    yield directory
    for name in set(sys.modules) - before:
        del sys.modules[name]


def asked_in(site_packages: Path, files: dict[str, str], name: str, view: str) -> str | None:
    """Install an application, ask it, and return the file that its statement is charged to."""
    for path, source in files.items():
        target = site_packages / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source)
    importlib.invalidate_caches()
    importlib.import_module(name)
    views = importlib.import_module(view)
    app = Flask(name)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db.init_app(app)
    from flask_perfkit import PerfKit

    PerfKit(app)
    app.add_url_rule("/", view_func=lambda: views.show(db))
    with profiles(app) as collected:
        app.test_client().get("/")
    with app.app_context():
        db.engine.dispose()
    (query,) = collected[0].queries
    assert query.filename is not None
    return str(Path(query.filename).relative_to(site_packages))


def test_an_installed_package_is_the_application(site_packages: Path) -> None:
    files = {"shop/__init__.py": "", "shop/api/__init__.py": "", "shop/api/views.py": VIEWS}
    assert asked_in(site_packages, files, "shop", "shop.api.views") == "shop/api/views.py"


def test_an_application_made_in_a_submodule_has_its_whole_package(site_packages: Path) -> None:
    files = {"shop/__init__.py": "", "shop/web/app.py": "", "shop/views.py": VIEWS}
    assert asked_in(site_packages, files, "shop.web.app", "shop.views") == "shop/views.py"


def test_an_installed_single_module_is_the_application(site_packages: Path) -> None:
    assert asked_in(site_packages, {"shop.py": VIEWS}, "shop", "shop") == "shop.py"


def test_an_application_in_a_namespace_package_does_not_claim_its_neighbours(
    site_packages: Path,
) -> None:
    files = {"company/shop.py": VIEWS}
    assert asked_in(site_packages, files, "company.shop", "company.shop") == "company/shop.py"

    from flask_perfkit.recording.callsite import is_application

    assert not is_application(str(site_packages / "other_library.py"))


def test_libraries_beside_an_installed_application_stay_libraries(site_packages: Path) -> None:
    from flask_perfkit.recording.callsite import is_application

    files = {"shop/__init__.py": VIEWS}
    asked_in(site_packages, files, "shop", "shop")
    assert not is_application(str(site_packages / "other_library.py"))
    assert not is_application(str(site_packages / "shopping" / "cart.py"))


# Templates


PAGE = """<h1>Documents</h1>

{% for document in documents %}
  {{ document.user.name }}
{% endfor %}
"""


@pytest.fixture
def template_findings(app: Flask, tmp_path: Path) -> Callable[..., tuple[Finding, ...]]:
    """Render a template of files with the documents, and return what is found."""
    directory = tmp_path / "templates"
    directory.mkdir()
    app.template_folder = str(directory)

    def find(files: dict[str, str], name: str) -> tuple[Finding, ...]:
        for filename, source in files.items():
            (directory / filename).write_text(source)
        app.add_url_rule("/page", view_func=lambda: page(name), endpoint="page")
        with profiles(app) as collected:
            assert app.test_client().get("/page").status_code == 200
        return collected[0].findings

    return find


def page(name: str) -> str:
    documents = db.session.scalars(sa.select(Document)).all()
    return render_template(name, documents=documents)  # renders


def test_a_template_has_its_own_file_and_line(
    template_findings: Callable[..., tuple[Finding, ...]], tmp_path: Path
) -> None:
    finding = only(template_findings({"page.html": PAGE}, "page.html"))
    assert place(finding) == (str(tmp_path / "templates" / "page.html"), 4)
    assert finding.function == "page.html"
    assert finding.callers == ((*line_of(page, "# renders"), 10),)


def test_an_included_template_has_its_own_line(
    template_findings: Callable[..., tuple[Finding, ...]], tmp_path: Path
) -> None:
    files = {
        "page.html": "\n{% for document in documents %}\n\n{% include 'row.html' %}{% endfor %}",
        "row.html": "\n\n{{ document.user.name }}",
    }
    finding = only(template_findings(files, "page.html"))
    assert place(finding) == (str(tmp_path / "templates" / "row.html"), 3)
    assert finding.callers == ((str(tmp_path / "templates" / "page.html"), 4, 10),)


def test_a_macro_has_its_own_line(
    template_findings: Callable[..., tuple[Finding, ...]], tmp_path: Path
) -> None:
    files = {
        "page.html": "{% from 'macros.html' import owner %}\n"
        "{% for document in documents %}\n{{ owner(document) }}{% endfor %}",
        "macros.html": "{% macro owner(document) %}\n\n\n{{ document.user.name }}\n{% endmacro %}",
    }
    finding = only(template_findings(files, "page.html"))
    assert place(finding) == (str(tmp_path / "templates" / "macros.html"), 4)
    assert finding.callers == ((str(tmp_path / "templates" / "page.html"), 3, 10),)


def test_a_block_of_an_inheriting_template_has_its_own_line(
    template_findings: Callable[..., tuple[Finding, ...]], tmp_path: Path
) -> None:
    files = {
        "base.html": "<html>\n{% block body %}{% endblock %}</html>",
        "page.html": "{% extends 'base.html' %}\n{% block body %}\n"
        "{% for document in documents %}{{ document.user.name }}{% endfor %}\n{% endblock %}",
    }
    finding = only(template_findings(files, "page.html"))
    assert place(finding) == (str(tmp_path / "templates" / "page.html"), 3)


def test_a_call_block_has_its_own_line(
    template_findings: Callable[..., tuple[Finding, ...]], tmp_path: Path
) -> None:
    files = {
        "page.html": "{% macro each(items) %}{% for item in items %}{{ caller(item) }}{% endfor %}"
        "{% endmacro %}\n{% call(document) each(documents) %}\n\n{{ document.user.name }}\n"
        "{% endcall %}",
    }
    finding = only(template_findings(files, "page.html"))
    assert place(finding) == (str(tmp_path / "templates" / "page.html"), 4)


def test_an_asynchronous_template_has_its_own_line(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE)
    app.template_folder = str(tmp_path)
    app.jinja_options = {"enable_async": True}
    app.add_url_rule("/", view_func=lambda: page("page.html"))
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 200
    assert place(only(collected[0].findings)) == (str(tmp_path / "page.html"), 4)


def test_equal_templates_are_told_apart(
    template_findings: Callable[..., tuple[Finding, ...]], tmp_path: Path
) -> None:
    row = "{{ document.user.name }}"
    files = {
        "page.html": "{% for document in documents %}\n"
        "{% if loop.index0 < 5 %}{% include 'a.html' %}{% else %}{% include 'b.html' %}{% endif %}"
        "{% endfor %}",
        "a.html": row,
        "b.html": row,
    }
    found = template_findings(files, "page.html")
    assert sorted(Path(str(finding.filename)).name for finding in found) == ["a.html", "b.html"]


def test_a_template_of_a_string_has_its_line(app: Flask) -> None:
    @app.get("/")
    def show() -> str:
        return render_template_string(PAGE, documents=db.session.scalars(sa.select(Document)))

    with profiles(app) as collected:
        app.test_client().get("/")

    finding = only(collected[0].findings)
    assert place(finding) == ("<template>", 4)
    assert finding.callers == ((*line_of(show, "render_template_string"), 10),)


def test_templates_without_files_are_told_apart_by_name(app: Flask) -> None:
    app.jinja_loader = DictLoader(  # type: ignore[misc]
        {"first.html": PAGE, "second.html": PAGE, "third.html": "\n" + PAGE + "\n"}
    )

    @app.get("/<name>")
    def show(name: str) -> str:
        return render_template(name, documents=db.session.scalars(sa.select(Document)))

    with profiles(app) as collected:
        for name in ("first.html", "second.html", "third.html", "first.html"):
            app.test_client().get(f"/{name}")

    assert [place(only(profile.findings)) for profile in collected] == [
        ("first.html", 4),
        ("second.html", 4),
        ("third.html", 5),
        ("first.html", 4),
    ]


# Where walks end


def test_a_test_that_calls_the_client_is_no_caller(app: Flask) -> None:
    app.add_url_rule("/", view_func=view_of_names)

    with profiles(app) as collected:
        app.test_client().get("/")

    finding = only(collected[0].findings)
    assert place(finding) == line_of(names_of_owners, "document.user.name")
    assert finding.callers == ((*line_of(view_of_names, "names_of_owners"), 10),)


def view_of_names() -> dict[str, list[str]]:
    return {"names": names_of_owners()}


def test_a_view_that_asks_by_itself_has_no_caller(app: Flask) -> None:
    app.add_url_rule("/", endpoint="names", view_func=names_of_owners)

    with profiles(app) as collected:
        app.test_client().get("/")

    finding = only(collected[0].findings)
    assert finding.callers == ()


def test_the_consumer_of_a_stream_is_no_caller(app: Flask) -> None:
    @app.get("/")
    def show() -> ResponseReturnValue:
        def rows() -> Iterator[str]:
            with app.app_context():
                for number in range(1, 6):
                    yield db.session.get(User, number).name  # asks

        return rows()

    with profiles(app) as collected:
        assert app.test_client().get("/").text.count("user") == 5

    finding = only(collected[0].findings)
    assert (finding.lineno, finding.callers) == (line_of(show, "# asks")[1], ())


# Threads and tasks


ONE = sa.text("SELECT name FROM user WHERE id = :id")


def test_threads_keep_their_lines(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'threads.db'}")
    db.metadata.create_all(engine)

    def first(connection: sa.Connection, number: int) -> None:
        connection.execute(ONE, {"id": number})  # first

    def second(connection: sa.Connection, number: int) -> None:
        connection.execute(ONE, {"id": number})  # second

    def work(ask: Callable[[sa.Connection, int], None]) -> None:
        with engine.connect() as connection:
            for number in range(50):
                ask(connection, number)

    with QueryCounter() as counter:
        in_threads(lambda: work(first), lambda: work(second))
    engine.dispose()

    counts = {finding.lineno: finding.count for finding in counter.findings}
    assert counts == {line_of(first, "# first")[1]: 50, line_of(second, "# second")[1]: 50}


def test_a_coroutine_has_the_line_that_awaits(tmp_path: Path) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    async def ask(session: AsyncSession, number: int) -> None:
        await session.get(User, number)  # asks

    async def show(session: AsyncSession) -> None:
        for number in range(1, 6):
            await ask(session, number)  # calls

    async def main() -> QueryCounter:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(db.metadata.create_all)
        async with AsyncSession(engine) as session:
            with QueryCounter() as counter:
                await show(session)
        await engine.dispose()
        return counter

    finding = only(asyncio.run(main()).findings)
    assert place(finding) == line_of(ask, "# asks")
    assert finding.callers == ((*line_of(show, "# calls"), 5),)


def test_a_lazy_load_in_run_sync_has_its_line(tmp_path: Path) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    def walk(session: Session) -> None:
        for user in session.scalars(sa.select(User)):
            user.documents  # noqa: B018 asks

    async def main() -> QueryCounter:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(db.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add_all(User(name=str(number)) for number in range(5))
            await session.commit()
            session.expunge_all()
            with QueryCounter() as counter:
                await session.run_sync(walk)  # runs
        await engine.dispose()
        return counter

    finding = only(asyncio.run(main()).findings)
    assert place(finding) == line_of(walk, "asks")
    assert finding.subject == "User.documents"
    assert [line for _, line, _ in finding.callers] == [line_of(main, "# runs")[1]]
