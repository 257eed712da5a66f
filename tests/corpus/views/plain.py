"""Plain SQLAlchemy inside Flask: models and sessions that no extension made."""

from flask import Blueprint, jsonify
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, scoped_session, selectinload, sessionmaker

from ..app import plain_engine
from ..models import Author, Book, Chapter

bp = Blueprint("plain", __name__)

make_session = sessionmaker(expire_on_commit=False)


@bp.get("/to-many")
def to_many():
    with Session(plain_engine()) as session:
        authors = session.scalars(select(Author)).all()  # ORIGIN
        # FINDING n_plus_one Author.books x20 fix=selectinload(Author.books)
        return jsonify({author.name: len(author.books) for author in authors})


@bp.get("/two-ways-to-one-table")
def two_ways_to_one_table():
    with make_session(bind=plain_engine()) as session:
        rows = []
        for book in session.scalars(select(Book)).all():  # ORIGIN
            # FINDING n_plus_one Book.author x10 fix=joinedload(Book.author)
            author = book.author
            # FINDING n_plus_one Book.translator x10 fix=joinedload(Book.translator)
            rows.append((author.name, book.translator.name))
        return jsonify(rows)


@bp.get("/scoped-session")
def in_scoped_session():
    session = scoped_session(sessionmaker(plain_engine()))
    authors = session.query(Author).filter(Author.id <= 10).all()  # ORIGIN
    rows = []
    for author in authors:
        # FINDING n_plus_one Author.books x10 fix=selectinload(Author.books)
        for book in author.books:
            # FINDING n_plus_one Book.chapters x20
            #   fix=selectinload(Author.books).selectinload(Book.chapters)
            rows.append([chapter.heading for chapter in book.chapters])
    session.remove()
    return jsonify(rows)


@bp.get("/session-per-question")
def session_per_question():
    """A new session forgets: each one asks again, with other values."""
    counts = []
    for i in range(1, 11):
        with Session(plain_engine()) as session:
            statement = select(func.count(Book.id)).where(Book.author_id == i)
            counts.append(session.scalar(statement))  # FINDING n_plus_one Book x10 fix=GROUP_BY
    return jsonify(counts)


@bp.get("/repository")
def repository():
    with Session(plain_engine()) as session:
        books = Books(session)
        return jsonify([books.by_number(i).title for i in range(1, 11)])  # CALLER x10


class Books:
    """A repository, as many applications have it."""

    def __init__(self, session):
        self._session = session

    def by_number(self, number):
        # FINDING n_plus_one Book x10 fix=IN @plain.repository
        return self._session.get(Book, number)


@bp.get("/eager")
def eager():
    with Session(plain_engine()) as session:
        option = selectinload(Author.books).options(
            selectinload(Book.chapters), joinedload(Book.translator)
        )
        authors = session.scalars(select(Author).options(option)).all()  # SILENT x3
        rows = [(b.translator.name, len(b.chapters)) for a in authors for b in a.books]  # SILENT x0
        return jsonify(rows)


@bp.get("/detached")
def detached():
    """Rows that outlive their session keep what they have."""
    with make_session(bind=plain_engine()) as session:
        statement = select(Book).options(joinedload(Book.author))
        books = session.scalars(statement).all()  # SILENT x1
    return jsonify([book.author.name for book in books])  # SILENT x0


@bp.get("/aggregated")
def aggregated():
    with Session(plain_engine()) as session:
        statement = select(Book.title, func.count(Chapter.id)).join(Book.chapters)
        rows = session.execute(statement.group_by(Book.id, Book.title)).all()  # SILENT x1
        return jsonify([tuple(row) for row in rows])
