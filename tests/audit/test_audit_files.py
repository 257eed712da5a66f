"""What an audit writes for others: SARIF, one HTML file, text of 80 columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from archive import User, archive, db, line_of, names_of_owners
from flask import Flask

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setenv("COLUMNS", "80")
    with archive(TESTING=True, slow_request=None, slow_query=None) as app:
        app.add_url_rule("/owners", "owners", names_of_owners)
        app.add_url_rule("/all", HOSTILE, names_of_all)
        yield app


def names_of_all() -> str:
    return "".join(name_of(number) for number in range(1, 8))


def name_of(number: int) -> str:
    return str(db.session.scalar(sa.select(User.name).where(User.id == number)))


def written(app: Flask, option: str, path: Path) -> str:
    result = app.test_cli_runner().invoke(args=["perfkit", "audit", option, str(path)])
    assert result.exit_code == 0, result.output
    return path.read_text(encoding="utf-8")


def test_sarif(app: Flask, tmp_path: Path) -> None:
    log = json.loads(written(app, "--sarif", tmp_path / "audit.sarif"))
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "Flask-PerfKit"
    assert [rule["id"] for rule in driver["rules"]] == ["n_plus_one"]
    assert driver["rules"][0]["defaultConfiguration"] == {"level": "error"}
    results = {each["properties"]["addresses"][0]: each for each in run["results"]}
    result = results["/owners"]
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("n_plus_one", 0, "error")
    file, number = line_of(names_of_owners, "document.user")
    (location,) = result["locations"]
    uri = Path(file).relative_to(Path.cwd()).as_posix()
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": uri},
        "region": {"startLine": number},
    }
    assert "Document.user loaded 10 times" in result["message"]["text"]
    related = results["/all"]["relatedLocations"]
    assert [each["message"]["text"] for each in related] == ["called from here 7 times"]


def test_a_cause_is_known_again_in_the_next_audit(app: Flask, tmp_path: Path) -> None:
    def fingerprints() -> set[str]:
        log = json.loads(written(app, "--sarif", tmp_path / "audit.sarif"))
        results = log["runs"][0]["results"]
        return {each["partialFingerprints"]["perfkitCause/v1"] for each in results}

    first = fingerprints()
    assert len(first) == 2
    assert fingerprints() == first


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_one_html_file_that_loads_nothing_and_escapes_all(app: Flask, tmp_path: Path) -> None:
    page = written(app, "--html", tmp_path / "audit.html")
    tags = _Tags()
    tags.feed(page)
    names = {name for name, _ in tags.found}
    assert "script" not in names
    assert not names & {"link", "img", "iframe"}
    assert not any("src" in attributes or "href" in attributes for _, attributes in tags.found)
    assert "Document.user loaded 10 times" in tags.text
    assert HOSTILE in tags.text
    assert sum(name == "article" for name, _ in tags.found) == 2
    assert "tests/archive.py:" in tags.text


def test_text_fits_a_terminal(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["perfkit", "audit"])
    assert [line for line in result.stdout.splitlines() if len(line) > 80] == []
    assert "endpoint " in result.stdout


def test_a_file_that_cannot_be_written_is_said_before_anything_is_asked(
    app: Flask, tmp_path: Path
) -> None:
    arguments = ["perfkit", "audit", "--html", str(tmp_path / "nowhere" / "audit.html")]
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code != 0
    assert "nowhere" in result.output
    assert "GET /owners" not in result.stderr
