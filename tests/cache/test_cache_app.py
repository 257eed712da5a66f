"""The cache as a part of ``PerfKit``: one for each application."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_perfkit import ExtraMissing, PerfKit, SetupError

ROOT = Path(__file__).parents[2]


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
perfkit = PerfKit()
runs: list[str] = []


class Book(db.Model):  # type: ignore[name-defined]
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


@perfkit.cached(ttl=60, depends_on=[Book])
def titles() -> list[str]:
    runs.append("titles")
    return list(db.session.scalars(sa.select(Book.title).order_by(Book.id)))


def add(title: str) -> None:
    db.session.add(Book(title=title))
    db.session.commit()


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """An application with a database of its own, that holds no book."""
    apps = []
    runs.clear()

    def make(name: str, **config: Any) -> Flask:
        app = Flask(name)
        app.config.update(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / name}.db", **config)
        perfkit.init_app(app)
        db.init_app(app)
        with app.app_context():
            db.create_all()
        app.add_url_rule("/titles", view_func=perfkit.cached_response(titles.__wrapped__))
        apps.append(app)
        return app

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture(params=["in process", "on a server"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "in process":
        return {}
    return {"PERFKIT_REDIS_URL": request.getfixturevalue("redis_url")}


def test_a_function_of_a_module_is_cached_until_its_table_changes(
    make_app: Callable[..., Flask], config: dict[str, Any]
) -> None:
    with make_app("shop", **config).app_context():
        add("a")
        assert [titles(), titles()] == [["a"], ["a"]]
        assert runs == ["titles"]
        add("b")
        assert [titles(), titles()] == [["a", "b"], ["a", "b"]]
        with db.engine.begin() as connection:
            connection.execute(sa.delete(Book).where(Book.title == "a"))
        assert titles() == ["b"]
        elsewhere = sa.create_engine(db.engine.url)
        with elsewhere.begin() as connection:
            connection.execute(sa.text("INSERT INTO book (title) VALUES ('c')"))
        elsewhere.dispose()
        assert titles() == ["b", "c"]
        add("d")
        db.session.add(Book(title="e"))
        db.session.flush()
        assert titles() == ["b", "c", "d", "e"]
        db.session.rollback()
        assert [titles(), titles()] == [["b", "c", "d"], ["b", "c", "d"]]


def test_each_application_has_its_own_values(
    make_app: Callable[..., Flask], config: dict[str, Any]
) -> None:
    first, second = make_app("first", **config), make_app("second", **config)
    for app in (first, second, first, second):
        with app.app_context():
            if not titles():
                add(app.name)
            perfkit.cache.set("name", app.name)
    for app in (second, first):
        with app.app_context():
            assert titles() == [app.name]
            assert perfkit.cache.get("name") == app.name
            assert perfkit.cache.get_many(["name", "other"]) == {"name": app.name}
            assert perfkit.cache.delete_matching("na*") == 1
            assert perfkit.cache.delete("name") == 0


def test_an_answer_is_cached_until_its_table_changes(
    make_app: Callable[..., Flask], config: dict[str, Any]
) -> None:
    app = make_app("shop", **config)
    client = app.test_client()
    assert client.get("/titles").json == []
    etag = client.get("/titles").headers["ETag"]
    assert client.get("/titles", headers={"If-None-Match": etag}).status_code == 304
    assert runs == ["titles"]
    with app.app_context():
        add("a")
    assert client.get("/titles", headers={"If-None-Match": etag}).json == ["a"]


def test_applications_in_any_order_of_requests(
    make_app: Callable[..., Flask], config: dict[str, Any]
) -> None:
    first, second = make_app("first", **config).test_client(), make_app("second", **config)
    with second.app_context():
        add("a")
    for _ in range(2):
        assert first.get("/titles").json == []
        assert second.test_client().get("/titles").json == ["a"]
    assert runs == ["titles", "titles"]


def test_the_settings_hold(make_app: Callable[..., Flask], redis_url: str) -> None:
    import redis

    app = make_app("shop", PERFKIT_REDIS_URL=redis_url, PERFKIT_CACHE_TTL=500)
    with app.app_context():
        perfkit.cache.get_or_create("answer", lambda: 42, depends_on=[])
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.keys("perfkit:v:*answer")
        assert 440 < client.ttl(key) <= 500


def test_an_application_that_is_not_watched_has_no_cache() -> None:
    app = Flask("bare")
    with app.app_context():
        with pytest.raises(SetupError, match=r"'bare', so perfkit\.cache has nothing to work with"):
            perfkit.cache.get("key")
        with pytest.raises(SetupError):
            titles()


def test_without_the_client_a_server_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    app = Flask("shop")
    app.config["PERFKIT_REDIS_URL"] = "redis://localhost:1/0"
    with pytest.raises(ExtraMissing, match=r"flask-perfkit\[redis\]"):
        PerfKit(app)


@pytest.mark.parametrize("enabled", [True, False])
def test_values_are_kept_where_requests_are_not_watched(
    make_app: Callable[..., Flask], enabled: bool
) -> None:
    with make_app("shop", PERFKIT_ENABLED=enabled).app_context():
        assert [titles(), titles()] == [[], []]
    assert runs == ["titles"]


def run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own and return what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


APPLICATION = """
import sys
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_perfkit import PerfKit

app = Flask("shop")
app.config["SQLALCHEMY_DATABASE_URI"] = sys.argv[1]
if len(sys.argv) > 2:
    app.config["PERFKIT_REDIS_URL"] = sys.argv[2]
db = SQLAlchemy(app)
perfkit = PerfKit(app)

class Book(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String)
"""


def test_a_process_that_caches_nothing_still_says_what_it_writes(
    make_app: Callable[..., Flask], redis_url: str, tmp_path: Path
) -> None:
    with make_app("shop", PERFKIT_REDIS_URL=redis_url).app_context():
        assert [titles(), titles()] == [[], []]
        write = """
            with app.app_context():
                db.session.add(Book(title="from elsewhere"))
                db.session.commit()
        """
        run(APPLICATION + textwrap.dedent(write), f"sqlite:///{tmp_path}/shop.db", redis_url)
        assert titles() == ["from elsewhere"]


def test_an_application_that_never_caches_pays_nothing() -> None:
    look = """
        with app.app_context():
            db.create_all()
            db.session.add(Book(title="a"))
            db.session.commit()
            db.session.scalars(sa.select(Book)).all()
        names = ("flask_perfkit.cache.writes.following", "redis")
        print([name for name in names if name in sys.modules])
    """
    printed = run(APPLICATION + textwrap.dedent(look), "sqlite://")
    assert printed == "[]"


@pytest.mark.parametrize(
    "write",
    [
        pytest.param('db.session.add(Book(title="c"))', id="not flushed"),
        pytest.param('db.session.add(Book(title="c")); db.session.flush()', id="flushed"),
        pytest.param(
            'db.session.begin_nested(); db.session.add(Book(title="c")); db.session.flush()',
            id="flushed in a savepoint",
        ),
    ],
)
@pytest.mark.parametrize(("end", "expected"), [("rollback", 0), ("commit", 1)])
def test_the_first_use_in_the_middle_of_a_transaction(
    write: str, end: str, expected: int, tmp_path: Path
) -> None:
    """What is not committed is not stored, and its commit drops what others stored."""
    use = f"""
        from concurrent.futures import ThreadPoolExecutor

        def count():
            return perfkit.cache.get_or_create("count", lambda: db.session.query(Book).count())

        def count_elsewhere():
            with app.app_context():
                return count()

        with app.app_context():
            db.create_all()
            {write}
            print(count())
            with ThreadPoolExecutor() as pool:
                print(pool.submit(count_elsewhere).result())
            while db.session().get_nested_transaction():
                db.session().get_nested_transaction().commit()
            db.session.{end}()
            print(count())
    """
    printed = run(APPLICATION + textwrap.dedent(use), f"sqlite:///{tmp_path}/shop.db")
    assert printed.split() == ["1", "0", str(expected)]
