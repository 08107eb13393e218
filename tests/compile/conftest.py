"""Fixtures of several tests of compiled steps: a count of recordings, and modules that are replayed soon."""

import pytest
from ranvier.compile import compiled_function
from ranvier.nn import call_counts


@pytest.fixture
def records(monkeypatch):
    """Grows at each recording and each check."""
    found, record = [], compiled_function.record
    monkeypatch.setattr(compiled_function, "record", lambda *args, **k: found.append(1) or record(*args, **k))
    return found


@pytest.fixture
def replayed_soon(monkeypatch):
    """Modules are replayed by themselves after 16 calls, however short."""
    monkeypatch.setattr(call_counts, "_ENOUGH", 0.0)
