"""Many statements or many rows, but no loop that one statement could replace: all silent."""

from flask import Blueprint, jsonify
from sqlalchemy import delete, func, insert, select, text, update

from ..app import plain_engine
from ..models import (
    AuditEntry,
    Comment,
    Document,
    Manager,
    Post,
    Product,
    Reading,
    Tag,
    Ticket,
    User,
    db,
    metrics,
    partitions,
)

bp = Blueprint("batches", __name__)


def chunks(values, size):
    values = list(values)
    return [values[start : start + size] for start in range(0, len(values), size)]


@bp.post("/one-flush")
def one_flush():
    for i in range(50):
        db.session.add(AuditEntry(action=f"action {i}"))  # SILENT x0
    db.session.commit()  # SILENT x1..50
    return ""


@bp.post("/add-all")
def add_all():
    db.session.add_all([AuditEntry(action=f"action {i}") for i in range(50)])
    db.session.flush()  # SILENT x1..50
    db.session.commit()  # SILENT x0
    return ""


@bp.post("/sql-defaults")
def sql_defaults():
    """An SQL expression as a value makes the database get one INSERT a row."""
    for i in range(30):
        db.session.add(AuditEntry(action=func.lower(f"ACTION {i}"), created_at=func.now()))
    db.session.commit()  # SILENT x30
    return ""


@bp.post("/versioned-updates")
def versioned_updates():
    """A version counter makes it one UPDATE a row: still one flush."""
    for ticket in db.session.scalars(select(Ticket)).all():
        ticket.state = "closed"
    db.session.commit()  # SILENT x1..10
    return ""


@bp.post("/different-changes")
def different_changes():
    """Each row changes other columns, so the flush needs several statements."""
    for document in db.session.scalars(select(Document)).all():
        document.title = "new title"
        if document.id % 2:
            document.size = document.id
    db.session.commit()  # SILENT x1..30
    return ""


@bp.post("/flush-of-subclasses")
def flush_of_subclasses():
    db.session.add_all([Manager(company_id=1, name=f"new {i}", bonus=i) for i in range(20)])
    db.session.commit()  # SILENT x2..40
    return ""


@bp.post("/flush-by-autoflush")
def flush_by_autoflush():
    """Fifty rows wait; the one SELECT behind them flushes them all."""
    db.session.add_all([AuditEntry(action=func.lower(f"ACTION {i}")) for i in range(50)])
    count = db.session.scalar(select(func.count(AuditEntry.id)))  # SILENT x2..51
    db.session.commit()
    return jsonify(count)


@bp.post("/deletes-in-one-flush")
def deletes_in_one_flush():
    for comment in db.session.scalars(select(Comment)).all():
        db.session.delete(comment)  # SILENT x0
    db.session.commit()  # SILENT x1..60
    return ""


@bp.post("/flush-per-chunk")
def flush_per_chunk():
    """Each flush writes twenty rows."""
    for chunk in chunks(range(120), 20):
        db.session.add_all([AuditEntry(action=f"action {i}") for i in chunk])
        db.session.flush()  # SILENT x6..120
    db.session.commit()
    return ""


@bp.post("/commit-per-chunk")
def commit_per_chunk():
    """The same with SQL expressions, one INSERT a row, a commit for each twenty."""
    for chunk in chunks(range(120), 20):
        db.session.add_all([AuditEntry(action=func.lower(f"ACTION {i}")) for i in chunk])
        db.session.commit()  # SILENT x120
    return ""


@bp.post("/executemany")
def executemany():
    rows = [{"name": f"new {i}", "value": i} for i in range(100)]
    with db.engine.begin() as connection:
        connection.execute(insert(metrics), rows)  # SILENT x1
    return ""


@bp.post("/executemany-per-chunk")
def executemany_per_chunk():
    rows = [{"action": f"new {i}"} for i in range(120)]
    for chunk in chunks(rows, 20):
        db.session.execute(insert(AuditEntry), chunk)  # SILENT x6
    db.session.commit()
    return ""


@bp.post("/executemany-update")
def executemany_update():
    values = [{"id": i, "price": i} for i in range(1, 25)]
    db.session.execute(update(Product), values)  # SILENT x1
    db.session.commit()
    return ""


@bp.post("/bulk-save")
def bulk_save():
    db.session.bulk_save_objects([AuditEntry(action=f"action {i}") for i in range(40)])  # SILENT x1
    db.session.bulk_insert_mappings(Post, [{"author_id": 1, "body": ""}] * 40)  # SILENT x1
    db.session.commit()
    return ""


@bp.post("/values-per-chunk")
def values_per_chunk():
    rows = [{"name": f"new {i}", "value": i} for i in range(120)]
    with plain_engine().begin() as connection:
        for chunk in chunks(rows, 20):
            connection.execute(insert(metrics).values(chunk))  # SILENT x6
    return ""


@bp.post("/set-based")
def set_based():
    db.session.execute(update(Product).where(Product.price > 20).values(price=20))  # SILENT x1
    db.session.execute(delete(Comment).where(Comment.author_id == 1))  # SILENT x1
    db.session.commit()
    return ""


@bp.post("/update-by-range")
def update_by_range():
    """A backfill in ranges of keys: each statement changes forty rows or more."""
    for low in range(0, 300, 50):
        within = Reading.id.between(low + 1, low + 50)
        db.session.execute(update(Reading).where(within).values(value=0))  # SILENT x6
        db.session.commit()
    return ""


@bp.post("/update-by-keys")
def update_by_keys():
    for keys in chunks(range(1, 301), 50):
        statement = update(Reading).where(Reading.id.in_(keys)).values(value=Reading.value + 1)
        db.session.execute(statement, execution_options={"synchronize_session": False})  # SILENT x6
    db.session.commit()
    return ""


@bp.post("/purge")
def purge():
    """Delete in batches with a LIMIT, until nothing is left; the last finds nothing."""
    removed = 1
    while removed:
        some = select(Reading.id).order_by(Reading.id).limit(50).scalar_subquery()
        statement = delete(Reading).where(Reading.id.in_(some))
        options = {"synchronize_session": False}
        removed = db.session.execute(statement, execution_options=options).rowcount  # SILENT x7
        db.session.commit()
    return ""


@bp.post("/text-purge")
def text_purge():
    statement = text("DELETE FROM readings WHERE id IN (SELECT id FROM readings LIMIT 40)")
    with db.engine.begin() as connection:
        while connection.execute(statement).rowcount:  # SILENT x9
            pass
    return ""


@bp.post("/read-and-archive")
def read_and_archive():
    """Take fifty, write fifty, delete fifty: three batches a round."""
    while True:
        rows = db.session.scalars(select(Reading).order_by(Reading.id).limit(50)).all()  # SILENT x7
        if not rows:
            break
        values = [{"name": row.sensor, "value": row.value} for row in rows]
        db.session.execute(insert(metrics), values)  # SILENT x6
        for row in rows:
            db.session.delete(row)
        db.session.commit()  # SILENT x6..300
    return ""


@bp.get("/in-chunks")
def in_chunks():
    rows = []
    for keys in chunks(range(1, 301), 50):
        statement = select(Reading).where(Reading.id.in_(keys))
        rows += [reading.value for reading in db.session.scalars(statement)]  # SILENT x6
    return jsonify(sum(rows))


@bp.get("/in-chunks-literal")
def in_chunks_literal():
    total = 0
    for keys in chunks(range(1, 301), 50):
        listed = ",".join(map(str, keys))
        statement = text(f"SELECT sum(value) FROM readings WHERE id IN ({listed})")
        total += db.session.execute(statement).scalar()  # SILENT x6
    return jsonify(total)


@bp.get("/in-chunks-uneven")
def in_chunks_uneven():
    """The last chunk is short."""
    found = []
    for keys in chunks(range(1, 303), 50):
        # SILENT x7
        found += db.session.scalars(select(Reading.id).where(Reading.id.in_(keys))).all()
    return jsonify(len(found))


@bp.post("/lookup-then-insert")
def lookup_then_insert():
    """One SELECT knows which names are there; one flush writes the others."""
    wanted = [f"tag {i}" for i in range(10, 30)]
    there = set(db.session.scalars(select(Tag.name).where(Tag.name.in_(wanted))))  # SILENT x1
    db.session.add_all([Tag(name=name) for name in wanted if name not in there])
    db.session.commit()  # SILENT x1..14
    return ""


@bp.post("/few-commits")
def few_commits():
    """Four commits are below the threshold."""
    for i in range(4):
        db.session.add(AuditEntry(action=f"action {i}"))
        db.session.commit()  # SILENT x4
    return ""


@bp.post("/commits-of-nothing")
def commits_of_nothing():
    for user in db.session.scalars(select(User).execution_options(yield_per=100)).all():
        assert user.name
        db.session.flush()  # SILENT x0
    return ""


@bp.post("/savepoints-around-reads")
def savepoints_around_reads():
    """SAVEPOINT and RELEASE repeat; neither is a query of the application."""
    rows = []
    for column in (User.id, Post.id, Tag.id, Comment.id, Ticket.id, Product.id):
        with db.session.begin_nested():  # SILENT x0..12
            rows.append(db.session.scalar(select(func.max(column))))  # SILENT x6..12
    return jsonify(rows)


@bp.post("/unit-of-work")
def unit_of_work():
    """New rows, changed rows and deleted rows in one commit."""
    comment = db.session.get(Comment, 1)
    for post in db.session.scalars(select(Post)).all():
        post.body = post.body.upper()
        db.session.add(AuditEntry(action=f"changed {post.id}"))
    db.session.delete(comment)
    db.session.commit()  # SILENT x2..50
    return ""


@bp.post("/one-row-into-each-table")
def one_row_into_each_table():
    """Eight tables, eight statements."""
    with db.engine.begin() as connection:
        for table in partitions:
            connection.execute(insert(table).values(value=1))  # SILENT x8
    return ""


@bp.post("/empty-each-table")
def empty_each_table():
    for table in partitions:
        db.session.execute(table.delete())  # SILENT x8
    db.session.commit()
    return ""


@bp.get("/read-by-range")
def read_by_range():
    total = 0
    for low in range(1, 301, 50):
        within = select(Reading).where(Reading.id.between(low, low + 49))
        total += sum(reading.value for reading in db.session.scalars(within))  # SILENT x6
    return jsonify(total)
