"""What loads for each row is loaded at once, wherever the rows come from, and nobody else pays."""

from __future__ import annotations

from typing import Any

import pytest
from archive import User
from flask import Flask
from patching import changes, finding_of, patch_of

OTHER = """
def titles():
    return [each.title for each in documents()]

def ids():
    return [each.id for each in documents()]
"""


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (
            """
            def view():
                names, found = db.session.scalars(select(User.name)), list(
                    Document.query.filter(Document.id > 0)
                )
                return [each.user.name for each in found]
            """,
            "Document.query.filter(Document.id > 0).options(joinedload(Document.user))",
        ),
        (
            """
            def view():
                query = Document.query
                query = query.order_by(Document.id)
                return [each.user.name for each in query[:9]]
            """,
            "query.options(joinedload(Document.user))[:9]",
        ),
        (
            """
            from flask_perfkit import PerfKit
            from marshmallow import Schema, fields

            class Owner(Schema):
                name = fields.String()

            class Shown(Schema):
                user = fields.Pluck(Owner, "name")

            @PerfKit().paginated(Shown)
            def view():
                return select(Document).where(Document.id > 0)
            """,
            "select(Document).where(Document.id > 0).options(joinedload(Document.user))",
        ),
        (
            """
            from sqlalchemy.orm import aliased

            def view():
                one, other = aliased(Document), aliased(Document)
                first = aliased(Document)
                second = aliased(Document)
                both = select(first, second).join(second, second.id == first.id)
                return [each.user.name for each, _ in db.session.execute(both)]
            """,
            "both.options(selectinload(first.user))",
        ),
        (
            """
            def rows(session, statement):
                return session.scalars(statement).all()

            def view():
                return [each.user.name for each in rows(db.session, select(Document))]

            def titles():
                return [each.title for each in rows(db.session, select(Document))]
            """,
            "rows(db.session, select(Document).options(joinedload(Document.user)))",
        ),
        (
            """
            class Documents:
                def everything(self):
                    return db.session.scalars(select(Document)).all()

            def view():
                return [each.user.name for each in Documents().everything()]

            def titles():
                return [each.title for each in Documents().everything()]
            """,
            "Documents().everything(options=[joinedload(Document.user)])",
        ),
        (
            """
            async def view():
                found = (db.session.execute(select(Document))).scalars()
                return [each.user.name for each in found]
            """,
            "db.session.execute(select(Document).options(joinedload(Document.user)))",
        ),
    ],
    ids=["list", "slice", "returned", "alias", "argument", "method", "async"],
)
def test_the_option_goes_into_the_statement_that_brought_the_rows(
    app: Flask, written: Any, body: str, line: str
) -> None:
    patch = patch_of(app, finding_of(app, written(body)))
    assert patch.holds, patch.reason
    assert any(line in each for each in changes(patch)), patch.diff


def test_a_shared_select_of_another_file_is_left_and_the_view_loads_for_itself(
    app: Flask, written: Any
) -> None:
    store = written(
        """
        def documents():
            return db.session.scalars(select(Document)).all()
        """
    )
    use = f"from {store.__name__} import documents\n"
    body = "def view():\n    return [each.user.name for each in documents()]\n"
    patch = patch_of(app, finding_of(app, written(f"{use}{body}{OTHER}")))
    assert (patch.queries_before, patch.queries_after) == (11, 2), patch.reason
    assert "+    items = documents()" in changes(patch) or "list(documents())" in patch.diff
    assert store.__name__ not in patch.diff.partition("\n")[0]


@pytest.mark.parametrize(
    "body",
    [
        """
        from flask.views import MethodView

        class Everything(MethodView):
            def get(self):
                return [self.row(each) for each in db.session.scalars(select(self.model))]

        class Documents(Everything):
            model = Document
            def row(self, each):
                return each.user.name

        class Users(Everything):
            model = User
            def row(self, each):
                return each.name

        view = Documents.as_view("documents")
        """,
        """
        LOADERS = []

        def loader(function):
            LOADERS.append(function)
            return function

        @loader
        def documents():
            return db.session.scalars(select(Document))

        def view():
            return list(map(lambda each: each.user.name, LOADERS[0]()))
        """,
    ],
    ids=["a class of several views", "nobody names it"],
)
def test_a_select_that_may_serve_others_is_left(app: Flask, written: Any, body: str) -> None:
    module = written(body)
    if hasattr(module, "Users"):
        app.add_url_rule("/users", "users", module.Users.as_view("users"))
    patch = patch_of(app, finding_of(app, module))
    assert (patch.holds, patch.diff) == (False, "")
    assert "serves several callers" in patch.reason


def test_objects_that_forgot_their_columns_are_read_at_once(app: Flask, written: Any) -> None:
    module = written(
        """
        def view():
            documents = db.session.scalars(select(Document)).all()
            db.session.commit()
            return [document.title for document in documents]
        """
    )
    patch = patch_of(app, finding_of(app, module))
    assert (patch.queries_before, patch.queries_after) == (11, 2), patch.reason


@pytest.mark.parametrize(
    ("view", "kind", "line"),
    [
        (
            "return {'n': len(db.session.scalars(select(Document).order_by(Document.id)).all())}",
            "python_aggregation",
            "db.session.scalar(select(func.count()).select_from(Document))",
        ),
        (
            "return {'n': sum(each.user_id for each in db.session.scalars(select(Document)))}",
            "python_aggregation",
            "select(func.coalesce(func.sum(Document.user_id), 0)).select_from(Document)",
        ),
        (
            """found = Document.query.options(selectinload(Document.user)).all()
    return [each.title for each in found]""",
            "unused_eager_load",
            "found = Document.query.all()",
        ),
    ],
    ids=["count", "sum", "eager load"],
)
def test_what_is_not_needed_is_not_fetched(
    app: Flask, written: Any, view: str, kind: str, line: str
) -> None:
    module = written(f"from sqlalchemy.orm import selectinload\n\ndef view():\n    {view}\n")
    patch = patch_of(app, finding_of(app, module, kind))
    assert patch.holds, patch.reason
    assert any(line in each for each in changes(patch)), patch.diff


def test_what_the_module_reads_at_other_times_is_still_loaded(app: Flask, written: Any) -> None:
    module = written(
        """
        from flask import request
        from sqlalchemy.orm import joinedload

        def view():
            found = db.session.scalars(select(Document).options(joinedload(Document.user))).all()
            if "names" in request.args:
                return [each.user.name for each in found]
            return [each.title for each in found]
        """
    )
    patch = patch_of(app, finding_of(app, module, "unused_eager_load"))
    assert not patch.holds
    assert "each.user is read in the same module" in patch.reason


def test_keys_are_scanned(app: Flask, written: Any, redis_url: str) -> None:
    pytest.importorskip("redis")
    module = written(
        f"""
        import redis

        client = redis.Redis.from_url({redis_url!r})

        def view():
            return {{"n": len(client.keys("page:*"))}}
        """
    )
    with module.client:
        module.client.mset({f"page:{number}": number for number in range(20)})
        patch = patch_of(app, finding_of(app, module, "redis_keys"))
    assert patch.holds, patch.reason
    assert '    return {"n": len(list(client.scan_iter(match="page:*", count=1000)))}' in patch.diff


def test_what_a_property_of_another_module_asks_is_asked_before_the_loop(
    app: Flask, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = written(
        """
        class WithSize:
            @property
            def size(self):
                return db.session.scalar(
                    select(func.count(Document.id)).where(Document.user_id == self.id)
                )
        """
    )
    monkeypatch.setattr(User, "size", models.WithSize.size, raising=False)
    module = written(
        """
        def view():
            return [user.size for user in db.session.scalars(select(User)).all()]
        """
    )
    patch = patch_of(app, finding_of(app, module))
    assert (patch.queries_before, patch.queries_after) == (11, 2), patch.reason
    assert "+    return [counts.get(user.id, 0) for user in items]" in changes(patch)


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        ("len(user.documents)", "counts.get(user.id, 0)"),
        ("'some' if user.documents else 'none'", "user.id in existing"),
        ("sum(each.id for each in user.documents)", "sums.get(user.id, 0)"),
        ("len(user.documents) + user.documents[0].id", "selectinload(User.documents)"),
    ],
    ids=["count", "test", "sum", "used for more"],
)
def test_a_collection_is_only_loaded_for_more_than_a_number(
    app: Flask, written: Any, shown: str, line: str
) -> None:
    users = "db.session.scalars(select(User)).all()"
    module = written(f"def view():\n    return [{shown} for user in {users}]\n")
    patch = patch_of(app, finding_of(app, module))
    assert patch.holds, patch.reason
    assert any(line in each for each in changes(patch)), patch.diff
