from __future__ import annotations

import dataclasses
import gc
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from flask_perfkit.errors import ExtraMissing
from flask_perfkit.system import figures as system
from flask_perfkit.system.figures import (
    CpuMeter,
    CpuReading,
    SystemMetrics,
    get_system_metrics,
    log_system_metrics,
    resident_bytes,
)

MB = 1024 * 1024
NAMED_BY_CONTRACT = {
    "cpu_percent", "memory_rss", "memory_percent", "threads", "open_files", "disk_percent",
    "disk_read_bytes", "disk_write_bytes", "net_sent_bytes", "net_recv_bytes",
}  # fmt: skip
METRICS = SystemMetrics(
    cpu_percent=45.24,
    memory_rss=512 * MB + 314_573,  # 0.3 MB
    memory_percent=15.2,
    threads=8,
    open_files=20,
    disk_percent=70.5,
    disk_read_bytes=1000,
    disk_write_bytes=2000,
    net_sent_bytes=3000,
    net_recv_bytes=4000,
    gc_collections=5,
    load_average=0.52,
    machine_memory_percent=41.3,
    memory_limit=None,
    cpu_limit=None,
)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="flask_perfkit"):
        yield caplog


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The place of /proc/self, empty until a test writes into it."""
    folder = tmp_path / "proc"
    folder.mkdir()
    monkeypatch.setattr(system, "_PROC", folder)
    return folder


@pytest.fixture
def cgroup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proc: Path) -> Path:
    """The root of the control groups, with this process in /web/app."""
    folder = tmp_path / "cgroup"
    (folder / "web" / "app").mkdir(parents=True)
    monkeypatch.setattr(system, "_CGROUP", folder)
    (proc / "cgroup").write_text("4:memory:/old\n0::/web/app\n")
    (proc / "statm").write_text("9999 2560 100 1 0 500 0\n")
    return folder


def refuse(*_: object, **__: object) -> None:
    raise psutil.AccessDenied


def test_the_figures_are_those_of_this_process_and_machine() -> None:
    metrics = get_system_metrics()
    figures = metrics.to_dict()
    assert figures.keys() >= NAMED_BY_CONTRACT
    assert figures["memory_rss"] == metrics.memory_rss
    assert json.loads(json.dumps(figures)) == figures
    assert metrics.memory_rss == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert metrics.threads is not None
    assert metrics.threads >= threading.active_count()
    assert metrics.disk_percent is not None
    assert 0 <= metrics.disk_percent <= 100
    with pytest.raises(dataclasses.FrozenInstanceError):
        metrics.cpu_percent = 0.0  # type: ignore[misc]


def test_threads_and_open_files_follow_the_process() -> None:
    before = get_system_metrics()
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    left, right = socket.socketpair()
    with left, right, Path(os.devnull).open() as _:
        during = get_system_metrics()
    stop.set()
    for thread in threads:
        thread.join()
    assert None not in (before.threads, before.open_files, during.threads, during.open_files)
    assert during.threads - before.threads == 3  # type: ignore[operator]
    assert during.open_files - before.open_files == 3  # type: ignore[operator]


def test_each_run_of_the_garbage_collector_counts() -> None:
    before = get_system_metrics().gc_collections
    gc.collect()
    gc.collect()
    assert get_system_metrics().gc_collections >= before + 2


# Processor


def test_the_first_figure_is_since_the_process_started() -> None:
    assert CpuMeter().percent(CpuReading(pid=1, at=500.0, cpu=3.0), age=12.0) == 25.0


def test_a_later_figure_is_since_the_last_call() -> None:
    meter = CpuMeter()
    meter.percent(CpuReading(pid=1, at=500.0, cpu=3.0), age=12.0)
    assert meter.percent(CpuReading(pid=1, at=510.0, cpu=3.5), age=22.0) == 5.0
    assert meter.percent(CpuReading(pid=1, at=512.0, cpu=7.5), age=24.0) == 200.0


def test_a_call_right_after_another_repeats_its_figure() -> None:
    meter = CpuMeter()
    assert meter.percent(CpuReading(pid=1, at=500.0, cpu=3.0), age=12.0) == 25.0
    assert meter.percent(CpuReading(pid=1, at=500.0, cpu=3.0), age=12.0) == 25.0
    assert meter.percent(CpuReading(pid=1, at=500.05, cpu=3.05), age=12.05) == 25.0
    # A thread that read its clocks before the other's call came through.
    assert meter.percent(CpuReading(pid=1, at=499.0, cpu=2.0), age=11.0) == 25.0
    # The short calls took nothing away: 0.5 s of CPU in 2 s since the first one.
    assert meter.percent(CpuReading(pid=1, at=502.0, cpu=3.5), age=14.0) == 25.0


def test_a_fork_starts_anew() -> None:
    meter = CpuMeter()
    meter.percent(CpuReading(pid=1, at=500.0, cpu=300.0), age=400.0)
    assert meter.percent(CpuReading(pid=2, at=510.0, cpu=1.0), age=2.0) == 50.0


def test_an_unknown_age_is_no_division_by_zero() -> None:
    assert CpuMeter().percent(CpuReading(pid=1, at=500.0, cpu=3.0), age=0.0) == 0.0


def test_the_processor_time_really_used_is_seen() -> None:
    get_system_metrics()
    ready = time.process_time() + 0.15
    while time.process_time() < ready:
        pass
    assert get_system_metrics().cpu_percent > 0


def test_many_threads_may_look_at_once() -> None:
    seen: list[float] = []

    def look() -> None:
        for _ in range(20):
            seen.append(get_system_metrics().cpu_percent)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 80
    assert all(percent >= 0 for percent in seen)


# Memory and the container's limits


def test_resident_memory_is_read_from_proc(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (proc / "statm").write_text("9999 2560 100 1 0 500 0\n")
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096}.__getitem__)
    assert resident_bytes() == 10 * MB


def test_resident_memory_without_proc_comes_from_psutil(proc: Path) -> None:
    assert resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)


def test_the_container_limits_are_figures(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096}.__getitem__)
    (cgroup / "web" / "app" / "memory.max").write_text(f"{40 * MB}\n")
    (cgroup / "web" / "app" / "cpu.max").write_text("150000 100000\n")
    metrics = get_system_metrics()
    assert metrics.memory_limit == 40 * MB
    assert metrics.cpu_limit == 1.5
    assert metrics.memory_percent == 25.0  # 10 MB of 40 MB


def test_the_tightest_limit_above_the_process_holds(cgroup: Path) -> None:
    (cgroup / "web" / "app" / "memory.max").write_text("max\n")
    (cgroup / "web" / "memory.max").write_text(f"{300 * MB}\n")
    (cgroup / "memory.max").write_text(f"{900 * MB}\n")
    (cgroup / "web" / "app" / "cpu.max").write_text("max 100000\n")
    metrics = get_system_metrics()
    assert metrics.memory_limit == 300 * MB
    assert metrics.cpu_limit is None


def test_a_limit_above_the_machine_does_not_shrink_the_percentage(cgroup: Path) -> None:
    free = get_system_metrics().memory_percent
    (cgroup / "web" / "app" / "memory.max").write_text(str(1 << 62))
    assert get_system_metrics().memory_percent == free


@pytest.mark.parametrize("groups", ["", "4:memory:/old\n", "0::/gone\n"])
def test_without_a_limit_there_is_none(cgroup: Path, proc: Path, groups: str) -> None:
    (proc / "cgroup").write_text(groups)
    metrics = get_system_metrics()
    assert metrics.memory_limit is None
    assert metrics.cpu_limit is None


# What cannot be read


def test_a_hidden_figure_is_none(monkeypatch: pytest.MonkeyPatch, proc: Path) -> None:
    for name in ("create_time", "num_threads", "num_fds", "memory_info"):
        monkeypatch.setattr(psutil.Process, name, refuse)
    monkeypatch.setattr(psutil, "disk_usage", refuse)
    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    monkeypatch.setattr(psutil, "getloadavg", refuse)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    figures = get_system_metrics().to_dict()
    assert figures.pop("cpu_percent") >= 0
    assert figures.pop("gc_collections") >= 0
    assert set(figures.values()) == {None}


def test_a_process_that_psutil_cannot_find_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self: psutil.Process, *_: object) -> None:
        raise psutil.NoSuchProcess(os.getpid())

    monkeypatch.setattr(psutil.Process, "__init__", lost)
    metrics = get_system_metrics()
    assert metrics.threads is None
    assert metrics.cpu_percent >= 0


@pytest.mark.parametrize("look", [get_system_metrics, log_system_metrics])
def test_without_psutil_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(
        ExtraMissing, match=r"System metrics needs .* install 'flask-perfkit\[system\]"
    ):
        look()


# The log


def test_the_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(system, "get_system_metrics", lambda: METRICS)
    assert log_system_metrics() is METRICS
    assert log.messages == ["System: CPU 45.2%, Memory 512.3MB (15.2%), Threads 8"]
    assert log.records[0].levelno == logging.INFO


def test_a_hidden_figure_in_the_log(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    hidden = dataclasses.replace(METRICS, memory_rss=None, memory_percent=None, threads=None)
    monkeypatch.setattr(system, "get_system_metrics", lambda: hidden)
    log_system_metrics()
    assert log.messages == ["System: CPU 45.2%, Memory n/a (n/a), Threads n/a"]


def test_a_logging_handler_that_raises_is_not_noticed(log: pytest.LogCaptureFixture) -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    handler = Raising()
    logging.getLogger("flask_perfkit").addHandler(handler)
    try:
        assert log_system_metrics().cpu_percent >= 0
    finally:
        logging.getLogger("flask_perfkit").removeHandler(handler)
