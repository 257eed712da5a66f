"""Queries that the code itself issues, one for each row of a loop, through the ORM."""

from datetime import timedelta

from flask import Blueprint, jsonify
from sqlalchemy import and_, exists, func, select, union_all
from sqlalchemy.orm import aliased, selectinload, with_parent

from ..models import (
    Comment,
    Customer,
    Document,
    Order,
    Payment,
    Post,
    Product,
    Reading,
    Tag,
    User,
    db,
    document_tags,
)

bp = Blueprint("issued", __name__)

FIRST_TEN = range(1, 11)


@bp.get("/count")
def count():
    rows = {}
    for user in db.session.scalars(select(User)).all():
        statement = select(func.count()).select_from(Document).where(Document.user_id == user.id)
        # FINDING n_plus_one Document x10 fix=GROUP_BY
        rows[user.name] = db.session.scalar(statement)
    return jsonify(rows)


@bp.get("/by-association-table")
def by_association_table():
    """What differs is a column of a table that no class maps."""
    rows = {}
    for tag in db.session.scalars(select(Tag)).all():
        statement = select(Document).join(document_tags).where(document_tags.c.tag_id == tag.id)
        # FINDING n_plus_one Document x15
        #   fix=join(document_tags).where(document_tags.c.tag_id.in_(keys))
        documents = db.session.scalars(statement).all()
        rows[tag.name] = [document.title for document in documents]
    return jsonify(rows)


@bp.get("/by-column-of-joined-model")
def by_column_of_joined_model():
    rows = {}
    for tag in db.session.scalars(select(Tag)).all():
        statement = select(Document).join(Document.tags).where(Tag.name == tag.name)
        # FINDING n_plus_one Document x15
        #   fix=select(Document,Tag.name).join(Document.tags).where(Tag.name.in_(keys))
        rows[tag.name] = len(db.session.scalars(statement).all())
    return jsonify(rows)


@bp.get("/count-of-column")
def count_of_column():
    users = db.session.scalars(select(User)).all()
    return jsonify(
        {
            # FINDING n_plus_one Comment x10 fix=GROUP_BY
            u.name: db.session.scalar(select(func.count(Comment.id)).filter_by(author_id=u.id))
            for u in users
        }
    )


@bp.get("/legacy-count")
def legacy_count():
    """``Query.count`` wraps the statement into a subselect."""
    rows = []
    for user in User.query:
        # FINDING n_plus_one Document x10 fix=GROUP_BY
        rows.append(Document.query.filter_by(user_id=user.id).count())
    return jsonify(rows)


@bp.get("/sum")
def total():
    rows = {}
    for order in db.session.scalars(select(Order)).all():
        paid = select(func.sum(Payment.amount)).where(Payment.order_id == order.id)
        # FINDING n_plus_one Payment x12 fix=func.sum(Payment.amount)
        rows[order.id] = db.session.execute(paid).scalar_one()
    return jsonify(rows)


@bp.get("/exists")
def exists_each():
    names = []
    for user in db.session.scalars(select(User)).all():
        has_draft = exists().where(Document.user_id == user.id, Document.state == "draft")
        # FINDING n_plus_one Document x10
        if db.session.scalar(select(has_draft)):
            names.append(user.name)
    return jsonify(names)


@bp.get("/legacy-exists")
def legacy_exists():
    users = User.query.all()
    rows = []
    for user in users:
        query = db.session.query(Post).filter(Post.author_id == user.id)
        # FINDING n_plus_one Post x10
        rows.append(db.session.query(query.exists()).scalar())
    return jsonify(rows)


@bp.get("/first")
def first():
    """A LIMIT 1 for each parent is no page."""
    rows = []
    for user in db.session.scalars(select(User)).all():
        newest = select(Document).filter_by(user_id=user.id).order_by(Document.uploaded_at.desc())
        # FINDING n_plus_one Document x10
        rows.append(db.session.scalars(newest.limit(1)).first().title)
    return jsonify(rows)


@bp.get("/legacy-first")
def legacy_first():
    rows = []
    for i in FIRST_TEN:
        # FINDING n_plus_one Customer x10
        customer = Customer.query.filter(Customer.name == f"customer {i}").first()
        rows.append(customer.id)
    return jsonify(rows)


@bp.get("/top-three")
def top_three():
    """LIMIT over 1, but of another parent each time: no page follows from the last."""
    rows = []
    for user in db.session.scalars(select(User)).all():
        top = select(Document).filter_by(user_id=user.id).order_by(Document.size.desc()).limit(3)
        # FINDING n_plus_one Document x10
        rows.append([document.title for document in db.session.scalars(top)])
    return jsonify(rows)


@bp.get("/filter-by-parent")
def filter_by_parent():
    rows = {}
    for user in db.session.scalars(select(User)).all():
        mine = select(Comment).where(with_parent(user, User.comments))
        # FINDING n_plus_one Comment x10 fix=select(Comment).where(Comment.author_id.in_(keys))
        rows[user.name] = [comment.body for comment in db.session.scalars(mine)]
    return jsonify(rows)


@bp.get("/one-column")
def one_column():
    rows = []
    for i in FIRST_TEN:
        # FINDING n_plus_one Product x10
        rows.append(db.session.scalar(select(Product.name).where(Product.id == i)))
    return jsonify(rows)


@bp.get("/few-keys-a-parent")
def few_keys_a_parent():
    """IN with two keys for each parent: no batch."""
    rows = []
    for document in db.session.scalars(select(Document).limit(10)).all():
        keys = [document.id % 15 + 1, (document.id + 7) % 15 + 1]
        # FINDING n_plus_one Tag x10
        rows.append([tag.name for tag in db.session.scalars(select(Tag).where(Tag.id.in_(keys)))])
    return jsonify(rows)


@bp.get("/one-to-three-keys-a-parent")
def one_to_three_keys_a_parent():
    """The lengths of the lists differ, the statement does not."""
    rows = []
    for i in FIRST_TEN:
        keys = list(range(i, i + 1 + i % 3))
        # FINDING n_plus_one Product x10
        rows.append(db.session.scalars(select(Product.name).where(Product.id.in_(keys))).all())
    return jsonify(rows)


@bp.get("/join")
def join():
    rows = []
    for user in db.session.scalars(select(User)).all():
        said = select(Comment.body).join(Comment.document).where(Document.user_id == user.id)
        rows.append(db.session.scalars(said).all())  # FINDING n_plus_one Comment x10
    return jsonify(rows)


@bp.get("/alias")
def alias():
    rows = []
    other = aliased(Document, name="other")
    for user in db.session.scalars(select(User)).all():
        biggest = select(func.max(other.size)).where(other.user_id == user.id)
        rows.append(db.session.scalar(biggest))  # FINDING n_plus_one Document x10
    return jsonify(rows)


@bp.get("/cte")
def cte():
    rows = []
    for user in db.session.scalars(select(User)).all():
        mine = select(Document.size).where(Document.user_id == user.id).cte("mine")
        # FINDING n_plus_one Document x10
        rows.append(db.session.scalar(select(func.sum(mine.c.size))))
    return jsonify(rows)


@bp.get("/subquery")
def subquery():
    rows = []
    for user in db.session.scalars(select(User)).all():
        mine = select(Post).where(Post.author_id == user.id).subquery()
        # FINDING n_plus_one Post x10
        rows.append(db.session.scalar(select(func.count()).select_from(mine)))
    return jsonify(rows)


@bp.get("/union")
def union():
    rows = []
    for user in db.session.scalars(select(User)).all():
        early = select(Document.title).where(Document.user_id == user.id, Document.size < 500)
        late = select(Document.title).where(Document.user_id == user.id, Document.size > 2500)
        # FINDING n_plus_one Document x10
        rows.append(db.session.scalars(union_all(early, late)).all())
    return jsonify(rows)


@bp.get("/write-only-collection")
def write_only_collection():
    rows = []
    for user in db.session.scalars(select(User)).all():
        # FINDING n_plus_one Post|User.posts x10
        rows.append([post.body for post in db.session.scalars(user.posts.select())])
    return jsonify(rows)


@bp.get("/dynamic-collection")
def dynamic_collection():
    rows = []
    for user in db.session.scalars(select(User)).all():
        # FINDING n_plus_one Post|User.feed x10
        rows.append([post.body for post in user.feed])
    return jsonify(rows)


@bp.get("/dynamic-count")
def dynamic_count():
    users = db.session.scalars(select(User)).all()
    return jsonify([user.feed.count() for user in users])  # FINDING n_plus_one Post|User.feed x10


@bp.get("/day-by-day")
def day_by_day():
    """A count a day is a GROUP BY; no LIMIT, so no paging."""
    rows = []
    start = db.session.scalar(select(func.min(Document.uploaded_at)))
    for days in FIRST_TEN:
        day = start + timedelta(days=days)
        within = and_(Document.uploaded_at >= day, Document.uploaded_at < day + timedelta(days=1))
        # FINDING n_plus_one Document x10
        rows.append(db.session.scalar(select(func.count(Document.id)).where(within)))
    return jsonify(rows)


@bp.get("/interleaved")
def interleaved():
    """Other statements between the repetitions hide nothing."""
    rows = []
    for i in FIRST_TEN:
        # FINDING n_plus_one Customer x10
        customer = db.session.get(Customer, i)
        # FINDING n_plus_one Order x10
        orders = db.session.scalars(select(Order).filter_by(customer_id=i)).all()
        # FINDING n_plus_one Product x10
        product = db.session.get(Product, i)
        rows.append((customer.name, len(orders), product.name))
    return jsonify(rows)


@bp.get("/two-loops")
def two_loops():
    """One statement in two loops: two causes."""
    by_id = {}
    for i in FIRST_TEN:
        statement = select(Product.price).where(Product.id == i)
        by_id[i] = db.session.scalar(statement)  # FINDING n_plus_one Product x10
    for i in range(11, 21):
        statement = select(Product.price).where(Product.id == i)
        by_id[i] = db.session.scalar(statement)  # FINDING n_plus_one Product x10
    return jsonify(by_id)


@bp.get("/select-with-batches")
def select_with_batches():
    """The loader's batch repeats because the select does."""
    rows = []
    for i in FIRST_TEN:
        mine = select(Document).where(Document.user_id == i).options(selectinload(Document.tags))
        documents = db.session.scalars(mine).all()  # FINDING n_plus_one Document x10 runs=20
        rows.append([[tag.name for tag in document.tags] for document in documents])
    return jsonify(rows)


@bp.get("/top-three-from-the-start")
def top_three_from_the_start():
    """LIMIT and an OFFSET that never moves: no paging."""
    rows = []
    for i in FIRST_TEN:
        top = select(Post.body).where(Post.author_id == i).order_by(Post.id).limit(3).offset(0)
        rows.append(db.session.scalars(top).all())  # FINDING n_plus_one Post x10
    return jsonify(rows)


@bp.get("/more-than-a-thousand")
def more_than_a_thousand():
    """However many there are, the count is exact."""
    total = 0
    for i in range(1, 1101):
        statement = select(func.max(Reading.value)).where(Reading.id <= i)
        total += db.session.scalar(statement)  # FINDING n_plus_one Reading x1100
    return jsonify(total)


@bp.get("/range-per-parent")
def range_per_parent():
    """A range and a LIMIT, but each question begins anew, wherever the last one ended."""
    rows = []
    for low in (60, 20, 90, 10, 70, 40, 95, 30, 80, 50):
        dearer = select(Product.name).where(Product.price > low).order_by(Product.price).limit(3)
        rows.append(db.session.scalars(dearer).all())  # FINDING n_plus_one Product x10
    return jsonify(rows)


@bp.get("/joined-filter-in-group")
def joined_filter_in_group():
    """The column that differs is of another table than what is selected."""
    rows = []
    for i in FIRST_TEN:
        statement = select(func.count(Comment.id)).join(Comment.document)
        statement = statement.where(Document.user_id == i)
        rows.append(db.session.scalar(statement))  # FINDING n_plus_one Comment x10 fix=GROUP_BY
    return jsonify(rows)
