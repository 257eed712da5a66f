"""One write behind a loop leaves the rows that one write a turn left, for other data too."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from rewriting import Note, rewriting
from sqlalchemy import event

from flask_perfkit.audit.patches.code.refusal import Refusal

EIGHT = "/?" + "&".join(f"k={number}" for number in range(1, 9))
ODD = "/?" + "&".join(f"k={number}" for number in (1, 1, 3, 3, 99, 12, 5))
NONE = "/"
SAVE = """
def save(entry):
    db.session.add(entry)
    db.session.commit()
    return entry

class Notes:
    def __init__(self, session):
        self.session = session

    def write(self, text):
        self.session.add(Note(text=text))
        self.session.commit()
"""

WRITES = {
    "add and commit, with rows pending before": (
        """
            db.session.add(Note(text='pending'))
            for k in ks:
                db.session.add(Note(text=f'n{k}'))
                db.session.commit()
            db.session.rollback()
        """,
        2,
    ),
    "change and commit": (
        """
            db.session.add(Note(text='pending'))
            for player in Player.query.filter(Player.team_id.in_(ks)).all():
                player.rating = player.rating + 1
                db.session.commit()
            db.session.rollback()
        """,
        3,
    ),
    "a helper that saves": (
        """
            for k in ks:
                save(Note(text=f'n{k}'))
        """,
        1,
    ),
    "a repository that makes and saves": (
        """
            notes = Notes(db.session)
            for k in ks:
                notes.write(f'n{k}')
        """,
        1,
    ),
    "a query of the session": (
        """
            for k in ks:
                db.session.query(Player).filter_by(id=k).update({'name': f'q{k}'})
            db.session.commit()
        """,
        1,
    ),
    "execute insert": (
        """
            for k in ks:
                db.session.execute(insert(Note).values(text=f'n{k}'))
            db.session.commit()
        """,
        1,
    ),
    "delete by key": (
        """
            for k in ks:
                db.session.execute(delete(Goal).where(Goal.id == k))
            db.session.commit()
        """,
        1,
    ),
    "each row another value, the last one counts": (
        """
            for n, k in enumerate(ks):
                db.session.execute(update(Player).where(Player.id == k).values(rating=n * 2))
            db.session.commit()
        """,
        1,
    ),
    "a legacy update": (
        """
            for k in ks:
                Player.query.filter(Player.id == k).update({'name': f'q{k}'})
            db.session.commit()
        """,
        1,
    ),
    "a value that builds on the old one": (
        """
            for k in range(1, 9):
                raised = update(Player).values(rating=Player.rating + 1)
                db.session.execute(raised.where(Player.id == k))
            db.session.commit()
        """,
        1,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("body", "statements"), WRITES.values(), ids=WRITES)
def test_the_rows_stay_the_same(tmp_path: Path, body: str, statements: int) -> None:
    made = rewriting(tmp_path, f"{dedent(body)}\nreturn 'done'", EIGHT, "n_plus_one_write", SAVE)
    counts = made.is_the_same_for([EIGHT, ODD, NONE])
    assert counts[0][1] == statements < counts[0][0]


@pytest.mark.slow
def test_what_no_statement_flushes_keeps_its_place(tmp_path: Path) -> None:
    """Rows that were added before the loop get the keys before those of the loop."""
    body = """
        db.session.add(Note(text='pending'))
        with db.session.no_autoflush:
            for k in ks:
                db.session.add(Note(text=f'n{k}'))
                db.session.flush()
        db.session.commit()
        return 'done'
    """
    rewriting(tmp_path, dedent(body), EIGHT, "n_plus_one_write").is_the_same_for([EIGHT, NONE])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            """
                ids = []
                for k in ks:
                    note = Note(text=f'n{k}')
                    db.session.add(note)
                    db.session.flush()
                    ids.append(note.id)
            """,
            "not the last step",
        ),
        (
            """
                last = None
                for k in ks:
                    note = Note(text=str(last.id if last else 0))
                    db.session.add(note)
                    last = note
                    db.session.flush()
            """,
            "last is what the iteration before it has left",
        ),
        (
            """
                for k in ks:
                    if k == 99:
                        raise ValueError
                    db.session.add(Note(text=f'n{k}'))
                    db.session.commit()
            """,
            "an iteration may fail",
        ),
        (
            """
                for k in ks:
                    db.session.add(Note(text=f'n{k}'))
                    mail(k)
                    db.session.commit()
            """,
            "mail() may do what a commit before it was meant for",
        ),
        (
            """
                try:
                    for k in ks:
                        db.session.add(Note(id=k + 100, text=f'n{k}'))
                        db.session.commit()
                except Exception:
                    db.session.rollback()
            """,
            "the rows of the iterations before it are kept",
        ),
        (
            """
                for k in ks:
                    player = db.session.get(Player, k)
                    player.rating = 3
                    db.session.commit()
            """,
            "what the iterations before it have committed would be lost",
        ),
        (
            """
                for k in ks:
                    level = None if k == 99 else k
                    db.session.execute(insert(Note).values(text='n', level=level))
            """,
            "would be its default",
        ),
        (
            """
                for team in Team.query.order_by(Team.id.desc()).all():
                    team.name = f'team {team.id + 1}'
                    db.session.flush()
            """,
            ".name is unique",
        ),
        (
            """
                for k in ks:
                    db.session.execute(insert(Note).values(text=str(Note.query.count())))
            """,
            "worked out by",
        ),
        (
            """
                for k in ks:
                    raised = update(Player).values(rating=Player.rating + 1)
                    db.session.execute(raised.where(Player.id == k))
            """,
            "a row that is named twice would be written once",
        ),
        ("for k in ks: save(Note(text=f'n{k}'))", "stands in one line"),
        (
            """
                for k in ks:
                    with db.session.begin_nested(): db.session.add(Note(text=f'n{k}'))
            """,
            "not all that each iteration does",
        ),
    ],
    ids=[
        *("ids", "the one before", "fails", "mail", "caught", "not found", "default"),
        *("unique", "reads", "twice", "one line", "unit in one line"),
    ],
)
def test_what_another_turn_could_need_is_not_moved(tmp_path: Path, body: str, reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        rewriting(
            *(tmp_path, f"{dedent(body)}\nreturn 'done'", EIGHT, "n_plus_one_write"),
            SAVE + "\ndef mail(number):\n    return number\n",
        )
    assert reason in str(refused.value)


def test_objects_whose_insert_somebody_hears_of_stay_objects(tmp_path: Path) -> None:
    def hear(mapper: object, connection: object, note: object) -> None:
        heard.append(note)

    heard: list[object] = []
    adds = "db.session.add(Note(text=f'n{k}'))\n    db.session.flush()\nreturn 'done'"
    event.listen(Note, "after_insert", hear)
    try:
        made = rewriting(tmp_path, f"for k in ks:\n    {adds}", EIGHT, "n_plus_one_write")
    finally:
        event.remove(Note, "after_insert", hear)
    assert len(heard) == 8
    assert made.added.strip() == "db.session.flush()"
