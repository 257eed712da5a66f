"""Selects without a LIMIT that bring more rows than PERFKIT_UNBOUNDED_ROWS, and their cures."""

from flask import Blueprint, Response, jsonify, render_template
from sqlalchemy import func, insert, select, text, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..app import async_engine, plain_engine
from ..models import Reading, Setting, User, db

CONFIG = {"PERFKIT_UNBOUNDED_ROWS": 100}

bp = Blueprint("unbounded", __name__)


@bp.get("/all")
def all_rows():
    # FINDING unbounded_result Reading fix=PAGE
    readings = db.session.scalars(select(Reading)).all()
    return jsonify([reading.value for reading in readings])


@bp.get("/legacy-all")
def legacy_all():
    readings = Reading.query.all()  # FINDING unbounded_result Reading fix=PAGE
    return jsonify([reading.value for reading in readings])


@bp.get("/ordered")
def ordered():
    statement = select(Reading).order_by(Reading.taken_at.desc())
    # FINDING unbounded_result Reading fix=PAGE
    rows = db.session.execute(statement).scalars().all()
    return jsonify([reading.value for reading in rows])


@bp.get("/iterated")
def iterated():
    values = []
    for reading in db.session.scalars(select(Reading)):  # FINDING unbounded_result Reading fix=PAGE
        values.append(reading.value)
    return jsonify(values)


@bp.get("/columns")
def columns():
    rows = db.session.execute(select(Reading.id, Reading.value))  # FINDING unbounded_result Reading
    return jsonify([tuple(row) for row in rows])


@bp.get("/filtered-too-little")
def filtered_too_little():
    statement = select(Reading.value).where(Reading.value > 100)
    return jsonify(db.session.scalars(statement).all())  # FINDING unbounded_result Reading


@bp.get("/core")
def core():
    with plain_engine().connect() as connection:
        # FINDING unbounded_result Reading
        rows = connection.execute(select(Reading.__table__)).fetchall()
    return jsonify(len([row.value for row in rows]))


@bp.get("/text")
def text_rows():
    # FINDING unbounded_result Reading
    rows = db.session.execute(text("SELECT value FROM readings")).all()
    return jsonify([row.value for row in rows])


@bp.get("/limit-in-a-word")
def limit_in_a_word():
    """The word stands in a literal and in a name; there is no LIMIT."""
    statement = text("SELECT value AS limit_1 FROM readings WHERE sensor <> ' LIMIT 5'")
    return jsonify(db.session.scalars(statement).all())  # FINDING unbounded_result Reading


@bp.get("/limit-in-subquery")
def limit_in_subquery():
    """The LIMIT bounds the inner select alone."""
    newest = select(func.max(Reading.id)).limit(1).scalar_subquery()
    statement = select(Reading.value).where(Reading.id <= newest)
    return jsonify(db.session.scalars(statement).all())  # FINDING unbounded_result Reading


@bp.get("/union")
def union():
    halves = (
        select(Reading.id).where(Reading.id <= 150),
        select(Reading.id).where(Reading.id > 150),
    )
    return jsonify(db.session.scalars(union_all(*halves)).all())  # FINDING unbounded_result Reading


@bp.get("/async")
async def async_rows():
    async with AsyncSession(async_engine()) as session:
        readings = await session.scalars(select(Reading.id))  # FINDING unbounded_result Reading
        return jsonify(readings.all())


@bp.get("/template")
def template():
    return render_template("unbounded/all.html", Reading=Reading)


def every_reading():
    # FINDING unbounded_result Reading @unbounded.helper
    return db.session.scalars(select(Reading)).all()


@bp.get("/helper")
def helper():
    return jsonify([reading.value for reading in every_reading()])  # CALLER x1


@bp.get("/streamed")
def streamed():
    """A stream bounds the memory, not the rows: either judgement is right."""
    engine = plain_engine()

    def lines():
        with Session(engine) as session:
            statement = select(Reading.value).execution_options(yield_per=50)
            for value in session.scalars(statement):  # ALLOWED unbounded_result Reading; SILENT x1
                yield f"{value}\n"

    return Response(lines())


@bp.get("/limited")
def limited():
    return jsonify(db.session.scalars(select(Reading.value).limit(50)).all())  # SILENT x1


@bp.get("/generous-limit")
def generous_limit():
    """More rows than the setting, but the code says how many at most."""
    return jsonify(db.session.scalars(select(Reading.value).limit(250)).all())  # SILENT x1


@bp.get("/text-limited")
def text_limited():
    statement = text("select value from readings order by id\nlimit 150 offset 10")
    return jsonify(db.session.scalars(statement).all())  # SILENT x1


@bp.get("/fetched-first")
def fetched_first():
    statement = text("SELECT value FROM readings ORDER BY id LIMIT :rows")
    return jsonify(db.session.scalars(statement, {"rows": 120}).all())  # SILENT x1


@bp.get("/aggregate")
def aggregate():
    statement = select(func.count(), func.max(Reading.value)).select_from(Reading)
    return jsonify(tuple(db.session.execute(statement).one()))  # SILENT x1


@bp.get("/grouped")
def grouped():
    statement = select(Reading.sensor, func.count()).group_by(Reading.sensor)
    return jsonify([tuple(row) for row in db.session.execute(statement)])  # SILENT x1


@bp.get("/by-unique-key")
def by_unique_key():
    return jsonify(db.session.get(Reading, 7).value)  # SILENT x1


@bp.get("/filtered-enough")
def filtered_enough():
    statement = select(Reading.value).filter_by(sensor="sensor 3")
    return jsonify(db.session.scalars(statement).all())  # SILENT x1


@bp.get("/just-as-many")
def just_as_many():
    """A hundred rows are not more than a hundred."""
    statement = select(Reading.value).where(Reading.id <= 100)
    return jsonify(db.session.scalars(statement).all())  # SILENT x1


@bp.get("/small-table")
def small_table():
    return jsonify(db.session.scalars(select(Setting.value)).all())  # SILENT x1


@bp.get("/first-of-all")
def first_of_all():
    """The ORM fetches every row before it gives the first."""
    # FINDING unbounded_result Reading
    return jsonify(db.session.scalars(select(Reading.value)).first())


@bp.get("/some-of-all")
def some_of_all():
    """Taking twenty from the ORM's result fetches them all as well."""
    # FINDING unbounded_result Reading
    result = db.session.execute(select(Reading.id, Reading.value))
    rows = result.fetchmany(20)
    result.close()
    return jsonify([tuple(row) for row in rows])


@bp.get("/core-first-only")
def core_first_only():
    with plain_engine().connect() as connection:
        row = connection.execute(select(Reading.__table__.c.value)).first()  # SILENT x1
    return jsonify(row.value)


@bp.get("/core-fetch-some")
def core_fetch_some():
    with plain_engine().connect() as connection:
        result = connection.execute(select(Reading.__table__.c.value))  # SILENT x1
        rows = result.fetchmany(20)
        result.close()
    return jsonify([row.value for row in rows])


@bp.get("/page")
def page():
    found = db.paginate(select(Reading).order_by(Reading.id), page=2, per_page=50)  # SILENT x2
    return jsonify([reading.value for reading in found.items])


@bp.post("/inserted-rows")
def inserted_rows():
    """What an INSERT gives back is no result that a page would bound."""
    values = [{"name": f"user {i}", "email": ""} for i in range(120)]
    # SILENT x1..120
    keys = db.session.scalars(insert(User).returning(User.id), values).all()
    db.session.rollback()
    return jsonify(len(keys))


@bp.get("/many-small-results")
def many_small_results():
    """Four results of sixty rows each."""
    rows = []
    for low in range(0, 240, 60):
        statement = select(Reading.value).where(Reading.id.between(low + 1, low + 60))
        rows += db.session.scalars(statement).all()  # SILENT x4
    return jsonify(rows)
