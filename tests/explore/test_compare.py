"""Learning rates and optimizers compared: the verdicts, and the paths that they judge."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import explore
from ranvier.explore import surfaces
from ranvier.explore.compare import OPTIMIZERS, judge_descent


def test_learning_rates_on_the_bowl():
    """A step multiplies the distances to the minimum with 1 - 2 lr and 1 - 4 lr: above 0.5 one grows."""
    found = explore.compare_learning_rates(surfaces.bowl, (-2, 2), (0.001, 0.01, 0.1, 0.45, 0.51, 1.5), 100)
    assert [path.verdict for path in found.values()] == [
        "slow",
        "good",
        "good",
        "good",
        "diverged",
        "diverged",
    ]
    np.testing.assert_allclose(found[0.01].end, [1 - 3 * 0.98**100, -0.5 + 2.5 * 0.96**100])
    assert found.minimum == 0
    assert found.best == 0.1
    assert found[0.1].name == "rate 0.1"


def test_the_best_of_slow_ones_is_still_slow():
    """Without a known minimum the least value met is taken for it; a path that still falls is not good."""
    found = explore.compare_learning_rates(lambda w: (w**2).sum(), 1.0, (1e-4, 1e-3), steps=50)
    assert [path.verdict for path in found.values()] == ["slow", "slow"]
    assert found.minimum == found[1e-3].best_value


def test_jumping_and_stuck():
    def bumps(w):
        return (w**2).sum() + rv.sin(5 * w).sum()

    found = explore.compare_learning_rates(bumps, 3.0, (0.02, 0.3), steps=200)
    assert found[0.02].verdict == "stuck"  # in the nearest dent
    assert found[0.3].verdict == "unstable"  # jumps across all of them
    assert found[0.3].best_value < found[0.02].best_value
    ridge = explore.gradient_descent(surfaces.saddle, (-2.0, 0.0), lr=0.1, steps=100)  # never leaves y = 0
    assert judge_descent(ridge, -1.0) == "stuck"
    assert judge_descent(explore.Path([[0.0]], [np.nan]), 0.0) == "diverged"
    assert judge_descent(explore.Path([[0.0]] * 9, [2.0] * 9), 2.0) == "good"


def test_optimizers_race():
    found = explore.compare_optimizers(surfaces.ripples, steps=50)
    assert list(found) == list(OPTIMIZERS)
    assert {path.points.shape for path in found.values()} == {(51, 2)}
    assert {tuple(path.start) for path in found.values()} == {surfaces.ripples.start}
    assert found["SGD"].verdict == "slow"
    assert found["SGD"].values[-1] > max(found[name].values[-1] for name in ("momentum", "RMSprop", "Adam"))
    by_hand = explore.gradient_descent(
        surfaces.ripples, surfaces.ripples.start, steps=50, optimizer=OPTIMIZERS["Adam"]
    )
    assert (found["Adam"].points == by_hand.points).all()


def test_momentum_helps_in_a_valley():
    rates = {"plain": lambda p: rv.optim.SGD(p, lr=0.02), "heavy": lambda p: rv.optim.SGD(p, 0.02, 0.8)}
    found = explore.compare_optimizers(surfaces.valley, optimizers=rates, steps=100)
    assert found["heavy"].values[-1] < found["plain"].values[-1] / 100
    assert found.best == "heavy"


def test_the_table():
    found = explore.compare_learning_rates(surfaces.bowl, (-2, 2), (0.01, 0.1), steps=30)
    lines = str(found).splitlines()
    assert lines[0].split() == ["steps", "first", "last", "least", "verdict"]
    assert lines[1].split() == ["0.01", "30", "21.5", *[f"{found[0.01].values[-1]:.4g}"] * 2, "slow"]
    assert lines[2].split()[0] == "0.1"
    assert lines[2].endswith("good")


def test_no_start():
    with pytest.raises(ValueError, match=r"\[compare_optimizers\] got no start"):
        explore.compare_optimizers(lambda w: (w * w).sum())
