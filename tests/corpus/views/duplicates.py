"""One statement with the same values, again: what was known is asked once more."""

from flask import Blueprint, g, jsonify, render_template
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from ..app import async_engine
from ..models import AuditEntry, Author, Document, Order, Product, Setting, Ticket, User, db

bp = Blueprint("duplicates", __name__)


def setting(name):
    # FINDING duplicate_query Setting x24 @duplicates.setting_for_each_row
    # FINDING duplicate_query Setting x10 @duplicates.helper_on_two_lines
    # FINDING duplicate_query Setting x12 @duplicates.setting_in_template
    # SILENT x3 @duplicates.other_values
    return db.session.scalar(select(Setting.value).where(Setting.name == name))


@bp.app_template_global("setting")
def setting_for_templates(name):
    return setting(name)  # CALLER x12 @duplicates.setting_in_template


@bp.get("/setting-for-each-row")
def setting_for_each_row():
    products = db.session.scalars(select(Product)).all()
    return jsonify([f"{product.price} {setting('currency')}" for product in products])  # CALLER x24


@bp.get("/helper-on-two-lines")
def helper_on_two_lines():
    pages = []
    for number in range(5):
        head = setting("theme")  # CALLER x5
        foot = setting("theme")  # CALLER x5
        pages.append((number, head, foot))
    return jsonify(pages)


@bp.get("/setting-in-template")
def setting_in_template():
    orders = db.session.scalars(select(Order)).all()
    return render_template("duplicates/prices.html", orders=orders)


@bp.get("/asked-twice")
def asked_twice():
    """Again, but below the threshold: "again" and "five executions" both stand in the contract."""
    before = db.session.scalar(select(func.count(Document.id)))  # ALLOWED duplicate_query Document
    half = before // 2
    # ALLOWED duplicate_query Document; SILENT x1
    after = db.session.scalar(select(func.count(Document.id)))
    return jsonify(half, after)


@bp.get("/query-in-loop")
def query_in_loop():
    """The loop's row is no part of the question: no N+1, the same answer twelve times."""
    rows = []
    for order in db.session.scalars(select(Order)).all():
        # FINDING duplicate_query Product x12
        cheapest = db.session.scalar(select(func.min(Product.price)))
        rows.append((order.id, cheapest))
    return jsonify(rows)


@bp.get("/same-text")
def same_text():
    rows = []
    for _ in range(6):
        statement = text("SELECT name FROM users WHERE email = 'user1@example.org'")
        rows.append(db.session.execute(statement).scalar())  # FINDING duplicate_query User x6
    return jsonify(rows)


@bp.get("/interleaved")
def interleaved():
    rows = []
    for model in (User, Document, Order, Product, Ticket):
        rows.append(db.session.scalar(select(func.count()).select_from(model)))  # SILENT x5
        # FINDING duplicate_query Setting x5
        rows.append(db.session.scalar(select(Setting.value).filter_by(name="vat")))
    return jsonify(rows)


@bp.get("/async-again")
async def async_again():
    async with AsyncSession(async_engine()) as session:
        counts = [
            await session.scalar(select(func.count(Author.id)))  # FINDING duplicate_query Author x5
            for _ in range(5)
        ]
    return jsonify(counts)


@bp.get("/other-values")
def other_values():
    return jsonify([setting(name) for name in ("vat", "theme", "language")])


@bp.get("/other-literals")
def other_literals():
    """The same but for the numbers written into the SQL."""
    rows = []
    for i in (1, 2, 3):
        statement = text(f"SELECT name FROM users WHERE id = {i}")
        rows.append(db.session.execute(statement).scalar())  # SILENT x3
    return jsonify(rows)


@bp.post("/forgotten-by-each-commit")
def forgotten_by_each_commit():
    user = db.session.get(User, 1)
    for _ in range(7):
        # FINDING duplicate_query User.name x6 fix=session.commit()once,aftertheloop
        db.session.add(AuditEntry(action=user.name))
        db.session.commit()  # FINDING n_plus_one_write AuditEntry x7
    return ""


@bp.get("/loaded-along-again")
def loaded_along_again():
    """What is loaded along comes again because the select does: one cause."""
    statement = select(User).where(User.id == 1).options(selectinload(User.documents))
    titles = []
    for _ in range(6):
        fresh = statement.execution_options(populate_existing=True)
        user = db.session.scalars(fresh).one()  # FINDING duplicate_query User x6 runs=12
        titles.append([document.title for document in user.documents])  # SILENT x0
    return jsonify(titles)


@bp.post("/asked-again-after-write")
def asked_again_after_write():
    """The answer is another one by then."""
    before = db.session.scalar(select(func.count(AuditEntry.id)))  # SILENT x1
    db.session.add(AuditEntry(action="counted"))
    db.session.commit()
    after = db.session.scalar(select(func.count(AuditEntry.id)))  # SILENT x1
    return jsonify(before, after)


@bp.post("/asked-again-after-bulk-update")
def asked_again_after_bulk_update():
    statement = select(func.sum(Product.price))
    before = db.session.scalar(statement)  # SILENT x1
    db.session.execute(update(Product).values(price=Product.price * 2))
    after = db.session.scalar(statement)  # SILENT x1
    db.session.rollback()
    return jsonify(before, after)


@bp.post("/same-row-written")
def same_row_written():
    """Writing the same values again is no question asked twice."""
    with db.engine.begin() as connection:
        for _ in range(3):
            connection.execute(insert(AuditEntry.__table__).values(action="same"))  # SILENT x3
    return ""


@bp.get("/in-two-requests")
def in_two_requests():
    # REQUEST repeat=2
    return jsonify(db.session.scalar(select(func.count(User.id))))  # SILENT x2


@bp.get("/kept")
def kept():
    def count():
        if "count" not in g:
            g.count = db.session.scalar(select(func.count(User.id)))  # SILENT x1
        return g.count

    return jsonify([count() for _ in range(10)])


@bp.get("/same-row-by-key")
def same_row_by_key():
    """The session answers the second time."""
    user = db.session.get(User, 1)  # SILENT x1
    names = [db.session.get(User, 1).name for _ in range(10)]  # SILENT x0
    return jsonify(names, user.name)


@bp.post("/written-before")
def written_before():
    """The write came first, so that all answers are the same."""
    db.session.execute(update(Product).where(Product.id == 1).values(price=1))
    db.session.commit()
    rows = []
    for order_id in db.session.scalars(select(Order.id)).all():
        # FINDING duplicate_query Product x12
        rows.append((order_id, db.session.scalar(select(func.min(Product.price)))))
    return jsonify(rows)


@bp.post("/written-between-each")
def written_between_each():
    """Each answer is another one: the table was changed in between."""
    sums = []
    for i in range(1, 7):
        # ALLOWED n_plus_one_write Product; SILENT x6
        db.session.execute(update(Product).where(Product.id == i).values(price=i))
        sums.append(db.session.scalar(select(func.sum(Product.price))))  # SILENT x6
    db.session.rollback()
    return jsonify(sums)
