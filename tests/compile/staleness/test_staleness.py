"""Anything that a compiled step depends on changes between two calls: it must show the bits of eager calls.

The imported modules register their scenarios, each a step with a change (scenario.py). The judge runs each
compiled and eagerly (judge.py). The keys of SCENARIOS are names, as "code:90.1 alone": the file, the line,
the number at this line and the way, which is the function that builds the step. The ways stand in scenario.py
and in the files of the scenarios.
"""

import os
from dataclasses import replace

import pytest
import ranvier as rv
from compile.staleness import (  # noqa: F401
    calls,
    code,
    compiled,
    effects,
    gradients,
    memory,
    models,
    operations,
    optimizers,
    places,
    random_steps,
    settings,
    training,
    unwatched,
    values,
)
from compile.staleness.judge import EACH, EARLY, LATE, LONG, InOne, Run, difference, judge
from compile.staleness.scenario import SCENARIOS
from ranvier.compile import shared_programs
from support.grouped import grouped
from support.refused import refused

RANDOM = int(os.environ.get("RANVIER_RANDOM_STEPS", "64"))


def in_ways(names, *ways):
    """Those whose way ends so."""
    return [name for name in names if name.endswith(ways)]


def in_files(names, *files):
    return [name for name in names if name.startswith(files)]


# Scenarios with a change between calls: in these ways the step is a fit, and it changes within this one call.
FITS = in_ways(SCENARIOS, "loss", "in_fit", "fit_by_callback", "fit_by_epochs", "fit_by_data")
CHANGED = [name for name, one in SCENARIOS.items() if one.change and name not in FITS]
SHORT = in_files(CHANGED, "places")  # short steps

# After which calls something changes: in all scenarios late, in some (to save time) after other calls, too.
WHEN = [
    *((name, LATE) for name in SCENARIOS),  # calls 4, 6, 9
    *((name, EARLY) for name in CHANGED[::4]),  # 1, 3, 7
    *((name, EACH) for name in SHORT[::20]),  # 1 to 10
    *((name, LONG) for name in SHORT[3::32]),  # 3, 12, 70, 700
    *((name, (30, 31, 50)) for name in in_ways(CHANGED, "predicted")),  # the core answers without Python
]


@pytest.fixture
def one_thread(threads):
    """Teams are no part of what is stale, and the threads of two test processes wait for each other."""
    threads(1)


@pytest.mark.usefixtures("one_thread")
@grouped(("name", "at"), WHEN)
def test_as_eager(name, at):
    """Each compiled call shows the bits of the eager one, and the step is captured if it must be.

    It may run eagerly where the scenario is marked by `eager`, where something changes after each call, and
    in the way `alone` where something changes early: a module that nobody has compiled is recorded only if
    its first calls are alike.
    """
    one = SCENARIOS[name]
    outcome, remark = judge(one, at)
    may_be_eager = one.eager or at == EACH or ("alone" in name and at == EARLY)
    assert outcome in (["captured", "eager"] if may_be_eager else ["captured"]), f"{outcome}: {remark}"


CAPTURED = [name for name, one in SCENARIOS.items() if not (one.eager or one.raises)]
IN_ONE = in_ways(
    CAPTURED, "stepped", "through", "steps", "returning"
)  # whole training steps of several kinds
IN_ONE += in_ways(CAPTURED, "in_step", "whole", "trained")[::5]  # many short ones, of which a fifth is enough


@pytest.mark.usefixtures("one_thread")
@grouped("name", IN_ONE)
def test_many_calls_in_one(name):
    """`step.run`, which makes all calls in one, shows the bits of a loop of eager calls."""
    loop, in_one = InOne(SCENARIOS[name], False, ()), InOne(SCENARIOS[name], True, ())
    assert in_one.possible, "the step is not run"
    assert not difference(loop.seen, in_one.seen)


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
        captured += outcome == "captured"
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
    assert outcome == "captured" or (outcome == "eager" and lines[0] in random_steps.DENIED), remark


# whose change has no effect: a step does not read it
NEUTRAL = [name for name in CHANGED if SCENARIOS[name].neutral and not SCENARIOS[name].eager]


@grouped("name", in_files(NEUTRAL, "code", "models", "optimizers"))
def test_replays_run_no_python(name):
    """Where nothing changes only the recording and the checks at calls 2, 4 and 8 run the step's Python."""
    shared_programs.forget()  # those of the scenarios before
    entered = Run(SCENARIOS[name], True, LATE, counts=True).entered
    assert {number for number, count in enumerate(entered, 1) if count} <= {1, 2, 4, 8}


@grouped("name", in_files(in_ways(CAPTURED, "stepped"), "gradients"))
def test_gradients_are_recorded_twice_and_then_replayed(name):
    """The second recording finds gradients that the first has left; checks follow 1, 3 and 7 calls later.

    The first comparison is followed by a recorded check where a recording makes other kernel calls.
    """
    entered = Run(SCENARIOS[name], True, (), counts=True).entered
    assert sum(map(bool, entered)) <= 6  # out of 11 calls: two recordings, four checks after the second


class Frozen:
    """In place of rv.compile: gives its fourth result again in later calls, as a replay without guards would.

    LATE has the first change after the fourth call.
    """

    programs = (None,)  # one: the judge takes a step without programs as one that runs eagerly

    def __init__(self, function, **more):
        self.function, self.calls, self.result = function, 0, None

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls <= 4:
            self.result = self.function(*args, **kwargs)
        return self.result


class Refusing(Frozen):
    """Raises CaptureError at each call, which only strict steps may do."""

    def __call__(self, *args, **kwargs):
        raise rv.CaptureError("no", self.function(*args, **kwargs))


@pytest.mark.parametrize("name", [SHORT[0], in_ways(CHANGED, "in_step")[0]])
def test_the_judge_finds_stale_results(name, monkeypatch):
    for kind, expected in ((Frozen, "wrong"), (Refusing, "refused, though it is not strict")):
        monkeypatch.setattr(rv, "compile", kind)
        assert judge(SCENARIOS[name], LATE)[0] == expected


def test_the_judge_finds_changes_without_an_effect():
    one = replace(SCENARIOS[SHORT[0]], change=lambda o, v: None)
    refused(AssertionError, "no effect", judge, one, LATE)


def test_most_are_captured():
    assert len(SCENARIOS) >= 2000
    assert sum(one.eager for one in SCENARIOS.values()) < 0.5 * len(SCENARIOS)
