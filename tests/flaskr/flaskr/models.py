from datetime import datetime

import click
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    password: Mapped[str]

    def set_password(self, password):
        self.password = generate_password_hash(password, "pbkdf2:sha256:1")

    def check_password(self, password):
        return check_password_hash(self.password, password)


class Post(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey(User.id))
    created: Mapped[datetime] = mapped_column(server_default=func.current_timestamp())
    title: Mapped[str]
    body: Mapped[str]

    author: Mapped[User] = relationship(backref="posts")


@click.command("init-db")
def init_db_command():
    """Clear existing data and create new tables."""
    from flask import current_app

    with current_app.app_context():
        db.drop_all()
        db.create_all()
    click.echo("Initialized the database.")
