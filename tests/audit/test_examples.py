"""Values for the variables of rules, from rows that belong together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flask_perfkit import PerfKit
from flask_perfkit.audit.endpoints import addresses_of

db = SQLAlchemy()


class Company(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str]
    staff: Mapped[list[Worker]] = relationship()


class Permit(db.Model):  # type: ignore[name-defined, misc]
    company_id: Mapped[int] = mapped_column(ForeignKey("company.id"), primary_key=True)
    trade: Mapped[str] = mapped_column(primary_key=True)


class Worker(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    company_id: Mapped[int] = mapped_column(ForeignKey("company.id"))


class Timesheet(db.Model):  # type: ignore[name-defined, misc]
    __tablename__ = "time_sheets"

    code: Mapped[str] = mapped_column(primary_key=True)
    worker_id: Mapped[int] = mapped_column(ForeignKey("worker.id"))


@pytest.fixture
def app() -> Iterator[Flask]:
    app = Flask("payroll")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db.init_app(app)
    PerfKit(app)
    with app.app_context():
        db.create_all()
        db.session.add_all(Company(id=number, slug=f"company-{number}") for number in (1, 2, 3))
        permits = ((1, "roof"), (2, "roof"), (2, "wall"))
        db.session.add_all(Permit(company_id=key, trade=trade) for key, trade in permits)
        owners = {11: 1, 12: 2, 13: 2, 14: 3, 15: 3, 16: 3}
        db.session.add_all(Worker(id=key, company_id=owner) for key, owner in owners.items())
        sheets = {"a": 11, "b": 12, "c": 12, "d": 14}
        db.session.add_all(Timesheet(code=key, worker_id=owner) for key, owner in sheets.items())
        db.session.commit()
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def paths(app: Flask, rule: str) -> list[str | None]:
    app.add_url_rule(rule, "shown", lambda **values: "")
    return [each.path for each in addresses_of(app) if each.endpoint == "shown"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # The company with the most permits, and that with the fewest.
        ("/companies/<int:id>", ["/companies/2", "/companies/1"]),
        ("/company/<int:company_id>/edit", ["/company/2/edit", "/company/1/edit"]),
        ("/workers/<int:pk>", ["/workers/12", "/workers/14"]),
        # A relationship's name names what it leads to.
        ("/staff/<int:id>", ["/staff/12", "/staff/14"]),
        ("/time-sheets/<code>", ["/time-sheets/d", "/time-sheets/a"]),
        # What stands before belongs to what stands last: by one reference, and by two.
        ("/<company_id>/workers/<worker_id>", ["/2/workers/12", "/3/workers/14"]),
        ("/<company_id>/timesheets/<code>", ["/3/timesheets/d", "/1/timesheets/a"]),
    ],
)
def test_values_of_rows(app: Flask, rule: str, expected: list[str]) -> None:
    assert paths(app, rule) == expected


def test_a_value_of_a_unique_text_is_one_of_the_column(app: Flask) -> None:
    assert paths(app, "/companies/<slug>") == ["/companies/company-1", "/companies/company-3"]


@pytest.mark.parametrize("rule", ["/tags/<word>", "/companies/<int:id>/<path:file>"])
def test_what_no_column_is_for_is_not_known(app: Flask, rule: str) -> None:
    assert paths(app, rule) == [None]


def test_an_empty_table_has_no_values(app: Flask) -> None:
    with app.app_context():
        db.session.query(Timesheet).delete()
        db.session.commit()
    assert paths(app, "/timesheets/<code>") == [None]
