"""Lazy relationships of every cardinality, walked in a loop."""

from operator import attrgetter

from flask import Blueprint, jsonify
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, lazyload

from ..models import (
    Allocation,
    Category,
    Comment,
    Company,
    Customer,
    Document,
    Engineer,
    Label,
    Membership,
    Order,
    OrderLine,
    Payment,
    Tag,
    User,
    db,
)

bp = Blueprint("relationships", __name__)


@bp.get("/after-select-of-columns")
def after_select_of_columns():
    """A later select of the same table's columns brings no objects, nor does a count."""
    users = db.session.scalars(select(User)).all()  # ORIGIN
    names = db.session.execute(select(User.id, User.name).limit(20)).all()
    count = db.session.scalar(select(func.count()).select_from(User))
    # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
    sizes = [len(user.documents) for user in users]
    return jsonify(sizes, len(names), count)


@bp.get("/to-many")
def to_many():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    result = {}
    for user in users:
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        result[user.name] = [document.title for document in user.documents]
    return jsonify(result)


@bp.get("/to-one")
def to_one():
    orders = db.session.scalars(select(Order).order_by(Order.id)).all()  # ORIGIN
    rows = []
    for order in orders:
        # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
        rows.append({"id": order.id, "customer": order.customer.name})
    return jsonify(rows)


@bp.get("/one-to-one")
def one_to_one():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    # FINDING n_plus_one User.profile x10 fix=joinedload(User.profile)
    return jsonify([user.profile.city for user in users])


@bp.get("/one-to-one-other-side")
def one_to_one_other_side():
    """A to-one that is the same row for several parents is asked once each row."""
    comments = db.session.scalars(select(Comment).order_by(Comment.id)).all()  # ORIGIN
    # FINDING n_plus_one Comment.author x10 fix=joinedload(Comment.author)
    return jsonify([comment.author.name for comment in comments])


@bp.get("/many-to-many")
def many_to_many():
    documents = db.session.scalars(select(Document)).all()  # ORIGIN
    rows = {}
    for document in documents:
        # FINDING n_plus_one Document.tags x30 fix=selectinload(Document.tags)
        rows[document.id] = [tag.name for tag in document.tags]
    return jsonify(rows)


@bp.get("/many-to-many-other-side")
def many_to_many_other_side():
    rows = []
    for tag in db.session.scalars(select(Tag)):  # ORIGIN
        # FINDING n_plus_one Tag.documents x15 fix=selectinload(Tag.documents)
        rows.append(f"{tag.name}: {len(tag.documents)} {[d.title for d in tag.documents]}")
    return jsonify(rows)


@bp.get("/association-object")
def association_object():
    memberships = db.session.scalars(select(Membership)).all()  # ORIGIN
    # FINDING n_plus_one Membership.team x12 fix=joinedload(Membership.team)
    return jsonify([f"{m.role} of {m.team.name}" for m in memberships])


def names_below(category):
    names = [category.name]
    # FINDING n_plus_one Category.children x13
    #   fix=selectinload(Category.children,recursion_depth=10)
    #   @relationships.tree
    for child in category.children:
        names += names_below(child)  # CALLER Category.children x12 @relationships.tree
    return names


@bp.get("/tree")
def tree():
    root = db.session.scalars(select(Category).where(Category.id == 1)).one()  # ORIGIN
    return jsonify(names_below(root))  # CALLER Category.children x1


@bp.get("/breadcrumbs")
def breadcrumbs():
    category = db.session.get(Category, 20)  # ORIGIN
    names = [category.name]
    # FINDING n_plus_one Category.parent x6
    while category.parent is not None:
        category = category.parent
        names.append(category.name)
    return jsonify(names)


@bp.get("/two-relationships-one-table")
def two_relationships_one_table():
    """One statement, two relationships: the same SQL is two findings."""
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    rows = []
    for order in orders:
        # FINDING n_plus_one Order.billing_address x12 fix=joinedload(Order.billing_address)
        billing = order.billing_address
        # FINDING n_plus_one Order.shipping_address x12 fix=joinedload(Order.shipping_address)
        shipping = order.shipping_address
        rows.append((billing.city, shipping.city))
    return jsonify(rows)


@bp.get("/two-relationships-one-line")
def two_relationships_one_line():
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    rows = []
    for order in orders:
        # FINDING n_plus_one Order.billing_address x12 fix=joinedload(Order.billing_address)
        # FINDING n_plus_one Order.shipping_address x12 fix=joinedload(Order.shipping_address)
        rows.append((order.billing_address.city, order.shipping_address.city))
    return jsonify(rows)


@bp.get("/composite-key-to-many")
def composite_key_to_many():
    lines = db.session.scalars(select(OrderLine)).all()  # ORIGIN
    # FINDING n_plus_one OrderLine.allocations x24 fix=selectinload(OrderLine.allocations)
    return jsonify([[a.shelf for a in line.allocations] for line in lines])


@bp.get("/composite-key-to-one")
def composite_key_to_one():
    allocations = db.session.scalars(select(Allocation)).all()  # ORIGIN
    # FINDING n_plus_one Allocation.line x24 fix=joinedload(Allocation.line)
    return jsonify([allocation.line.quantity for allocation in allocations])


@bp.get("/custom-primaryjoin")
def custom_primaryjoin():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    # FINDING n_plus_one User.drafts x10 fix=selectinload(User.drafts)
    return jsonify({user.name: [draft.title for draft in user.drafts] for user in users})


@bp.get("/same-table-two-ways")
def same_table_two_ways():
    """A relationship and its filtered sister: two causes at two lines."""
    users = db.session.scalars(select(User)).all()  # ORIGIN
    rows = []
    for user in users:
        # FINDING n_plus_one User.drafts x10 fix=selectinload(User.drafts)
        drafts = [draft.title for draft in user.drafts]
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        rows.append((drafts, [document.title for document in user.documents]))
    return jsonify(rows)


@bp.get("/to-joined-subclasses")
def to_joined_subclasses():
    companies = db.session.scalars(select(Company)).all()  # ORIGIN
    # FINDING n_plus_one Company.employees x6 fix=selectinload(Company.employees)
    return jsonify({c.name: [employee.name for employee in c.employees] for c in companies})


@bp.get("/of-a-subclass")
def of_a_subclass():
    engineers = db.session.scalars(select(Engineer)).all()  # ORIGIN
    # FINDING n_plus_one Engineer.laptops x12 fix=selectinload(Engineer.laptops)
    return jsonify({e.name: [laptop.serial for laptop in e.laptops] for e in engineers})


@bp.get("/to-single-table-subclasses")
def to_single_table_subclasses():
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    # FINDING n_plus_one Order.payments x12 fix=selectinload(Order.payments)
    return jsonify([[payment.amount for payment in order.payments] for order in orders])


@bp.get("/inherited-relationship")
def inherited_relationship():
    payments = db.session.scalars(select(Payment)).all()  # ORIGIN
    # FINDING n_plus_one Payment.order x12 fix=joinedload(Payment.order)
    return jsonify([payment.order.status for payment in payments])


@bp.get("/empty-children")
def empty_children():
    """Leaves have no children, yet each of them is asked."""
    leaves = db.session.scalars(select(Category).where(Category.id.between(5, 13)))  # ORIGIN
    # FINDING n_plus_one Category.children x9 fix=selectinload(Category.children)
    #   fix=selectinload(Category.children,recursion_depth=10)
    return jsonify([leaf.name for leaf in leaves if not leaf.children])


@bp.get("/lazyload-option")
def lazyload_option():
    """The option undoes what another part of the statement asked for."""
    # ORIGIN
    users = db.session.scalars(select(User).options(lazyload(User.documents))).all()
    # FINDING n_plus_one User.documents instead x10 fix=selectinload(User.documents)
    return jsonify([document.title for user in users for document in user.documents])


@bp.get("/joined-without-contains-eager")
def joined_without_contains_eager():
    """A JOIN filters; it fills no relationship."""
    # ORIGIN
    query = db.session.query(Customer).join(Customer.orders).filter(Order.status == "open").all()
    # FINDING n_plus_one Customer.orders x6 fix=selectinload(Customer.orders)
    return jsonify([order.status for customer in query for order in customer.orders])


@bp.get("/wrong-eager-load")
def wrong_eager_load():
    """One relationship is loaded with the rows, the loop walks the other."""
    # ORIGIN
    orders = db.session.scalars(select(Order).options(joinedload(Order.billing_address))).all()
    # FINDING n_plus_one Order.shipping_address x12 fix=joinedload(Order.shipping_address)
    return jsonify([(o.billing_address.city, o.shipping_address.city) for o in orders])


@bp.get("/legacy-query")
def legacy_query():
    users = User.query.order_by(User.name).all()  # ORIGIN
    # FINDING n_plus_one User.comments x10 fix=selectinload(User.comments)
    return jsonify([[comment.body for comment in user.comments] for user in users])


@bp.get("/spread-over-lines")
def spread_over_lines():
    """A statement that spans lines is named by the line where its call begins."""
    users = (
        db.session.execute(  # ORIGIN
            select(User).where(
                User.id > 0,
            )
        )
        .scalars()
        .all()
    )
    rows = [
        {
            "name": user.name,
            # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
            "documents": [document.title for document in user.documents],
        }
        for user in users
    ]
    return jsonify(rows)


@bp.get("/while-loop")
def while_loop():
    waiting = db.session.scalars(select(Order).order_by(Order.id)).all()  # ORIGIN
    names = []
    while waiting:
        order = waiting.pop()
        # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
        names.append(order.customer.name)
    return jsonify(names)


@bp.get("/sorted-by-relationship")
def sorted_by_relationship():
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
    orders = sorted(orders, key=lambda order: order.customer.name)
    return jsonify([order.id for order in orders])


@bp.post("/append")
def append():
    """Appending needs the collection, so it is loaded, one parent at a time."""
    users = db.session.scalars(select(User)).all()  # ORIGIN
    with db.session.no_autoflush:
        for user in users:
            # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
            user.documents.append(Document(title="new"))
    db.session.rollback()
    return ""


@bp.post("/set-the-other-side")
def set_the_other_side():
    """The same link made from the child's side needs no collection, until one reads it."""
    users = db.session.scalars(select(User)).all()  # ORIGIN
    with db.session.no_autoflush:
        for user in users:
            Document(title="new", user=user)  # SILENT x0
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        counts = [len(user.documents) for user in users]
    db.session.rollback()
    return jsonify(counts)


@bp.get("/just-the-threshold")
def just_the_threshold():
    users = db.session.scalars(select(User).limit(5)).all()  # ORIGIN
    # FINDING n_plus_one User.documents x5 fix=selectinload(User.documents)
    return jsonify([[document.title for document in user.documents] for user in users])


@bp.get("/attrgetter")
def by_attrgetter():
    """C code reads the attribute, for this line."""
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
    orders.sort(key=attrgetter("customer.name"))
    return jsonify([order.id for order in orders])


@bp.get("/stops-early")
def stops_early():
    """The loop ends at the sixth row; so do the loads."""
    users = db.session.scalars(select(User).order_by(User.id)).all()  # ORIGIN
    # FINDING n_plus_one User.profile x6 fix=joinedload(User.profile)
    return jsonify(next(user.name for user in users if user.profile.city == "city 6"))


@bp.get("/in-a-stream-of-rows")
def in_a_stream_of_rows():
    """The parents come three at a time, and are gone when the next come."""
    names = []
    statement = select(User).execution_options(yield_per=3)
    for user in db.session.scalars(statement):  # ORIGIN
        # FINDING n_plus_one User.memberships x10 fix=selectinload(User.memberships)
        names.append((user.name, [membership.role for membership in user.memberships]))
    return jsonify(names)


@bp.get("/page-of-parents")
def page_of_parents():
    # ORIGIN
    page = db.paginate(select(Order).order_by(Order.id), page=1, per_page=10)
    # FINDING n_plus_one Order.customer x10 fix=joinedload(Order.customer)
    return jsonify([order.customer.name for order in page.items])


@bp.get("/rows-of-two-entities")
def rows_of_two_entities():
    statement = select(Payment, Order).join(Payment.order).where(Payment.type == "card")
    rows = []
    for payment, order in db.session.execute(statement):  # ORIGIN
        # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
        rows.append((payment.amount, order.customer.name))
    return jsonify(rows)


@bp.get("/batches-of-the-mapping")
def batches_of_the_mapping():
    """Each lazy load of albums brings their tracks and reviews: one cause, three statements."""
    labels = db.session.scalars(select(Label)).all()  # ORIGIN
    rows = []
    for label in labels:
        # FINDING n_plus_one Label.albums x6 runs=18 fix=selectinload(Label.albums)
        rows.append([(album.title, len(album.tracks)) for album in label.albums])
    return jsonify(rows)


@bp.get("/head")
def asked_by_head():
    """The body is dropped, the statements are sent all the same."""
    # REQUEST HEAD
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
    return jsonify([order.customer.name for order in orders])


@bp.get("/another-select-between")
def another_select_between():
    """A later select brings one of the rows again; the loop's rows came with the first."""
    users = db.session.scalars(select(User)).all()  # ORIGIN
    owner = db.session.scalars(select(User).where(User.id == 1)).one()
    # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
    return jsonify(owner.name, [[d.title for d in user.documents] for user in users])


@bp.get("/another-get-before")
def another_get_before():
    """A hook's get brought one row before; the list brought the others."""
    owner = db.session.get(User, 1)
    users = db.session.scalars(select(User)).all()  # ORIGIN
    # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
    return jsonify(owner.name, [[d.title for d in user.documents] for user in users])


@bp.get("/two-lists-of-one-model")
def two_lists_of_one_model():
    """Each list has its own relationship loaded: each finding has its own origin."""
    first = db.session.scalars(select(User).where(User.id <= 5)).all()  # ORIGIN User.documents
    rows = []
    for user in first:
        # FINDING n_plus_one User.documents x5 fix=selectinload(User.documents)
        rows.append([document.title for document in user.documents])
    others = db.session.scalars(select(User).where(User.id > 5)).all()  # ORIGIN User.comments
    for user in others:
        # FINDING n_plus_one User.comments x5 fix=selectinload(User.comments)
        rows.append([comment.body for comment in user.comments])
    return jsonify(rows)
