"""Turning traces on, and what they cost where they are off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(program: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.stdout + result.stderr


def test_off_they_are_not_imported() -> None:
    assert (
        run("""
import sys
from flask import Flask
from flask_perfkit import PerfKit
app = Flask("shop")
PerfKit(app)
app.test_client().get("/")
print([name for name in sys.modules if "opentelemetry" in name or "perfkit.traces" in name])
""")
        == "[]\n"
    )


def test_without_opentelemetry_the_extra_is_named() -> None:
    assert run("""
import sys
sys.modules["opentelemetry"] = None
from flask import Flask
from flask_perfkit import ExtraMissing, PerfKit
app = Flask("shop")
app.config["PERFKIT_TRACES"] = True
try:
    PerfKit(app)
except ExtraMissing as error:
    print(error)
""") == ("PERFKIT_TRACES needs a package that is not installed: install flask-perfkit[otel]\n")


def test_without_the_sdk_requests_are_answered_and_the_log_says_it_once() -> None:
    output = run("""
import sys
sys.modules["opentelemetry.sdk"] = None
from flask import Flask
from flask_perfkit import PerfKit
app = Flask("shop")
app.config["PERFKIT_TRACES"] = True
PerfKit(app)
app.add_url_rule("/", view_func=lambda: "answered")
print(*(app.test_client().get("/").text for _ in range(2)))
""")
    assert "answered answered" in output
    assert output.count("install flask-perfkit[otel]\n") == 2  # the message and its traceback
