"""Async views, the asynchronous engine, threads that were given the context."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Thread

from flask import Blueprint, jsonify
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, joinedload, selectinload

from ..app import async_engine, plain_engine
from ..models import Author, Book, Chapter, Customer, Order, Post, Product, User, db, metrics

bp = Blueprint("concurrency", __name__)

FIRST_TEN = range(1, 11)


@bp.get("/async-view")
async def async_view():
    """The view is a coroutine, its session is not."""
    orders = db.session.scalars(select(Order)).all()  # ORIGIN
    await asyncio.sleep(0)
    # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
    return jsonify([order.customer.name for order in orders])


@bp.get("/async-get")
async def async_get():
    names = []
    async with AsyncSession(async_engine()) as session:
        for i in FIRST_TEN:
            author = await session.get(Author, i)  # FINDING n_plus_one Author x10 fix=IN
            names.append(author.name)
    return jsonify(names)


@bp.get("/async-scalar")
async def async_scalar():
    counts = []
    async with AsyncSession(async_engine()) as session:
        for i in FIRST_TEN:
            statement = select(func.count(Book.id)).where(Book.author_id == i)
            # FINDING n_plus_one Book x10 fix=GROUP_BY
            counts.append(await session.scalar(statement))
    return jsonify(counts)


@bp.get("/awaitable-attrs")
async def awaitable_attrs():
    rows = {}
    async with AsyncSession(async_engine()) as session:
        authors = (await session.scalars(select(Author).where(Author.id <= 10))).all()  # ORIGIN
        for author in authors:
            # FINDING n_plus_one Author.books x10 fix=selectinload(Author.books)
            books = await author.awaitable_attrs.books
            rows[author.name] = [book.title for book in books]
    return jsonify(rows)


@bp.get("/awaitable-attrs-nested")
async def awaitable_attrs_nested():
    rows = []
    async with AsyncSession(async_engine()) as session:
        authors = (await session.scalars(select(Author).where(Author.id <= 10))).all()  # ORIGIN
        for author in authors:
            # FINDING n_plus_one Author.books x10 fix=selectinload(Author.books)
            for book in await author.awaitable_attrs.books:
                # FINDING n_plus_one Book.chapters x20
                #   fix=selectinload(Author.books).selectinload(Book.chapters)
                chapters = await book.awaitable_attrs.chapters
                rows.append([chapter.heading for chapter in chapters])
    return jsonify(rows)


@bp.get("/async-helper")
async def async_helper():
    async with AsyncSession(async_engine()) as session:
        return jsonify([await chapters_of(session, i) for i in FIRST_TEN])  # CALLER x10


async def chapters_of(session, book_id):
    statement = select(Chapter.heading).where(Chapter.book_id == book_id)
    # FINDING n_plus_one Chapter x10 @concurrency.async_helper
    result = await session.execute(statement)
    return result.scalars().all()


@bp.get("/async-core")
async def async_core():
    values = []
    async with async_engine().connect() as connection:
        for i in FIRST_TEN:
            statement = select(metrics.c.value).where(metrics.c.id == i)
            # FINDING n_plus_one metrics x10
            result = await connection.execute(statement)
            values.append(result.scalar_one())
    return jsonify(values)


@bp.get("/async-text")
async def async_text():
    values = []
    async with async_engine().connect() as connection:
        for i in FIRST_TEN:
            statement = text(f"SELECT title FROM books WHERE author_id = {i}")
            result = await connection.execute(statement)  # FINDING n_plus_one Book x10
            values.append(result.scalars().all())
    return jsonify(values)


@bp.get("/run-sync")
async def run_sync():
    """A plain function in the engine's greenlet."""

    def titles(session):
        authors = session.scalars(select(Author).where(Author.id <= 10)).all()  # ORIGIN
        # FINDING n_plus_one Author.books x10 fix=selectinload(Author.books)
        return [[book.title for book in author.books] for author in authors]

    async with AsyncSession(async_engine()) as session:
        return jsonify(await session.run_sync(titles))


@bp.post("/async-commits")
async def async_commits():
    async with AsyncSession(async_engine()) as session:
        for i in FIRST_TEN:
            session.add(Author(name=f"new {i}"))
            await session.commit()  # FINDING n_plus_one_write Author x10 fix=ADD_ALL
    return ""


@bp.get("/tasks")
async def tasks():
    """Ten tasks, a session each, ask the same at once."""

    async def title(number):
        async with AsyncSession(async_engine()) as session:
            book = await session.get(Book, number)  # FINDING n_plus_one Book x10 fix=IN
            return book.title

    return jsonify(await asyncio.gather(*(title(number) for number in FIRST_TEN)))


@bp.get("/async-generator")
async def async_generator():
    async def books():
        async with AsyncSession(async_engine()) as session:
            for i in FIRST_TEN:
                yield await session.get(Book, i)  # FINDING n_plus_one Book x10 fix=IN

    return jsonify([book.title async for book in books()])


@bp.get("/thread")
def thread():
    """One thread that runs the whole loop in the copied context."""
    engine, names = plain_engine(), []

    def work():
        with Session(engine) as session:
            for order in session.scalars(select(Order)):  # ORIGIN
                # FINDING n_plus_one Order.customer x12 fix=joinedload(Order.customer)
                names.append(order.customer.name)

    worker = Thread(target=copy_context().run, args=(work,))
    worker.start()
    worker.join()
    return jsonify(names)


@bp.get("/thread-pool")
def thread_pool():
    """Ten jobs on three threads, each asks once."""
    engine = plain_engine()

    def name(number):
        with Session(engine) as session:
            return session.get(Product, number).name  # FINDING n_plus_one Product x10 fix=IN

    with ThreadPoolExecutor(max_workers=3) as pool:
        jobs = [pool.submit(copy_context().run, name, number) for number in FIRST_TEN]
    return jsonify([job.result() for job in jobs])


@bp.get("/to-thread")
async def to_thread():
    """``asyncio.to_thread`` copies the context by itself."""
    engine = plain_engine()

    def count(user_id):
        with Session(engine) as session:
            statement = select(func.count(Post.id)).where(Post.author_id == user_id)
            return session.scalar(statement)  # FINDING n_plus_one Post x10 fix=GROUP_BY

    return jsonify([await asyncio.to_thread(count, i) for i in FIRST_TEN])


@bp.get("/quiet-async-view")
async def quiet_async_view():
    orders = db.session.scalars(select(Order).options(joinedload(Order.customer))).all()
    return jsonify([order.customer.name for order in orders])  # SILENT x0


@bp.get("/async-eager")
async def async_eager():
    async with AsyncSession(async_engine()) as session:
        statement = select(Author).options(selectinload(Author.books).selectinload(Book.chapters))
        authors = (await session.scalars(statement)).all()  # SILENT x3
        return jsonify([[len(book.chapters) for book in a.books] for a in authors])  # SILENT x0


@bp.get("/async-stream")
async def async_stream():
    titles = []
    async with AsyncSession(async_engine()) as session:
        statement = select(Book.title).execution_options(yield_per=5)
        async for title in await session.stream_scalars(statement):
            titles.append(title)  # SILENT x0
    return jsonify(titles)


@bp.get("/async-few")
async def async_few():
    async with AsyncSession(async_engine()) as session:
        return jsonify([(await session.get(Book, i)).title for i in range(1, 5)])  # SILENT x4


@bp.get("/async-pages")
async def async_pages():
    titles, last = [], 0
    async with AsyncSession(async_engine()) as session:
        while True:
            page = select(Book).where(Book.id > last).order_by(Book.id).limit(4)
            books = (await session.scalars(page)).all()  # SILENT x6
            if not books:
                return jsonify(titles)
            titles += [book.title for book in books]
            last = books[-1].id


@bp.get("/different-tasks")
async def different_tasks():
    """Tasks at once, each with a statement of its own."""

    async def total(model):
        async with AsyncSession(async_engine()) as session:
            return await session.scalar(select(func.count()).select_from(model))  # SILENT x6

    models = (Author, Book, Chapter, User, Customer, Product)
    return jsonify(await asyncio.gather(*(total(model) for model in models)))


@bp.get("/quiet-thread")
def quiet_thread():
    engine, found = plain_engine(), []

    def work():
        with Session(engine) as session:
            statement = select(User).options(selectinload(User.documents))
            found.extend(len(user.documents) for user in session.scalars(statement))  # SILENT x2

    worker = Thread(target=copy_context().run, args=(work,))
    worker.start()
    worker.join()
    return jsonify(found)
