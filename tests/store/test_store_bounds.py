"""A store stays as small as it was told to, whatever comes."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from time import time

import pytest
from archive import archive, names_of_owners
from flask import Flask
from stored import ask, counts, kept, store_of

from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.store.buckets import STEPS, Bucket, buckets_of
from flask_perfkit.store.keeping import REPEATED, SAMPLE, SLOW, TELLING, Keeper
from flask_perfkit.store.opening import open_place
from flask_perfkit.store.packing import packed
from flask_perfkit.store.places.place import AVERAGE_SIZE, MOST_TEXTS, Place
from flask_perfkit.store.reading import Period, RequestFilter, RouteKey
from flask_perfkit.store.tally import Batch, Passed, Tally
from flask_perfkit.store.totals import ROUTES, decoded

NOW = 1_800_000_000.0
ROUTE = RouteKey("request", "GET", "/")


@pytest.fixture
def place(url: str) -> Place:
    """A place with room for twenty profiles."""
    return open_place(Flask("small"), url, 20)


def profile(number: int, *, message: str = "", duration: float = 0.1) -> Profile:
    """Make the profile of a moment; with a finding where it has a message."""
    finding = Finding("n_plus_one", "User.documents", message, "fix", filename="a.py", lineno=1)
    return Profile(
        id=f"{number:020}",
        rule="/",
        endpoint="index",
        method="GET",
        path=f"/{number}",
        status=200,
        started_at=datetime.fromtimestamp(NOW + number, UTC),
        duration=duration,
        findings=(finding,) if message else (),
    )


def write(place: Place, *profiles: tuple[Profile, int]) -> None:
    batch = Batch(NOW)
    batch.profiles = [packed(each, interest) for each, interest in profiles]
    place.write(batch)


def ids(place: Place) -> set[int]:
    found = place.requests(Period(0, 2 * NOW), RequestFilter(), 100, 0)
    assert found.total == len(found.items)
    return {int(each.id) for each in found.items}


def test_the_least_interesting_oldest_goes_first(place: Place) -> None:
    write(place, *((profile(number), TELLING) for number in range(5)))
    write(place, *((profile(number), SAMPLE) for number in range(5, 20)))
    assert ids(place) == set(range(20))
    write(place, (profile(20), SLOW), (profile(21), SAMPLE), (profile(22), SAMPLE))
    assert ids(place) == {*range(5), *range(8, 23)}
    write(place, *((profile(number), SLOW) for number in range(23, 40)))
    assert ids(place) == {*range(5), *range(25, 40)}


def test_what_came_last_stays_whatever_it_is_worth(place: Place) -> None:
    write(place, *((profile(number), TELLING) for number in range(20)))
    write(place, (profile(20), SAMPLE))
    assert ids(place) == set(range(1, 21))


def test_profiles_are_bounded_by_their_bytes(place: Place) -> None:
    draw = random.Random(0)
    for number in range(20):
        message = draw.randbytes(40_000).hex()  # which does not compress to less than half
        write(place, (profile(number, message=message), TELLING))
    count, size = place.size()
    assert size <= 20 * AVERAGE_SIZE
    assert count == len(ids(place)) < 10
    assert 19 in ids(place)
    body = place.profile(f"{19:020}")
    assert body is not None
    assert len(body) > AVERAGE_SIZE


def test_what_is_forgotten_is_found_by_nobody(place: Place) -> None:
    write(place, *((profile(number, message="loop"), REPEATED) for number in range(30)))
    found = packed(profile(0, message="loop"), 0).finding_ids
    assert place.latest_with(found) == {found[0]: f"{29:020}"}
    write(place, *((profile(number), TELLING) for number in range(30, 50)))
    assert ids(place) == set(range(30, 50))
    assert place.latest_with(found) == {}
    assert place.profile(f"{29:020}") is None


def test_texts_are_bounded_and_those_seen_last_stay(place: Place) -> None:
    for number in range(6):
        batch = Batch(NOW + number)
        batch.texts = {f"statement:{number}-{each}": "[]" for each in range(500)}
        batch.profiles = [packed(profile(number), SAMPLE)]
        place.write(batch)
    names = [f"statement:{number}-0" for number in range(6)]
    assert [*place.texts(names)] == names[2:]
    assert MOST_TEXTS == 2_000


def test_a_text_knows_when_it_was_seen_first_and_last(place: Place) -> None:
    for moment, text in ((NOW, "old"), (NOW + 60, "new")):
        batch = Batch(moment)
        batch.texts = {"finding:1": text}
        place.write(batch)
    known = place.texts(["finding:1"])["finding:1"]
    assert (known.value, known.first, known.last) == ("new", NOW, NOW + 60)


def test_routes_beyond_the_bound_are_counted_together() -> None:
    tally = Tally(lambda endpoint: False, 1.0, counts_all=True)

    class Rule:
        def __init__(self, number: int) -> None:
            self.rule, self.endpoint = f"/{number}", f"endpoint {number}"

    for number in range(1_000):
        tally.count_passed(Passed(Rule(number), "GET", 200, 1_000_000))  # type: ignore[arg-type]
    totals = tally.taken(NOW).totals[ROUTES]
    assert len(totals) == ROUTES.most + 1
    assert totals[ROUTES.other].numbers[0] == 1_000 - ROUTES.most
    assert sum(entry.numbers[0] or 0 for entry in totals.values()) == 1_000


def test_methods_that_clients_make_up_are_one() -> None:
    tally = Tally(lambda endpoint: False, 1.0, counts_all=True)
    for number in range(50):
        tally.count_passed(Passed(None, f"BREW{number}", 405, 1_000_000))
    assert [*tally.taken(NOW).totals[ROUTES]] == [("request", "_OTHER", "(unmatched)", "")]


def test_old_buckets_are_forgotten(place: Place) -> None:
    now = time()
    tally = Tally(lambda endpoint: False, 1.0, counts_all=True)
    for moment in (now - 15 * 86_400, now - 86_400 * 1.5, now):
        tally.count_passed(Passed(None, "GET", 404, 1_000_000))
        place.write(tally.taken(moment))
    named = {
        step.width: [
            bool(place.totals([Bucket(step, step.start(moment)).name(ROUTES)])[0])
            for moment in (now - 86_400 * 1.5, now)
        ]
        for step in STEPS
    }
    assert named == {60: [False, True], 900: [False, True], 7_200: [True, True]}
    two_weeks = buckets_of(Period(now - 14 * 86_400, now), now)
    bodies = place.totals([bucket.name(ROUTES) for bucket in two_weeks])
    assert sum(entry.numbers[0] or 0 for body in bodies if body for _, entry in decoded(body)) == 2


@pytest.mark.parametrize("hours", [0.1, 1, 2, 24, 24 * 14])
def test_no_period_is_made_of_many_buckets(hours: float) -> None:
    buckets = buckets_of(Period(NOW - hours * 3_600, NOW), NOW)
    assert len(buckets) <= 170
    assert buckets[0].start <= NOW - hours * 3_600
    assert buckets[-1].start <= NOW < buckets[-1].start + buckets[-1].step.width


def test_a_keeper_takes_the_slowest_a_sample_and_what_tells() -> None:
    keeper = Keeper(keeps_all=False)
    plain = [keeper.interest(profile(0, duration=0.1 + at / 100), ROUTE, NOW) for at in range(10)]
    assert plain == [SLOW] * 10
    assert keeper.threshold(ROUTE, NOW) == pytest.approx(0.1)
    assert keeper.interest(profile(0, duration=0.05), ROUTE, NOW + 1) is None
    assert keeper.interest(profile(0, duration=0.5), ROUTE, NOW + 1) == SLOW
    assert keeper.threshold(ROUTE, NOW) == pytest.approx(0.11)
    assert keeper.threshold(ROUTE, NOW + 61) == 0
    assert keeper.interest(profile(0, duration=0.05), ROUTE, NOW + 61) == SAMPLE
    assert keeper.interest(profile(0, duration=0.05), ROUTE, NOW + 62) is None
    telling = [
        keeper.interest(profile(0, message="m", duration=0.01), ROUTE, NOW) for _ in range(21)
    ]
    assert telling == [TELLING] * 20 + [REPEATED]
    assert Keeper(keeps_all=True).interest(profile(0), ROUTE, NOW) is not None


def test_the_limit_is_the_settings(url: str) -> None:
    with archive(storage_url=url, storage_limit=5, DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        ask(app, "/owners", 12)
        assert counts(app) == {"/owners": 12}
        assert kept(app) == ["/owners"] * 5
        info = store_of(app).info()
        assert (info.profiles, info.limit, info.lost) == (5, 5, 0)
