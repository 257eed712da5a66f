"""One line that asks for many: helpers, serializers, schemas; who called them, how often."""

from dataclasses import dataclass

from flask import Blueprint, jsonify
from flask.views import MethodView
from sqlalchemy import func, select

from ..models import Customer, Document, Order, Post, Shelf, User, db
from ..schemas import DocumentSchema, OrderSchema, UserSchema, UserSummarySchema
from .decorators import timed

bp = Blueprint("shared_lines", __name__)


def count_documents(user, kind):
    statement = select(func.count(Document.id)).where(
        Document.user_id == user.id, Document.kind == kind
    )
    # FINDING n_plus_one Document x20 fix=GROUP_BY @shared_lines.two_adjacent_lines
    # FINDING n_plus_one Document x10 fix=GROUP_BY @shared_lines.called_once
    # FINDING n_plus_one Document x25 fix=GROUP_BY @shared_lines.more_here_than_there
    return db.session.scalar(statement)


@bp.get("/called-once")
def called_once():
    users = db.session.scalars(select(User)).all()
    # CALLER x10
    return jsonify([count_documents(user, "pdf") for user in users])


@bp.get("/two-adjacent-lines")
def two_adjacent_lines():
    rows = []
    for user in db.session.scalars(select(User)).all():
        pdfs = count_documents(user, "pdf")  # CALLER x10
        texts = count_documents(user, "txt")  # CALLER x10
        rows.append((user.name, pdfs, texts))
    return jsonify(rows)


@bp.get("/more-here-than-there")
def more_here_than_there():
    """Callers come most frequent first."""
    rows = []
    for user in db.session.scalars(select(User)).all():
        if user.id <= 5:
            rows.append(count_documents(user, "txt"))  # CALLER x5
        for kind in ("pdf", "png"):
            rows.append(count_documents(user, kind))  # CALLER x20
    return jsonify(rows)


ORDER_FIELDS = ("customer", "billing_address", "shipping_address", "lines", "payments")


def serialize(row, fields):
    result = {"id": row.id}
    for field in fields:
        # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
        #   @shared_lines.five_relationships_one_line
        # FINDING n_plus_one Order.billing_address x12 fix=joinedload(Order.billing_address)
        #   @shared_lines.five_relationships_one_line
        # FINDING n_plus_one Order.shipping_address x12 fix=joinedload(Order.shipping_address)
        #   @shared_lines.five_relationships_one_line
        # FINDING n_plus_one Order.lines x12 fix=selectinload(Order.lines)
        #   @shared_lines.five_relationships_one_line
        # FINDING n_plus_one Order.payments x12 fix=selectinload(Order.payments)
        #   @shared_lines.five_relationships_one_line
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        #   @shared_lines.two_models_one_line
        # FINDING n_plus_one Customer.address x12 fix=joinedload(Customer.address)
        #   @shared_lines.two_models_one_line
        value = getattr(row, field)
        result[field] = str(value)[:10]
    return result


@bp.get("/five-relationships-one-line")
def five_relationships_one_line():
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    # CALLER Order.customer x12; CALLER Order.billing_address x12
    # CALLER Order.shipping_address x12; CALLER Order.lines x12; CALLER Order.payments x12
    return jsonify([serialize(order, ORDER_FIELDS) for order in orders])


@bp.get("/two-models-one-line")
def two_models_one_line():
    users = db.session.scalars(select(User)).all()  # ORIGIN User.documents
    rows = [serialize(user, ["documents"]) for user in users]  # CALLER User.documents x10
    customers = db.session.scalars(select(Customer)).all()  # ORIGIN Customer.address
    rows += [serialize(row, ["address"]) for row in customers]  # CALLER Customer.address x12
    return jsonify(rows)


@bp.get("/nested-schema")
def nested_schema():
    """marshmallow walks the relationships: the line is where the schema was asked to."""
    users = db.session.scalars(select(User)).all()  # ORIGIN
    # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
    # FINDING n_plus_one Document.tags x30
    #   fix=selectinload(User.documents).selectinload(Document.tags)
    return jsonify(UserSchema(many=True).dump(users))


@bp.get("/nested-to-one-schema")
def nested_to_one_schema():
    orders = Order.query.all()  # ORIGIN
    schema = OrderSchema()
    # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
    # FINDING n_plus_one Customer.address x12
    #   fix=joinedload(Order.customer).joinedload(Customer.address)
    return schema.dumps(orders, many=True)


@bp.get("/pluck-schema")
def pluck_schema():
    rows = []
    for document in db.session.scalars(select(Document)):  # ORIGIN
        # FINDING n_plus_one Document.tags x30 fix=selectinload(Document.tags)
        rows.append(DocumentSchema().dump(document))
    return jsonify(rows)


@bp.get("/schema-method")
def schema_method():
    """The method of the schema asks; it is marshmallow that calls it, for the view's line."""
    users = db.session.scalars(select(User)).all()  # ORIGIN User.profile
    return jsonify(UserSummarySchema(many=True).dump(users))  # CALLER x10


def per_user(users, loader):
    return {user.name: loader(user) for user in users}  # CALLER x10 @shared_lines.callback


@bp.get("/callback")
def callback():
    """The line is in the function handed over, not in the loop that calls it."""
    users = db.session.scalars(select(User)).all()
    newest = select(func.max(Post.id))
    # FINDING n_plus_one Post x10 fix=GROUP_BY
    rows = per_user(users, lambda user: db.session.scalar(newest.filter_by(author_id=user.id)))
    return jsonify(rows)


@bp.get("/mapped-function")
def mapped_function():
    """``map`` and ``sorted`` are the language's own: they are no callers."""
    orders = db.session.scalars(select(Order)).all()  # ORIGIN

    def customer_name(order):
        # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
        return order.customer.name

    return jsonify(sorted(map(customer_name, orders)))  # CALLER x12


def walk(orders):
    for order in orders:
        # FINDING n_plus_one Order.lines x12 fix=selectinload(Order.lines) @shared_lines.generator
        yield from order.lines


@bp.get("/generator")
def generator():
    """A generator's caller is who takes the next value."""
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    quantities = []
    for line in walk(orders):  # CALLER x12
        quantities.append(line.quantity)
    return jsonify(quantities)


class OrderList(MethodView):
    decorators = (timed,)

    def get(self):
        return jsonify([self.row(order) for order in self.orders()])  # CALLER x12

    def orders(self):
        return db.session.scalars(select(Order)).all()  # ORIGIN

    def row(self, order):
        # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
        return {"id": order.id, "customer": order.customer.name}


bp.add_url_rule("/orders", view_func=OrderList.as_view("method_view"))


@bp.get("/two-helpers-deep")
def two_helpers_deep():
    """One step out is the helper's caller, not the view."""
    users = db.session.scalars(select(User)).all()
    return jsonify([report(user) for user in users])


def report(user):
    return f"{user.name}: {posts_of(user.id)}"  # CALLER x10 @shared_lines.two_helpers_deep


def posts_of(user_id):
    # FINDING n_plus_one Post x10 fix=GROUP_BY @shared_lines.two_helpers_deep
    return db.session.scalar(select(func.count(Post.id)).where(Post.author_id == user_id))


@dataclass
class CustomerCard:
    """Asks when it is made; the generated ``__init__`` between is no application line."""

    number: int
    name: str = ""

    def __post_init__(self):
        # FINDING n_plus_one Customer x10 fix=IN @shared_lines.dataclass_that_asks
        self.name = db.session.get(Customer, self.number).name


@bp.get("/dataclass-that-asks")
def dataclass_that_asks():
    cards = []
    for number in range(1, 11):
        cards.append(CustomerCard(number))  # CALLER x10
    return jsonify([card.name for card in cards])


@bp.get("/loaded-by-json")
def loaded_by_json():
    """Flask's JSON turns dataclasses into dicts, relationships too, for the line of jsonify."""
    labels = db.session.scalars(select(Shelf)).all()  # ORIGIN
    # FINDING n_plus_one Shelf.boxes x10 fix=selectinload(Shelf.boxes)
    return jsonify(labels)


@bp.get("/loaded-after-the-view")
def loaded_after_the_view():
    """The view has returned when its rows become JSON: no line of it runs any more."""
    shelves = db.session.scalars(select(Shelf)).all()  # ORIGIN
    # FINDING n_plus_one Shelf.boxes anywhere x10 fix=selectinload(Shelf.boxes)
    return {"shelves": shelves}
