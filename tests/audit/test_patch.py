"""A patch is the source as it would be, tried on the request; nothing that fails is offered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from archive import profiles
from flask import Flask
from patching import HEAD, changes, finding_of, patch_of

from flask_perfkit.audit.patches.patch import patched

OPTION = """
def view():
    return [document.user.name for document in db.session.scalars(select(Document))]
"""


def test_a_loader_option_with_its_import(app: Flask, written: Any) -> None:
    module = written(OPTION)
    patch = patch_of(app, finding_of(app, module))
    assert (patch.holds, patch.reason) == (True, "")
    assert (patch.queries_before, patch.queries_after) == (11, 1)
    assert changes(patch) == [
        "+from sqlalchemy.orm import joinedload",
        "-    return [document.user.name for document in db.session.scalars(select(Document))]",
        (
            "+    return [document.user.name for document in "
            "db.session.scalars(select(Document).options(joinedload(Document.user)))]"
        ),
    ]
    assert Path(module.__file__).read_text() == HEAD + OPTION
    assert app.test_client().get("/").json == [f"user {number}" for number in range(1, 11)]


@pytest.mark.parametrize(
    ("body", "queries"),
    [
        ("return [db.session.get(User, n).name for n in range(1, 11)]", (10, 1)),
        (
            """names = []
    for document in db.session.scalars(select(Document)).all():
        owned = select(func.count(Document.id)).where(
            Document.user_id == document.user_id, Document.title != "document 3"
        )
        names.append(db.session.scalar(owned))
    return names""",
            (11, 2),
        ),
        (
            """found = {}
    for n in range(1, 13):
        rows = db.session.scalars(select(Document).where(Document.user_id == n)).all()
        found[n] = [row.title for row in rows]
    return found""",
            (12, 1),
        ),
        (
            (
                "users = User.query.order_by(User.id).all()\n"
                "    return [len(user.documents) for user in users]"
            ),
            (11, 2),
        ),
        (
            "return [user.bio for user in db.session.scalars(select(User))]",
            (11, 1),
        ),
        (
            """for n in range(1, 11):
        db.session.execute(update(Document).where(Document.id == n).values(title="new"))
    return [each.title for each in db.session.scalars(select(Document).order_by(Document.id))]""",
            (11, 2),
        ),
        (
            """for n in range(1, 11):
        db.session.execute(delete(Document).where(Document.user_id == n))
    return str(db.session.scalar(select(func.count(Document.id))))""",
            (11, 2),
        ),
        (
            """for n in range(11, 21):
        db.session.add(User(id=n, name=f"new {n}"))
        db.session.flush()
    return [user.name for user in db.session.scalars(select(User).order_by(User.id))]""",
            (11, 2),
        ),
    ],
    ids=["get", "count", "rows", "query", "column", "update", "delete", "insert"],
)
def test_a_patch_saves_statements(
    app: Flask, written: Any, body: str, queries: tuple[int, int]
) -> None:
    module = written(f"def view():\n    {body}\n")
    writes = any(each in body for each in ("update(", "delete(", "add("))
    kind = "n_plus_one_write" if writes else "n_plus_one"
    patch = patch_of(app, finding_of(app, module, kind))
    assert (patch.holds, patch.reason) == (True, "")
    assert (patch.queries_before, patch.queries_after) == queries


def test_two_findings_of_one_select_are_one_patch_and_it_can_be_written(
    app: Flask, written: Any
) -> None:
    module = written("""
        def view():
            users = db.session.scalars(select(User)).all()
            return [(len(user.documents), user.motto) for user in users]
    """)
    app.add_url_rule("/", "shown", module.view)
    with profiles(app) as collected:
        app.test_client().get("/")
    (patch,) = patched(app, collected[0].findings, writes=True)
    assert patch.written
    assert (patch.queries_before, patch.queries_after) == (21, 2)
    text = Path(module.__file__).read_text()
    assert "select(User).options(" in text
    assert "selectinload(User.documents)" in text
    assert "undefer(User.motto)" in text
    compile(text, "views", "exec")


def test_a_load_and_what_it_flushes_are_one_patch(app: Flask, written: Any) -> None:
    module = written("""
        def view():
            documents = db.session.scalars(select(Document)).all()
            for document in documents:
                db.session.add(Document(user_id=document.user_id, title="new"))
                document.user.name
            return "done"
    """)
    app.add_url_rule("/", "shown", module.view)
    with profiles(app) as collected:
        app.test_client().get("/")
    kinds = {each.kind for each in collected[0].findings}
    (patch,) = patched(app, collected[0].findings, writes=False)
    assert {each.kind for each in patch.findings} == kinds == {"n_plus_one", "n_plus_one_write"}
    assert (patch.queries_before, patch.queries_after) == (21, 1)


def test_a_collection_that_the_loop_adds_to_is_loaded_in_its_turn(app: Flask, written: Any) -> None:
    module = written("""
        def view():
            for user in db.session.scalars(select(User)).all():
                db.session.add(Document(user_id=user.id, title="new"))
                [each.title for each in user.documents]
            return "done"
    """)
    patch = patch_of(app, finding_of(app, module))
    assert "the loop adds to documents" in patch.reason


def test_a_helper_of_several_views_gets_a_parameter(app: Flask, written: Any) -> None:
    module = written("""
        def documents():
            return db.session.scalars(select(Document)).all()

        def view():
            return [document.user.name for document in documents()]

        def titles():
            return [document.title for document in documents()]

        def count():
            return str(len(documents()))
    """)
    patch = patch_of(app, finding_of(app, module))
    assert patch.holds, patch.reason
    assert "+def documents(*, options=()):" in changes(patch)
    assert any("documents(options=[joinedload(Document.user)])" in each for each in changes(patch))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            """for n in range(1, 11):
        title = {20: "old"}.get(n, "new")
        db.session.execute(update(Document).where(Document.id == n).values(title=title))
    return [each.title for each in db.session.scalars(select(Document))]""",
            "a value is worked out by calls",
        ),
        (
            """documents = db.session.scalars(select(Document)).all()
    return [("user" in vars(document), document.user.name) for document in documents]""",
            "the response differs",
        ),
        (
            """names = []
    for n in range(1, 11):
        names.append(db.session.get(User, n + len(names) - len(names)).name)
    return names""",
            "the key is worked out inside of the loop",
        ),
        (
            """names = []
    for n in range(1, 11):
        user = db.session.get(User, n)
        user.id = user.id
        names.append(user.name)
    return names""",
            "the loop changes objects, and may read what it writes",
        ),
        (
            """names, n = [], 1
    while n < 9:
        names.append(db.session.get(User, n).name)
        n += 1
    return names""",
            "no loop over something known is around it in its function",
        ),
    ],
    ids=["other values", "other response", "key of the loop", "changes objects", "while"],
)
def test_what_is_not_sure_is_not_offered(app: Flask, written: Any, body: str, reason: str) -> None:
    module = written(f"def view():\n    {body}\n")
    kind = "n_plus_one_write" if "update(" in body else "n_plus_one"
    patch = patch_of(app, finding_of(app, module, kind))
    assert (patch.holds, patch.diff) == (False, "")
    assert reason in patch.reason


def test_a_file_that_was_changed_since_is_left(app: Flask, written: Any) -> None:
    module = written(OPTION)
    finding = finding_of(app, module)
    path = Path(module.__file__)
    path.write_text(HEAD + OPTION.replace("select(Document)", "select(Document).limit(3)"))
    patch = patch_of(app, finding)
    assert "was changed since it was loaded" in patch.reason


def test_a_file_that_is_changed_before_it_is_written_is_left(app: Flask, written: Any) -> None:
    module = written(OPTION)
    patch = patch_of(app, finding_of(app, module))
    path = Path(module.__file__)
    path.write_text("# mine\n")
    done = patch.write()
    assert not done.written
    assert "is left as it was" in done.reason
    assert path.read_text() == "# mine\n"


def test_a_generated_file_is_left(app: Flask, written: Any, monkeypatch: Any) -> None:
    module = written(OPTION)
    finding = finding_of(app, module)
    path = Path(module.__file__)
    monkeypatch.setattr(Path, "read_bytes", lambda self: b"# DO NOT EDIT\n" + HEAD.encode())
    assert f"{path} says that it is generated" in patch_of(app, finding).reason


def test_a_finding_of_another_process_has_no_patch(app: Flask, written: Any) -> None:
    import pickle

    finding = pickle.loads(pickle.dumps(finding_of(app, written(OPTION))))
    patch = patch_of(app, finding)
    assert not patch.holds
    assert patch.diff == ""


def test_a_post_is_not_asked_again_unless_it_is_said_how(app: Flask, written: Any) -> None:
    module = written(OPTION)
    app.add_url_rule("/", "shown", module.view, methods=["POST"])
    with profiles(app) as collected:
        app.test_client().post("/")
    finding = collected[0].findings[0]
    patch = patch_of(app, finding)
    assert not patch.holds
    assert patch.reason.startswith("not tried: no GET of 'shown' was recorded")
    assert "joinedload" in patch.diff

    def ask() -> tuple[int, bytes]:
        response = app.test_client().post("/")
        return response.status_code, response.data

    assert patch_of(app, finding, ask=ask).holds


def test_ctrl_c_leaves_the_file_whole(app: Flask, written: Any, monkeypatch: Any) -> None:
    module = written(OPTION)
    patch = patch_of(app, finding_of(app, module))

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        patch.write()
    path = Path(module.__file__)
    assert path.read_text() == HEAD + OPTION
    assert [each.name for each in path.parent.iterdir() if each.is_file()] == [path.name]


def test_the_command_prints_and_writes(app: Flask, written: Any) -> None:
    module = written(OPTION)
    app.add_url_rule("/", "shown", module.view)
    path = Path(module.__file__)

    shown = app.test_cli_runner().invoke(args=["perfkit", "fix"])
    assert shown.exit_code == 0, shown.output
    assert "# Document.user: same response, 11 -> 1 query" in shown.stdout
    assert "+from sqlalchemy.orm import joinedload" in shown.stdout
    assert shown.stderr.endswith("Patches that hold: 1. --apply writes them.\n")
    assert path.read_text() == HEAD + OPTION

    done = app.test_cli_runner().invoke(args=["perfkit", "fix", "--apply"])
    assert done.exit_code == 0, done.output
    assert done.stderr.endswith("Patches written: 1. Run your tests.\n")
    assert "select(Document).options(joinedload(Document.user))" in path.read_text()


def test_a_fault_at_one_place_leaves_the_others_their_patches(
    app: Flask, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
        def view():
            documents = db.session.scalars(select(Document)).all()
            names = [document.user.name for document in documents]
            found = [db.session.get(User, number) for number in range(11, 30)]
            return ", ".join(names) + str(len(found))
    """
    app.add_url_rule("/shown", "shown", written(body).view)

    def fails(*_: object) -> None:
        raise ValueError("our own")

    monkeypatch.setattr("flask_perfkit.audit.patches.reads.lookups.prefetch_at", fails)
    shown = app.test_cli_runner().invoke(args=["perfkit", "fix"])
    assert ": PerfKit failed at it (ValueError, see the log). By hand: select(User)" in shown.output
    assert "# Document.user: same response" in shown.output
    assert shown.exit_code == 0


def test_the_command_asks_nothing_without_libcst(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_perfkit.audit.patches.draft.find_spec", lambda name: None)
    result = app.test_cli_runner().invoke(args=["perfkit", "fix"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("pip install 'flask-perfkit[fix]'\n")
    assert "GET" not in result.stderr


def test_what_is_a_decision_is_said_in_words(app: Flask, written: Any) -> None:
    app.config["PERFKIT_UNBOUNDED_ROWS"] = 3
    module = written(
        "def view():\n    return str(len(db.session.scalars(select(Document)).all()))\n"
    )
    finding = finding_of(app, module, "unbounded_result")
    patch = patch_of(app, finding)
    assert patch.message == f"Document: unbounded_result has to be fixed by hand: {finding.fix}"
    assert (patch.diff, patch.is_by_hand) == ("", True)


def test_an_async_sleep_is_awaited(app: Flask, written: Any) -> None:
    module = written("""
        import time

        async def view():
            time.sleep(0.001)
            return "slept"
    """)
    patch = patch_of(app, finding_of(app, module, "blocking_call"))
    assert patch.holds, patch.reason
    assert changes(patch) == [
        "+import asyncio",
        "-    time.sleep(0.001)",
        "+    await asyncio.sleep(0.001)",
    ]
