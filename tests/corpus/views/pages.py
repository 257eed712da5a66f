"""Loops in Jinja templates: the line is the template's own."""

from flask import Blueprint, render_template, render_template_string, stream_template
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload

from ..models import Category, Customer, Document, Order, OrderLine, Post, User, db

bp = Blueprint("pages", __name__)


def init_app(app):
    app.jinja_env.trim_blocks = True
    app.jinja_env.add_extension("jinja2.ext.do")


@bp.app_template_filter("post_count")
def post_count(user):
    # FINDING n_plus_one Post x10 fix=GROUP_BY @pages.filter_in_python
    return db.session.scalar(select(func.count(Post.id)).where(Post.author_id == user.id))


@bp.app_template_global("customer_of")
def customer_of(order):
    # FINDING n_plus_one Customer x12 fix=IN @pages.function_in_python
    return db.session.get(Customer, order.customer_id)


@bp.app_context_processor
def add_helpers():
    def document_titles(user):
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        #   @pages.context_function
        return ", ".join(document.title for document in user.documents)

    return {"document_titles": document_titles}


def orders():
    # ORIGIN @pages.loop,pages.macro,pages.include,pages.block,pages.super_block,pages.call_block
    # ORIGIN @pages.filters,pages.set_line,pages.two_lines,pages.do
    # ORIGIN @pages.many_lines,pages.inline_if,pages.expression_over_lines
    return db.session.scalars(select(Order).order_by(Order.id)).all()


@bp.get("/loop")
def loop():
    return render_template("pages/loop.html", orders=orders())


@bp.get("/two-lines")
def two_lines():
    return render_template("pages/two_lines.html", orders=orders())


@bp.get("/macro")
def macro():
    return render_template("pages/macro.html", orders=orders())


@bp.get("/include")
def include():
    return render_template("pages/include.html", orders=orders())


@bp.get("/block")
def block():
    return render_template("pages/block.html", orders=orders())


@bp.get("/super")
def super_block():
    return render_template("pages/super.html", orders=orders())


@bp.get("/call-block")
def call_block():
    return render_template("pages/call_block.html", orders=orders())


@bp.get("/filters")
def filters():
    return render_template("pages/filters.html", orders=orders())


@bp.get("/set")
def set_line():
    return render_template("pages/set.html", orders=orders())


@bp.get("/do")
def do():
    return render_template("pages/do.html", orders=orders())


@bp.get("/many-lines")
def many_lines():
    return render_template("pages/many_lines.html", orders=orders())


@bp.get("/inline-if")
def inline_if():
    return render_template("pages/inline_if.html", orders=orders())


@bp.get("/expression-over-lines")
def expression_over_lines():
    return render_template("pages/over_lines.html", orders=orders())


@bp.get("/nested")
def nested():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    return render_template("pages/nested.html", users=users)


@bp.get("/recursive")
def recursive():
    root = db.session.get(Category, 1)  # ORIGIN
    return render_template("pages/recursive.html", root=root)


@bp.get("/query-in-template")
def query_in_template():
    """The template itself selects the rows that it walks."""
    return render_template("pages/query.html", Order=Order)


@bp.get("/filter-in-python")
def filter_in_python():
    users = db.session.scalars(select(User)).all()
    return render_template("pages/python.html", users=users, what="filter")


@bp.get("/function-in-python")
def function_in_python():
    rows = db.session.scalars(select(Order)).all()
    return render_template("pages/python.html", orders=rows, what="function")


@bp.get("/context-function")
def context_function():
    users = db.session.scalars(select(User)).all()  # ORIGIN
    return render_template("pages/python.html", users=users, what="processor")


@bp.get("/from-string")
def from_string():
    """A template without a file: its own line, or the line that renders it."""
    source = "<ul>\n{% for order in orders %}\n<li>{{ order.customer.name }}\n{% endfor %}\n</ul>"
    rows = db.session.scalars(select(Order)).all()  # ORIGIN
    # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer) elsewhere=<template>:3
    return render_template_string(source, orders=rows)


@bp.get("/streamed-template")
def streamed_template():
    """The rows are selected while the response is sent, as Flask has closed the session before."""

    def rows():
        yield from db.session.scalars(select(Order))  # ORIGIN

    return stream_template("pages/loop.html", orders=rows())


@bp.get("/eager-page")
def eager_page():
    statement = select(Order).options(joinedload(Order.customer))
    rows = db.session.scalars(statement).all()  # SILENT x1
    return render_template("pages/loop.html", orders=rows)


@bp.get("/eager-nested-page")
def eager_nested_page():
    option = selectinload(User.documents).selectinload(Document.tags)
    users = db.session.scalars(select(User).options(option)).all()  # SILENT x3
    return render_template("pages/nested.html", users=users)


@bp.get("/short-page")
def short_page():
    """Four rows are below the threshold."""
    rows = db.session.scalars(select(Order).limit(4)).all()  # SILENT x1
    return render_template("pages/loop.html", orders=rows)


@bp.get("/columns-page")
def columns_page():
    statement = select(Order.id, Customer.name.label("customer_name")).join(Order.customer)
    # SILENT x1
    return render_template("pages/columns.html", rows=db.session.execute(statement).all())


@bp.get("/one-order-page")
def one_order_page():
    """One parent's children, and a batch for what lies below."""
    option = selectinload(Order.lines).joinedload(OrderLine.product)
    order = db.session.get(Order, 1, options=[option])  # SILENT x2
    return render_template("pages/one_order.html", order=order)
