"""Whatever a captured step depends on may change between two calls: eager's bits, or a CaptureError."""

import pytest
from program.staleness.everything import SCENARIOS
from program.staleness.judge import EARLY, LATE, judge

RIGHT = {"replayed", "captured anew", "eager", "refused"}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("at", [LATE, EARLY], ids=["late", "early"])
def test_as_eager(name, at):
    outcome, remark = judge(SCENARIOS[name], at)
    assert outcome in RIGHT, f"{outcome}: {remark}"
