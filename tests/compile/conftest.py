"""Fixtures of several tests of compiled steps: a count of recordings, and modules that are replayed soon."""

import pytest
from ranvier.compile import compiled
from ranvier.nn import often


@pytest.fixture
def records(monkeypatch):
    """Grows at each recording and each check."""
    found, record = [], compiled.record
    monkeypatch.setattr(compiled, "record", lambda *args, **more: found.append(1) or record(*args, **more))
    return found


@pytest.fixture
def replayed_soon(monkeypatch):
    """Modules are replayed by themselves after 16 calls, however short."""
    monkeypatch.setattr(often, "_ENOUGH", 0.0)
