"""A loader option fits the select that it goes into: pasted there, it gives the same values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    joinedload,
    lazyload,
    mapped_column,
    relationship,
)

from flask_perfkit import Finding, QueryCounter
from flask_perfkit.cures.loaders import LoaderOption


class Base(DeclarativeBase):
    pass


class Club(Base):
    __tablename__ = "club"
    id: Mapped[int] = mapped_column(primary_key=True)
    members: Mapped[list[Member]] = relationship(back_populates="club", order_by="Member.id")


class Member(Base):
    __tablename__ = "member"
    __mapper_args__ = {"polymorphic_on": "role", "polymorphic_identity": "member"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[str]
    club_id: Mapped[int] = mapped_column(ForeignKey("club.id"))
    sponsor_id: Mapped[int | None] = mapped_column(ForeignKey("member.id"))
    club: Mapped[Club] = relationship(back_populates="members")
    sponsor: Mapped[Member | None] = relationship(
        remote_side="Member.id", back_populates="sponsored"
    )
    sponsored: Mapped[list[Member]] = relationship(back_populates="sponsor")
    friends: Mapped[list[Member]] = relationship(
        secondary="friendship",
        primaryjoin="Member.id == friendship.c.one",
        secondaryjoin="Member.id == friendship.c.other",
    )


class Coach(Member):
    __tablename__ = "coach"
    __mapper_args__ = {"polymorphic_identity": "coach"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(ForeignKey("member.id"), primary_key=True)
    licences: Mapped[list[Licence]] = relationship()


class Licence(Base):
    __tablename__ = "licence"
    id: Mapped[int] = mapped_column(primary_key=True)
    coach_id: Mapped[int] = mapped_column(ForeignKey("coach.id"))


sa.Table(
    "friendship",
    Base.metadata,
    sa.Column("one", ForeignKey("member.id")),
    sa.Column("other", ForeignKey("member.id")),
)


def fill(engine: sa.Engine) -> None:
    """Add two clubs of eight members, every second one a coach; each knows the next, in a ring."""
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        members: list[Member] = []
        for number in range(1, 17):
            kind = Coach if number % 2 else Member
            member = kind(id=number, club_id=(number - 1) // 8 + 1)
            member.sponsor_id = number // 2 or None
            members.append(member)
        session.add_all([Club(id=1), Club(id=2), *members])
        for member in members:
            if isinstance(member, Coach):
                member.licences = [Licence(), Licence()]
        for one, other in zip(members, [*members[1:], members[0]], strict=True):
            one.friends = [other]
        session.commit()


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(postgres_url)
    fill(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


Walk = Callable[[Session, Any], object]


def walked(engine: sa.Engine, statement: Any, walk: Walk) -> tuple[object, int, list[Finding]]:
    with Session(engine) as session, QueryCounter(threshold=None) as counter:
        seen = walk(session, statement)
    found = [finding for finding in counter.findings if finding.kind == "n_plus_one"]
    return seen, counter.count, found


def pasted(engine: sa.Engine, statement: Any, walk: Walk, queries: tuple[int, int]) -> Finding:
    """Put the cure into the statement; the values stay the same, the statements fall."""
    before, sent, (finding, *_) = walked(engine, statement, walk)
    assert isinstance(finding.cure, LoaderOption)
    after, sent_then, left = walked(engine, finding.cure.apply(statement), walk)
    assert after == before
    assert (sent, sent_then) == queries
    assert left == []
    return finding


def clubs_of(session: Session, statement: Any) -> list[int]:
    return [member.club.id for member in session.scalars(statement).all()]


def test_a_collection_of_the_same_class_is_no_tree(engine: sa.Engine) -> None:
    statement = select(Member).order_by(Member.id)
    finding = walked(engine, statement, _friends_clubs)[2][0]
    assert finding.fix == "selectinload(Member.friends)"


def _friends_clubs(session: Session, statement: Any) -> list[int]:
    return [len(member.friends) for member in session.scalars(statement)]


def test_below_for_update_nothing_is_joined(postgres: sa.Engine) -> None:
    statement = select(Member).order_by(Member.id).with_for_update()
    finding = pasted(postgres, statement, _sponsors, (6, 2))
    assert finding.fix == "selectinload(Member.sponsor)"


def _sponsors(session: Session, statement: Any) -> list[int]:
    """Walk to the sponsors of the second half, whom nothing has loaded."""
    statement = statement.where(Member.id > 8)
    return [member.sponsor.id for member in session.scalars(statement)]


def test_below_from_statement_nothing_is_joined(engine: sa.Engine) -> None:
    inner = select(Member).where(Member.id > 8).order_by(Member.id)
    statement = select(Member).from_statement(inner)
    finding = pasted(engine, statement, _all_sponsors, (6, 2))
    assert finding.fix == "selectinload(Member.sponsor)"


def _all_sponsors(session: Session, statement: Any) -> list[int]:
    return [member.sponsor.id for member in session.scalars(statement)]


@pytest.mark.parametrize(
    "change",
    [lambda one: one.distinct(), lambda one: one.group_by(Member.id)],
    ids=["distinct", "grouped"],
)
def test_what_is_distinct_or_grouped_gets_no_columns_more(
    engine: sa.Engine, change: Callable[[Any], Any]
) -> None:
    finding = pasted(engine, change(select(Member)), _sponsors, (6, 2))
    assert finding.fix == "selectinload(Member.sponsor)"


def test_a_stream_is_not_joined(engine: sa.Engine) -> None:
    statement = select(Member).execution_options(yield_per=4)
    finding = walked(engine, statement, _sponsors)[2][0]
    assert finding.fix == "selectinload(Member.sponsor)"


def test_of_an_alias_the_fix_is_words_and_the_cure_begins_at_the_alias(engine: sa.Engine) -> None:
    one = aliased(Member)
    statement = select(one).where(one.id > 8)
    finding = pasted(engine, statement, _all_sponsors, (6, 2))
    assert finding.fix.startswith("load Member.sponsor along with the objects, in an option of ")
    assert finding.cure.code_from("one") == "selectinload(one.sponsor)"


def test_of_a_union_too(engine: sa.Engine) -> None:
    both = sa.union_all(select(Member).where(Member.id == 9), select(Member).where(Member.id > 9))
    one = aliased(Member, both.subquery())
    pasted(engine, select(one), _all_sponsors, (6, 2))


def test_of_the_second_entity(engine: sa.Engine) -> None:
    statement = select(Club, Member).join(Club.members).where(Member.id > 8)

    def walk(session: Session, statement: Any) -> list[int]:
        return [member.sponsor.id for _, member in session.execute(statement)]

    finding = pasted(engine, statement, walk, (6, 1))
    assert finding.fix == "joinedload(Member.sponsor)"


def test_a_path_into_a_subclass(engine: sa.Engine) -> None:
    def walk(session: Session, statement: Any) -> list[int]:
        members = [each for club in session.scalars(statement) for each in club.members]
        return [len(each.licences) for each in members if isinstance(each, Coach)]

    finding = pasted(engine, select(Club), walk, (11, 3))
    assert finding.fix == ("selectinload(Club.members.of_type(Coach)).selectinload(Coach.licences)")


def test_a_subclass_of_what_is_selected(engine: sa.Engine) -> None:
    def walk(session: Session, statement: Any) -> list[int]:
        found = session.scalars(statement).all()
        return [len(each.licences) for each in found if isinstance(each, Coach)]

    finding = pasted(engine, select(Member).order_by(Member.id), walk, (9, 3))
    assert finding.fix == "selectin_polymorphic(Member, [Coach]), selectinload(Coach.licences)"
    assert ("sqlalchemy.orm", "selectin_polymorphic") in finding.cure.imports


def test_an_option_that_contradicts_is_replaced(engine: sa.Engine) -> None:
    statement = select(Club).options(lazyload(Club.members))

    def walk(session: Session, statement: Any) -> list[int]:
        return [len(each.sponsored) for club in session.scalars(statement) for each in club.members]

    walked(engine, statement, walk)
    option = walked(engine, select(Member).options(lazyload(Member.sponsored)), _sponsored)[2][0]
    assert option.cure.replaces
    assert "in the place of the option that contradicts it" in option.message


def _sponsored(session: Session, statement: Any) -> list[int]:
    return [len(member.sponsored) for member in session.scalars(statement)]


def test_a_tree_is_loaded_to_a_depth(engine: sa.Engine) -> None:
    def below(member: Member) -> int:
        return 1 + sum(map(below, member.sponsored))

    def walk(session: Session, statement: Any) -> list[int]:
        return list(map(below, session.scalars(statement)))

    finding = pasted(engine, select(Member).where(Member.id == 1), walk, (17, 6))
    assert finding.fix == "selectinload(Member.sponsored, recursion_depth=10)"


def test_a_graph_with_circles_gets_words(engine: sa.Engine) -> None:
    def walk(session: Session, statement: Any) -> int:
        seen: set[int] = set()
        waiting = list(session.scalars(statement))
        while waiting:
            member = waiting.pop()
            if member.id not in seen:
                seen.add(member.id)
                waiting += member.friends
        return len(seen)

    _, _, (finding,) = walked(engine, select(Member).where(Member.id == 1), walk)
    assert finding.cure is None
    assert finding.fix.startswith("Member.friends makes a graph, which may have circles")


def test_a_way_from_row_to_row_gets_words(engine: sa.Engine) -> None:
    def walk(session: Session, statement: Any) -> int:
        steps, member = 0, session.scalars(statement).one()
        while member.sponsor is not None:
            steps, member = steps + 1, member.sponsor
        return steps

    with Session(engine) as session, QueryCounter(threshold=None) as counter:
        walk(session, select(Member).where(Member.id == 16))
    assert counter.findings == () or "recursive CTE" in counter.findings[0].fix


def test_a_select_that_runs_for_each_object_is_the_cause_itself(engine: sa.Engine) -> None:
    def walk(session: Session, statement: Any) -> list[int]:
        session.expunge_all()
        found = []
        for number in range(9, 17):
            one = session.scalars(select(Member).where(Member.id == number)).one()
            found.append(one.sponsor.id)
        return found

    findings = walked(engine, None, walk)[2]
    (lazy,) = [finding for finding in findings if finding.subject == "Member.sponsor"]
    assert lazy.cure is None
    assert "runs 8 times itself: query once before that loop" in lazy.fix


def test_a_way_that_comes_back_begins_again(engine: sa.Engine) -> None:
    def walk(session: Session, statement: Any) -> list[int]:
        members = session.scalars(statement).all()
        back = [each for member in members for each in member.club.members]
        return [len(each.sponsored) for each in back]

    findings = walked(engine, select(Member), walk)[2]
    (sponsored,) = [finding for finding in findings if finding.subject == "Member.sponsored"]
    assert sponsored.fix == "selectinload(Member.sponsored)"


def test_what_is_loaded_along_stays_in_the_path(engine: sa.Engine) -> None:
    statement = select(Club).options(joinedload(Club.members))

    def walk(session: Session, statement: Any) -> list[int]:
        clubs = session.scalars(statement).unique().all()
        return [len(each.sponsored) for club in clubs for each in club.members]

    finding = pasted(engine, statement, walk, (17, 2))
    assert finding.fix == "joinedload(Club.members).selectinload(Member.sponsored)"


def test_the_cure_stays_out_of_data_and_pickles(engine: sa.Engine) -> None:
    import copy
    import pickle

    finding = walked(engine, select(Member), _sponsored)[2][0]
    assert finding.cure is not None
    assert "cure" not in finding.to_dict()
    assert pickle.loads(pickle.dumps(finding)).cure is None
    assert copy.deepcopy(finding) == finding
