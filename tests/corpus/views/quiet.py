"""Views that look guilty and are not: below the threshold, in the session already, cached."""

from functools import cache

from flask import Blueprint, g, jsonify, request
from flask.views import MethodView
from sqlalchemy import exists, func, literal, select, text, union_all
from sqlalchemy.orm import Session

from ..app import plain_engine
from ..models import (
    Comment,
    Customer,
    Document,
    Order,
    Payment,
    Post,
    Product,
    Reading,
    Setting,
    Tag,
    Ticket,
    User,
    db,
)

bp = Blueprint("quiet", __name__)


@bp.get("/four-lazy-loads")
def four_lazy_loads():
    users = db.session.scalars(select(User).limit(4)).all()
    return jsonify([[d.title for d in user.documents] for user in users])  # SILENT x4


@bp.get("/four-gets")
def four_gets():
    return jsonify([db.session.get(Customer, i).name for i in range(1, 5)])  # SILENT x4


@bp.get("/a-few-gets-in-a-row")
def a_few_gets_in_a_row():
    """Three rows that are each named in the code."""
    admin = db.session.get(User, 1)  # SILENT x1
    guest = db.session.get(User, 2)  # SILENT x1
    robot = db.session.get(User, 3)  # SILENT x1
    return jsonify(admin.name, guest.name, robot.name)


@bp.get("/four-on-each-of-two-lines")
def four_on_each_of_two_lines():
    """Eight loads of two relationships, four each."""
    orders = db.session.scalars(select(Order).limit(4)).all()
    rows = []
    for order in orders:
        name = order.customer.name  # SILENT x4
        rows.append((name, [payment.amount for payment in order.payments]))  # SILENT x4
    return jsonify(rows)


@bp.get("/several-requests")
def several_requests():
    """Three requests of four loads each are no request of twelve."""
    # REQUEST repeat=3
    users = db.session.scalars(select(User).limit(4)).all()
    return jsonify([user.profile.city for user in users])  # SILENT x12


@bp.get("/identity-map")
def identity_map():
    """Every author was selected before the comments that name them."""
    authors = {user.id: user for user in db.session.scalars(select(User))}
    comments = db.session.scalars(select(Comment)).all()
    rows = [comment.author.name for comment in comments]  # SILENT x0
    return jsonify(rows, len(authors))


@bp.get("/get-from-identity-map")
def get_from_identity_map():
    customers = db.session.scalars(select(Customer)).all()
    names = [db.session.get(Customer, i).name for i in range(1, 13)]  # SILENT x0
    return jsonify(names, len(customers))


@bp.get("/few-parents-many-children")
def few_parents_many_children():
    """Sixty comments, whose thirty documents are there; three documents a user."""
    documents = db.session.scalars(select(Document)).all()
    comments = db.session.scalars(select(Comment)).all()
    titles = [comment.document.title for comment in comments]  # SILENT x0
    return jsonify(titles, len(documents))


@bp.get("/three-distinct-parents")
def three_distinct_parents():
    """Nine documents of three users: three loads, whatever the number of rows."""
    documents = db.session.scalars(select(Document).order_by(Document.id).limit(9)).all()
    return jsonify([document.user.name for document in documents])  # SILENT x3


@bp.get("/null-keys")
def null_keys():
    """A key that is NULL needs no query."""
    orders = db.session.scalars(select(Order)).all()
    return jsonify([order.seller.name if order.seller else None for order in orders])  # SILENT x2


@bp.get("/empty-result")
def empty_result():
    users = db.session.scalars(select(User).where(User.name == "nobody")).all()  # SILENT x1
    return jsonify([[document.title for document in user.documents] for user in users])  # SILENT x0


@bp.get("/one-large-collection")
def one_large_collection():
    user = db.session.get(User, 1)
    comments = [comment.body for comment in user.comments]  # SILENT x1
    return jsonify(comments, [comment.id for comment in user.comments])  # SILENT x0


@bp.get("/head")
def head():
    # REQUEST HEAD
    if request.method == "HEAD":
        return "", {"X-Total": db.session.scalar(select(func.count(User.id)))}  # SILENT x1
    return jsonify([user.profile.city for user in User.query])  # SILENT x0


@bp.route("/options", methods=["GET", "OPTIONS"])
def options():
    # REQUEST OPTIONS
    if request.method == "OPTIONS":
        return "", {"Access-Control-Allow-Origin": "*"}  # SILENT x0
    return jsonify([user.profile.city for user in User.query])


@bp.get("/automatic-options")
def automatic_options():
    # REQUEST OPTIONS
    return jsonify([user.profile.city for user in User.query])  # SILENT x0


@bp.get("/aborted-early")
def aborted_early():
    # REQUEST status=404
    if db.session.get(User, 99) is None:  # SILENT x1
        return "no such user", 404
    return jsonify([user.profile.city for user in User.query])  # SILENT x0


def rate(kind, known):
    if kind not in known:
        statement = select(func.max(Document.size)).where(Document.kind == kind)
        known[kind] = db.session.scalar(statement)  # SILENT x3 @quiet.memo
    return known[kind]


@bp.get("/memo")
def memo():
    """Thirty questions, three kinds: three statements."""
    known = {}
    documents = db.session.scalars(select(Document)).all()
    return jsonify([rate(document.kind, known) for document in documents])


@bp.get("/cached-function")
def cached_function():
    @cache
    def kind_total(kind):
        return db.session.scalar(select(func.sum(Document.size)).filter_by(kind=kind))  # SILENT x3

    kinds = db.session.scalars(select(Document.kind)).all()
    return jsonify([kind_total(kind) for kind in kinds])


@bp.get("/kept-in-g")
def kept_in_g():
    def vat():
        if "vat" not in g:
            g.vat = db.session.get(Setting, "vat").value  # SILENT x1
        return g.vat

    products = db.session.scalars(select(Product)).all()
    return jsonify([f"{product.price} + {vat()}" for product in products])


def fetch(statement):
    # SILENT x7 @quiet.one_helper_many_statements
    return db.session.execute(statement).scalars().all()


@bp.get("/one-helper-many-statements")
def one_helper_many_statements():
    """One line runs seven statements that are not alike."""
    models = (User, Document, Tag, Comment, Post, Customer, Product)
    return jsonify({model.__name__: len(fetch(select(model))) for model in models})


@bp.get("/one-helper-many-filters")
def one_helper_many_filters():
    """The same table, but each time another condition."""
    conditions = (
        Document.size > 1000,
        Document.state == "draft",
        Document.kind.in_(["pdf", "png"]),
        Document.title.like("%1%"),
        Document.user_id.is_not(None),
        Document.uploaded_at < func.now(),
    )
    rows = []
    for condition in conditions:
        statement = select(func.count()).select_from(Document).where(condition)
        rows.append(db.session.scalar(statement))  # SILENT x6
    return jsonify(rows)


@bp.get("/dashboard")
def dashboard():
    """Many single numbers, each of a statement of its own."""
    return jsonify(
        users=db.session.scalar(select(func.count(User.id))),  # SILENT x1
        documents=db.session.scalar(select(func.count(Document.id))),  # SILENT x1
        drafts=db.session.scalar(select(func.count()).where(Document.state == "draft")),
        orders=db.session.scalar(select(func.count(Order.id))),
        open_orders=db.session.scalar(select(func.count(Order.id)).filter_by(status="open")),
        paid=db.session.scalar(select(func.sum(Payment.amount))),
        tickets=db.session.scalar(select(func.count(Ticket.id))),
    )


@bp.get("/group-by")
def group_by():
    counts = select(Document.user_id, func.count().label("n")).group_by(Document.user_id)
    by_user = {row.user_id: row.n for row in db.session.execute(counts)}  # SILENT x1
    users = db.session.scalars(select(User)).all()
    return jsonify({user.name: by_user.get(user.id, 0) for user in users})  # SILENT x0


@bp.get("/one-in-query")
def one_in_query():
    orders = db.session.scalars(select(Order)).all()
    keys = {order.customer_id for order in orders}
    customers = select(Customer).where(Customer.id.in_(keys))
    by_key = {customer.id: customer for customer in db.session.scalars(customers)}  # SILENT x1
    rows = [(by_key[order.customer_id].name, order.customer.id) for order in orders]  # SILENT x0
    return jsonify(rows)


@bp.get("/correlated")
def correlated():
    """EXISTS and a count for each row, but inside one statement."""
    has_draft = exists().where(Document.user_id == User.id, Document.state == "draft")
    posts = select(func.count(Post.id)).where(Post.author_id == User.id).scalar_subquery()
    rows = db.session.execute(select(User.name, has_draft, posts)).all()  # SILENT x1
    return jsonify([tuple(row) for row in rows])


@bp.get("/window")
def window():
    """The newest document of each user in one statement."""
    ranked = select(
        Document.title,
        func.row_number()
        .over(partition_by=Document.user_id, order_by=Document.uploaded_at.desc())
        .label("place"),
    ).subquery()
    # SILENT x1
    return jsonify(db.session.scalars(select(ranked.c.title).where(ranked.c.place == 1)).all())


@bp.get("/one-union")
def one_union():
    number = func.count(Post.id)
    parts = [select(literal(i), number).where(Post.author_id == i) for i in range(1, 9)]
    return jsonify([tuple(row) for row in db.session.execute(union_all(*parts))])  # SILENT x1


@bp.get("/text-and-orm-agree")
def text_and_orm_agree():
    """The same question in two ways is two statements."""
    by_text = db.session.execute(text("SELECT count(*) FROM users")).scalar()  # SILENT x1
    by_orm = db.session.scalar(select(func.count()).select_from(User))  # SILENT x1
    return jsonify(by_text, by_orm)


@bp.get("/ids-only")
def ids_only():
    """Foreign keys are columns: reading them loads nothing."""
    orders = db.session.scalars(select(Order)).all()
    return jsonify([(order.customer_id, order.billing_address_id) for order in orders])  # SILENT x0


@bp.get("/never-touched")
def never_touched():
    users = db.session.scalars(select(User)).all()  # SILENT x1
    return jsonify([user.name for user in users])  # SILENT x0


@bp.get("/plain-session")
def plain_session():
    with Session(plain_engine()) as session:
        values = session.scalars(select(Reading.value)).all()  # SILENT x1
    return jsonify(sum(values))


@bp.get("/no-query")
def no_query():
    return jsonify(sum(range(100)))  # SILENT x0


@bp.get("/ping")
def ping():
    """What a health check asks."""
    return jsonify(db.session.execute(text("SELECT 1")).scalar())  # SILENT x1


class TicketView(MethodView):
    def get(self, number):
        # REQUEST GET /tickets/3
        ticket = db.session.get(Ticket, number)  # SILENT x1
        return jsonify(ticket.state)


bp.add_url_rule("/tickets/<int:number>", view_func=TicketView.as_view("one_ticket"))


@bp.get("/recursive-cte")
def recursive_cte():
    statement = text(
        "WITH RECURSIVE below(id) AS (SELECT id FROM categories WHERE id = 1"
        " UNION ALL SELECT c.id FROM categories c JOIN below ON c.parent_id = below.id)"
        " SELECT count(*) FROM below"
    )
    return jsonify(db.session.execute(statement).scalar())  # SILENT x1


@bp.get("/polling")
def polling():
    """Two keys asked again and again: no loop over rows, though the answers are the same."""
    states = []
    for _ in range(5):
        for key in (1, 2):
            statement = select(Ticket.state).where(Ticket.id == key)
            # ALLOWED duplicate_query Ticket
            states.append(db.session.scalar(statement))  # SILENT x10
    return jsonify(states)
