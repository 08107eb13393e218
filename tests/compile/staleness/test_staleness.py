"""Anything that a compiled step depends on changes between two calls: it must show the bits of eager calls.

The imported modules register their scenarios, each a step with a change (scenario.py). The judge runs each
compiled and eagerly (judge.py).
"""
# ruff: noqa: I001

import os
from dataclasses import replace

import pytest
import ranvier as rv
from compile.staleness import (  # noqa: F401
    calls, code, compiled, effects, gradients, memory, models, operations, optimizers, places, random_steps,
    settings, training, values,
)  # fmt: skip
from compile.staleness.judge import EACH, EARLY, LATE, LONG, InOne, Run, difference, judge
from compile.staleness.scenario import SCENARIOS
from support.grouped import grouped
from support.refused import refused

ONE_CALL = ("loss", "in_fit", "fit_by_callback", "fit_by_epochs", "fit_by_data")
RANDOM = int(os.environ.get("RANVIER_RANDOM_STEPS", "64"))
MANY = [name for name, one in SCENARIOS.items() if one.change and not name.endswith(ONE_CALL)]
CHEAP = [name for name in MANY if name.startswith("places")]
PREDICTED = [name for name in MANY if name.endswith("predicted")]


# after which calls something changes, and for which scenarios
WHEN = [
    *((name, LATE) for name in SCENARIOS),
    *((name, EARLY) for name in MANY[::4]),
    *((name, EACH) for name in CHEAP[::20]),
    *((name, LONG) for name in CHEAP[3::32]),
    *((name, (30, 31, 50)) for name in PREDICTED),  # where the core answers without Python
]


@pytest.fixture
def one_thread(threads):
    """Teams are no part of what is stale, and the threads of two test processes wait for each other."""
    threads(1)


@pytest.mark.usefixtures("one_thread")
@grouped(("name", "at"), WHEN)
def test_as_eager(name, at):
    """A step that is not marked must be captured, if not all changes at each call; one that is marked may be.

    Where nobody has asked for it, nothing may be recorded of a module whose first calls differ.
    """
    one = SCENARIOS[name]
    outcome, remark = judge(one, at)
    may_be_eager = one.eager or at == EACH or ("alone" in name and at == EARLY)
    assert outcome in (["captured", "eager"] if may_be_eager else ["captured"]), f"{outcome}: {remark}"


PLAIN = [name for name, one in SCENARIOS.items() if not (one.eager or one.raises)]
PATHS = ("stepped", "through", "steps", "returning", "in_step", "whole", "trained")


@pytest.mark.usefixtures("one_thread")
@grouped(
    "name",
    [name for name in PLAIN if name.endswith(PATHS[:4])] + [n for n in PLAIN if n.endswith(PATHS[4:])][::5],
)
def test_many_calls_in_one(name):
    """By `step.run`: the bits of a loop."""
    eager, fast = InOne(SCENARIOS[name], False, ()), InOne(SCENARIOS[name], True, ())
    assert fast.possible, "the step is not run"
    assert not difference(eager.seen, fast.seen)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
def test_random_steps(part):
    """Second gradients, distributions, hooks, views, two optimizers, graphs of objects; 1 to 2 threads."""
    captured, seeds = 0, range(part, RANDOM, 4)
    for seed in seeds:
        outcome, remark = random_steps.judged(random_steps.Program(seed))
        if outcome == "wrong":
            source = random_steps.reduced(random_steps.Program(seed)).source()
            pytest.fail(f"seed {seed}: {remark}\n{source}")
        captured += outcome == "as eager"
    assert captured > 0.5 * len(seeds), "few of them are captured"


LINES = [line for lines, _ in random_steps.KINDS for line in lines]
MAKING = [line for line in LINES if line.startswith("NEW = ") and line not in random_steps.DENIED]
# Three at once of those that make a tensor, whose loss is of the last three; of the others each by itself.
TOGETHER = [MAKING[at : at + 3] for at in range(0, len(MAKING), 3)]
TOGETHER += [[line] for line in LINES if line not in MAKING]


@pytest.mark.filterwarnings("ignore:.compile. .* runs eagerly")
@grouped("lines", TOGETHER)
def test_lines_of_random_steps(lines):
    outcome, remark = random_steps.judged(random_steps.Program.of(*lines))
    assert outcome == "as eager" or (outcome == "refused" and lines[0] in random_steps.DENIED), remark


UNCHANGED = [name for name in MANY if SCENARIOS[name].neutral and not SCENARIOS[name].eager]


@grouped("name", [name for name in UNCHANGED if name.startswith(("code", "models", "optimizers"))])
def test_replays_run_no_python(name):
    """Where nothing changes only the recording and the checks at calls 2, 4 and 8 run the step's Python."""
    entered = Run(SCENARIOS[name], True, LATE, counts=True).entered
    assert {number for number, count in enumerate(entered, 1) if count} <= {1, 2, 4, 8}


OF_GRADIENTS = [name for name in SCENARIOS if name.startswith("gradients") and name.endswith("stepped")]


@grouped("name", [name for name in OF_GRADIENTS if not SCENARIOS[name].eager])
def test_gradients_are_recorded_twice_and_then_replayed(name):
    """The second recording finds gradients that the first one has left; checks follow at calls 2, 4 and 8."""
    entered = Run(SCENARIOS[name], True, (), counts=True).entered
    assert sum(map(bool, entered)) <= 6


class Frozen:
    """A compiled function that keeps its fourth result, as a replay without guards would."""

    programs = (None,)

    def __init__(self, function, **more):
        self.function, self.calls, self.result = function, 0, None

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls <= 4:
            self.result = self.function(*args, **kwargs)
        return self.result


class Refusing(Frozen):
    def __call__(self, *args, **kwargs):
        raise rv.CaptureError("no", self.function(*args, **kwargs))


@pytest.mark.parametrize("name", [CHEAP[0], next(name for name in MANY if name.endswith("in_step"))])
def test_the_judge_finds_stale_results(name, monkeypatch):
    for kind, expected in ((Frozen, "wrong"), (Refusing, "refused, though it is not strict")):
        monkeypatch.setattr(rv, "compile", kind)
        assert judge(SCENARIOS[name], LATE)[0] == expected


def test_the_judge_finds_changes_without_an_effect():
    one = replace(SCENARIOS[CHEAP[0]], change=lambda o, v: None)
    refused(AssertionError, "no effect", judge, one, LATE)


def test_most_are_captured():
    assert len(SCENARIOS) >= 2000
    assert sum(one.eager for one in SCENARIOS.values()) < 0.5 * len(SCENARIOS)
