"""A home of files for the tests of `silmm data`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest
from silmm_benchmarks.data.data_file import DataFile

from tests.benchmarks.data.home import Home, opened


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give a running server; no proxy stands before it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with opened() as server:
        yield server


@pytest.fixture
def official(home: Home) -> Callable[..., DataFile]:
    """Put bytes on the server and return the file as a catalogue names it."""

    def put(name: str, data: bytes, *, known: bool = True, size: bool = True) -> DataFile:
        home.files[name] = data
        digest = hashlib.sha256(data).hexdigest()
        return DataFile(name, home.url(name), digest if known else None, len(data) if size else None, "MIT")

    return put
