"""Loops within loops: each cause is named once, and its fix is a chain from what was selected."""

from flask import Blueprint, jsonify
from sqlalchemy import select
from sqlalchemy.orm import contains_eager, joinedload, selectinload, subqueryload

from ..models import Category, Company, Customer, Document, Engineer, Order, User, db

bp = Blueprint("nested", __name__)


@bp.get("/two-levels")
def two_levels():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    rows = []
    for user in users:
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        for document in user.documents:
            # FINDING n_plus_one Document.tags x30
            #   fix=selectinload(User.documents).selectinload(Document.tags)
            rows.append([tag.name for tag in document.tags])
    return jsonify(rows)


@bp.get("/three-levels")
def three_levels():
    for user in db.session.scalars(select(User)):  # ORIGIN
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        for document in user.documents:
            # FINDING n_plus_one Document.comments x30
            #   fix=selectinload(User.documents).selectinload(Document.comments)
            for comment in document.comments:
                assert comment.body
            # FINDING n_plus_one Document.tags x30
            #   fix=selectinload(User.documents).selectinload(Document.tags)
            assert document.tags
    return ""


@bp.get("/to-one-of-to-one")
def to_one_of_to_one():
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    rows = []
    for order in orders:
        # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
        # FINDING n_plus_one Customer.address x12
        #   fix=joinedload(Order.customer).joinedload(Customer.address)
        rows.append(order.customer.address.city)
    return jsonify(rows)


@bp.get("/to-one-below-to-many")
def to_one_below_to_many():
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    rows = []
    for order in orders:
        # FINDING n_plus_one Order.lines x12 fix=selectinload(Order.lines)
        for line in order.lines:
            # FINDING n_plus_one OrderLine.product x24
            #   fix=selectinload(Order.lines).joinedload(OrderLine.product)
            rows.append(line.product.name)
    return jsonify(rows)


@bp.get("/below-selectinload")
def below_selectinload():
    # ORIGIN
    users = db.session.scalars(select(User).options(selectinload(User.documents))).all()
    # FINDING n_plus_one Document.tags x30
    #   fix=selectinload(User.documents).selectinload(Document.tags)
    return jsonify([[t.name for t in d.tags] for user in users for d in user.documents])


@bp.get("/below-joinedload")
def below_joinedload():
    statement = select(User).options(joinedload(User.documents))
    users = db.session.scalars(statement).unique().all()  # ORIGIN
    rows = []
    for user in users:
        for document in user.documents:
            # FINDING n_plus_one Document.comments x30
            #   fix=joinedload(User.documents).selectinload(Document.comments)
            rows.append([comment.body for comment in document.comments])
    return jsonify(rows)


@bp.get("/below-subqueryload")
def below_subqueryload():
    users = db.session.scalars(select(User).options(subqueryload(User.documents))).all()  # ORIGIN
    # FINDING n_plus_one Document.content x30
    #   fix=subqueryload(User.documents).undefer(Document.content)
    return jsonify([document.content for user in users for document in user.documents])


@bp.get("/below-contains-eager")
def below_contains_eager():
    statement = select(Order).join(Order.customer).options(contains_eager(Order.customer))
    orders = db.session.scalars(statement).all()  # ORIGIN
    # FINDING n_plus_one Customer.address x12
    #   fix=contains_eager(Order.customer).joinedload(Customer.address)
    return jsonify([order.customer.address.street for order in orders])


@bp.get("/below-two-eager-levels")
def below_two_eager_levels():
    option = selectinload(Customer.orders).selectinload(Order.lines)
    customers = db.session.scalars(select(Customer).options(option)).all()  # ORIGIN
    lines = [line for customer in customers for order in customer.orders for line in order.lines]
    # FINDING n_plus_one OrderLine.product x24
    #   fix=selectinload(Customer.orders).selectinload(Order.lines).joinedload(OrderLine.product)
    return jsonify([line.product.name for line in lines])


@bp.get("/inner-rows-are-there")
def inner_rows_are_there():
    """The authors are the users that the first select brought in."""
    option = selectinload(User.documents).selectinload(Document.comments)
    users = db.session.scalars(select(User).options(option)).all()
    comments = [c for user in users for document in user.documents for c in document.comments]
    return jsonify([comment.author.name for comment in comments])  # SILENT x0


@bp.get("/below-one-parent")
def below_one_parent():
    """The parents came lazily, of one row: the chain begins at that row's own select."""
    user = db.session.get(User, 1)  # ORIGIN
    rows = []
    for comment in user.comments:
        # FINDING n_plus_one Comment.document x6
        #   fix=selectinload(User.comments).joinedload(Comment.document)
        rows.append(comment.document.title)
    return jsonify(rows)


@bp.get("/deferred-below-lazy")
def deferred_below_lazy():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    rows = []
    for user in users:
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        for document in user.documents:
            # FINDING n_plus_one Document.content x30
            #   fix=selectinload(User.documents).undefer(Document.content)
            rows.append(document.content)
    return jsonify(rows)


@bp.get("/subclass-column-below-lazy")
def subclass_column_below_lazy():
    companies = db.session.scalars(select(Company)).all()  # ORIGIN
    rows = []
    for company in companies:
        # FINDING n_plus_one Company.employees x6 fix=selectinload(Company.employees)
        for employee in company.employees:
            if isinstance(employee, Engineer):
                # FINDING n_plus_one Engineer.language|Engineer.level x12
                #   fix=selectinload(Company.employees).selectin_polymorphic([Engineer])
                rows.append(employee.level)
    return jsonify(rows)


@bp.get("/children-and-their-parent")
def children_and_their_parent():
    """The way back from a child is in the session already: one cause, not two."""
    customers = db.session.scalars(select(Customer)).all()  # ORIGIN
    rows = []
    for customer in customers:
        # FINDING n_plus_one Customer.orders x12 fix=selectinload(Customer.orders)
        for order in customer.orders:
            rows.append(order.customer.name)  # SILENT x0
    return jsonify(rows)


@bp.get("/outer-is-below-threshold")
def outer_is_below_threshold():
    """Four outer loads are no finding; the many inner ones are, from the outer's select."""
    users = db.session.scalars(select(User).where(User.id <= 4)).all()  # ORIGIN
    rows = []
    for user in users:
        for document in user.documents:  # SILENT x4
            # FINDING n_plus_one Document.tags x12
            #   fix=selectinload(User.documents).selectinload(Document.tags)
            rows.append(len(document.tags))
    return jsonify(rows)


@bp.get("/grandchildren")
def grandchildren():
    parents = db.session.scalars(select(Category).where(Category.parent_id == 1)).all()  # ORIGIN
    # The nine grandchildren and the three parents are asked by one relationship on two lines.
    rows = []
    for parent in parents:
        for child in parent.children:  # SILENT x3
            # FINDING n_plus_one Category.children x9
            #   fix=selectinload(Category.children).selectinload(Category.children)
            #   fix=selectinload(Category.children,recursion_depth=10)
            rows.append([grandchild.name for grandchild in child.children])
    return jsonify(rows)


@bp.get("/two-selects-one-loop")
def two_selects_one_loop():
    """The rows of one loop come from two statements; either may be named as the origin."""
    drafts = db.session.scalars(select(Document).where(Document.state == "draft")).all()  # ORIGIN
    final = db.session.scalars(select(Document).where(Document.state == "final")).all()  # ORIGIN
    rows = []
    for document in [*drafts, *final]:
        # FINDING n_plus_one Document.comments x30 fix=selectinload(Document.comments)
        rows.append([comment.body for comment in document.comments])
    return jsonify(rows)
