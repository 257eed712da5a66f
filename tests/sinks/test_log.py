"""What the log says of findings: each place once in full, then how often it was seen."""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import select
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archive import archive, names_of_owners
from flask import Flask
from hand_made import VIEWS, cause, profile

from flask_perfkit import Finding, PerfKit, Profile
from flask_perfkit.sinks import places
from flask_perfkit.sinks.log import FindingLog

ROOT = Path(__file__).parents[2]


def finding(**more: Any) -> Finding:
    values: dict[str, Any] = {
        "kind": "n_plus_one",
        "subject": "Pet.owner",
        "message": "n_plus_one: Pet.owner loaded 25 times",
        "fix": "joinedload(Pet.owner)",
        "count": 25,
        "duration": 0.25,
        "filename": VIEWS,
        "lineno": 41,
        "endpoint": "shop.show",
    }
    return Finding(**(values | more))


def with_findings(*findings: Finding) -> Profile:
    return profile(cause("SELECT a FROM t"), findings=findings)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let a test say how late it is."""
    now = [1_000.0]
    monkeypatch.setattr(places, "monotonic", lambda: now[0])
    return now


def test_a_place_is_told_in_full_once_then_in_short_once_an_interval(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    log = FindingLog(60)
    for second in range(130):  # at 0, 60 and 120 it is told
        clock[0] = 1_000.0 + second
        log(with_findings(finding()))
    first, second_line, third = caplog.messages
    assert first == "n_plus_one: Pet.owner loaded 25 times"
    assert re.fullmatch(
        rf"n_plus_one: Pet\.owner at {re.escape(VIEWS)}:41, seen 60 more times since "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(15,000 ms in all\); joinedload\(Pet\.owner\)",
        second_line,
    )
    assert "seen 60 more times" in third


def test_other_lines_kinds_and_subjects_are_other_places(caplog: pytest.LogCaptureFixture) -> None:
    log = FindingLog(60)
    others = [finding(lineno=42), finding(kind="duplicate_query"), finding(subject="Pet.vet")]
    for _ in range(3):
        log(with_findings(finding(), *others))
    assert len(caplog.records) == 4


def test_one_line_that_many_endpoints_share_is_one_place(caplog: pytest.LogCaptureFixture) -> None:
    log = FindingLog(60)
    for number in range(35):
        log(with_findings(finding(endpoint=f"shop.show_{number}")))
    assert len(caplog.records) == 1


def test_without_a_line_the_endpoint_is_the_place(caplog: pytest.LogCaptureFixture) -> None:
    log = FindingLog(60)
    for endpoint in ("a", "b", "a"):
        log(with_findings(finding(filename=None, lineno=None, endpoint=endpoint)))
    assert len(caplog.records) == 2


def test_of_one_request_the_worst_ten_are_told(caplog: pytest.LogCaptureFixture) -> None:
    log = FindingLog(60)
    many = with_findings(*(finding(lineno=number) for number in range(1_501)))
    log(many)
    assert len(caplog.records) == 11
    assert caplog.messages[-1].startswith("1,491 more findings of shop.show not listed:")
    log(many)  # ten others, and no second word on how many are left
    assert len(caplog.records) == 21


def test_places_are_bounded(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    log = FindingLog(60)
    for number in range(3_000):
        log(with_findings(finding(lineno=number)))
    assert len(caplog.records) == 1_000
    clock[0] += 60
    log(with_findings(finding(lineno=9_999)))
    assert len(caplog.records) == 1_001


def test_an_interval_of_zero_tells_each(caplog: pytest.LogCaptureFixture) -> None:
    log = FindingLog(0)
    for _ in range(30):
        log(with_findings(finding()))
    assert caplog.messages == ["n_plus_one: Pet.owner loaded 25 times"] * 30


def test_information_that_nobody_hears_leaves_room_for_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet = [finding(kind="unused_columns", lineno=number) for number in range(20)]
    FindingLog(60)(with_findings(*quiet, finding()))
    assert len(caplog.records) == 1


def test_records_have_fields_for_structured_logs(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    log, found = FindingLog(60), replace(with_findings(finding()), method="PUT")
    found.findings = (finding(),)
    for _ in range(3):
        log(found)
        clock[0] += 31
    first, again = (vars(record) for record in caplog.records)
    assert json.loads(json.dumps(first["finding"]))["lineno"] == 41
    assert (first["endpoint"], first["method"]) == ("shop.show", "PUT")
    assert (again["times"], again["seconds"]) == (2, 0.5)
    assert again["finding"]["subject"] == "Pet.owner"


@pytest.mark.slow
def test_five_hundred_requests_to_one_n_plus_one(caplog: pytest.LogCaptureFixture) -> None:
    with archive() as app:
        app.add_url_rule("/", view_func=lambda: names_of_owners())
        client = app.test_client()
        for _ in range(500):
            client.get("/")
    assert len(caplog.records) < 10
    assert caplog.messages[0].startswith("n_plus_one: Document.user loaded 10 times")


HOSTILE = "evil\r\nWARNING forged\x1b[2J\x85\u2028\u202e"


def test_what_a_client_sends_makes_no_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    hostile = finding(message=f"n_plus_one: {HOSTILE}", subject=HOSTILE, fix=HOSTILE)
    assert r"evil\r\nWARNING forged\x1b[2J\x85\u2028\u202e" in hostile.message
    FindingLog(60)(with_findings(hostile))
    assert caplog.messages[0].isprintable()


def test_a_path_that_matches_no_rule_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with archive(slow_request=1e-9) as app:
        app.test_client().get("/s3cret\r\nWARNING forged")
    assert any("a request that matches no rule" in message for message in caplog.messages)
    assert "s3cret" not in caplog.text
    assert "forged" not in caplog.text


# On stderr, where nobody configured logging

SHOP = """
    import logging, logging.config, sys
    from flask import Flask
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import StaticPool
    from flask_perfkit import PerfKit, timer

    {before}
    engine = create_engine("sqlite://", poolclass=StaticPool)
    app = Flask("shop")
    app.config.update({config})
    PerfKit(app)
    {after}

    @app.get("/")
    def show():
        with timer("loop"), engine.connect() as connection:
            for number in range(7):
                connection.execute(text("SELECT :number"), {{"number": number}}).scalar()
        return "ok"

    for _ in range(3):
        assert app.test_client().get("/").status_code == 200
"""


def program(before: str = "", after: str = "", **config: Any) -> str:
    return textwrap.dedent(SHOP).format(before=before, after=after, config=repr(config))


def stderr_of(tmp_path: Path, text: str) -> str:
    (tmp_path / "shop.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "shop.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr


def terminal_of(tmp_path: Path, text: str) -> str:
    """Run a program whose stderr is a terminal, and return what it shows."""
    (tmp_path / "shop.py").write_text(text)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "shop.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert process.returncode == 0, shown
    return shown.decode()


@pytest.mark.slow
def test_elsewhere_than_on_a_terminal_a_finding_is_one_plain_line(tmp_path: Path) -> None:
    (line,) = stderr_of(tmp_path, program()).splitlines()
    assert re.fullmatch(
        r"n_plus_one: 7 executions of SELECT \? .* at shop\.py:\d+ in show; .*", line
    )


@pytest.mark.slow
def test_on_a_terminal_it_has_colour_and_the_cure_on_its_own_line(tmp_path: Path) -> None:
    what, cure = terminal_of(tmp_path, program()).splitlines()
    assert re.fullmatch(
        r"\x1b\[31m\x1b\[1mn_plus_one\x1b\[0m: 7 executions .* in show", what.rstrip()
    )
    assert re.fullmatch(r"  \x1b\[32m.*\x1b\[0m", cure.rstrip())


@pytest.mark.slow
def test_in_debug_the_start_and_timers_are_seen(tmp_path: Path) -> None:
    start, took, found, *more = stderr_of(tmp_path, program(DEBUG=True)).splitlines()
    assert start.startswith("PerfKit watches 'shop': each request and each statement; findings are")
    assert "off: PERFKIT_TRACES, PERFKIT_AUTO_BATCH, PERFKIT_SQL_COMMENTS" in start
    assert re.fullmatch(r"loop took \d\.\d{3}s", took)
    assert found.startswith("n_plus_one: ")
    assert len(more) == 2  # the timer, twice


DICT_CONFIG = """logging.config.dictConfig({
        "version": 1,
        "formatters": {"default": {"format": "[%(levelname)s] in %(module)s: %(message)s"}},
        "handlers": {"wsgi": {
            "class": "logging.StreamHandler", "stream": "ext://flask.logging.wsgi_errors_stream",
            "formatter": "default",
        }},
        "root": {"level": "INFO", "handlers": ["wsgi"]},
    })"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_dict_config_that_switched_the_log_off_unasked_is_taken_back(
    tmp_path: Path, where: str
) -> None:
    """As Flask's documentation shows it."""
    lines = stderr_of(tmp_path, program(**{where: DICT_CONFIG})).replace("\n    ", "").splitlines()
    assert any("it is enabled again" in line for line in lines)
    assert sum("n_plus_one: 7 executions" in line for line in lines) == 1
    assert any(line.startswith("[WARNING] in log: n_plus_one") for line in lines)
    assert any("[INFO] in timing: loop took" in line for line in lines)


@pytest.mark.slow
def test_a_file_config_is_taken_back_too(tmp_path: Path) -> None:
    """As Alembic's env.py does it."""
    (tmp_path / "logging.ini").write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=console\n[formatters]\nkeys=plain\n"
        "[logger_root]\nlevel=WARNING\nhandlers=console\n"
        "[handler_console]\nclass=StreamHandler\nargs=(sys.stderr,)\nformatter=plain\n"
        "[formatter_plain]\nformat=%(levelname)-5.5s [%(name)s] %(message)s\n"
    )
    text = program(after='logging.config.fileConfig("logging.ini")')
    (line,) = stderr_of(tmp_path, text).splitlines()
    assert line.startswith("WARNI [flask_perfkit] n_plus_one: 7 executions")


MUTE = {
    'logging.getLogger("flask_perfkit").disabled = True': "is disabled",
    'logging.getLogger("flask_perfkit").setLevel("ERROR")': "level of the logger 'flask_perfkit'",
    "logging.disable(logging.WARNING)": "level of the logger 'flask_perfkit'",
    'handler = logging.StreamHandler(); handler.setLevel("ERROR"); '
    "logging.getLogger().addHandler(handler)": "no handler of the logger",
    'logging.getLogger("flask_perfkit").propagate = False; '
    'logging.getLogger("flask_perfkit").addHandler(logging.NullHandler())': "no handler of the",
}


@pytest.mark.slow
@pytest.mark.parametrize("set_up", MUTE)
def test_a_log_that_is_mute_on_purpose_is_said_once(tmp_path: Path, set_up: str) -> None:
    (line,) = stderr_of(tmp_path, program(after=set_up)).splitlines()
    assert line.startswith("PerfKit's findings are not logged: ")
    assert MUTE[set_up] in line
    assert line.endswith('or set PERFKIT_ON_FINDING = "ignore" if that is intended.')


@pytest.mark.slow
def test_nothing_is_said_of_a_mute_log_where_findings_go_elsewhere(tmp_path: Path) -> None:
    set_up = 'logging.getLogger("flask_perfkit").disabled = True'
    assert stderr_of(tmp_path, program(after=set_up, PERFKIT_ON_FINDING="ignore")) == ""


def test_the_log_of_an_audit_is_not_called_mute(tmp_path: Path) -> None:
    ask = """app.add_url_rule("/a", "a", lambda: "ok")
from flask_perfkit.audit.audit import audit
assert audit(app).visits
sys.exit()"""
    assert "are not logged" not in stderr_of(tmp_path, program(after=ask))


def test_the_start_line_names_what_is_on(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("till", root_path=".")
    app.config.update(PERFKIT_METRICS_PATH="/figures", PERFKIT_SAMPLE_RATE=0.25)
    PerfKit(app)
    with caplog.at_level(logging.INFO, "flask_perfkit"):
        app.test_client().get("/", headers={"Host": "evil.example"}, base_url="https://shop:8443")
    assert caplog.messages[0] == (
        "PerfKit watches 'till': 25% of the requests (PERFKIT_SAMPLE_RATE) and each statement; "
        "findings are logged, each place at most once in 60 s; off: PERFKIT_TRACES, "
        "PERFKIT_AUTO_BATCH, PERFKIT_SQL_COMMENTS, PERFKIT_SERVER_TIMING, PERFKIT_DASHBOARD; "
        "open https://shop:8443/figures"
    )
    app = Flask("till", root_path=".")
    app.debug = True
    PerfKit(app)
    with caplog.at_level(logging.INFO, "flask_perfkit"):
        app.test_client().get("/", base_url="https://shop:8443")
    assert caplog.messages[-1].endswith("; open https://shop:8443/perfkit")
