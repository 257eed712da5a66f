"""The rows and their files: what is lost, what is damaged, and who may be dead."""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from flask_perfkit import PerfKit
from flask_perfkit.metrics.page import totals
from flask_perfkit.metrics.store import directory as files
from flask_perfkit.metrics.store.figures import figures
from flask_perfkit.metrics.store.layout import PLAIN, REQUEST, ROUTE, Layout
from flask_perfkit.metrics.store.rows import Memory, Rows, read_rows
from flask_perfkit.metrics.store.siblings import shared_directory
from tests.metrics.scraping import scrape

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked here"),
    # pytest-xdist has threads; what is forked here needs none of them.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

ROOT_ROUTE = {"method": "GET", "route": "/", "status": "200"}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def app() -> Flask:
    app = Flask("shop", root_path=".")
    app.config["PERFKIT_METRICS_PATH"] = "/metrics"
    PerfKit(app)
    app.add_url_rule("/", "index", lambda: "ok")
    return app


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "flask_perfkit")
    return lambda: [record.getMessage() for record in caplog.records]


def in_child(work: Callable[[], object], end: str = "exit") -> None:
    """Do something in a fork, which then dies."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            if end == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def ask(app: Flask, times: int = 1) -> None:
    for _ in range(times):
        assert app.test_client().get("/").text == "ok"


def counted(app: Flask) -> float:
    return scrape(app).of("http_requests_total", **ROOT_ROUTE)


def worker_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("perfkit-*.rows"))


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_what_the_dead_counted_stays_and_their_files_go(
    app: Flask, directory: Path, end: str
) -> None:
    ask(app, 2)
    for _ in range(5):
        in_child(lambda: ask(app, 3), end)
    assert len(worker_files(directory)) == 6
    seen = scrape(app)
    assert seen.of("http_requests_total", **ROOT_ROUTE) == 17
    assert seen.of("process_workers") == 1
    assert len(worker_files(directory)) == 1
    assert counted(app) == 17


def test_a_child_of_a_worker_does_not_keep_its_file_alive(app: Flask, directory: Path) -> None:
    """A worker forks and is killed: its child has the same files open, but lives on."""
    ready, ready_told = os.pipe()
    over, over_told = os.pipe()

    def worker() -> None:
        ask(app, 3)
        if os.fork() == 0:
            os.close(over_told)
            os.write(ready_told, b"x")
            os.read(over, 1)
            os._exit(0)

    in_child(worker, "kill")
    os.read(ready, 1)
    try:
        seen = scrape(app)
        assert seen.of("http_requests_total", **ROOT_ROUTE) == 3
        assert seen.of("process_workers") == 1
    finally:
        for end in (over_told, over, ready, ready_told):
            os.close(end)


def test_gauges_of_the_dead_are_gone(app: Flask, directory: Path) -> None:
    def hang() -> None:
        app.test_client().get("/hang")

    app.add_url_rule("/hang", "hang", lambda: os.kill(os.getpid(), signal.SIGKILL) or "")
    in_child(hang)
    assert scrape(app).of("http_requests_in_progress") == 0


def test_a_kill_between_archive_and_removal_counts_nothing_twice(
    app: Flask, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_child(lambda: ask(app, 3))
    with monkeypatch.context() as patch:
        patch.setattr(files, "remove", lambda path: None)  # as if killed before
        assert counted(app) == 3
        assert counted(app) == 3
    assert len(worker_files(directory)) == 2
    assert counted(app) == 3
    in_child(lambda: ask(app, 4))
    assert counted(app) == 7
    assert len(worker_files(directory)) == 1


def test_a_kill_before_the_archive_is_in_place_loses_nothing(
    app: Flask, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_child(lambda: ask(app, 3))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert counted(app) == 3
    assert counted(app) == 3
    assert [path.name for path in directory.glob("*.new")] == []


def test_processor_time_never_falls(app: Flask, directory: Path) -> None:
    def burn() -> None:
        ask(app)
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        scrape(app)

    seen = [scrape(app).of("process_cpu_seconds_total")]
    for _ in range(3):
        in_child(burn)
        seen.append(scrape(app).of("process_cpu_seconds_total"))
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] >= 0.25


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"PERFKIT1" + b"\xff" * 100, b"PERFKIT1" + b"\x00" * 4096, "cut"],
    ids=["empty", "garbage", "infinite", "zeros", "cut"],
)
def test_a_damaged_file_is_passed_over_and_said_once(
    app: Flask, directory: Path, content: bytes | str, said: Callable[[], list[str]]
) -> None:
    in_child(lambda: ask(app))
    (path,) = worker_files(directory)
    data = content if isinstance(content, bytes) else path.read_bytes()[:777]
    path.write_bytes(data)
    (directory / "perfkit.archive").write_bytes(data)
    (directory / "perfkit-other.rows").write_bytes(data)
    ask(app)
    assert counted(app) >= 1
    assert counted(app) >= 1
    assert len(worker_files(directory)) == 1
    assert len([text for text in said() if "was skipped" in text]) <= 2


def test_a_directory_that_cannot_be_written_to_leaves_the_figures_in_memory(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "file"))
    ask(app, 3)
    assert counted(app) == 3
    assert counted(app) == 3
    assert len([text for text in said() if "counting in" in text]) <= 1


def test_a_directory_that_cannot_be_held_shows_the_own_figures(
    app: Flask, directory: Path, said: Callable[[], list[str]]
) -> None:
    (directory / "perfkit.lock").mkdir()
    in_child(lambda: ask(app, 5))
    ask(app, 3)
    assert counted(app) == 3
    assert counted(app) == 3
    assert len([text for text in said() if "the other workers failed" in text]) <= 1


def test_a_file_that_cannot_be_read_is_passed_over(app: Flask, directory: Path) -> None:
    (directory / "perfkit-0.rows").mkdir()
    ask(app, 3)
    assert counted(app) == 3


def test_a_full_disk_leaves_requests_as_they_are(
    app: Flask, directory: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    ask(app, 2)
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 0)
    for number in range(200):
        app.url_map.add(app.url_rule_class(f"/{number}", endpoint=str(number)))
        app.view_functions[str(number)] = lambda: "ok"
    for number in range(200):
        assert app.test_client().get(f"/{number}").text == "ok"
    ask(app, 2)
    seen = scrape(app)
    assert seen.of("http_requests_total", **ROOT_ROUTE) == 4
    assert 2 < seen.sum("http_requests_total") < 200
    assert seen.of("http_requests_in_progress") == 0
    assert len([text for text in said() if "counting a request" in text]) <= 1


def test_files_that_somebody_removes_cost_the_own_figures_nothing(
    app: Flask, directory: Path
) -> None:
    ask(app, 3)
    for path in worker_files(directory):
        path.unlink()
    assert counted(app) == 3


def test_who_holds_the_directory_for_too_long_gets_503_not_500(
    app: Flask, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(app)
    monkeypatch.setattr(files, "_LONGEST_WAIT", 0.05)
    with files.locked(directory):
        assert app.test_client().get("/metrics").status_code == 503
    assert counted(app) == 1


def test_other_buckets_of_an_older_worker_are_counted_in_the_next_larger_ones() -> None:
    old, new = Layout(request=(0.1, 0.4, 1.0)), Layout(request=(0.1, 0.5, 1.0))
    cells = [1.0, 2.0, 4.0, 8.0] + [0.0] * 11
    assert new.adopt(REQUEST, cells, old)[:4] == [1, 2, 4, 8]
    assert old.adopt(REQUEST, cells, new)[:4] == [1, 0, 6, 8]


def test_a_kind_of_finding_that_is_not_known_here_is_left_out() -> None:
    other, here = Layout(kinds=("new", "n_plus_one")), Layout()
    cells = [0.0] * other.width(ROUTE)
    cells[other.first_kind :] = [3.0, 5.0]
    adopted = here.adopt(ROUTE, cells, other)
    assert adopted[here.first_kind :] == [5.0] + [0.0] * (len(here.kinds) - 1)


@given(st.lists(st.tuples(st.text(max_size=80), st.lists(st.floats(allow_nan=False)))))
def test_rows_are_read_as_they_were_written(rows: list[tuple[str, list[float]]]) -> None:
    written = Rows(Memory(), Layout())
    for key, cells in rows:
        written.append(key, len(cells))[:] = memoryview(_doubles(cells))
    layout, blocks = read_rows(written.to_bytes())
    assert layout == Layout()
    assert [(key, cells) for key, _, cells in blocks] == [
        (key.encode("utf-8", "replace").decode(), cells) for key, cells in rows
    ]


@given(st.integers(0, 4000), st.binary(min_size=1, max_size=40))
def test_damaged_rows_are_read_or_refused_but_nothing_else(place: int, damage: bytes) -> None:
    written = Rows(Memory(), Layout())
    for number in range(5):
        written.append(f'["{PLAIN}", "GET", "/{number}", "200"]', Layout().width(PLAIN))
    data = bytearray(written.to_bytes())
    data[place : place + len(damage)] = damage
    total = totals.Totals(Layout())
    try:
        total.add(bytes(data), alive=False)
    except ValueError:
        assert total.rows == {}


def _doubles(cells: list[float]) -> Any:
    from array import array

    return array("d", cells)


def test_a_directory_of_its_own_is_private_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    found: list[str] = []

    def worker() -> None:
        (tmp_path / f"found-{os.getpid()}").write_text(str(shared_directory()))

    for _ in range(2):
        in_child(worker)
    found = [path.read_text() for path in tmp_path.glob("found-*")]
    assert found[0] == found[1] != "None"
    assert Path(found[0]).stat().st_mode & 0o777 == 0o700
    Path(found[0]).chmod(0o777)
    in_child(worker)
    assert "None" in [path.read_text() for path in tmp_path.glob("found-*")]


def test_several_workers_that_cannot_meet_are_said_once(
    app: Flask, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr("flask_perfkit.metrics.store.figures.shared_directory", lambda: None)
    client = app.test_client()
    for _ in range(3):
        client.get("/", environ_overrides={"wsgi.multiprocess": True})
    assert counted(app) == 3
    (text,) = [text for text in said() if "several workers" in text]
    assert "PROMETHEUS_MULTIPROC_DIR" in text


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    figures.close()
