"""Queries outside the view's own body: hooks, streams, error handlers, class-based views."""

from flask import (
    Blueprint,
    Response,
    abort,
    after_this_request,
    g,
    jsonify,
    request,
    stream_with_context,
)
from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload
from werkzeug.local import LocalProxy

from ..app import plain_engine
from ..models import AuditEntry, Customer, Document, Order, Post, Product, User, db

bp = Blueprint("lifecycle", __name__)
before = Blueprint("before", __name__, url_prefix="/before")
after = Blueprint("after", __name__, url_prefix="/after")
teardown = Blueprint("teardown", __name__, url_prefix="/teardown")
failing = Blueprint("failing", __name__, url_prefix="/failing")
mine = Blueprint("mine", __name__, url_prefix="/mine")


@before.before_request
def load_permissions():
    g.counts = {}
    for i in range(1, 11):
        statement = select(func.count(Post.id)).where(Post.author_id == i)
        # FINDING n_plus_one Post x10 fix=GROUP_BY
        #   @lifecycle.before.before_request,lifecycle.before.before_request_answers
        g.counts[i] = db.session.scalar(statement)
    if request.path.endswith("answered"):
        return jsonify(g.counts)
    return None


@before.get("/request")
def before_request():
    return jsonify(g.counts)  # SILENT x0


@before.get("/answered")
def before_request_answers():
    """The hook answers; the view is never reached."""
    return jsonify([user.profile.city for user in User.query])  # SILENT x0


@after.after_request
def add_totals(response):
    totals = []
    for order in db.session.scalars(select(Order)).all():  # ORIGIN @lifecycle.after.after_request
        # FINDING n_plus_one Order.lines x12 fix=selectinload(Order.lines)
        #   @lifecycle.after.after_request
        totals.append(str(len(order.lines)))
    response.headers["X-Lines"] = ",".join(totals)
    return response


@after.get("/request")
def after_request():
    return ""  # SILENT x0


@bp.get("/after-this-request")
def after_this_one():
    @after_this_request
    def remember(response):
        for i in range(1, 11):
            db.session.add(AuditEntry(action=f"seen {i}"))
            db.session.commit()  # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL
        return response

    return ""


@teardown.teardown_request
def forget(error):
    """The session of the request is still there."""
    for i in range(1, 11):
        # FINDING n_plus_one Product x10 fix=IN @lifecycle.teardown.teardown_request
        assert db.session.get(Product, i).name


@teardown.get("/request")
def teardown_request():
    return ""  # SILENT x0


@failing.errorhandler(404)
def not_found(error):
    suggestions = []
    for customer in db.session.scalars(select(Customer)):  # ORIGIN @lifecycle.failing.error_handler
        # FINDING n_plus_one Customer.address x12 fix=joinedload(Customer.address)
        #   @lifecycle.failing.error_handler
        suggestions.append(customer.address.city)
    return jsonify(suggestions), 404


@failing.get("/handled")
def error_handler():
    # REQUEST status=404
    abort(404)  # SILENT x0


@bp.get("/aborted")
def aborted():
    # REQUEST status=403
    for order in db.session.scalars(select(Order)).all():  # ORIGIN
        # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
        if order.customer.name == "customer 99":
            return ""
    return abort(403)


@bp.get("/raising")
def raising():
    # REQUEST status=500
    names = []
    for order in db.session.scalars(select(Order)).all():  # ORIGIN
        # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
        names.append(order.customer.name)
    raise RuntimeError(names[0])


def find_user():
    if "user" not in g:
        g.user = db.session.get(User, 1)  # ORIGIN @lifecycle.mine.documents
    return g.user


current_user = LocalProxy(find_user)


@mine.before_request
def require_user():
    if current_user.name == "nobody":
        abort(401)


@mine.get("/documents")
def documents():
    """The user came in a hook; the loop walks their documents."""
    rows = []
    for comment in current_user.comments:
        # FINDING n_plus_one Comment.document x6
        #   fix=selectinload(User.comments).joinedload(Comment.document)
        rows.append(comment.document.title)
    return jsonify(rows)


@mine.get("/name")
def name():
    return jsonify([current_user.name for _ in range(10)])  # SILENT x0


@bp.get("/stream-with-context")
def streamed_with_context():
    @stream_with_context
    def lines():
        for order in db.session.scalars(select(Order)):  # ORIGIN
            # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
            yield f"{order.id},{order.customer.name}\n"

    return Response(lines(), mimetype="text/csv")


@bp.get("/plain-stream")
def plain_stream():
    """No context while the body is sent, only a session of the stream's own."""
    engine = plain_engine()

    def lines():
        with Session(engine) as session:
            for order in session.scalars(select(Order)):  # ORIGIN
                # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
                yield f"{order.id},{order.customer.name}\n"

    return Response(lines(), mimetype="text/csv")


class Export:
    """An iterable that asks for one more row whenever the server takes one."""

    def __init__(self, engine):
        self.session = Session(engine)
        self.numbers = iter(range(1, 11))

    def __iter__(self):
        return self

    def __next__(self):
        # FINDING n_plus_one Product x10 fix=IN @lifecycle.iterator_stream
        return f"{self.session.get(Product, next(self.numbers)).name}\n"

    def close(self):
        self.session.close()


@bp.get("/iterator-stream")
def iterator_stream():
    return Response(Export(plain_engine()))


@bp.get("/helper-in-stream")
def helper_in_stream():
    engine = plain_engine()

    def posts_of(session, user_id):
        # FINDING n_plus_one Post x10 fix=GROUP_BY
        return session.scalar(select(func.count(Post.id)).where(Post.author_id == user_id))

    def lines():
        with Session(engine) as session:
            for i in range(1, 11):
                yield f"{i}: {posts_of(session, i)}\n"  # CALLER x10

    return Response(lines())


@bp.get("/before-and-in-stream")
def before_and_in_stream():
    """A loop in the view, another in its stream: two findings of one request."""
    engine = plain_engine()
    # FINDING n_plus_one Customer x10 fix=IN
    names = [db.session.get(Customer, i).name for i in range(1, 11)]

    def lines():
        yield ",".join(names)
        with Session(engine) as session:
            for i in range(1, 11):
                yield session.get(Product, i).name  # FINDING n_plus_one Product x10 fix=IN

    return Response(lines())


@bp.get("/quiet-stream")
def quiet_stream():
    engine = plain_engine()

    def lines():
        with Session(engine) as session:
            statement = select(User).options(selectinload(User.documents))
            for user in session.scalars(statement.execution_options(yield_per=3)):  # SILENT x5
                yield f"{user.name}: {[d.title for d in user.documents]}\n"  # SILENT x0

    return Response(lines())


@bp.post("/two-kinds")
def two_kinds():
    """Reads and writes in one loop."""
    # ORIGIN Document.comments
    for document in db.session.scalars(select(Document).limit(10)).all():
        # FINDING n_plus_one Document.comments x10 fix=selectinload(Document.comments)
        db.session.add(AuditEntry(action=f"{len(document.comments)} comments"))
        db.session.flush()  # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL
    db.session.commit()
    return ""


for nested in (before, after, teardown, failing, mine):
    bp.register_blueprint(nested)
