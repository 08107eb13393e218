"""A worker of pytest-xdist has one more Python thread, which runs nothing of the tests."""

from __future__ import annotations

import os
from _thread import _count

import pytest
from ranvier.program import compiled, compiled_model, randomness


@pytest.fixture(autouse=True, scope="package")
def uncounted_thread_of_xdist():
    """A compiled step looks at other threads: only those that a test starts are counted."""
    with pytest.MonkeyPatch.context() as patch:
        if "PYTEST_XDIST_WORKER" in os.environ:
            for module in (compiled, compiled_model, randomness):
                patch.setattr(module, "other_threads", lambda: _count() - 1)
        yield
