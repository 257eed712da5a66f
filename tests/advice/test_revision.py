"""Advice as a revision: it passes the linter, goes up and down, and leaves nothing to migrate."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import flask_migrate
import psycopg
import pytest
import sqlalchemy as sa
from advised_shop import Base, Order
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from test_advise import WANTED

from flask_perfkit import SetupError
from flask_perfkit.advice.advice import Advice, Drop, Refused
from flask_perfkit.advice.check import Check
from flask_perfkit.advice.output.declaration import columns_code, options_code
from flask_perfkit.advice.output.report import lines_of, statements_of
from flask_perfkit.advice.output.revision import write_revision

MIGRATIONS = Path(__file__).parents[2] / "example_app" / "migrations"

KINDS = (
    "mixed directions",
    "nulls last",
    "a rare state",
    "a function",
    "a prefix",
    "a part of a text",
    "a value in JSON",
    "a sum that the index answers alone",
)


@pytest.fixture
def migrated(shop: sa.Engine, tmp_path: Path) -> Iterator[Flask]:
    """The shop with Flask-Migrate, and no revision yet."""
    app = Flask("shop", root_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = shop.url
    db = SQLAlchemy(app, metadata=Base.metadata)
    flask_migrate.Migrate(app, db, str(tmp_path / "migrations"))
    shutil.copytree(MIGRATIONS, tmp_path / "migrations", ignore=shutil.ignore_patterns("0*.py"))
    with app.app_context():
        yield app
        db.engine.dispose()
    with shop.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")


@pytest.fixture
def advice(advised: Callable[..., Advice]) -> Advice:
    each = [advised(*WANTED[kind][0]) for kind in KINDS]
    advice = Advice(create=tuple(one for advice in each for one in advice.create))
    assert len(advice.create) == len(KINDS)
    return advice


def squawk(sql: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("squawk")
    return subprocess.run([program], input=sql, capture_output=True, text=True, check=False)


def test_passes_the_linter(
    advice: Advice, migrated: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    write_revision(migrated, advice)
    capsys.readouterr()
    flask_migrate.upgrade(sql=True)
    sql = capsys.readouterr().out
    assert sql.count("CREATE INDEX CONCURRENTLY IF NOT EXISTS") == len(KINDS)
    ours = sql[sql.index("SET lock_timeout") : sql.index("RESET lock_timeout;") + 19]
    linted = squawk(ours)  # the rest is Alembic's own table
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert squawk("CREATE INDEX a ON b (c);").returncode == 1


def test_up_and_down(advice: Advice, migrated: Flask, shop: sa.Engine) -> None:
    """An index that an interrupted build left INVALID is built anew."""
    names = {one.name for one in advice.create}
    left = next(name for name in names if "priority" in name)
    with psycopg.connect(_dsn(shop), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {left} ON orders (region)")
        assert _valid(connection, left) is False
        connection.execute('CREATE INDEX "ix_Orders_region" ON orders (region)')
        write_revision(
            migrated, replace(advice, drop=(_drop("ix_Orders_region", Order.__table__),))
        )
        flask_migrate.upgrade()
        assert {name: _valid(connection, name) for name in names} == dict.fromkeys(names, True)
        assert _valid(connection, '"ix_Orders_region"') is None
        with _in_the_models(advice):
            flask_migrate.check()
        flask_migrate.downgrade(revision="base")
        assert {name: _valid(connection, name) for name in names} == dict.fromkeys(names)
        assert _valid(connection, '"ix_Orders_region"') is True
        connection.execute('DROP INDEX "ix_Orders_region"')


def test_several_databases(advice: Advice, migrated: Flask, tmp_path: Path) -> None:
    template = tmp_path / "migrations" / "script.py.mako"
    template.write_text(f"{template.read_text()}\ndef upgrade(engine_name): ...\n")
    with pytest.raises(SetupError, match="multidb"):
        write_revision(migrated, advice)
    elsewhere = sa.Table("logs", sa.MetaData(info={"bind_key": "other"}))
    with pytest.raises(SetupError, match="logs is in one of SQLALCHEMY_BINDS"):
        write_revision(migrated, Advice(drop=(_drop("ix", elsewhere),)))


def test_nothing_to_write(migrated: Flask) -> None:
    with pytest.raises(SetupError, match="there is nothing to write"):
        write_revision(migrated, Advice())


def test_a_revision_that_is_not_applied_yet(advice: Advice, migrated: Flask) -> None:
    """A second one would make the same indexes, and going down from it would drop the first's."""
    first = write_revision(migrated, replace(advice, create=advice.create[:1]))
    flask_migrate.upgrade()
    second = write_revision(migrated, advice)
    with pytest.raises(SetupError, match="run flask db upgrade first, or delete"):
        write_revision(migrated, advice)
    flask_migrate.downgrade(revision="base")
    assert first != second


def test_the_report_fits_a_terminal(advice: Advice) -> None:
    small = Refused("CREATE INDEX ix_a_b ON a (b)", "a", "the table is small", is_small=True)
    checks = [Check("narrow_key", f"a{number}.id", "has 32 bits", "do") for number in range(3)]
    advice = replace(advice, refused=(small,) * 1200, checks=tuple(checks))
    lines = "\n".join(lines_of(advice)).splitlines()
    assert lines[0].startswith(f"{len(KINDS)} to create, 0 to rewrite, ")
    assert all(len(line) <= 80 or " " not in line.strip() for line in lines)
    assert lines[-1] == "  1,200 columns of small tables, read whole as quickly (--json names them)"
    narrow = ["CHECK  narrow_key", *(f"  a{number}.id: has 32 bits" for number in range(3)), "  do"]
    assert "\n".join(narrow) in "\n".join(lines)
    sql = list(statements_of(advice))
    assert sql[0] == "CREATE EXTENSION IF NOT EXISTS pg_trgm;"
    assert all("INDEX CONCURRENTLY " in line for line in sql[1:])


class _in_the_models:  # noqa: N801
    """Put the advised indexes into the models, as the lines that are advised say it."""

    def __init__(self, advice: Advice) -> None:
        self._advice = advice
        self._put: list[sa.Index] = []

    def __enter__(self) -> None:
        for one in self._advice.create:
            code = [repr(one.name), *columns_code(one.index, "sa.text")]
            code += options_code(one.index, "postgresql", "sa.text")
            index: Any = eval(f"sa.Index({', '.join(code)})", {"sa": sa})
            index._set_parent_with_dispatch(one.index.table)
            self._put.append(index)

    def __exit__(self, *exception: object) -> None:
        for one, index in zip(self._advice.create, self._put, strict=True):
            one.index.table.indexes.discard(index)


def _drop(name: str, table: Any) -> Drop:
    sql, undo = (
        f'DROP INDEX "{name}"',
        f'CREATE INDEX "{name}" ON public.orders USING btree (region)',
    )
    return Drop(name, sql, "orders", "", 1, 1, "cost", "", undo, "postgresql", table)


def _dsn(engine: sa.Engine) -> str:
    url = engine.url
    return f"host={url.query['host']} user={url.username} dbname={url.database}"


def _valid(connection: psycopg.Connection[Any], name: str) -> bool | None:
    sql = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    row = connection.execute(sql, (name,)).fetchone()
    return None if row is None else row[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_example_application(database_url: str, tmp_path: Path) -> None:
    """From revision 003 on: found, written, applied, and gone from the next advice."""
    package = tmp_path / "example_app"
    shutil.copytree(Path(__file__).parents[2] / "example_app", package)
    next((package / "migrations" / "versions").glob("004*")).unlink()
    models = package / "models.py"
    lines = [line for line in models.read_text().splitlines() if "Index(" not in line]
    models.write_text("\n".join(lines).replace("    __table_args__ = (\n    )\n", "") + "\n")

    def flask(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "example_app", *arguments],
            cwd=tmp_path,
            env={**os.environ, "DATABASE_URL": database_url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    flask("db", "upgrade", "003")
    flask("seed", "--documents", "20000")
    report = flask("perfkit", "indexes", "--migration", "--apply")
    columns = ("user_id", "document_type", "uploaded_at", "active_document_id")
    assert [name for name in columns if name not in report] == []
    (revision,) = (package / "migrations" / "versions").glob("004*")
    assert "postgresql_concurrently=True" in revision.read_text()
    flask("db", "upgrade")
    flask("db", "check")
    again = json.loads(flask("perfkit", "indexes", "--json"))["create"]
    assert [one["name"] for one in again if one["name"] in revision.read_text()] == []
    # A thousand users are few: whether the index of their one reference pays lies at the threshold.
    of_documents = [one for one in again if one["table"].endswith("documents")]
    assert of_documents == [] or database_url.startswith("sqlite")  # may find a still better one
    flask("db", "downgrade", "003")
