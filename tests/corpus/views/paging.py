"""Loops that walk one large result page by page: each page follows from the last, all silent."""

from datetime import timedelta

from flask import Blueprint, jsonify
from sqlalchemy import and_, func, literal, or_, select, text, tuple_
from sqlalchemy.orm import selectinload

from ..app import plain_engine
from ..models import Document, Order, Reading, User, db, metrics

bp = Blueprint("paging", __name__)


@bp.get("/offset")
def offset():
    total = 0
    for start in range(0, 300, 50):
        page = select(Reading).order_by(Reading.id).offset(start).limit(50)
        total += sum(reading.value for reading in db.session.scalars(page))  # SILENT x6
    return jsonify(total)


@bp.get("/offset-until-empty")
def offset_until_empty():
    total, start = 0, 0
    while True:
        page = select(Reading.value).order_by(Reading.id).limit(40).offset(start)
        values = db.session.scalars(page).all()  # SILENT x9
        if not values:
            return jsonify(total)
        total += sum(values)
        start += 40


@bp.get("/slices")
def slices():
    query = db.session.query(Reading).order_by(Reading.id)
    return jsonify([len(query[start : start + 30]) for start in range(0, 300, 30)])  # SILENT x10


@bp.get("/keyset")
def keyset():
    total, last = 0, 0
    while True:
        page = select(Reading).where(Reading.id > last).order_by(Reading.id).limit(50)
        rows = db.session.scalars(page).all()  # SILENT x7
        if not rows:
            return jsonify(total)
        total += sum(row.value for row in rows)
        last = rows[-1].id


@bp.get("/keyset-descending")
def keyset_descending():
    seen, last = 0, 10_000
    while last > 1:
        page = select(Reading.id).where(Reading.id < last).order_by(Reading.id.desc()).limit(25)
        keys = db.session.scalars(page).all()  # SILENT x12
        seen += len(keys)
        last = keys[-1]
    return jsonify(seen)


@bp.get("/keyset-by-date")
def keyset_by_date():
    seen = 0
    last = db.session.scalar(select(func.min(Reading.taken_at))) - timedelta(days=1)
    while True:
        page = select(Reading).where(Reading.taken_at > last).order_by(Reading.taken_at).limit(60)
        rows = db.session.scalars(page).all()  # SILENT x6
        if not rows:
            return jsonify(seen)
        seen += len(rows)
        last = rows[-1].taken_at


@bp.get("/keyset-by-tuple")
def keyset_by_tuple():
    seen, last = 0, ("", 0)
    order = (Reading.sensor, Reading.id)
    while True:
        beyond = tuple_(*order) > tuple_(literal(last[0]), literal(last[1]))
        page = select(Reading).where(beyond).order_by(*order).limit(60)
        rows = db.session.scalars(page).all()  # SILENT x6
        if not rows:
            return jsonify(seen)
        seen += len(rows)
        last = (rows[-1].sensor, rows[-1].id)


@bp.get("/keyset-spelled-out")
def keyset_spelled_out():
    seen, last = 0, None
    while True:
        page = select(Reading).order_by(Reading.sensor, Reading.id).limit(50)
        if last is not None:
            same = and_(Reading.sensor == last.sensor, Reading.id > last.id)
            page = page.where(or_(Reading.sensor > last.sensor, same))
        rows = db.session.scalars(page).all()  # SILENT x7
        if not rows:
            return jsonify(seen)
        seen += len(rows)
        last = rows[-1]


@bp.get("/text-keyset")
def text_keyset():
    statement = text("SELECT id, value FROM metrics WHERE id > :last ORDER BY id LIMIT 5")
    total, last = 0, 0
    with plain_engine().connect() as connection:
        while rows := connection.execute(statement, {"last": last}).all():  # SILENT x9
            total += sum(row.value for row in rows)
            last = rows[-1].id
    return jsonify(total)


@bp.get("/text-literal-offset")
def text_literal_offset():
    """OFFSET as a number in the text, and LIMIT too."""
    total = 0
    for start in range(0, 40, 5):
        statement = text(f"SELECT value FROM metrics ORDER BY id LIMIT 5 OFFSET {start}")
        total += sum(db.session.scalars(statement))  # SILENT x8
    return jsonify(total)


@bp.get("/core-offset")
def core_offset():
    total = 0
    with plain_engine().connect() as connection:
        for start in range(0, 40, 5):
            page = select(metrics.c.value).order_by(metrics.c.id).limit(5).offset(start)
            total += sum(connection.scalars(page))  # SILENT x8
    return jsonify(total)


@bp.get("/fetch-first")
def fetch_first():
    """FETCH FIRST is a LIMIT as well; the pages are counted from 1."""
    seen = 0
    for number in range(1, 7):
        page = select(Reading.id).order_by(Reading.id).slice((number - 1) * 20, number * 20)
        seen += len(db.session.scalars(page).all())  # SILENT x6
    return jsonify(seen)


@bp.get("/pages-with-eager-load")
def pages_with_eager_load():
    """Each page brings its own batch of children."""
    rows = []
    for start in range(0, 12, 2):
        page = select(Order).options(selectinload(Order.lines)).order_by(Order.id)
        page = page.offset(start).limit(2)
        # SILENT x12
        rows += [[line.quantity for line in order.lines] for order in db.session.scalars(page)]
    return jsonify(rows)


@bp.get("/flask-sqlalchemy-pages")
def flask_sqlalchemy_pages():
    statement = select(Reading).order_by(Reading.id)
    page = db.paginate(statement, page=1, per_page=50)
    values = []
    while True:
        values += [reading.value for reading in page.items]
        if not page.has_next:
            return jsonify(values)
        page = page.next()  # SILENT x5


@bp.get("/streamed")
def streamed():
    """One statement, read in parts."""
    statement = select(Reading).order_by(Reading.id).execution_options(yield_per=20)
    total = 0
    for part in db.session.scalars(statement).partitions():  # SILENT x1
        total += sum(reading.value for reading in part)
    return jsonify(total)


@bp.get("/streamed-with-children")
def streamed_with_children():
    """A batch of children for each part of the stream is the loader's own work."""
    statement = select(User).options(selectinload(User.documents))
    statement = statement.execution_options(yield_per=2)
    rows = []
    for user in db.session.scalars(statement):  # SILENT x6
        rows.append([document.title for document in user.documents])
    return jsonify(rows)


@bp.get("/fetchmany")
def fetchmany():
    result = db.session.execute(select(Document.id, Document.size))  # SILENT x1
    total = 0
    while rows := result.fetchmany(5):
        total += sum(row.size for row in rows)
    return jsonify(total)


@bp.get("/server-side-cursor")
def server_side_cursor():
    statement = select(Reading.value).execution_options(stream_results=True, max_row_buffer=10)
    return jsonify(sum(db.session.scalars(statement)))  # SILENT x1


@bp.get("/one-row-pages")
def one_row_pages():
    """A page size of 1 is a wasteful walk through the rows: no parent, but no page either."""
    rows = []
    for start in range(10):
        page = select(Document.title).order_by(Document.id).limit(1).offset(start)
        rows.append(db.session.scalar(page))  # ALLOWED n_plus_one Document; SILENT x10
    return jsonify(rows)


@bp.get("/page-then-each")
def page_then_each():
    """Paging is silent; what is asked for each row of a page is not."""
    rows = []
    for start in range(0, 12, 2):
        page = select(Order).order_by(Order.id).offset(start).limit(2)
        for order in db.session.scalars(page):  # SILENT x6; ORIGIN
            # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
            rows.append(order.customer.name)
    return jsonify(rows)
