"""A shop with tables of every kind that index advice must tell apart, filled in the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Country(Base):
    __tablename__ = "country"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(80))


class Customer(Base):
    """30,000; e-mail and name are nearly unique, a postcode lies in one city."""

    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    country_id: Mapped[int] = mapped_column(sa.ForeignKey("country.id"))
    email: Mapped[str] = mapped_column(sa.String(120))
    name: Mapped[str] = mapped_column(sa.String(120))
    city: Mapped[str] = mapped_column(sa.String(40))
    postcode: Mapped[str] = mapped_column(sa.String(10))
    bio: Mapped[str] = mapped_column(sa.Text)
    deleted_at: Mapped[datetime | None]
    orders: Mapped[list[Order]] = relationship(back_populates="customer")


class Order(Base):
    """120,000, four of each customer but 20,000 of the first ten; 1 in 400 is waiting."""

    __tablename__ = "orders"
    __table_args__ = (sa.Index("ix_orders_shipped_at", "shipped_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(sa.ForeignKey("customer.id"))
    warehouse_id: Mapped[int]
    carrier_id: Mapped[int]
    state: Mapped[str] = mapped_column(sa.String(20))
    urgent: Mapped[bool]
    region: Mapped[int]
    amount: Mapped[int]
    priority: Mapped[int]
    created_at: Mapped[datetime]
    shipped_at: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    tags: Mapped[list[str]] = mapped_column(ARRAY(sa.String(20)))
    note: Mapped[str] = mapped_column(sa.Text)
    customer: Mapped[Customer] = relationship(back_populates="orders")


class Parcel(Base):
    """40,000, each of one order, gone with it."""

    __tablename__ = "parcel"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(sa.ForeignKey("orders.id", ondelete="CASCADE"))
    weight: Mapped[int]


class Log(Base):
    """50,000, read once a night."""

    __tablename__ = "log"
    id: Mapped[int] = mapped_column(primary_key=True)
    actor: Mapped[int]
    text: Mapped[str] = mapped_column(sa.Text)


class Article(Base):
    """30,000, with indexes of every kind that may or must not go."""

    __tablename__ = "article"
    __table_args__ = (
        sa.UniqueConstraint("code", name="uq_article_code"),
        sa.Index("ix_article_code", "code"),
        sa.Index("ix_article_code_kind", "code", "kind"),
        sa.Index("ix_article_kind", "kind"),
        sa.Index("ix_article_kind_again", "kind"),
        sa.Index("ix_article_kind_sold", "kind", "sold"),
        sa.Index("ix_article_sold_where", "sold", postgresql_where=sa.text("kind = 3")),
        sa.Index("ix_article_sold", "sold"),
        sa.Index("ux_article_serial", "serial", unique=True),
        sa.Index("ix_article_serial_kind", "serial", "kind"),
        sa.Index("ix_article_maker_id", "maker_id"),
        sa.Index("ix_article_title_pattern", "title", postgresql_ops={"title": "text_pattern_ops"}),
        sa.Index("ix_article_title_sold", "title", "sold"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    maker_id: Mapped[int] = mapped_column(sa.ForeignKey("maker.id"))
    code: Mapped[int]
    serial: Mapped[int]
    kind: Mapped[int]
    sold: Mapped[int]
    title: Mapped[str] = mapped_column(sa.Text)


class Maker(Base):
    __tablename__ = "maker"
    id: Mapped[int] = mapped_column(primary_key=True)


FILL = """
INSERT INTO country SELECT n, 'country ' || n FROM generate_series(1, 6) n;
INSERT INTO customer SELECT n, 1 + n % 6, 'Person' || n || '@example.com',
  md5(n::text) || ' ' || n, 'city ' || (n % 100), 'p' || (n % 5000), repeat('x', 200),
  CASE WHEN n % 40 = 0 THEN NULL ELSE timestamp '2024-01-01' + n * interval '1 min' END
  FROM generate_series(1, 30000) n;
INSERT INTO orders SELECT n, CASE WHEN n % 6 = 0 THEN 1 + n / 6 % 10 ELSE 1 + n % 30000 END,
  1 + n % 6, 1 + n / 7 % 50, CASE WHEN n % 400 = 0 THEN 'waiting'
    ELSE (ARRAY['done', 'sent', 'paid', 'late'])[1 + n / 3 % 4] END,
  n % 300 <> 0, n * 7919 % 40, n % 1000, n * 31 % 100000,
  timestamp '2024-01-01' + n * 7919 % 120000 * interval '1 min',
  timestamp '2024-01-01' + n * interval '1 min',
  CASE WHEN n % 2 = 0 THEN timestamp '2024-01-01' + n * 7877 % 120000 * interval '1 min' END,
  jsonb_build_object('channel', 'c' || n % 3000, 'n', n % 7),
  ARRAY['t' || n % 4000, 'u' || n % 3], repeat('y', 100) FROM generate_series(1, 120000) n;
INSERT INTO parcel SELECT n, 1 + n % 110000, n FROM generate_series(1, 40000) n;
INSERT INTO log SELECT n, n % 5000, repeat('z', 100) FROM generate_series(1, 50000) n;
INSERT INTO maker SELECT n FROM generate_series(1, 3000) n;
INSERT INTO article SELECT n, 1 + n % 3000, n, n, n % 2000, n * 7919 % 30000, 'title ' || n
  FROM generate_series(1, 30000) n;
"""
