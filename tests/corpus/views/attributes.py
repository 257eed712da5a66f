"""Loads that hide behind an attribute: properties, hybrids, proxies, methods of the model."""

from flask import Blueprint, jsonify, render_template, request
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload, undefer

from ..models import Document, Membership, Order, User, db

bp = Blueprint("attributes", __name__)


@bp.get("/property")
def property_reads_relationship():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    # CALLER x10
    return jsonify([user.latest_title for user in users])


@bp.get("/property-in-template")
def property_in_template():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    return render_template("attributes/titles.html", users=users)


@bp.get("/hybrid")
def hybrid_on_instances():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    total = 0
    for user in users:
        total += user.bytes_used  # CALLER x10
    return jsonify(total)


@bp.get("/str")
def str_reads_relationship():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    lines = []
    for user in users:
        lines.append(f"- {user}")  # CALLER x10
    return "\n".join(lines)


@bp.get("/proxy-of-columns")
def proxy_of_columns():
    documents = db.session.scalars(select(Document)).all()  # ORIGIN
    rows = []
    for document in documents:
        # FINDING n_plus_one Document.tags x30 fix=selectinload(Document.tags)
        rows.append(list(document.tag_names))
    return jsonify(rows)


@bp.get("/proxy-through-association")
def proxy_through_association():
    """One line, two relationships, the second reached through the first."""
    users = db.session.scalars(select(User)).all()  # ORIGIN
    rows = []
    for user in users:
        # FINDING n_plus_one User.memberships x10 fix=selectinload(User.memberships)
        # FINDING n_plus_one Membership.team x12
        #   fix=selectinload(User.memberships).joinedload(Membership.team)
        rows.append([team.name for team in user.teams])
    return jsonify(rows)


@bp.get("/getattr")
def getattr_by_name():
    field = request.args.get("field", "customer")
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
    return jsonify([getattr(order, field).name for order in orders])


@bp.get("/hybrid-in-sql")
def hybrid_in_sql():
    """On the class a hybrid is SQL: one statement for all rows."""
    rows = db.session.execute(select(User.name, User.bytes_used)).all()  # SILENT x1
    return jsonify([(row.name, row.bytes_used) for row in rows])


@bp.get("/column-property")
def column_property_in_select():
    users = db.session.scalars(select(User).options(undefer(User.document_count))).all()
    return jsonify([user.document_count for user in users])  # SILENT x0


@bp.get("/eager-proxy")
def eager_proxy():
    option = selectinload(User.memberships).joinedload(Membership.team)
    users = db.session.scalars(select(User).options(option)).all()
    return jsonify([[team.name for team in user.teams] for user in users])  # SILENT x0


@bp.get("/eager-property")
def eager_property():
    users = db.session.scalars(select(User).options(selectinload(User.documents))).all()
    return jsonify([user.latest_title for user in users])  # SILENT x0


@bp.get("/eager-str")
def eager_str():
    users = db.session.scalars(select(User).options(joinedload(User.profile))).all()
    return ", ".join(str(user) for user in users)  # SILENT x0


@bp.get("/method-that-asks")
def method_that_asks():
    users = db.session.scalars(select(User)).all()
    rows = []
    for user in users:
        rows.append(user.count_posts())  # CALLER x10
    return jsonify(rows)


@bp.get("/method-in-template")
def method_in_template():
    users = db.session.scalars(select(User)).all()
    return render_template("attributes/posts.html", users=users)
