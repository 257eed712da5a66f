"""What takes the place of something of the host's has all that was there: a walk over all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from flask_perfkit.standin import stand_in

SCRIPT = Path(__file__).with_name("surface.py")

AT_LEAST = {
    "Flask().wsgi_app",
    "Flask().process_response",
    "AppGroup().get_command",
    "Command().invoke",
    "time.sleep",
    "socket.socket.connect",
    "subprocess.Popen.communicate",
    "redis.client.Redis.execute_command",
    "redis.asyncio.client.Redis.execute_command",
    "redis.asyncio.cluster.ClusterPipeline.execute",
    "sqlalchemy.pool.base.Pool.connect",
    "sqlalchemy.orm.attributes.InstrumentedAttribute.__get__",
    "SQLiteDialect_pysqlite().do_commit",
    # SQLAlchemy 2.1 gave it an underscore.
    f"{type(Session().identity_map).__name__}().get",
}


@pytest.fixture(scope="module")
def lacking() -> dict[str, list[str]]:
    """Return what each thing lacks that stands in for one of the host's."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT)],
        env=os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_the_walk_comes_upon_all_that_is_known(lacking: dict[str, list[str]]) -> None:
    assert set(lacking) >= AT_LEAST


def test_nothing_of_the_host_is_hidden(lacking: dict[str, list[str]]) -> None:
    assert {place: lacks for place, lacks in lacking.items() if lacks} == {}


class Tool:
    """Something that can be called, has a state of its own, and a method."""

    limit = 3

    def __call__(self, number: int) -> int:
        return number

    def used(self, number: int) -> int:
        """Use it."""
        return number


def test_an_object_that_can_be_called_is_passed_on_what_it_is_asked() -> None:
    tool = Tool()
    stand = stand_in(tool, lambda number: tool(number) + 1)
    assert (stand(1), stand.limit, stand.used(1)) == (2, 3, 1)
    assert isinstance(stand, Tool)
    assert (stand == tool, hash(stand), repr(stand)) == (True, hash(tool), repr(tool))
    assert dir(stand) == dir(tool)


def test_a_method_stays_a_method_of_its_object() -> None:
    tool = Tool()
    stand = stand_in(tool.used, lambda self, number: self.limit + number)
    assert (stand(1), stand.__self__, stand.__doc__) == (4, tool, "Use it.")
    assert stand.__wrapped__ is Tool.used


def test_a_partial_stays_one() -> None:
    stand = stand_in(partial(int, base=2), lambda text: int(text, 2) + 1)
    assert (stand("11"), stand.keywords, stand.func) == (4, {"base": 2}, int)
