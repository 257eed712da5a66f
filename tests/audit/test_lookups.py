"""One select before a loop gives what one select a turn gave, for other data than was tried."""

from __future__ import annotations

from pathlib import Path

import pytest
from rewriting import rewriting

from flask_perfkit.audit.patches.code.refusal import Refusal

EIGHT = "/?" + "&".join(f"k={number}" for number in range(1, 9))
ODD = "/?" + "&".join(f"k={number}" for number in (1, 1, 3, 3, 99, 12, 5))
NONE = "/"


READS = {
    "get, rows that are missing": (
        "return jsonify([getattr(db.session.get(Team, k), 'name', None) for k in ks])",
        1,
    ),
    "get_or_404 fails at the same row": (
        "return jsonify([db.get_or_404(Team, k).name for k in ks])",
        1,
    ),
    "composite key": (
        """
            out = []
            for k in ks:
                game = db.session.get(Game, (2000 + k % 4, k))
                out.append(game and game.home_id)
            return jsonify(out)
        """,
        1,
    ),
    "first of a unique column": (
        """
            out = []
            for k in ks:
                team = Team.query.filter_by(name=f'team {k}').first()
                out.append(bool(team))
            return jsonify(out)
        """,
        1,
    ),
    "one_or_none": (
        """
            out = []
            for k in ks:
                named = select(Team.id).where(Team.name == f'team {k}')
                out.append(db.session.execute(named).scalar_one_or_none())
            return jsonify(out)
        """,
        1,
    ),
    "count of two columns": (
        """
            out = []
            for k in ks:
                players = select(func.count()).select_from(Player)
                players = players.where(Player.team_id == k, Player.rating == k % 6)
                out.append(db.session.scalar(players))
            return jsonify(out)
        """,
        1,
    ),
    "count of a query, and out of the loop": (
        """
            out = []
            for k in ks:
                n = Player.query.filter_by(team_id=k).count()
                if not n:
                    break
                out.append(n)
            return jsonify(out)
        """,
        1,
    ),
    "a default where there is no row": (
        """
            return jsonify([
                db.session.scalar(select(func.coalesce(func.sum(Player.rating), -1))
                .where(Player.team_id == k))
                for k in ks
            ])
        """,
        1,
    ),
    "exists": (
        """
            out = []
            for k in ks:
                good = Player.query.filter_by(team_id=k, rating=3)
                if db.session.query(good.exists()).scalar():
                    out.append(k)
            return jsonify(out)
        """,
        1,
    ),
    "a list that is changed": (
        """
            out = []
            for k in ks:
                players = db.session.scalars(select(Player).filter_by(team_id=k)).all()
                players[:1] = []
                out.append([player.name for player in players])
            return jsonify(out)
        """,
        1,
    ),
    "the first ones of each": (
        """
            out = []
            for k in ks:
                players = Player.query.filter_by(team_id=k)
                for player in players.order_by(Player.rating.desc(), Player.id).limit(2):
                    out.append(player.name)
            return jsonify(out)
        """,
        1,
    ),
    "the first in an order": (
        """
            out = []
            for k in ks:
                names = select(Player.name).filter_by(team_id=k)
                out.append(db.session.scalars(names.order_by(Player.rating, Player.id)).first())
            return jsonify(out)
        """,
        1,
    ),
    "one, and none is an error": (
        """
            out = []
            for k in ks:
                named = select(Team).where(Team.id == k)
                try:
                    out.append(db.session.execute(named).scalar_one().name)
                except Exception as error:
                    out.append(type(error).__name__)
            return jsonify(out)
        """,
        1,
    ),
    "a count of a subquery, in several lines": (
        """
            out = []
            for k in ks:
                good = select(Player).where(Player.team_id == k, Player.rating > 2).subquery()
                out.append(
                    db.session
                    .scalar(select(func.count()).select_from(good))
                )
            return jsonify(out)
        """,
        1,
    ),
    "a sum of a CTE": (
        """
            out = []
            for k in ks:
                good = select(Player.rating, Player.id).where(Player.team_id == k).cte()
                out.append(db.session.scalar(select(func.sum(good.c.rating))))
            return jsonify(out)
        """,
        1,
    ),
    "children of what is walked": (
        """
            return jsonify([team.players.filter_by(rating=2).count() for team in Team.query.all()])
        """,
        2,
    ),
    "a row is changed that no condition reads": (
        """
            for k in ks:
                player = db.session.get(Player, k)
                if player is not None:
                    player.nick = f'{player.nick} {k}'
            db.session.commit()
            return 'done'
        """,
        2,
    ),
    "a row of another table is added": (
        """
            out = []
            for k in ks:
                n = db.session.scalar(select(func.count(Player.id)).where(Player.team_id == k))
                db.session.add(Note(text=str(n)))
                out.append(n)
            db.session.commit()
            return jsonify(out)
        """,
        9,
    ),
    "rows are deleted by their keys": (
        """
            for k in range(1, 9):
                db.session.delete(db.session.get(Goal, k))
            db.session.commit()
            return 'done'
        """,
        2,
    ),
    "rows that are added where there are none": (
        """
            for row in [{'team': f' Team {k * 2} '} for k in ks]:
                name = row['team'].strip().lower()
                team = Team.query.filter_by(name=name).first()
                if team is None:
                    team = Team(name=name)
                    db.session.add(team)
                team.captain_id = 5
            db.session.commit()
            return 'done'
        """,
        4,
    ),
    "a key that may be NULL": (
        """
            out = []
            for team in Team.query.all():
                goals = select(func.count(Goal.id)).where(Goal.player_id == team.captain_id)
                out.append(db.session.scalar(goals))
            return jsonify(out)
        """,
        6,
    ),
    "a key that may be NULL, and the next turn": (
        """
            known = []
            for nick in [f'nick {k % 5}' if k != 3 else None for k in ks]:
                if Player.query.filter_by(nick=nick).first():
                    known.append(nick)
                    continue
                db.session.add(Player(team_id=1, name='new', nick=nick))
            db.session.commit()
            return jsonify(known)
        """,
        3,
    ),
    "tests on one line": (
        """
            out = []
            for k in ks:
                team = Team.query.filter_by(id=k).first()
                if team is None: out.append('none')
                else: out.append(team.name)
            for k in ks:
                player = Player.query.filter_by(id=k).first()
                if player: continue
                out.append(k)
            return jsonify(out)
        """,
        9,
    ),
    "first_or_404 fails at the same row": (
        "return jsonify([Team.query.filter_by(id=k).first_or_404().name for k in ks])",
        1,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("body", "statements"), READS.values(), ids=READS)
def test_the_answers_stay_the_same(tmp_path: Path, body: str, statements: int) -> None:
    counts = rewriting(tmp_path, body, EIGHT, "n_plus_one").is_the_same_for([EIGHT, ODD, NONE])
    assert counts[0][1] == statements < counts[0][0]


HELPER = """
def size(team):
    '''Count the players.'''
    n = Player.query.filter_by(team_id=team).count()
    return n * 2

def shown(team):
    return f"{team}: {size(team)}"

class Teams:
    def __init__(self, session):
        self._session = session

    def size(self, team):
        players = select(func.count()).where(Player.team_id == team)
        return self._session.scalar(players) * 2

    @staticmethod
    def shown(team):
        return f"{team}: {size(team)}"
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "return jsonify([shown(k) for k in ks])",
        "return jsonify([Teams.shown(k) for k in ks])",
        """
            teams = Teams(db.session)
            return jsonify([teams.size(k) for k in ks])
        """,
        """
            def inner(team):
                return Player.query.filter_by(team_id=team).count() * 2

            return jsonify([inner(k) for k in ks])
        """,
    ],
    ids=["function", "static method", "repository", "inner function"],
)
def test_a_helper_that_only_asks_is_followed_to_the_loop(tmp_path: Path, body: str) -> None:
    made = rewriting(tmp_path, body, EIGHT, "n_plus_one", HELPER)
    assert made.is_the_same_for([EIGHT, ODD]) == [(8, 1), (7, 1)]
    assert "counts.get(k, 0) * 2" in made.added


def test_what_a_helper_that_does_more_looks_up_is_there_before_the_loop(tmp_path: Path) -> None:
    helper = """
        def team_or_none(number):
            team = db.session.get(Team, number)
            if team is None:
                return 'none'
            return team.name
    """
    made = rewriting(
        tmp_path, "return jsonify([team_or_none(k) for k in ks])", EIGHT, "n_plus_one", helper
    )
    assert made.is_the_same_for([EIGHT, ODD]) == [(8, 1), (7, 2)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            """
                for k in ks:
                    team = db.session.get(Team, k)
                    if len(ks) < 12:
                        ks.append(k + 1)
                return 'done'
            """,
            "the loop changes what it walks",
        ),
        (
            """
                teams = [*Team.query.all(), None]
                out = []
                for team in teams:
                    if team is not None:
                        out.append(Player.query.filter_by(team_id=team.id).count())
                return jsonify(out)
            """,
            "only some iterations query",
        ),
        (
            """
                out = []
                for k in ks:
                    names = select(func.group_concat(Player.name)).where(Player.team_id == k)
                    out.append(db.session.scalar(names))
                return jsonify(out)
            """,
            "each row has a value of its own",
        ),
        (
            """
                out = []
                for k in ks:
                    goal = select(Goal).where(Goal.minute == 30 + 3 * k)
                    out.append(db.session.execute(goal).scalar_one().id)
                return jsonify(out)
            """,
            "a second row of one key is an error there",
        ),
        (
            """
                out = []
                for k in ks:
                    n = db.session.scalar(select(func.count(Player.id)).where(Player.team_id == k))
                    out.append((n, grow(k)))
                return jsonify(out)
            """,
            "the loop calls grow(), which may write",
        ),
        (
            """
                out = []
                for k in ks:
                    total = select(func.sum(Player.rating)).where(Player.team_id == k)
                    out.append(db.session.scalar(total))
                    db.session.execute(update(Player).where(Player.id == k).values(rating=1))
                return jsonify(out)
            """,
            "with what may write",
        ),
        (
            """
                while [db.session.get(Team, k) for k in ks]:
                    ks.pop()
                return 'done'
            """,
            "a part of another one",
        ),
        (
            """
                out = []
                for k in ks:
                    k = k + 1
                    out.append(Team.query.filter_by(id=k).first() is None)
                return jsonify(out)
            """,
            "k is given another value in the meantime",
        ),
        (
            """
                ids = []
                for k in ks:
                    team = Team.query.filter_by(name=f"team {k * 2}").first()
                    if team is None:
                        team = Team(name=f"team {k * 2}")
                        db.session.add(team)
                    ids.append(team.id)
                return jsonify(ids)
            """,
            "team may be read before it is flushed",
        ),
        (
            """
                with db.session.no_autoflush:
                    for k in ks:
                        if not Note.query.filter_by(text=f"n{k}").first():
                            db.session.add(Note(text=f"n{k}"))
                db.session.commit()
                return "kept"
            """,
            "not flushed before later iterations look",
        ),
        (
            """
                import itertools
                for k in itertools.count(1):
                    if db.session.get(Team, k) is None:
                        break
                return 'done'
            """,
            "may have no end",
        ),
        (
            """
                out = []
                for k in ks:
                    found = Player.query.filter(Player.team_id == k).first()
                    out.append(found.name)
                return jsonify(out)
            """,
            "nothing says which of them comes first",
        ),
        (
            """
                for k in ks:
                    db.session.delete(db.session.get(Goal, k))
                return 'done'
            """,
            "a deleted row may be looked up again",
        ),
        (
            """
                def name(number):
                    session = db.session
                    return getattr(session.get(Team, number), "name", None)

                return jsonify([name(k) for k in ks])
            """,
            "works with variables of its own",
        ),
    ],
    ids=lambda value: value.strip().splitlines()[-1],
)
def test_what_other_data_could_change_is_not_rewritten(
    tmp_path: Path, body: str, reason: str
) -> None:
    helper = "def grow(team):\n    db.session.add(Player(team_id=team, name='x'))\n    return 1\n"
    with pytest.raises(Refusal) as refused:
        rewriting(tmp_path, body, EIGHT, "n_plus_one", helper)
    assert reason in str(refused.value)
