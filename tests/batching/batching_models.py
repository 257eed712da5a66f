"""Models with every kind of relationship that is, or must not be, loaded in batches."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, String, Table, and_, func
from sqlalchemy import select as sql_select
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    MappedAsDataclass,
    WriteOnlyMapped,
    aliased,
    attribute_keyed_dict,
    foreign,
    mapped_column,
    relationship,
    remote,
)


class Base(AsyncAttrs, DeclarativeBase):
    pass


tagging = Table(
    "tagging",
    Base.metadata,
    Column("document_id", ForeignKey("document.id"), nullable=False),
    Column("tag_id", ForeignKey("tag.id"), nullable=False),
    Column("position", Integer, nullable=False),
)


class User(Base):
    __tablename__ = "user_account"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    limit: Mapped[int] = mapped_column(default=0)

    boss: Mapped[User | None] = relationship(remote_side="User.id", back_populates="team")
    team: Mapped[list[User]] = relationship(back_populates="boss", order_by="User.name")
    documents: Mapped[list[Document]] = relationship(
        back_populates="user", order_by="Document.title.desc(), Document.id"
    )
    notes: Mapped[list[Document]] = relationship(
        primaryjoin=lambda: and_(User.id == Document.user_id, Document.kind == "note"),
        order_by="Document.id",
        viewonly=True,
    )
    long_ones: Mapped[list[Document]] = relationship(
        primaryjoin=lambda: and_(
            User.id == foreign(Document.user_id), foreign(Document.size) > User.limit
        ),
        order_by="Document.id",
        viewonly=True,
    )
    namesakes: Mapped[list[Document]] = relationship(
        primaryjoin=lambda: func.lower(User.name) == func.lower(foreign(remote(Document.title))),
        order_by="Document.id",
        viewonly=True,
    )
    as_set: Mapped[set[Document]] = relationship(viewonly=True)
    by_id: Mapped[dict[int, Document]] = relationship(
        collection_class=attribute_keyed_dict("id"), viewonly=True
    )
    profile: Mapped[Profile | None] = relationship(back_populates="user")
    dynamic: DynamicMapped[Document] = relationship(viewonly=True, order_by="Document.id")
    write_only: WriteOnlyMapped[Document] = relationship(
        order_by="Document.id", overlaps="documents, user"
    )
    raising: Mapped[list[Document]] = relationship(lazy="raise", viewonly=True)
    on_sql: Mapped[list[Document]] = relationship(lazy="raise_on_sql", viewonly=True)


class Profile(Base):
    __tablename__ = "profile"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    user: Mapped[User] = relationship(back_populates="profile")


class Document(Base):
    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    title: Mapped[str]
    kind: Mapped[str]
    size: Mapped[int] = mapped_column(default=0)

    user: Mapped[User | None] = relationship(back_populates="documents")
    tags: Mapped[list[Tag]] = relationship(
        secondary=tagging, order_by=(tagging.c.position, tagging.c.tag_id)
    )


class Tag(Base):
    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    documents: Mapped[list[Document]] = relationship(
        secondary=tagging, order_by="Document.id", viewonly=True
    )


class Site(Base):
    """Has a key of two columns."""

    __tablename__ = "site"
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    rooms: Mapped[list[Room]] = relationship(back_populates="site", order_by="Room.id.desc()")


class Room(Base):
    __tablename__ = "room"
    __table_args__ = (ForeignKeyConstraint(["country", "number"], ["site.country", "site.number"]),)
    id: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str | None] = mapped_column(String(2))
    number: Mapped[int | None]
    site: Mapped[Site | None] = relationship(back_populates="rooms")


class Company(Base):
    __tablename__ = "company"
    id: Mapped[int] = mapped_column(primary_key=True)
    employees: Mapped[list[Employee]] = relationship(
        back_populates="company", order_by="Employee.id"
    )
    managers: Mapped[list[Manager]] = relationship(viewonly=True, order_by="Manager.id")
    vehicles: Mapped[list[Vehicle]] = relationship(back_populates="company", order_by="Vehicle.id")


class Employee(Base):
    """The base of a hierarchy with a table for each class."""

    __tablename__ = "employee"
    __mapper_args__: ClassVar[dict[str, Any]] = {
        "polymorphic_identity": "employee",
        "polymorphic_on": "kind",
    }
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    company_id: Mapped[int] = mapped_column(ForeignKey("company.id"))
    manager_id: Mapped[int | None]
    company: Mapped[Company] = relationship(back_populates="employees")
    manager: Mapped[Manager | None] = relationship(
        primaryjoin="foreign(Employee.manager_id) == remote(Manager.id)", back_populates="reports"
    )


class Manager(Employee):
    __tablename__ = "manager"
    id: Mapped[int] = mapped_column(ForeignKey("employee.id"), primary_key=True)
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "manager"}
    budget: Mapped[int] = mapped_column(default=0)
    reports: Mapped[list[Employee]] = relationship(
        primaryjoin="foreign(remote(Employee.manager_id)) == Manager.id",
        back_populates="manager",
        order_by="Employee.id",
    )


class Engineer(Employee):
    __tablename__ = "engineer"
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "engineer"}
    id: Mapped[int] = mapped_column(ForeignKey("employee.id"), primary_key=True)
    language: Mapped[str] = mapped_column(default="")


class Vehicle(Base):
    """The base of a hierarchy in one table."""

    __tablename__ = "vehicle"
    __mapper_args__: ClassVar[dict[str, Any]] = {
        "polymorphic_identity": "van",
        "polymorphic_on": "kind",
    }
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    company_id: Mapped[int] = mapped_column(ForeignKey("company.id"))
    company: Mapped[Company] = relationship(back_populates="vehicles")


class Lorry(Vehicle):
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "lorry"}


class Dish(MappedAsDataclass, Base):
    """Cannot be hashed, as data classes that compare by value cannot."""

    __tablename__ = "dish"
    id: Mapped[int] = mapped_column(primary_key=True)
    parts: Mapped[list[Part]] = relationship(default_factory=list, order_by="Part.id")


class Part(MappedAsDataclass, Base):
    __tablename__ = "part"
    id: Mapped[int] = mapped_column(primary_key=True)
    dish_id: Mapped[int] = mapped_column(ForeignKey("dish.id"))


class Word(Base):
    """Its key ignores case on SQLite."""

    __tablename__ = "word"
    text: Mapped[str] = mapped_column(primary_key=True)
    uses: Mapped[list[Use]] = relationship(
        primaryjoin="Word.text == foreign(Use.word)", order_by="Use.id", viewonly=True
    )


class Use(Base):
    __tablename__ = "use"
    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(String().with_variant(String(collation="NOCASE"), "sqlite"))


_ranked = sql_select(
    Document,
    func.row_number()
    .over(partition_by=Document.user_id, order_by=(Document.size.desc(), Document.id))
    .label("place"),
).subquery()
_Ranked = aliased(Document, _ranked)
User.largest = relationship(  # type: ignore[attr-defined]
    _Ranked,
    primaryjoin=and_(_Ranked.user_id == User.id, _ranked.c.place <= 2),
    order_by=_ranked.c.place,
    viewonly=True,
)
