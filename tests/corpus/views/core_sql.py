"""Core statements, text and driver SQL, where no ORM says what is asked."""

from flask import Blueprint, jsonify
from sqlalchemy import bindparam, event, extract, func, insert, literal_column, select, text

from ..app import plain_engine
from ..models import Document, Post, Reading, db, metrics, partitions

bp = Blueprint("core_sql", __name__)

FIRST_TEN = range(1, 11)
MARKS = {"sqlite": "?", "postgresql": "%s"}


def init_app(app):
    """Add a comment to each statement that asks for it, as sqlcommenter does to all."""
    with app.app_context():

        @event.listens_for(db.engine, "before_cursor_execute", retval=True)
        def comment(connection, cursor, statement, values, context, many):
            note = context.execution_options.get("note")
            if note == "before":
                statement = f"/* trace {id(context)} */ {statement}"
            elif note == "after":
                statement = f"{statement} /*traceparent='00-{id(context):032x}-01',route='%%2Fx'*/"
            elif note == "line":
                statement = f"-- request {id(context)}\n{statement}"
            return statement, values


@bp.get("/core-select")
def core_select():
    rows = []
    with db.engine.connect() as connection:
        for i in FIRST_TEN:
            statement = select(metrics.c.value).where(metrics.c.name == f"metric {i}")
            # FINDING n_plus_one metrics x10
            rows.append(connection.execute(statement).scalars().all())
    return jsonify(rows)


@bp.get("/core-on-mapped-table")
def core_on_mapped_table():
    documents = Document.__table__
    rows = []
    with plain_engine().connect() as connection:
        for i in FIRST_TEN:
            statement = select(func.count()).where(documents.c.user_id == i)
            # FINDING n_plus_one Document x10
            rows.append(connection.execute(statement).scalar_one())
    return jsonify(rows)


@bp.get("/core-in-session")
def core_in_session():
    statement = select(metrics.c.id).where(metrics.c.name == bindparam("name"))
    # FINDING n_plus_one metrics x10
    found = [db.session.execute(statement, {"name": f"metric {i}"}).all() for i in FIRST_TEN]
    return jsonify(len(found))


@bp.get("/text")
def text_sql():
    rows = []
    for i in FIRST_TEN:
        statement = text("SELECT count(*) FROM documents WHERE user_id = :user_id")
        # FINDING n_plus_one Document x10
        rows.append(db.session.execute(statement, {"user_id": i}).scalar())
    return jsonify(rows)


@bp.get("/text-of-unmapped-table")
def text_of_unmapped_table():
    rows = []
    with db.engine.connect() as connection:
        for i in FIRST_TEN:
            statement = text("select max(value) from metrics where name = :name")
            # FINDING n_plus_one metrics x10
            rows.append(connection.execute(statement, {"name": f"metric {i}"}).scalar())
    return jsonify(rows)


@bp.get("/number-literals")
def number_literals():
    rows = []
    for i in FIRST_TEN:
        statement = text(f"SELECT title FROM documents WHERE user_id = {i} AND size > -1.5")
        rows.append(db.session.scalars(statement).all())  # FINDING n_plus_one Document x10
    return jsonify(rows)


@bp.get("/string-literals")
def string_literals():
    """Quotes in the literal, and words in it that look like SQL."""
    rows = []
    for i in FIRST_TEN:
        name = f"O''Brien {i}'' FROM tags -- no comment /* neither */"
        statement = text(f"SELECT id FROM users WHERE name = 'user {i}' OR name = '{name}'")
        rows.append(db.session.scalar(statement))  # FINDING n_plus_one User x10
    return jsonify(rows)


@bp.get("/list-literals")
def list_literals():
    """Two to four keys a statement, written into it."""
    rows = []
    for i in FIRST_TEN:
        keys = ", ".join(str(key) for key in range(i, i + 2 + i % 3))
        statement = text(f"SELECT name FROM tags WHERE id IN ({keys})")
        rows.append(db.session.scalars(statement).all())  # FINDING n_plus_one Tag x10
    return jsonify(rows)


@bp.get("/literal-columns")
def literal_columns():
    """A Core statement whose values are rendered into the SQL."""
    rows = []
    for i in FIRST_TEN:
        statement = select(Post.body).where(Post.author_id == literal_column(str(i)))
        rows.append(db.session.scalars(statement).all())  # FINDING n_plus_one Post x10
    return jsonify(rows)


@bp.get("/driver-sql")
def driver_sql():
    rows = []
    with db.engine.connect() as connection:
        mark = MARKS[connection.dialect.name]
        statement = f"SELECT name FROM products WHERE id = {mark}"
        for i in FIRST_TEN:
            # FINDING n_plus_one Product x10
            rows.append(connection.exec_driver_sql(statement, (i,)).scalar())
    return jsonify(rows)


@bp.get("/driver-sql-literals")
def driver_sql_literals():
    rows = []
    with db.engine.connect() as connection:
        for i in FIRST_TEN:
            statement = f"SELECT value FROM metrics WHERE id={i} /* row {i} */"
            # FINDING n_plus_one metrics x10
            rows.append(connection.exec_driver_sql(statement).scalar())
    return jsonify(rows)


@bp.get("/quoted-and-qualified")
def quoted_and_qualified():
    rows = []
    for i in FIRST_TEN:
        statement = text('SELECT "d"."title" FROM "documents" AS "d" WHERE "d"."id" = :id')
        rows.append(db.session.scalar(statement, {"id": i}))  # FINDING n_plus_one Document x10
    return jsonify(rows)


@bp.get("/text-cte")
def text_cte():
    """The name of a CTE is no table."""
    statement = text(
        "WITH mine AS (SELECT size FROM documents WHERE user_id = :user_id),"
        " big AS (SELECT size FROM mine WHERE size > 100)"
        " SELECT sum(size) FROM big"
    )
    rows = []
    for i in FIRST_TEN:
        # FINDING n_plus_one Document x10
        rows.append(db.session.execute(statement, {"user_id": i}).scalar())
    return jsonify(rows)


@bp.get("/comment-behind")
def comment_behind():
    """A comment that differs each time, as tracing adds it, is no part of the statement."""
    rows = []
    for i in FIRST_TEN:
        statement = select(Document.title).where(Document.id == i).execution_options(note="after")
        rows.append(db.session.scalar(statement))  # FINDING n_plus_one Document x10
    return jsonify(rows)


@bp.get("/comment-before")
def comment_before():
    options = {"note": "before"}
    rows = []
    for i in FIRST_TEN:
        # FINDING n_plus_one Document x10
        rows.append(db.session.get(Document, i, execution_options=options).title)
    return jsonify(rows)


@bp.get("/comment-line")
def comment_line():
    rows = []
    for i in FIRST_TEN:
        statement = select(Post.body).where(Post.id == i).execution_options(note="line")
        rows.append(db.session.scalar(statement))  # FINDING n_plus_one Post x10
    return jsonify(rows)


@bp.get("/hint-comments")
def hint_comments():
    """SQLAlchemy's own prefix and suffix, with a number in each."""
    rows = []
    for i in FIRST_TEN:
        statement = select(Post.body).where(Post.id == i).prefix_with(f"/* hint {i} */")
        rows.append(db.session.scalar(statement))  # FINDING n_plus_one Post x10
    return jsonify(rows)


@bp.get("/partitions")
def different_tables():
    """The number in a table's name is no value: eight tables, eight statements."""
    with db.engine.connect() as connection:
        rows = [
            connection.execute(text(f"SELECT sum(value) FROM {table.name}")).scalar()  # SILENT x8
            for table in partitions
        ]
    return jsonify(rows)


@bp.get("/different-columns")
def different_columns():
    names = ("id", "user_id", "title", "kind", "state", "size", "uploaded_at")
    rows = []
    for name in names:
        statement = text(f"SELECT max({name}) FROM documents")
        rows.append(str(db.session.execute(statement).scalar()))  # SILENT x7
    return jsonify(rows)


@bp.get("/different-aggregates")
def different_aggregates():
    rows = []
    for aggregate in (func.count, func.sum, func.min, func.max, func.avg):
        statement = select(aggregate(metrics.c.value))
        rows.append(float(db.session.execute(statement).scalar()))  # SILENT x5
    return jsonify(rows)


@bp.post("/one-insert-many-values")
def one_insert_many_values():
    values = [{"name": f"new {i}", "value": i} for i in FIRST_TEN]
    with db.engine.begin() as connection:
        connection.execute(insert(metrics).values(values))  # SILENT x1
    return ""


@bp.post("/text-executemany")
def text_executemany():
    values = [{"name": f"new {i}", "value": i} for i in FIRST_TEN]
    with db.engine.begin() as connection:
        statement = text("INSERT INTO metrics (name, value) VALUES (:name, :value)")
        connection.execute(statement, values)  # SILENT x1
    return ""


@bp.get("/one-group-by")
def one_group_by():
    statement = text("SELECT user_id, count(*) FROM documents GROUP BY user_id")
    return jsonify([tuple(row) for row in db.session.execute(statement)])  # SILENT x1


@bp.get("/from-in-a-function")
def from_in_a_function():
    """EXTRACT has a FROM of its own on some databases; the table comes after it."""
    readings = Reading.__table__
    months = []
    with db.engine.connect() as connection:
        for i in FIRST_TEN:
            statement = select(extract("month", readings.c.taken_at)).where(readings.c.id == i)
            # FINDING n_plus_one Reading x10
            months.append(int(connection.execute(statement).scalar()))
    return jsonify(months)


@bp.get("/subselect-among-columns")
def subselect_among_columns():
    """The first FROM is of the inner select; the statement is about the outer one's table."""
    statement = text(
        "SELECT (SELECT count(*) FROM comments WHERE document_id = documents.id), title"
        " FROM documents WHERE documents.id = :id"
    )
    rows = []
    for i in FIRST_TEN:
        # FINDING n_plus_one Document x10
        rows.append(db.session.execute(statement, {"id": i}).one())
    return jsonify([tuple(row) for row in rows])
