"""The lists of the API by number and by cursor: their rows, bad input, and what a page reads."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from effort import ENOUGH, effort_of
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from example_app.extensions import db
from example_app.seed import fill

LISTS = ("/documents", "/users/1/documents")
SORTS = (
    "",
    "sort=id",
    "sort=-size",
    "sort=document_type,-title",
    "sort=-document_type,uploaded_at",
)
DOCUMENTS = 20_000


def linked(response: TestResponse, rel: str) -> str | None:
    """Return where the Link header leads to."""
    found = re.search(f'<([^>]*)>; rel="{rel}"', response.headers.get("Link", ""))
    return found and found[1]


def follow(client: FlaskClient, url: str | None, rel: str = "next") -> list[list[int]]:
    """Return the ids of the pages from this one on."""
    pages = []
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.text
        pages.append([item["id"] for item in response.json["items"]])
        url = linked(response, rel)
    return pages


@pytest.mark.parametrize("path", LISTS)
def test_both_ways_lead_through_the_same_pages(client: FlaskClient, path: str) -> None:
    for query in (*SORTS, "document_type=pdf", "document_type=pdf&sort=-size", "document_type=x"):
        by_number = follow(client, f"{path}?page_size=2&{query}")
        assert follow(client, f"{path}?page_size=2&{query}&cursor=") == by_number
    everything = {"/documents": [4, 3, 2, 1], "/users/1/documents": [3, 2, 1]}[path]
    assert list(chain(*follow(client, f"{path}?cursor=&page_size=1"))) == everything


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_leads_back_as_well(client: FlaskClient, path: str) -> None:
    first = client.get(f"{path}?cursor=&page_size=1&sort=title")
    last = first
    while url := linked(last, "next"):
        last = client.get(url)
    back = follow(client, linked(last, "prev"), "prev")
    assert back[-1] == [1]
    assert len(back) == len(follow(client, f"{path}?page_size=1")) - 1


@pytest.mark.parametrize("path", LISTS)
def test_a_cursor_has_its_own_envelope(client: FlaskClient, path: str) -> None:
    page = client.get(f"{path}?cursor=&page_size=2").json
    assert sorted(page) == [
        "has_next",
        "has_previous",
        "items",
        "next_cursor",
        "page_size",
        "previous_cursor",
    ]
    assert (page["has_next"], page["has_previous"], page["previous_cursor"]) == (True, False, None)


def test_a_filter_narrows_and_is_a_part_of_the_cursor(client: FlaskClient) -> None:
    page = client.get("/documents?cursor=&page_size=1&document_type=pdf&user_id=1").json
    assert [item["id"] for item in page["items"]] == [3]
    cursor = page["next_cursor"]
    for changed in ("document_type=pdf&user_id=2", "document_type=txt&user_id=1", "user_id=1"):
        answer = client.get(f"/documents?cursor={cursor}&{changed}")
        assert answer.status_code == 400
        assert "another query" in answer.json["errors"]["cursor"][0]
    answer = client.get(f"/users/1/documents?cursor={cursor}&document_type=pdf")
    assert answer.status_code == 400


BAD = [
    *(("page_size", value) for value in ("0", "-1", "101", "x", "", "9" * 5_000, "1.5", "\0")),
    *(("page", value) for value in ("0", "-1", "x", "", "9" * 5_000, "\x1b", "x" * 1_000_000)),
    *(("sort", value) for value in ("nope", "content", "--id", "id;", "\0", "x" * 1_000_000)),
    *(("cursor", value) for value in ("x", "\0", "\x1b[0m", "é", "x" * 1_000_000)),
    *(("document_type", value) for value in ("\0", "a\0")),
]


@pytest.mark.parametrize("path", LISTS)
def test_bad_input_is_the_same_problem_every_time(client: FlaskClient, path: str) -> None:
    for name, value in BAD:
        response = client.get(path, query_string={name: value})
        what = f"{name}={value[:20]!r}"
        assert response.status_code == 400, what
        assert response.content_type == "application/problem+json", what
        problem: Any = response.json
        assert sorted(problem) == ["detail", "errors", "status", "title", "type"], what
        assert list(problem["errors"]) == [name], what
        assert "SELECT" not in response.text, what
        assert len(response.data) < 1_000, what


@pytest.mark.parametrize("path", LISTS)
def test_a_page_beyond_the_end_is_empty_with_true_totals(client: FlaskClient, path: str) -> None:
    total = client.get(path).json["total"]
    for number in (50, 2**63, 10**100):
        page = client.get(f"{path}?page={number}").json
        assert (page["items"], page["total"], page["has_next"]) == ([], total, False)


@pytest.fixture
def filled(app: Flask) -> None:
    """Fill in documents beside the four, half of them of user 1."""
    with app.app_context():
        fill(DOCUMENTS, 100)
        db.session.execute(text("UPDATE documents SET user_id = 1 WHERE id % 2 = 0"))
        db.session.commit()
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM"))
            connection.execute(text("ANALYZE"))


@pytest.mark.slow
@pytest.mark.usefixtures("filled")
def test_a_deep_page_of_the_api_reads_no_more_than_an_early_one(
    client: FlaskClient, app: Flask
) -> None:
    with app.app_context():
        engine = db.engine
    state = app.extensions["perfkit"]
    state.settings = replace(state.settings, max_page_size=DOCUMENTS)
    enough = 2 * ENOUGH[engine.dialect.name]  # twenty rows with all their columns
    for query, depth in (
        ("/documents?sort=-uploaded_at", DOCUMENTS * 9 // 10),
        ("/documents?sort=uploaded_at", DOCUMENTS // 2),
        ("/documents?sort=-id", DOCUMENTS // 2),
        ("/documents?user_id=1", DOCUMENTS // 3),
        ("/documents?document_type=pdf", DOCUMENTS // 3),
        ("/users/1/documents?sort=uploaded_at", DOCUMENTS // 3),
    ):
        for size in (20, depth):
            cursor = client.get(f"{query}&page_size={size}&cursor=").json["next_cursor"]
            with effort_of(engine) as effort:
                page = client.get(f"{query}&cursor={cursor}").json
            assert len(page["items"]) == 20
            assert 0 < effort.amount <= enough, (query, size)
    with effort_of(engine) as effort:
        client.get(f"/documents?page={DOCUMENTS // 25}")
    assert effort.amount > enough
