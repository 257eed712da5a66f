"""Rows written one at a time: by a flush each, a commit each, a statement each."""

from contextlib import contextmanager

from flask import Blueprint, jsonify
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..app import plain_engine
from ..models import (
    AuditEntry,
    Comment,
    Document,
    Manager,
    OrderLine,
    Post,
    Product,
    Profile,
    Setting,
    Tag,
    Ticket,
    User,
    db,
    metrics,
)

bp = Blueprint("writes", __name__)

FIRST_TEN = range(1, 11)
UPSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@bp.post("/flush-per-row")
def flush_per_row():
    for i in FIRST_TEN:
        db.session.add(AuditEntry(action=f"action {i}"))
        # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL
        db.session.flush()
    db.session.commit()
    return ""


@bp.post("/commit-per-row")
def commit_per_row():
    for i in FIRST_TEN:
        db.session.add(AuditEntry(action=f"action {i}"))
        # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL
        db.session.commit()
    return ""


@bp.post("/session-per-row")
def session_per_row():
    """A session and a transaction for each row, on an engine of its own."""
    for i in FIRST_TEN:
        with Session(plain_engine()) as session:
            session.add(AuditEntry(action=f"action {i}"))
            session.commit()  # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL
    return ""


@bp.post("/begin-per-row")
def begin_per_row():
    """The commit of a ``with`` block happens where the block begins."""
    for i in FIRST_TEN:
        # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL
        with Session(plain_engine()) as session, session.begin():
            session.add(AuditEntry(action=f"action {i}"))
    return ""


@bp.post("/savepoint-per-row")
def savepoint_per_row():
    """The SAVEPOINTs are no finding of their own."""
    for i in FIRST_TEN:
        # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL
        with db.session.begin_nested():
            db.session.add(AuditEntry(action=f"action {i}"))
    db.session.commit()
    return ""


@bp.post("/failing-rows")
def failing_rows():
    """A statement that fails was sent like the others."""
    refused = 0
    for i in range(6, 16):
        try:
            # FINDING n_plus_one_write Ticket x10 fix=ADD_ALL
            with db.session.begin_nested():
                db.session.add(Ticket(subject=f"ticket {i}", state="new"))
        except IntegrityError:
            refused += 1
    db.session.commit()
    return jsonify(refused)


@bp.post("/flush-of-two-models")
def flush_of_two_models():
    """One commit a row, whatever it writes: one cause, named by either model."""
    for i in FIRST_TEN:
        document = Document(
            user_id=i,
            title=f"new {i}",
            kind="txt",
            state="final",
            size=1,
            uploaded_at=func.now(),
            content="",
            summary="",
            abstract="",
        )
        document.comments = [Comment(author_id=i, body="first")]
        db.session.add(document)
        # FINDING n_plus_one_write Document|Comment x10 runs=20 fix=ADD_ALL
        db.session.flush()
    db.session.commit()
    return ""


@bp.post("/flush-of-joined-subclass")
def flush_of_joined_subclass():
    """A manager's row stands in two tables: two statements, one cause."""
    for i in FIRST_TEN:
        db.session.add(Manager(company_id=1, name=f"new {i}", bonus=i))
        # FINDING n_plus_one_write Manager|Employee x10 runs=20 fix=ADD_ALL
        db.session.flush()
    db.session.commit()
    return ""


@bp.post("/autoflush-per-row")
def autoflush_per_row():
    """The SELECT's line sets the flush off; its own repetition is a finding as well."""
    for i in FIRST_TEN:
        db.session.add(AuditEntry(action=f"action {i}"))
        statement = select(func.count(Post.id)).where(Post.author_id == i)
        # FINDING n_plus_one Post x10 fix=GROUP_BY
        # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL
        db.session.scalar(statement)
    db.session.commit()
    return ""


@bp.post("/autoflush-by-lazy-load")
def autoflush_by_lazy_load():
    """Reading a relationship flushes what is waiting, and then loads."""
    users = db.session.scalars(select(User)).all()  # ORIGIN User.comments
    for user in users:
        db.session.add(AuditEntry(action=user.name))
        # FINDING n_plus_one User.comments x10 fix=selectinload(User.comments)
        # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL
        len(user.comments)
    db.session.commit()
    return ""


@bp.post("/update-per-row")
def update_per_row():
    documents = db.session.scalars(select(Document).limit(10)).all()
    for document in documents:
        document.title = document.title.upper()
        # FINDING n_plus_one_write Document x10 fix=UPDATE
        db.session.flush()
    db.session.commit()
    return ""


@bp.post("/update-and-commit-per-row")
def update_and_commit_per_row():
    """Each commit expires the rows of the list, so each is read again before it is changed."""
    products = db.session.scalars(select(Product).limit(10)).all()
    for product in products:
        # FINDING n_plus_one Product|Product.price x9
        product.price = product.price + 1
        # FINDING n_plus_one_write Product x10 fix=UPDATE
        db.session.commit()
    return ""


@bp.post("/update-statement-per-row")
def update_statement_per_row():
    for i in FIRST_TEN:
        statement = update(Product).where(Product.id == i).values(price=i * 2)
        db.session.execute(statement)  # FINDING n_plus_one_write Product x10 fix=UPDATE
    db.session.commit()
    return ""


@bp.post("/legacy-update-per-row")
def legacy_update_per_row():
    for i in FIRST_TEN:
        # FINDING n_plus_one_write Post x10 fix=UPDATE
        Post.query.filter_by(id=i).update({"body": f"body {i}"})
    db.session.commit()
    return ""


@bp.post("/increment-per-row")
def increment_per_row():
    """The same value each time: what differs is the row."""
    for i in FIRST_TEN:
        statement = update(Post).where(Post.id == i).values(body=Post.body + "!")
        # FINDING n_plus_one_write Post x10 fix=UPDATE
        db.session.execute(statement, execution_options={"synchronize_session": False})
    db.session.commit()
    return ""


@bp.post("/delete-per-row")
def delete_per_row():
    for comment in db.session.scalars(select(Comment).limit(10)).all():
        db.session.delete(comment)
        # FINDING n_plus_one_write Comment x10 fix=DELETE
        db.session.flush()
    db.session.commit()
    return ""


@bp.post("/delete-statement-per-row")
def delete_statement_per_row():
    for i in FIRST_TEN:
        # FINDING n_plus_one_write Comment x10 fix=DELETE
        db.session.execute(delete(Comment).where(Comment.id == i))
    db.session.commit()
    return ""


@bp.post("/delete-with-cascade")
def delete_with_cascade():
    """Deleting needs the children; asking for them flushes the row deleted before."""
    lines = db.session.scalars(select(OrderLine).limit(10)).all()  # ORIGIN OrderLine.allocations
    for line in lines:
        # FINDING n_plus_one OrderLine.allocations x10 fix=selectinload(OrderLine.allocations)
        # FINDING n_plus_one_write OrderLine|Allocation x9 runs=18 fix=DELETE
        db.session.delete(line)
    db.session.commit()
    return ""


@bp.post("/delete-with-cascade-in-one-flush")
def delete_with_cascade_in_one_flush():
    lines = db.session.scalars(select(OrderLine).limit(10)).all()  # ORIGIN
    with db.session.no_autoflush:
        for line in lines:
            # FINDING n_plus_one OrderLine.allocations x10 fix=selectinload(OrderLine.allocations)
            db.session.delete(line)
    db.session.commit()  # SILENT x2..20
    return ""


@bp.post("/core-insert-per-row")
def core_insert_per_row():
    with db.engine.begin() as connection:
        for i in FIRST_TEN:
            # FINDING n_plus_one_write metrics x10 fix=ADD_ALL
            connection.execute(insert(metrics).values(name=f"new {i}", value=i))
    return ""


@bp.post("/core-insert-of-mapped-table")
def core_insert_of_mapped_table():
    with plain_engine().begin() as connection:
        for i in FIRST_TEN:
            # FINDING n_plus_one_write Tag x10 fix=ADD_ALL
            connection.execute(insert(Tag.__table__), {"id": 100 + i, "name": f"new {i}"})
    return ""


@bp.post("/insert-from-select-per-row")
def insert_from_select_per_row():
    with db.engine.begin() as connection:
        for i in FIRST_TEN:
            source = select(metrics.c.name, metrics.c.value).where(metrics.c.id == i)
            # FINDING n_plus_one_write metrics x10
            connection.execute(insert(metrics).from_select(["name", "value"], source))
    return ""


@bp.post("/text-insert-per-row")
def text_insert_per_row():
    for i in FIRST_TEN:
        statement = text(f"INSERT INTO metrics (name, value) VALUES ('it''s {i}', {i})")
        db.session.execute(statement)  # FINDING n_plus_one_write metrics x10 fix=ADD_ALL
    db.session.commit()
    return ""


@bp.post("/text-update-per-row")
def text_update_per_row():
    with db.engine.begin() as connection:
        for i in FIRST_TEN:
            statement = text("update documents set size = :size where id = :id")
            # FINDING n_plus_one_write Document x10 fix=UPDATE
            connection.execute(statement, {"size": i, "id": i})
    return ""


@bp.post("/driver-delete-per-row")
def driver_delete_per_row():
    with db.engine.begin() as connection:
        for i in FIRST_TEN:
            # FINDING n_plus_one_write metrics x10 fix=DELETE
            connection.exec_driver_sql(f"DELETE FROM metrics WHERE id = {i}")
    return ""


@bp.post("/upsert-per-row")
def upsert_per_row():
    upsert = UPSERTS[db.engine.dialect.name](Setting)
    for i in FIRST_TEN:
        statement = upsert.values(name=f"key {i % 7}", value=str(i))
        statement = statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": statement.excluded.value}
        )
        db.session.execute(statement)  # FINDING n_plus_one_write Setting x10 fix=ADD_ALL
    db.session.commit()
    return ""


@bp.post("/insert-returning-per-row")
def insert_returning_per_row():
    ids = []
    for i in FIRST_TEN:
        statement = insert(Post).values(author_id=i, body="new").returning(Post.id)
        ids.append(db.session.scalar(statement))  # FINDING n_plus_one_write Post x10 fix=ADD_ALL
    db.session.commit()
    return jsonify(ids)


def save(entry):
    db.session.add(entry)
    # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL @writes.repository_save
    db.session.commit()
    return entry


@bp.post("/repository-save")
def repository_save():
    for i in FIRST_TEN:
        save(AuditEntry(action=f"action {i}"))  # CALLER x10
    return ""


@bp.post("/composite-key-insert-per-row")
def composite_key_insert_per_row():
    for i in FIRST_TEN:
        db.session.add(OrderLine(order_id=i, number=3, product_id=i, quantity=1))
        db.session.commit()  # FINDING n_plus_one_write OrderLine x10 fix=ADD_ALL
    return ""


@bp.post("/delete-by-another-column")
def delete_by_another_column():
    for i in FIRST_TEN:
        # FINDING n_plus_one_write Profile x10 fix=delete(Profile).where(Profile.user_id.in_(ids))
        db.session.execute(delete(Profile).where(Profile.user_id == i))
    db.session.commit()
    return ""


@contextmanager
def transaction():
    yield db.session
    db.session.commit()  # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL @writes.unit_per_row


@bp.post("/unit-per-row")
def unit_per_row():
    """The block's end commits; the block's line is the caller."""
    for i in FIRST_TEN:
        with transaction() as session:  # CALLER x10
            session.add(AuditEntry(action=f"action {i}"))
    return ""


@bp.post("/just-the-threshold")
def just_the_threshold():
    for i in range(5):
        db.session.add(AuditEntry(action=f"action {i}"))
        db.session.commit()  # FINDING n_plus_one_write AuditEntry x5 fix=ADD_ALL
    return ""


@bp.post("/few-rows-per-parent")
def few_rows_per_parent():
    """Three rows a statement are neither one row nor a batch."""
    for i in FIRST_TEN:
        statement = update(Document).where(Document.user_id == i).values(size=i)
        # ALLOWED n_plus_one_write Document; SILENT x10
        db.session.execute(statement)
    db.session.commit()
    return ""


@bp.post("/two-models-through-one-line")
def two_models_through_one_line():
    """Two loops save two models by one helper: each flush writes one, so these are two causes."""
    for i in FIRST_TEN:
        keep(AuditEntry(action=f"action {i}"))  # CALLER AuditEntry x10
    for i in FIRST_TEN:
        keep(Tag(name=f"new {i}"))  # CALLER Tag x10
    return ""


def keep(entry):
    db.session.add(entry)
    # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL @writes.two_models_through_one_line
    # FINDING n_plus_one_write Tag x10 fix=ADD_ALL @writes.two_models_through_one_line
    db.session.commit()
