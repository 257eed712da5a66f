"""Work without a request: commands, and jobs that know of no Flask at all."""

import asyncio

import click
from flask import Blueprint
from flask.cli import with_appcontext
from sqlalchemy import create_engine, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, joinedload, selectinload

from ..models import AuditEntry, Author, Book, Document, Order, Post, Tag, User, db

bp = Blueprint("jobs", __name__)


@bp.cli.command("report")
def report():
    for user in db.session.scalars(select(User)):  # ORIGIN
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        click.echo(f"{user.name}: {len(user.documents)}")


@bp.cli.command("import-rows")
@click.option("--rows", default=10)
def import_rows(rows):
    for i in range(rows):
        db.session.add(AuditEntry(action=f"row {i}"))
        db.session.commit()  # FINDING n_plus_one_write AuditEntry x10 fix=ADD_ALL


@bp.cli.command("recount")
@with_appcontext
def recount():
    for i in range(1, 11):
        click.echo(posts_of(i))  # CALLER x10


def posts_of(user_id):
    # FINDING n_plus_one Post x10 fix=GROUP_BY @jobs.recount
    return db.session.scalar(select(func.count(Post.id)).where(Post.author_id == user_id))


@bp.cli.command("quiet-report")
def quiet_report():
    statement = select(User).options(selectinload(User.documents))
    for user in db.session.scalars(statement):  # SILENT x2
        click.echo(f"{user.name}: {[document.title for document in user.documents]}")  # SILENT x0


@bp.cli.command("quiet-import")
def quiet_import():
    db.session.add_all([AuditEntry(action=f"row {i}") for i in range(10)])
    db.session.commit()  # SILENT x1..10


def lazy_job(app):
    engine = create_engine(app.config["SQLALCHEMY_DATABASE_URI"])
    with Session(engine) as session:
        books = session.scalars(select(Book)).all()  # ORIGIN
        for book in books:
            # FINDING n_plus_one Book.author x10 fix=joinedload(Book.author)
            # FINDING n_plus_one Book.translator x10 fix=joinedload(Book.translator)
            print(book.author.name, book.translator.name)
    engine.dispose()


def async_job(app):
    async def work():
        async with AsyncSession(app.extensions["async_engine"]) as session:
            for i in range(1, 11):
                await session.get(Author, i)  # FINDING n_plus_one Author x10 fix=IN

    asyncio.run(work())


def job_in_app_context(app):
    with app.app_context():
        for document in db.session.scalars(select(Document)):  # ORIGIN
            # FINDING n_plus_one Document.tags x30 fix=selectinload(Document.tags)
            assert document.tags


def writing_job(app):
    with Session(app.extensions["plain_engine"]) as session:
        for i in range(10):
            session.add(Tag(name=f"tag {i}"))
            session.flush()  # FINDING n_plus_one_write Tag x10 fix=ADD_ALL
        session.rollback()


def quiet_job(app):
    with Session(app.extensions["plain_engine"]) as session:
        statement = select(Order).options(joinedload(Order.customer))
        orders = session.scalars(statement).all()  # SILENT x1
        assert [order.customer.name for order in orders]  # SILENT x0


JOBS = (lazy_job, async_job, job_in_app_context, writing_job, quiet_job)
