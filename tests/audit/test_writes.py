"""One write behind a loop leaves the rows that one write a turn left, for other data too."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from rewriting import rewriting

from flask_perfkit.audit.patches.code.refusal import Refusal

EIGHT = "/?" + "&".join(f"k={number}" for number in range(1, 9))
ODD = "/?" + "&".join(f"k={number}" for number in (1, 1, 3, 3, 99, 12, 5))
NONE = "/"
SAVE = "def save(entry):\n    db.session.add(entry)\n    db.session.commit()\n    return entry\n"

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
            "last is what the turn before it has left",
        ),
        (
            """
                for k in ks:
                    if k == 99:
                        raise ValueError
                    db.session.add(Note(text=f'n{k}'))
                    db.session.commit()
            """,
            "a turn may fail",
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
    ],
    ids=["ids", "the one before", "fails", "mail", "unique", "reads", "twice"],
)
def test_what_another_turn_could_need_is_not_moved(tmp_path: Path, body: str, reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        rewriting(
            *(tmp_path, f"{dedent(body)}\nreturn 'done'", EIGHT, "n_plus_one_write"),
            "def mail(number):\n    return number\n",
        )
    assert reason in str(refused.value)
