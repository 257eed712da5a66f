"""Users, their documents and everything that hangs on these."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, ForeignKey, Table, and_, func, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DynamicMapped,
    Mapped,
    WriteOnlyMapped,
    column_property,
    foreign,
    mapped_column,
    relationship,
)

from .base import db

document_tags = Table(
    "document_tags",
    db.metadata,
    Column("document_id", ForeignKey("documents.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class User(db.Model):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]

    documents: Mapped[list[Document]] = relationship(
        back_populates="user", order_by="Document.id", cascade="all, delete-orphan"
    )
    profile: Mapped[Profile] = relationship(back_populates="user", uselist=False)
    memberships: Mapped[list[Membership]] = relationship(back_populates="user")
    teams: AssociationProxy[list[Team]] = association_proxy("memberships", "team")
    comments: Mapped[list[Comment]] = relationship(back_populates="author")
    drafts: Mapped[list[Document]] = relationship(
        primaryjoin=lambda: and_(User.id == foreign(Document.user_id), Document.state == "draft"),
        viewonly=True,
    )
    posts: WriteOnlyMapped[Post] = relationship(back_populates="author", passive_deletes=True)
    feed: DynamicMapped[Post] = relationship(viewonly=True)

    @property
    def latest_title(self) -> str:
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        #   @attributes.property_reads_relationship,attributes.property_in_template
        documents = self.documents
        return documents[-1].title

    def count_posts(self) -> int:
        # FINDING n_plus_one Post x10 fix=GROUP_BY
        #   @attributes.method_that_asks,attributes.method_in_template
        return db.session.scalar(select(func.count(Post.id)).filter_by(author_id=self.id))

    @hybrid_property
    def bytes_used(self) -> int:
        # FINDING n_plus_one User.documents x10 fix=selectinload(User.documents)
        #   @attributes.hybrid_on_instances
        documents = self.documents
        return sum(document.size for document in documents)

    @bytes_used.inplace.expression
    @classmethod
    def _bytes_used(cls):
        return select(func.sum(Document.size)).where(Document.user_id == cls.id).scalar_subquery()

    def __str__(self) -> str:
        # FINDING n_plus_one User.profile x10 fix=joinedload(User.profile)
        #   @attributes.str_reads_relationship
        profile = self.profile
        return f"{self.name} ({profile.city})"


class Profile(db.Model):
    __tablename__ = "profiles"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)
    city: Mapped[str]

    user: Mapped[User] = relationship(back_populates="profile")


class Team(db.Model):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Membership(db.Model):
    __tablename__ = "memberships"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id"), primary_key=True)
    role: Mapped[str]

    user: Mapped[User] = relationship(back_populates="memberships")
    team: Mapped[Team] = relationship()


class Document(db.Model):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    kind: Mapped[str]
    state: Mapped[str]
    size: Mapped[int]
    uploaded_at: Mapped[datetime]
    content: Mapped[str] = mapped_column(deferred=True)
    summary: Mapped[str] = mapped_column(deferred=True, deferred_group="texts")
    abstract: Mapped[str] = mapped_column(deferred=True, deferred_group="texts")

    user: Mapped[User] = relationship(back_populates="documents")
    tags: Mapped[list[Tag]] = relationship(
        secondary=document_tags, back_populates="documents", order_by="Tag.id"
    )
    tag_names: AssociationProxy[list[str]] = association_proxy("tags", "name")
    comments: Mapped[list[Comment]] = relationship(
        back_populates="document", order_by="Comment.id", cascade="all, delete-orphan"
    )


class Tag(db.Model):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

    documents: Mapped[list[Document]] = relationship(secondary=document_tags, back_populates="tags")


class Comment(db.Model):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id"))
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    body: Mapped[str]

    document: Mapped[Document] = relationship(back_populates="comments")
    author: Mapped[User] = relationship(back_populates="comments")


class Post(db.Model):
    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    body: Mapped[str]

    author: Mapped[User] = relationship(back_populates="posts")


User.document_count = column_property(
    select(func.count(Document.id))
    .where(Document.user_id == User.id)
    .correlate_except(Document)
    .scalar_subquery(),
    deferred=True,
)
