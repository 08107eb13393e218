"""Derivatives along directions as differences of calls in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ranvier as rv

from properties.every import floats, weights_for

# The step of a difference; the largest error, relative to the sum of the terms; a leaf with more elements
# than MANY takes the settings OF_LARGE.
STEP, LIMIT, MANY = 1e-4, 1e-8, 1000
OF_LARGE = {"step": 2e-7, "limit": 1e-6}  # where many numbers are close to each other, and to kinks


def directions(leaves: Sequence[Any], seed: int) -> list[Any]:
    """For each leaf a direction at random; all of its elements move, large ones further."""
    ways = []
    for place, x in enumerate(leaves):
        rng = np.random.default_rng([seed, place])
        size = rng.uniform(0.5, 1.0, tuple(x.shape)) * rng.choice([-1.0, 1.0], tuple(x.shape))
        ways.append(rv.tensor(size * np.maximum(1.0, np.abs(x.numpy(force=True)))))
    return ways


def difference(
    function: Callable[..., Any], leaves: Sequence[Any], ways: Sequence[Any], step: float
) -> float:
    """The central difference of fourth order of the weighted sum of the results of floats.

    (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h: the error is of order h^4, and eps / h from rounding.
    """

    def moved(size: float) -> float:
        given = [x.detach() + size * way for x, way in zip(leaves, ways, strict=True)]
        return sum((y * weights_for(y, 1)).sum().item() for y in floats(function(*given)))

    near, far = (moved(size) - moved(-size) for size in (step, 2 * step))
    return (8 * near - far) / (12 * step)


def check_slope(
    function: Callable[..., Any],
    leaves: Sequence[Any],
    gradients: Sequence[Any],
    ways: Sequence[Any],
    step: float = STEP,
    limit: float = LIMIT,
) -> None:
    """Along these directions, the gradients (arrays) of the weighted sum are its difference."""
    terms = [g * way.numpy() for g, way in zip(gradients, ways, strict=True)]
    found, wanted = sum(t.sum() for t in terms), difference(function, leaves, ways, step)
    size = max(1.0, sum(np.abs(t).sum() for t in terms))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=limit * size)


def check_slopes(function: Callable[..., Any], leaves: Sequence[Any], count: int, alone: bool) -> None:
    """The gradients of the function, along so many directions of all leaves, or of each one alone."""
    ys = [y for y in floats(function(*leaves)) if y.requires_grad]
    gradients = [rv.zeros_like(x) for x in leaves]
    if ys:
        weights = [weights_for(y, 1) for y in ys]
        gradients = rv.autograd.grad(ys, leaves, weights, allow_unused=True, materialize_grads=True)
    settings: Any = OF_LARGE if any(x.numel() > MANY for x in leaves) else {}
    for seed in range(count):
        ways = directions(leaves, seed)
        for moves in range(len(leaves)) if alone else [None]:
            chosen = [way if moves in (None, i) else rv.zeros_like(way) for i, way in enumerate(ways)]
            check_slope(function, leaves, [g.numpy(force=True) for g in gradients], chosen, **settings)
