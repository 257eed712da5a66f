"""Rows asked for by their keys, one at a time: get, merge, refresh, look before you write."""

import warnings

from flask import Blueprint, jsonify
from sqlalchemy import select
from sqlalchemy.exc import LegacyAPIWarning

from ..models import (
    Album,
    AuditEntry,
    Category,
    Comment,
    Customer,
    Document,
    Order,
    OrderLine,
    Product,
    Tag,
    Ticket,
    User,
    db,
)

FIRST_TEN = range(1, 11)

bp = Blueprint("lookups", __name__)


@bp.get("/get")
def get():
    names = []
    for order_id, customer_id in db.session.execute(select(Order.id, Order.customer_id)):
        # FINDING n_plus_one Customer x12 fix=IN
        names.append((order_id, db.session.get(Customer, customer_id).name))
    return jsonify(names)


@bp.get("/get-composite-key")
def get_composite_key():
    rows = []
    for order_id in FIRST_TEN:
        # FINDING n_plus_one OrderLine x10 fix=IN
        line = db.session.get(OrderLine, (order_id, 2))
        rows.append(line.quantity)
    return jsonify(rows)


@bp.get("/get-or-404")
def get_or_404():
    # FINDING n_plus_one Document x10 fix=IN
    return jsonify([db.get_or_404(Document, i).title for i in FIRST_TEN])


@bp.get("/get-missing")
def get_missing():
    """Keys that no row has are asked for all the same."""
    # FINDING n_plus_one Product x10 fix=IN
    found = [db.session.get(Product, 1000 + i) for i in FIRST_TEN]
    return jsonify(len([product for product in found if product]))


@bp.post("/merge")
def merge():
    """Merging asks for each row, and that flushes the change of the row before."""
    for i in FIRST_TEN:
        # FINDING n_plus_one Tag x10
        # FINDING n_plus_one_write Tag x9
        db.session.merge(Tag(id=i, name=f"renamed {i}"))
    db.session.commit()
    return ""


@bp.post("/look-before-insert")
def look_before_insert():
    """An autoflush belongs to the SELECT that set it off: two findings on one line."""
    for i in FIRST_TEN:
        # FINDING n_plus_one AuditEntry x10 fix=IN
        # FINDING n_plus_one_write AuditEntry x9
        if db.session.scalar(select(AuditEntry).filter_by(action=f"action {i}")) is None:
            db.session.add(AuditEntry(action=f"action {i}"))
    db.session.commit()
    return ""


@bp.get("/for-update")
def for_update():
    rows = []
    for i in FIRST_TEN:
        statement = select(Ticket).where(Ticket.id == i).with_for_update()
        rows.append(db.session.scalars(statement).one().state)  # FINDING n_plus_one Ticket x10
    db.session.rollback()
    return jsonify(rows)


@bp.get("/mixed-with-cached")
def mixed_with_cached():
    """Half of the rows are in the session already; the other half are asked one by one."""
    kept = db.session.scalars(select(Customer).where(Customer.id <= 6)).all()
    rows = [customer.name for customer in kept]
    # FINDING n_plus_one Customer x6 fix=IN
    rows += [db.session.get(Customer, i).name for i in range(1, 13)]
    return jsonify(rows)


@bp.get("/legacy-get")
def legacy_get():
    """SQLAlchemy wraps its old methods in generated code, which is no application line."""
    names = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LegacyAPIWarning)
        for i in FIRST_TEN:
            names.append(Customer.query.get(i).name)  # FINDING n_plus_one Customer x10 fix=IN
    return jsonify(names)


@bp.get("/get-with-batches")
def get_with_batches():
    """Each album brings its tracks and reviews: one cause, three statements."""
    albums = [db.session.get(Album, i) for i in FIRST_TEN]  # FINDING n_plus_one Album x10 runs=30
    return jsonify([len(album.tracks) for album in albums])


@bp.get("/up-the-tree")
def up_the_tree():
    category = db.session.get(Category, 20)
    names = []
    while category.parent_id is not None:
        # FINDING n_plus_one Category x6
        category = db.session.get(Category, category.parent_id)
        names.append(category.name)
    return jsonify(names)


@bp.get("/refresh-relationship")
def refresh_relationship():
    """The row comes again with its comments: one cause, which may be told as two."""
    users = db.session.scalars(select(User)).all()
    for user in users:
        # FINDING n_plus_one User.comments x10 runs=20
        # ALLOWED n_plus_one User
        db.session.refresh(user, ["comments"])
    return jsonify([len(user.comments) for user in users])


@bp.post("/delete-by-key")
def delete_by_key():
    """Each get flushes the row deleted before."""
    for i in FIRST_TEN:
        # FINDING n_plus_one Comment x10 fix=IN
        # FINDING n_plus_one_write Comment x9 fix=DELETE
        db.session.delete(db.session.get(Comment, i))
    db.session.commit()
    return ""
