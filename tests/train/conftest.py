"""The calls to the core of a run."""

import pytest
from ranvier.compile import CompiledFunction


@pytest.fixture
def runs(monkeypatch):
    """The number of batches of each call to the core."""
    counts = []
    inner = CompiledFunction.run_batches

    def run_batches(self, args, batches):
        try:
            return inner(self, args, batches)
        finally:
            counts.append(batches.done)

    monkeypatch.setattr(CompiledFunction, "run_batches", run_batches)
    return counts
