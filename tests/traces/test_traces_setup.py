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
    output = run("""
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
""")
    missing = "PERFKIT_TRACES needs a package that is not installed"
    assert output == f"{missing}: pip install 'flask-perfkit[otel]'\n"


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
    assert output.count("pip install 'flask-perfkit[otel]'\n") == 2  # the message and its traceback


def test_a_disabled_sdk_is_left_alone() -> None:
    assert (
        run("""
import os, sys, threading
os.environ["OTEL_SDK_DISABLED"] = "true"
from flask import Flask
from flask_perfkit import PerfKit
app = Flask("shop")
app.config["PERFKIT_TRACES"] = True
PerfKit(app)
app.add_url_rule("/", view_func=lambda: "answered")
print(app.test_client().get("/").text, threading.active_count())
""")
        == "answered 1\n"
    )


def test_a_comment_is_added_behind_the_span_whichever_was_turned_on_first() -> None:
    assert run("""
import sqlalchemy as sa
from flask import Flask
from flask_perfkit import PerfKit
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

first = Flask("first")
first.config["PERFKIT_SQL_COMMENTS"] = True
PerfKit(first)
app = Flask("second")
app.config.update(PERFKIT_SQL_COMMENTS=True, PERFKIT_TRACES=True)
PerfKit(app)
engine = sa.create_engine("sqlite://")

def sent(cursor, statement, *rest):
    print("sent", statement)

sa.event.listen(engine, "do_execute", sent)

def view():
    with engine.connect() as connection:
        return str(connection.execute(sa.text("SELECT 1")).scalar())

app.add_url_rule("/", view_func=view)
app.test_client().get("/")
engine.dispose()
print("told", exporter.get_finished_spans()[0].attributes["db.query.text"])
""") == ("sent SELECT 1 /*function='__main__.view',route='%2F'*/\ntold SELECT ?\n")
