"""Whatever a captured step depends on may change between two calls: eager's bits, or a CaptureError."""

import contextlib

import pytest
import ranvier as rv
from program.staleness.effects_sources import UNREPEATABLE
from program.staleness.everything import FITS, SCENARIOS
from program.staleness.judge import EARLY, LATE, judge, run
from program.staleness.predictions import PREDICTIONS, judge_predictions
from program.staleness.trainers import judge_fit

RIGHT = {"replayed", "captured anew", "eager", "refused", "warned"}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("at", [LATE, EARLY], ids=["late", "early"])
def test_as_eager(name, at):
    outcome, remark = judge(SCENARIOS[name], at)
    assert outcome in RIGHT, f"{outcome}: {remark}"


@pytest.mark.parametrize("name", FITS)
def test_fit_as_eager(name):
    outcome, remark = judge_fit(FITS[name])
    assert outcome in ("as eager", "warned"), f"{outcome}: {remark}"


@pytest.mark.parametrize("name", PREDICTIONS)
def test_predictions_as_eager(name):
    outcome, remark = judge_predictions(name)
    assert outcome == "as eager", f"{outcome}: {remark}"


@pytest.mark.parametrize("name", UNREPEATABLE)
def test_numbers_from_outside_are_not_kept(name):
    read = UNREPEATABLE[name]
    fast, x, found = rv.compile(lambda x: x * read()), rv.ones(1), set()
    with contextlib.suppress(rv.CaptureError):
        for _ in range(9):
            found.add(fast(x).item())
        assert len(found) > 2, "replays go on with the number of the recording"


CHANGES_A_SETTING = ("threads", "winograd")  # of which each value has a program of its own
UNCHANGED = [
    name
    for name, one in SCENARIOS.items()
    if one.neutral and one.expects == "works"
    if not name.startswith("in/") and not name.endswith(CHANGES_A_SETTING)
]


@pytest.mark.parametrize("name", UNCHANGED)
def test_replays_run_no_python(name):
    """Where nothing changes only the recording and the checks at calls 2, 4 and 8 run the step's Python."""
    entered = run(SCENARIOS[name], True, LATE, counts=True).entered
    assert {number for number, count in enumerate(entered, 1) if count} <= {1, 2, 4, 8}


def test_how_many():
    """The judge is worth something only while there are many scenarios, which mostly have to work."""
    assert len(SCENARIOS) >= 300
    assert len(FITS) >= 100
    assert sum(one.expects == "works" for one in SCENARIOS.values()) > 0.7 * len(SCENARIOS)
