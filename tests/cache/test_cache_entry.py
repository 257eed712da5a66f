from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_perfkit.cache.entries.entry import Entry, pack, unpack

ENTRY = Entry("run", True, 1234.5, 0.0, 0.25, ("users", "documents"), ("ab", "cd"), '{"a":"\\n"}')


def test_an_entry_is_three_lines_and_its_json() -> None:
    assert pack(ENTRY) == (
        b'perfkit1 run t 1234.500 0.000 0.250000\nusers documents\nab cd\n{"a":"\\n"}'
    )


def test_an_entry_comes_back() -> None:
    assert unpack(pack(ENTRY)) == ENTRY


def test_an_entry_without_dependencies_comes_back() -> None:
    entry = Entry("run", False, 1.0, 0.0, 0.0, (), (), "1")
    assert unpack(pack(entry)) == entry


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe\x00",
        b"1",
        b"\n\n\n",
        pickle.dumps({"a": 1}),
        pack(ENTRY).replace(b"perfkit1", b"perfkit2"),
        pack(ENTRY).replace(b"ab cd", b"ab"),
        pack(ENTRY).replace(b"1234.500", b"soon"),
    ],
    ids=["empty", "bytes", "short", "lines", "pickle", "format", "tokens", "number"],
)
def test_anything_else_is_none(payload: bytes) -> None:
    assert unpack(payload) is None


@given(st.binary())
def test_no_bytes_raise(payload: bytes) -> None:
    assert unpack(payload) is None
