"""Columns that come late, one row at a time: deferred, expired, of a subclass."""

from flask import Blueprint, jsonify
from sqlalchemy import select, update
from sqlalchemy.orm import (
    defer,
    load_only,
    selectin_polymorphic,
    undefer,
    undefer_group,
    with_polymorphic,
)

from ..models import (
    BankPayment,
    CardPayment,
    Document,
    Employee,
    Engineer,
    Manager,
    Payment,
    Product,
    Ticket,
    User,
    db,
)

bp = Blueprint("columns", __name__)


@bp.get("/deferred")
def deferred():
    documents = db.session.scalars(select(Document)).all()  # ORIGIN
    # FINDING n_plus_one Document.content x30 fix=undefer(Document.content)
    return jsonify([document.content for document in documents])


@bp.get("/deferred-group")
def deferred_group():
    """The columns of a group come together, so either may be named."""
    rows = []
    for document in db.session.scalars(select(Document)).all():  # ORIGIN
        # FINDING n_plus_one Document.summary|Document.abstract x30
        #   fix=undefer_group("texts") fix=undefer(Document.summary),undefer(Document.abstract)
        rows.append((document.summary, document.abstract))
    return jsonify(rows)


@bp.get("/defer-option")
def defer_option():
    # ORIGIN
    products = db.session.scalars(select(Product).options(defer(Product.price))).all()
    # FINDING n_plus_one Product.price instead x24 fix=undefer(Product.price)
    return jsonify([product.price for product in products])


@bp.get("/load-only")
def load_only_too_little():
    # ORIGIN
    users = db.session.scalars(select(User).options(load_only(User.name))).all()
    # FINDING n_plus_one User.email x10 fix=undefer(User.email)
    #   fix=load_only(User.name,User.email)
    return jsonify({user.name: user.email for user in users})


@bp.get("/deferred-expression")
def deferred_expression():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    # FINDING n_plus_one User.document_count x10 fix=undefer(User.document_count)
    return jsonify({user.name: user.document_count for user in users})


@bp.get("/two-deferred-columns")
def two_deferred_columns():
    """Two causes on one line: each column comes by a statement of its own."""
    documents = db.session.scalars(select(Document)).all()  # ORIGIN
    # FINDING n_plus_one Document.content x30 fix=undefer(Document.content)
    # FINDING n_plus_one Document.summary|Document.abstract x30
    #   fix=undefer_group("texts") fix=undefer(Document.summary)
    return jsonify([(document.content, document.summary) for document in documents])


@bp.get("/late-joined-subclass-column")
def late_joined_subclass_column():
    # ORIGIN
    employees = db.session.scalars(select(Employee).where(Employee.type == "manager")).all()
    # FINDING n_plus_one Manager.bonus x12 fix=selectin_polymorphic(Employee,[Manager])
    return jsonify([employee.bonus for employee in employees])


@bp.get("/late-columns-of-two-subclasses")
def late_columns_of_two_subclasses():
    """All columns of an engineer come with the first, so either may be named."""
    employees = db.session.scalars(select(Employee)).all()  # ORIGIN
    rows = []
    for employee in employees:
        if isinstance(employee, Manager):
            # FINDING n_plus_one Manager.bonus x12
            #   fix=selectin_polymorphic(Employee,[Manager])
            #   fix=selectin_polymorphic(Employee,[Manager,Engineer])
            #   fix=selectin_polymorphic(Employee,[Engineer,Manager])
            rows.append(employee.bonus)
        else:
            # FINDING n_plus_one Engineer.language|Engineer.level x12
            #   fix=selectin_polymorphic(Employee,[Engineer])
            #   fix=selectin_polymorphic(Employee,[Manager,Engineer])
            #   fix=selectin_polymorphic(Employee,[Engineer,Manager])
            rows.append(f"{employee.language} {employee.level}")
    return jsonify(rows)


@bp.get("/late-single-table-column")
def late_single_table_column():
    # ORIGIN
    payments = db.session.scalars(select(Payment).where(Payment.type == "bank")).all()
    # FINDING n_plus_one BankPayment.iban x12 fix=selectin_polymorphic(Payment,[BankPayment])
    return jsonify([payment.iban for payment in payments])


@bp.post("/refresh-after-commit")
def refresh_after_commit():
    """A commit expires whole rows: the model, or the column that was touched, names them."""
    documents = db.session.scalars(select(Document)).all()
    db.session.execute(update(Product).values(price=1))
    db.session.commit()
    # FINDING n_plus_one Document|Document.title x30
    return jsonify([document.title for document in documents])


@bp.post("/commit-in-loop")
def commit_in_loop():
    """Each commit makes the session forget the rows that are still to come."""
    documents = db.session.scalars(select(Document)).all()
    for document in documents:
        # FINDING n_plus_one Document.title x29 fix=session.commit()once,aftertheloop
        document.title = document.title.upper()
        db.session.commit()  # FINDING n_plus_one_write Document x30
    return ""


@bp.get("/expire-one-column")
def expire_one_column():
    tickets = db.session.scalars(select(Ticket)).all()
    for ticket in tickets:
        db.session.expire(ticket, ["state"])
    # FINDING n_plus_one Ticket.state x10
    return jsonify([ticket.state for ticket in tickets])


@bp.get("/expire-all")
def expire_all():
    users = db.session.scalars(select(User)).all()
    db.session.expire_all()
    # FINDING n_plus_one User|User.name x10
    return jsonify([user.name for user in users])


@bp.get("/refresh-each")
def refresh_each():
    tickets = db.session.scalars(select(Ticket)).all()
    for ticket in tickets:
        db.session.refresh(ticket)  # FINDING n_plus_one Ticket x10
    return jsonify([ticket.state for ticket in tickets])


@bp.post("/server-side-value")
def server_side_value():
    """An UPDATE with an SQL expression leaves the value to be fetched, row by row."""
    products = db.session.scalars(select(Product)).all()
    for product in products:
        product.price = Product.price + 1
    db.session.flush()  # SILENT x1..24
    # FINDING n_plus_one Product.price x24
    prices = [product.price for product in products]
    db.session.rollback()
    return jsonify(prices)


@bp.get("/undeferred")
def undeferred():
    options = undefer(Document.content), undefer_group("texts")
    documents = db.session.scalars(select(Document).options(*options)).all()  # SILENT x1
    rows = [(d.content, d.summary, d.abstract) for d in documents]  # SILENT x0
    return jsonify(rows)


@bp.get("/with-polymorphic")
def with_polymorphic_columns():
    entity = with_polymorphic(Employee, [Manager, Engineer])
    rows = []
    for employee in db.session.scalars(select(entity)):  # SILENT x1
        rows.append(employee.bonus if isinstance(employee, Manager) else employee.language)
    return jsonify(rows)


@bp.get("/selectin-polymorphic")
def selectin_polymorphic_columns():
    option = selectin_polymorphic(Payment, [CardPayment, BankPayment])
    payments = db.session.scalars(select(Payment).options(option)).all()  # SILENT x3
    return jsonify([p.iban if isinstance(p, BankPayment) else p.last_digits for p in payments])


@bp.get("/columns-only")
def columns_only():
    """Rows of columns are complete: nothing can come late."""
    rows = db.session.execute(select(Document.title, Document.content)).all()  # SILENT x1
    return jsonify([(row.title, row.content) for row in rows])


@bp.get("/expired-but-unread")
def expired_but_unread():
    documents = db.session.scalars(select(Document)).all()  # SILENT x1
    titles = [document.title for document in documents]
    db.session.expire_all()
    return jsonify(titles, len(documents))


@bp.get("/refreshed-at-once")
def refreshed_at_once():
    """One select brings all the expired rows back."""
    documents = db.session.scalars(select(Document)).all()
    db.session.expire_all()
    again = select(Document).execution_options(populate_existing=True)
    db.session.scalars(again).all()  # SILENT x1
    return jsonify([document.title for document in documents])  # SILENT x0
