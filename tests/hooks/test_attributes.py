"""What is loaded and never read, where reads of attributes are noted."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from importlib import import_module
from pathlib import Path

import pytest
from bookshelf import Author, Award, Base, Book, fill
from flask import Flask, Response
from sqlalchemy import ForeignKey, create_engine, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import (
    DeclarativeBase,
    InstrumentedAttribute,
    Mapped,
    Session,
    aliased,
    defer,
    joinedload,
    lazyload,
    load_only,
    mapped_column,
    relationship,
    selectinload,
    subqueryload,
)

from flask_perfkit import Finding, PerfKit, QueryCounter
from flask_perfkit.hooks.attributes import are_watched, watch_attributes
from flask_perfkit.signals import request_profiled

UNREAD = ("unused_eager_load", "unused_columns")


@pytest.fixture
def session(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(InstrumentedAttribute, "__get__", InstrumentedAttribute.__get__)
    watch_attributes()
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.expunge_all()
        yield session
    engine.dispose()


def unread(counter: QueryCounter) -> dict[str, Finding]:
    return {each.subject: each for each in counter.findings if each.kind in UNREAD}


# Relationships


@pytest.mark.parametrize(
    ("loader", "way"),
    [
        (joinedload, "a join"),
        (selectinload, "its own statement"),
        (subqueryload, "its own statement"),
    ],
    ids=["joinedload", "selectinload", "subqueryload"],
)
def test_a_collection_that_nothing_touched(session: Session, loader: object, way: str) -> None:
    loaded = select(Author).options(loader(Author.books), defer(Author.biography))  # type: ignore[operator]
    with QueryCounter() as counter:
        assert len([author.name for author in session.scalars(loaded).unique()]) == 11
    finding = unread(counter)["Author.books"]
    assert (finding.kind, finding.severity) == ("unused_eager_load", "info")
    assert finding.fix == "drop the option that loads Author.books"
    assert f"was loaded in {way}" in finding.message


def test_one_of_two_that_nothing_touched(session: Session) -> None:
    loaded = select(Author).options(selectinload(Author.books), selectinload(Author.awards))
    with QueryCounter() as counter:
        for author in session.scalars(loaded):
            assert (author.biography, author.books) is not None
    assert [each for each in unread(counter) if each != "Book.title"] == ["Author.awards"]


@pytest.mark.parametrize("loader", [joinedload, selectinload], ids=["join", "statement"])
def test_a_collection_that_was_touched_is_none(session: Session, loader: object) -> None:
    loaded = select(Author).options(loader(Author.awards), defer(Author.biography))  # type: ignore[operator]
    with QueryCounter() as counter:
        awards = [len(author.awards) for author in session.scalars(loaded).unique()]
    assert sorted(awards) == [0] + [6] * 10
    assert unread(counter) == {}


def test_a_collection_that_one_of_many_touched_is_none(session: Session) -> None:
    loaded = select(Author).options(selectinload(Author.awards), defer(Author.biography))
    with QueryCounter() as counter:
        authors = session.scalars(loaded).all()
        assert authors[0].awards is not None
    assert unread(counter) == {}


def test_a_lazy_load_is_none(session: Session) -> None:
    with QueryCounter() as counter:
        award = session.get(Award, 1)
        assert award.author_id is not None
    assert unread(counter) == {}


def test_objects_that_go_another_way_are_none(session: Session) -> None:
    with QueryCounter() as counter:
        loaded = select(Author).options(selectinload(Author.books))
        assert len([vars(author) for author in session.scalars(loaded)]) == 11
    assert unread(counter) == {}


def test_one_of_a_chain_that_nothing_touched_is_named_once(session: Session) -> None:
    loaded = select(Author).options(selectinload(Author.books).selectinload(Book.tags))
    with QueryCounter() as counter:
        for author in session.scalars(loaded):
            assert author.biography is not None
        assert session.get(Book, 1).title is not None
    assert set(unread(counter)) == {"Author.books"}


class Default(DeclarativeBase):
    pass


class Shop(Default):
    __tablename__ = "shops"
    id: Mapped[int] = mapped_column(primary_key=True)
    city: Mapped[str]


class Sale(Default):
    __tablename__ = "sales"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id"))
    shop: Mapped[Shop] = relationship(lazy="joined")


@pytest.fixture
def sales(session: Session) -> Session:
    Default.metadata.create_all(session.connection())
    session.add(Shop(id=1, city="Ulm"))
    session.flush()
    session.add_all(Sale(id=number, amount=number, shop_id=1) for number in range(1, 11))
    session.flush()
    session.expunge_all()
    return session


def test_what_the_mapping_loads_for_many_objects(sales: Session) -> None:
    with QueryCounter() as counter:
        total = [sale.amount for sale in sales.scalars(select(Sale))]
        shop = sales.scalars(select(Shop)).one()
    assert (sum(total), shop.city) == (55, "Ulm")
    finding = unread(counter)["Sale.shop"]
    assert finding.fix == "lazyload(Sale.shop)"
    assert 'or set lazy="select" in the mapping' in finding.message


def test_what_the_mapping_loads_for_few_objects_is_none(sales: Session) -> None:
    with QueryCounter() as counter:
        total = [sale.amount for sale in sales.scalars(select(Sale).limit(9))]
        shop = sales.scalars(select(Shop)).one()
    assert (sum(total), shop.city) == (45, "Ulm")
    assert unread(counter) == {}


def test_a_count_of_what_the_mapping_loads_along_is_none(sales: Session) -> None:
    with QueryCounter() as counter:
        amounts = sales.execute(select(Sale.amount)).all()
        assert sales.query(Sale).count() == len(amounts) == 10
        assert sales.get(Sale, 1).amount == 1
        assert sales.scalars(select(Shop)).one().city == "Ulm"
    assert unread(counter) == {}


@pytest.mark.parametrize("status", [200, 302, 304, 404])
def test_a_view_that_left_off_is_not_judged(session: Session, status: int) -> None:
    app = Flask(__name__)
    app.testing = True
    PerfKit(app)

    @app.get("/")
    def authors() -> Response:
        loaded = select(Author).options(selectinload(Author.books), defer(Author.biography))
        names = [author.name for author in session.scalars(loaded)]
        return Response(str(len(names)), status)

    found: list[Finding] = []
    with request_profiled.connected_to(lambda _, profile: found.extend(profile.findings), app):
        app.test_client().get("/")
    assert [each.subject for each in found if each.kind in UNREAD] == (
        ["Author.books"] if status == 200 else []
    )


def test_an_option_overrules_the_mapping(sales: Session) -> None:
    for option in (lazyload(Sale.shop), lazyload("*")):
        with QueryCounter() as counter:
            loaded = sales.scalars(select(Sale).options(option))
            assert sum(sale.amount for sale in loaded) == 55
            assert sales.scalars(select(Shop)).one().city == "Ulm"
        assert unread(counter) == {}
        sales.expunge_all()


def read_in_a_pool(session: Session, authors: list[Author]) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert sum(pool.map(lambda author: len(author.awards), authors)) == 60


def replace(session: Session, authors: list[Author]) -> None:
    for author in authors:
        author.awards = []
    session.rollback()


def delete(session: Session, authors: list[Author]) -> None:
    session.delete(authors[0])
    with pytest.raises(IntegrityError), session.begin_nested():
        session.flush()


def inspect_it(session: Session, authors: list[Author]) -> None:
    assert sum(len(inspect(author).attrs.awards.loaded_value) for author in authors) == 60


def pickle_it(session: Session, authors: list[Author]) -> None:
    assert len(pickle.loads(pickle.dumps(authors))) == 11


def copy_one(session: Session, authors: list[Author]) -> None:
    assert len(copy(authors[0]).awards) == 6


@pytest.mark.parametrize("use", [read_in_a_pool, replace, delete, inspect_it, pickle_it, copy_one])
def test_what_is_used_without_being_read_is_none(
    session: Session, use: Callable[[Session, list[Author]], None]
) -> None:
    loaded = select(Author).options(selectinload(Author.awards), defer(Author.biography))
    with QueryCounter() as counter:
        authors = session.scalars(loaded).all()
        assert len([author.name for author in authors]) == 11
        use(session, list(authors))
    assert "Author.awards" not in unread(counter)


def test_objects_that_code_may_read_as_a_whole_are_not_judged(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
def show(session, statement):
    return [(author.name, as_dict(author)) for author in session.scalars(statement)]

def as_dict(author):
    return AS_DICT

def other(author):
    return vars(author)
"""
    monkeypatch.syspath_prepend(tmp_path)
    loaded = select(Author).options(selectinload(Author.awards), defer(Author.biography))
    found = []
    for name, whole in (("by_name", "author.id"), ("whole", "author.__dict__")):
        (tmp_path / f"{name}.py").write_text(source.replace("AS_DICT", whole))
        with QueryCounter() as counter:
            import_module(name).show(session, loaded)
        found.append("Author.awards" in unread(counter))
    assert found == [True, False]


def test_objects_that_answer_another_relationship_are_none(session: Session) -> None:
    loaded = select(Book).options(selectinload(Book.author).selectinload(Author.books))
    with QueryCounter() as counter:
        books = session.scalars(loaded).all()
        names = {session.get(Author, book.author_id).name for book in books}
    assert len(names) == 10
    assert "Book.author" not in unread(counter)


# Columns


def test_a_wide_column_that_nothing_read(session: Session) -> None:
    with QueryCounter() as counter:
        assert len([author.name for author in session.scalars(select(Author))]) == 11
    (finding,) = unread(counter).values()
    assert (finding.kind, finding.severity) == ("unused_columns", "info")
    assert (finding.subject, finding.fix) == ("Author.biography", "defer(Author.biography)")
    assert "loaded for 11 rows (about 5 KB)" in finding.message  # ten times 500 characters


@pytest.mark.parametrize(
    "statement",
    [
        select(Author).options(defer(Author.biography)),
        select(Author).options(load_only(Author.name)),
    ],
    ids=["defer", "load_only"],
)
def test_the_fix_ends_it(session: Session, statement: object) -> None:
    with QueryCounter() as counter:
        assert len([author.name for author in session.scalars(statement)]) == 11  # type: ignore[call-overload]
    assert unread(counter) == {}


@pytest.mark.parametrize(
    "statement",
    [
        select(Book).options(joinedload(Book.author)),
        select(Book).options(selectinload(Book.author)),
        select(aliased(Author)),
    ],
    ids=["joinedload", "selectinload", "alias"],
)
def test_where_defer_alone_is_no_option_of_the_select(session: Session, statement: object) -> None:
    with QueryCounter() as counter:
        for found in session.scalars(statement):  # type: ignore[call-overload]
            assert (found.author if isinstance(found, Book) else found).name
    (finding,) = unread(counter).values()
    assert finding.fix == "leave Author.biography out, with defer() or load_only()"


def test_a_column_that_was_read_is_none(session: Session) -> None:
    with QueryCounter() as counter:
        assert sum(len(author.biography) for author in session.scalars(select(Author))) == 5004
    assert unread(counter) == {}


def test_a_column_that_is_set_is_none(session: Session) -> None:
    """What it was tells whether there is something to write."""
    with QueryCounter() as counter:
        for author in session.scalars(select(Author)):
            author.biography = author.name
    session.rollback()
    assert "Author.biography" not in unread(counter)


def test_a_narrow_column_is_none(session: Session) -> None:
    with QueryCounter() as counter:
        assert {book.pages for book in session.scalars(select(Book))} == {100}
    assert unread(counter) == {}


def test_a_few_rows_are_none(session: Session) -> None:
    with QueryCounter() as counter:
        few = select(Author).where(Author.id < 10)
        assert len([author.name for author in session.scalars(few)]) == 9
    assert unread(counter) == {}


# Watching


def test_watching_twice_is_watching_once(session: Session) -> None:
    watched = InstrumentedAttribute.__get__
    watch_attributes()
    assert InstrumentedAttribute.__get__ is watched
    assert are_watched()


def test_outside_of_a_block_attributes_are_as_ever(session: Session) -> None:
    author = session.get(Author, 1)
    assert (author.name, len(author.books)) == ("author 1", 6)
    assert str(Author.name) == "Author.name"
