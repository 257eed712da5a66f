"""What a loop walks was loaded with the rows, by every strategy there is: all silent but a few."""

import warnings

from flask import Blueprint, jsonify
from sqlalchemy import select
from sqlalchemy.exc import SADeprecationWarning
from sqlalchemy.orm import (
    aliased,
    contains_eager,
    defaultload,
    immediateload,
    joinedload,
    lazyload,
    noload,
    raiseload,
    selectinload,
    subqueryload,
    with_loader_criteria,
)

from ..models import (
    Album,
    Category,
    Comment,
    Company,
    Customer,
    Document,
    Engineer,
    Membership,
    Order,
    OrderLine,
    Payment,
    User,
    db,
)

bp = Blueprint("eager", __name__)


@bp.get("/joinedload")
def joined():
    # SILENT x1
    users = db.session.scalars(select(User).options(joinedload(User.documents))).unique()
    return jsonify([[document.title for document in user.documents] for user in users])  # SILENT x0


@bp.get("/joinedload-to-one")
def joined_to_one():
    orders = db.session.scalars(select(Order).options(joinedload(Order.customer))).all()
    return jsonify([order.customer.name for order in orders])  # SILENT x0


@bp.get("/inner-joinedload")
def inner_joined():
    option = joinedload(Order.customer, innerjoin=True).joinedload(Customer.address)
    orders = db.session.scalars(select(Order).options(option)).all()  # SILENT x1
    return jsonify([order.customer.address.city for order in orders])  # SILENT x0


@bp.get("/selectinload")
def selectin():
    # SILENT x2
    users = db.session.scalars(select(User).options(selectinload(User.documents))).all()
    return jsonify([[document.title for document in user.documents] for user in users])  # SILENT x0


@bp.get("/selectinload-chain")
def selectin_chain():
    documents = selectinload(User.documents)
    options = documents.selectinload(Document.comments), documents.selectinload(Document.tags)
    users = db.session.scalars(select(User).options(*options)).all()  # SILENT x4
    rows = [
        ([comment.body for comment in document.comments], [tag.name for tag in document.tags])
        for user in users
        for document in user.documents
    ]
    return jsonify(rows)


@bp.get("/five-batches")
def five_batches():
    """Five loaders of one select, each with a statement of its own at one line."""
    options = [
        selectinload(User.documents).selectinload(Document.tags),
        selectinload(User.memberships).selectinload(Membership.team),
        selectinload(User.comments),
        selectinload(User.profile),
    ]
    users = db.session.scalars(select(User).options(*options)).all()  # SILENT x7
    rows = [
        (
            user.profile.city,
            [(d.title, [tag.name for tag in d.tags]) for d in user.documents],
            [m.team.name for m in user.memberships],
            [comment.body for comment in user.comments],
        )
        for user in users
    ]
    return jsonify(rows)


@bp.get("/two-batches-one-table")
def two_batches_one_table():
    """Two loaders send the same statement with other keys."""
    options = selectinload(Order.billing_address), selectinload(Order.shipping_address)
    orders = db.session.scalars(select(Order).options(*options)).all()  # SILENT x3
    return jsonify([(o.billing_address.city, o.shipping_address.city) for o in orders])


@bp.get("/selectinload-to-one")
def selectin_to_one():
    comments = db.session.scalars(select(Comment).options(selectinload(Comment.author))).all()
    return jsonify([comment.author.name for comment in comments])  # SILENT x0


@bp.get("/subqueryload")
def subquery():
    # SILENT x2
    users = db.session.scalars(select(User).options(subqueryload(User.documents))).all()
    return jsonify([[document.title for document in user.documents] for user in users])  # SILENT x0


@bp.get("/contains-eager")
def contains():
    statement = select(Order).join(Order.customer).options(contains_eager(Order.customer))
    orders = db.session.scalars(statement.where(Customer.id < 9)).all()  # SILENT x1
    return jsonify([order.customer.name for order in orders])  # SILENT x0


@bp.get("/contains-eager-alias")
def contains_alias():
    author = aliased(User)
    statement = select(Comment).join(Comment.author.of_type(author))
    statement = statement.options(contains_eager(Comment.author.of_type(author)))
    comments = db.session.scalars(statement).all()
    return jsonify([comment.author.name for comment in comments])  # SILENT x0


@bp.get("/defaultload")
def default():
    option = defaultload(Customer.orders).selectinload(Order.lines)
    customer = db.session.scalars(select(Customer).options(option)).first()
    return jsonify([[line.quantity for line in o.lines] for o in customer.orders])  # SILENT x2


@bp.get("/mapped")
def mapped():
    """The mapping says joined, selectin and subquery."""
    albums = db.session.scalars(select(Album)).all()  # SILENT x3
    rows = []
    for album in albums:
        seconds = [track.seconds for track in album.tracks]  # SILENT x0
        stars = [review.stars for review in album.reviews]  # SILENT x0
        rows.append((album.label.name, seconds, stars))  # SILENT x0
    return jsonify(rows)


@bp.get("/raise-avoided")
def raise_avoided():
    albums = db.session.scalars(select(Album).options(selectinload(Album.awards))).all()
    return jsonify([[award.name for award in album.awards] for album in albums])  # SILENT x0


@bp.get("/raiseload")
def raising():
    option = selectinload(Customer.orders).raiseload("*")
    customers = db.session.scalars(select(Customer).options(option)).all()  # SILENT x2
    return jsonify([[order.status for order in c.orders] for c in customers])  # SILENT x0


@bp.get("/raiseload-sql-only")
def raising_on_sql():
    """What would need SQL raises; what is in the session does not."""
    users = db.session.scalars(select(User)).all()
    option = raiseload(Comment.author, sql_only=True)
    comments = db.session.scalars(select(Comment).options(option)).all()
    # SILENT x0
    return jsonify([comment.author.name for comment in comments], len(users))


@bp.get("/noload")
def none():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SADeprecationWarning)
        option = noload(User.documents)
    users = db.session.scalars(select(User).options(option)).all()
    return jsonify([list(user.documents) for user in users])  # SILENT x0


@bp.get("/loader-criteria")
def loader_criteria():
    options = selectinload(User.documents), with_loader_criteria(Document, Document.size > 500)
    users = db.session.scalars(select(User).options(*options)).all()  # SILENT x2
    return jsonify([[document.title for document in user.documents] for user in users])  # SILENT x0


@bp.get("/tree")
def tree():
    """Six levels deep, a batch a level, and each batch has but one key."""
    option = selectinload(Category.children, recursion_depth=-1)
    # SILENT x8
    category = db.session.scalars(select(Category).filter_by(id=14).options(option)).one()
    names = []
    while category:
        names.append(category.name)
        category = next(iter(category.children), None)  # SILENT x0
    return jsonify(names)


@bp.get("/tree-in-one-select")
def tree_in_one_select():
    """All nodes by one statement; the parents are found among them."""
    nodes = db.session.scalars(select(Category)).all()  # SILENT x1
    return jsonify([node.parent.name for node in nodes if node.parent])  # SILENT x0


@bp.get("/composite-key")
def composite_key():
    lines = db.session.scalars(select(OrderLine).options(selectinload(OrderLine.allocations))).all()
    return jsonify([[a.shelf for a in line.allocations] for line in lines])  # SILENT x0


@bp.get("/subclass-relationship")
def subclass_relationship():
    option = selectinload(Company.employees.of_type(Engineer)).selectinload(Engineer.laptops)
    companies = db.session.scalars(select(Company).options(option)).all()
    rows = []
    for company in companies:
        for employee in company.employees:
            if isinstance(employee, Engineer):
                rows.append([laptop.serial for laptop in employee.laptops])  # SILENT x0
    return jsonify(rows)


@bp.get("/legacy-query-options")
def legacy_query_options():
    orders = Order.query.options(joinedload(Order.customer), selectinload(Order.payments)).all()
    return jsonify([(o.customer.name, [p.amount for p in o.payments]) for o in orders])  # SILENT x0


@bp.get("/eager-by-get")
def eager_by_get():
    option = selectinload(User.documents).selectinload(Document.comments)
    user = db.session.get(User, 1, options=[option])  # SILENT x3
    return jsonify([[c.body for c in document.comments] for document in user.documents])


@bp.get("/many-entities")
def many_entities():
    rows = db.session.execute(select(Payment, Order).join(Payment.order)).all()  # SILENT x1
    return jsonify([(payment.amount, payment.order.status) for payment, _ in rows])  # SILENT x0


@bp.get("/loaded-by-hand")
def loaded_by_hand():
    """Two selects, and the relationship is put together in memory."""
    users = db.session.scalars(select(User)).all()
    documents = db.session.scalars(select(Document)).all()  # SILENT x1
    rows = {user.id: [] for user in users}
    for document in documents:
        rows[document.user.id].append(document.title)  # SILENT x0
    return jsonify(rows)


@bp.get("/immediateload")
def immediate():
    """Eager in name: one statement for each parent, at the line of the select."""
    # ORIGIN
    # FINDING n_plus_one User.documents instead x10 fix=selectinload(User.documents)
    users = db.session.scalars(select(User).options(immediateload(User.documents))).all()
    return jsonify([[document.title for document in user.documents] for user in users])


@bp.get("/eager-then-lazy")
def eager_then_lazy():
    """The second select of the same rows asks for less, and the rows are there already."""
    eager = db.session.scalars(select(User).options(selectinload(User.documents))).all()
    again = db.session.scalars(select(User).options(lazyload(User.documents))).all()
    assert eager == again
    return jsonify([[document.title for document in user.documents] for user in again])  # SILENT x0


@bp.get("/eager-but-expired")
def eager_but_expired():
    """What was loaded eagerly was thrown away again: the rows and their relationship come back."""
    users = db.session.scalars(select(User).options(joinedload(User.profile))).unique().all()
    for user in users:
        db.session.expire(user, ["profile"])
    # FINDING n_plus_one User.profile x10
    return jsonify([user.profile.city for user in users])
