"""A wrapper that only passes a call on is no caller; a function that works through it is one."""

import functools
import time

from flask import Blueprint, jsonify
from sqlalchemy import func, select

from ..models import Document, Order, Post, Product, Ticket, User, db

bp = Blueprint("decorators", __name__)


def timed(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            wrapper.seconds = time.perf_counter() - start

    return wrapper


def logged(message):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            wrapper.messages.append(message)
            result = function(*args, **kwargs)
            wrapper.messages.append("done")
            return result

        wrapper.messages = []
        return wrapper

    return decorate


def logged_method(method):
    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        self.calls += 1
        return method(self, *args, **kwargs)

    return wrapper


@timed
def newest_post(user_id):
    statement = select(Post).filter_by(author_id=user_id).order_by(Post.id.desc()).limit(1)
    # FINDING n_plus_one Post x10 @decorators.behind_decorator
    return db.session.scalar(statement)


@bp.get("/behind-decorator")
def behind_decorator():
    rows = []
    for user in db.session.scalars(select(User)).all():
        rows.append(newest_post(user.id).body)  # CALLER x10
    return jsonify(rows)


@logged("asking for a price")
@timed
def price_of(product_id):
    # FINDING n_plus_one Product x10 @decorators.behind_two_decorators
    return db.session.scalar(select(Product.price).where(Product.id == product_id))


@bp.get("/behind-two-decorators")
def behind_two_decorators():
    prices = {}
    for i in range(1, 11):
        prices[i] = price_of(product_id=i)  # CALLER x10
    return jsonify(prices)


class Tickets:
    """A repository, whose methods are logged."""

    def __init__(self):
        self.calls = 0

    @logged_method
    def state(self, number):
        # FINDING n_plus_one Ticket x10 fix=IN @decorators.behind_method_decorator
        return db.session.get(Ticket, number).state


@bp.get("/behind-method-decorator")
def behind_method_decorator():
    tickets = Tickets()
    states = []
    for number in range(1, 11):
        states.append(tickets.state(number))  # CALLER x10
    return jsonify(states)


@bp.get("/decorated-view")
@logged("a view")
@timed
def decorated_view():
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
    return jsonify([order.customer.name for order in orders])


class Counted:
    """A decorator that is an object."""

    def __init__(self, function):
        self.function = function
        self.calls = 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.function(*args, **kwargs)


@Counted
def ticket_state(number):
    # FINDING n_plus_one Ticket x10 @decorators.behind_callable_object
    return db.session.scalar(select(Ticket.state).where(Ticket.id == number))


@bp.get("/behind-callable-object")
def behind_callable_object():
    states = []
    for number in range(1, 11):
        states.append(ticket_state(number))  # CALLER x10
    return jsonify(states)


def timed_coroutine(function):
    @functools.wraps(function)
    async def wrapper(*args, **kwargs):
        start = time.perf_counter()
        result = await function(*args, **kwargs)
        wrapper.seconds = time.perf_counter() - start
        return result

    return wrapper


@timed_coroutine
async def product_name(number):
    # FINDING n_plus_one Product x10 @decorators.behind_async_decorator
    return db.session.scalar(select(Product.name).where(Product.id == number))


@bp.get("/behind-async-decorator")
async def behind_async_decorator():
    names = []
    for number in range(1, 11):
        names.append(await product_name(number))  # CALLER x10
    return jsonify(names)


def post_counts(*user_ids):
    """Takes what a wrapper takes, but works through it: a caller like any other."""
    counts = {}
    for user_id in user_ids:
        counts[user_id] = posts_by(user_id)  # CALLER x10 @decorators.called_with_star_args
    return counts


def posts_by(user_id):
    # FINDING n_plus_one Post x10 fix=GROUP_BY @decorators.called_with_star_args
    return db.session.scalar(select(func.count(Post.id)).where(Post.author_id == user_id))


@bp.get("/called-with-star-args")
def called_with_star_args():
    return jsonify(post_counts(*range(1, 11)))


def call_logged(function, *args, **kwargs):
    """Passes the call on, as a retry or a log does."""
    messages = [f"calling {function.__name__}"]
    result = function(*args, **kwargs)
    messages.append("done")
    return result


def newest_of(user_id):
    # FINDING n_plus_one Post x10 @decorators.behind_calling_function
    return db.session.scalar(select(func.max(Post.id)).where(Post.author_id == user_id))


@bp.get("/behind-calling-function")
def behind_calling_function():
    newest = []
    for i in range(1, 11):
        newest.append(call_logged(newest_of, i))  # CALLER x10
    return jsonify(newest)


@bp.get("/closure-that-works")
def closure_that_works():
    """It takes what a wrapper takes, and walks through it: a caller."""
    session = db.session

    def totals(*user_ids, **options):
        found = []
        for user_id in user_ids:
            found.append(bytes_of(session, user_id, **options))  # CALLER x10
        return found

    return jsonify(totals(*range(1, 11), kind="pdf"))


def bytes_of(session, user_id, kind):
    statement = select(func.sum(Document.size)).filter_by(user_id=user_id, kind=kind)
    # FINDING n_plus_one Document x10 fix=GROUP_BY @decorators.closure_that_works
    return session.scalar(statement)
