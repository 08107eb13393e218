"""Fixtures of several tests of compiled steps: a count of recordings, and modules that are replayed soon."""

import pytest
from ranvier.compile import compiled_function
from ranvier.nn import call_counts


@pytest.fixture
def records(monkeypatch):
    """Grows at each recording and each check."""
    found = []

    def counted(function):
        def call(*args, **keywords):
            found.append(1)
            return function(*args, **keywords)

        return call

    for name in ("record", "compare"):
        monkeypatch.setattr(compiled_function, name, counted(vars(compiled_function)[name]))
    return found


@pytest.fixture
def replayed_soon(monkeypatch):
    """Modules are replayed by themselves after 16 calls, however short."""
    monkeypatch.setattr(call_counts, "_ENOUGH", 0.0)
