"""What the tests of pictures share."""

import pytest


@pytest.fixture(autouse=True)
def _matplotlib():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (pip install 'ranvier[plot]')")
