"""When a captured program leaves its team for one thread, and when it returns, for given times."""

import numpy as np
from ranvier import _core

ALONE, TEAM = 180e3, 100e3  # nanoseconds of a run
SECOND = int(1e9 / TEAM)  # runs, at least


def stolen(count, seed=0):
    """Times on a team that shares a core: most runs are fast, some wait for the other process."""
    waits = np.random.default_rng(seed).random(count) < 1 / 25
    return [(TEAM + 4e6 * wait, ALONE) for wait in waits]


def alone(runs, solo=ALONE):
    return np.array(_core.paced(solo, runs))


def test_a_team_that_is_faster_is_kept():
    assert not alone([(TEAM, ALONE)] * SECOND).any()


def test_a_few_slow_runs_change_nothing_for_long():
    runs = [(TEAM, ALONE)] * SECOND
    runs[1000] = runs[5000] = (2e7, ALONE)
    found = alone(runs)
    assert found.any()  # one thread was tried
    assert found.mean() < 0.04


def test_one_thread_runs_while_a_core_is_taken():
    found = alone(stolen(5 * SECOND))
    assert not found[0]
    assert found.mean() > 0.9
    assert not found[-2 * SECOND :].all()  # the team is tried now and then


def test_the_team_is_back_when_the_core_is_free():
    free = [(TEAM, ALONE)] * 4 * SECOND
    found = alone([*free, *stolen(5 * SECOND), *free, *stolen(5 * SECOND)])
    assert not found[: len(free)].any()
    again = found[len(free) + 5 * SECOND :][: len(free)]
    assert not again[-2 * SECOND :].any()
    assert found[-5 * SECOND :].mean() > 0.9


def test_a_measurement_made_under_load_is_corrected():
    """The time on one thread was found too short, or too long."""
    assert alone([(TEAM, ALONE)] * SECOND, solo=TEAM / 2).mean() < 0.4
    assert alone(stolen(5 * SECOND), solo=1e12).mean() > 0.5


def test_everything_slower_is_no_reason_to_leave_the_team():
    found = alone([(TEAM, ALONE)] * SECOND + [(2 * TEAM, 2 * ALONE)] * SECOND)
    assert found.mean() < 0.05


def test_long_runs_are_judged_by_a_few():
    found = alone([(1e9, 2e9)] * 10 + [(4e9, 2e9)] * 40, solo=2e9)
    assert not found[:10].any()
    assert found[20:].mean() > 0.6
