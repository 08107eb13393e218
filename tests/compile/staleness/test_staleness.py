"""Anything that a compiled step depends on changes between two calls: the eager bits, or a CaptureError."""

import fnmatch
import os
from dataclasses import replace

import pytest
import ranvier as rv
from compile.staleness.eager import EAGER, runs_eagerly
from compile.staleness.effects import UNREPEATABLE
from compile.staleness.everything import FITS, SCENARIOS
from compile.staleness.judge import EARLY, LATE, RIGHT, Scenario, judge, run
from compile.staleness.predictions import PREDICTIONS, judge_predictions
from compile.staleness.random_reads import judge_random
from compile.staleness.rows import function
from compile.staleness.trainers import judge_fit
from support.grouped import grouped

RANDOM = int(os.environ.get("RANVIER_RANDOM_STALENESS", "20"))


@grouped("name", SCENARIOS)
def test_as_eager(name):
    outcome, remark = judge(SCENARIOS[name], LATE)
    assert outcome in RIGHT, f"{outcome}: {remark}"


@grouped("name", list(SCENARIOS)[::3])  # all of them: compile.staleness.outcomes
def test_as_eager_when_changed_early(name):
    outcome, remark = judge(SCENARIOS[name], EARLY)
    assert outcome in RIGHT, f"{outcome}: {remark}"


@grouped("name", FITS)
def test_fit_as_eager(name):
    outcome, remark = judge_fit(FITS[name])
    assert outcome in ("as eager", "warned"), f"{outcome}: {remark}"


@grouped("name", PREDICTIONS)
def test_predictions_as_eager(name):
    outcome, remark = judge_predictions(name)
    assert outcome == "as eager", f"{outcome}: {remark}"


@pytest.mark.filterwarnings("ignore:.compile. .* runs eagerly")
@pytest.mark.parametrize("name", UNREPEATABLE)
def test_numbers_from_outside_are_not_kept(name):
    read = function("", UNREPEATABLE[name])
    fast, x, found = rv.compile(lambda x: x * read()), rv.ones(1), set()
    for _ in range(9):
        found.add(fast(x).item())
    assert len(found) > 2, "replays use the number of the recording"


@pytest.mark.slow
@pytest.mark.timeout(300 + RANDOM)
def test_random_reads():
    outcomes = {seed: judge_random(seed) for seed in range(RANDOM)}
    wrong = {seed: remark for seed, (outcome, remark, _) in outcomes.items() if outcome == "wrong"}
    assert not wrong
    assert sum(effect for _, _, effect in outcomes.values()) > 0.4 * RANDOM
    assert sum(outcome == "as eager" for outcome, _, _ in outcomes.values()) > 0.9 * RANDOM


CHANGES_A_SETTING = ("threads", "winograd")  # each value has its own program
UNCHANGED = [
    name
    for name, one in SCENARIOS.items()
    if one.neutral and not runs_eagerly(name)
    if not name.startswith("in/") and not name.endswith(CHANGES_A_SETTING)
]


@grouped("name", UNCHANGED)
def test_replays_run_no_python(name):
    """Where nothing changes only the recording and the checks at calls 2, 4 and 8 run the step's Python."""
    entered = run(SCENARIOS[name], True, LATE, counts=True).entered
    assert {number for number, count in enumerate(entered, 1) if count} <= {1, 2, 4, 8}


class Frozen:
    """A compiled function that keeps its fourth result, as a replay without guards would."""

    programs = (None,)

    def __init__(self, function, **settings):
        self.function, self.calls, self.result = function, 0, None

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls <= 4:
            self.result = self.function(*args, **kwargs)
        return self.result


class Refusing(Frozen):
    def __call__(self, *args, **kwargs):
        raise rv.CaptureError("no", self.function(*args, **kwargs))


class Late(Frozen):
    """Refuses only after it gave a stale result."""

    def __call__(self, *args, **kwargs):
        self.calls += 1
        result = self.result if self.calls == 5 else self.function(*args, **kwargs)
        if self.calls > 5:
            raise rv.CaptureError("too late", result)
        self.result = result
        return result


@pytest.mark.parametrize(
    "name", ["places/global_name-float", "models/freeze_one", "calls/structure_dict-same"]
)
def test_the_judge_finds_stale_results(name, monkeypatch):
    for kind, expected in (
        (Frozen, "wrong"),
        (Late, "wrong"),
        (Refusing, "refused, though it is not strict"),
    ):
        monkeypatch.setattr(rv, "compile", kind)
        assert judge(SCENARIOS[name], LATE)[0] == expected


def test_the_judge_finds_changes_without_an_effect():
    small = SCENARIOS["places/global_name-float"].build
    without = Scenario("without", lambda patch: replace(small(patch), change=lambda n: None))
    with pytest.raises(AssertionError, match="no effect"):
        judge(without, LATE)


def test_how_many():
    """There are many scenarios, and most of them must be captured."""
    assert len(SCENARIOS) >= 1500
    assert len(FITS) >= 100
    assert sum(map(runs_eagerly, SCENARIOS)) < 0.3 * len(SCENARIOS)


def test_the_list_of_eager_steps_names_scenarios():
    names = [*SCENARIOS, *(one.name for one in FITS.values()), *(f"predictions/{n}" for n in PREDICTIONS)]
    patterns = [pattern for text in EAGER.values() for pattern in text.split()]
    assert [p for p in patterns if not fnmatch.filter(names, p)] == []
