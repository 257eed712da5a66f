"""Orders: two relationships to one table, composite keys, single-table inheritance."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import db
from .people import User


class Address(db.Model):
    __tablename__ = "addresses"

    id: Mapped[int] = mapped_column(primary_key=True)
    street: Mapped[str]
    city: Mapped[str]


class Customer(db.Model):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    address_id: Mapped[int] = mapped_column(ForeignKey("addresses.id"))

    address: Mapped[Address] = relationship()
    orders: Mapped[list[Order]] = relationship(back_populates="customer", order_by="Order.id")


class Order(db.Model):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    billing_address_id: Mapped[int] = mapped_column(ForeignKey("addresses.id"))
    shipping_address_id: Mapped[int] = mapped_column(ForeignKey("addresses.id"))
    seller_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    status: Mapped[str]
    placed_at: Mapped[datetime]

    customer: Mapped[Customer] = relationship(back_populates="orders")
    billing_address: Mapped[Address] = relationship(foreign_keys="Order.billing_address_id")
    shipping_address: Mapped[Address] = relationship(foreign_keys="Order.shipping_address_id")
    seller: Mapped[User | None] = relationship()
    lines: Mapped[list[OrderLine]] = relationship(
        back_populates="order", order_by="OrderLine.number"
    )
    payments: Mapped[list[Payment]] = relationship(back_populates="order", order_by="Payment.id")


class OrderLine(db.Model):
    """A composite primary key, which allocations refer to by a composite foreign key."""

    __tablename__ = "order_lines"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    quantity: Mapped[int]

    order: Mapped[Order] = relationship(back_populates="lines")
    product: Mapped[Product] = relationship()
    allocations: Mapped[list[Allocation]] = relationship(
        back_populates="line", cascade="all, delete-orphan"
    )


class Allocation(db.Model):
    __tablename__ = "allocations"
    __table_args__ = (
        ForeignKeyConstraint(
            ["order_id", "line_number"], ["order_lines.order_id", "order_lines.number"]
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int]
    line_number: Mapped[int]
    shelf: Mapped[str]

    line: Mapped[OrderLine] = relationship(back_populates="allocations")


class Product(db.Model):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    price: Mapped[int]


class Payment(db.Model):
    """Single-table inheritance: the columns of the subclasses stand in one table."""

    __tablename__ = "payments"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    amount: Mapped[int]
    type: Mapped[str]

    order: Mapped[Order] = relationship(back_populates="payments")

    __mapper_args__ = {"polymorphic_on": "type", "polymorphic_identity": "payment"}  # noqa: RUF012


class CardPayment(Payment):
    last_digits: Mapped[str | None]

    __mapper_args__ = {"polymorphic_identity": "card"}  # noqa: RUF012


class BankPayment(Payment):
    iban: Mapped[str | None]

    __mapper_args__ = {"polymorphic_identity": "bank"}  # noqa: RUF012
