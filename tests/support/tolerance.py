"""The one place that says how far a computed value may be from the exact one."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def tolerance(dtype: Any, reduction: int = 1, magnitude: float = 1.0) -> float:
    """The absolute error allowed for a sum of ``reduction`` terms that are at most ``magnitude`` large.

    Every operation rounds by at most eps / 2 of its result, so a sum of k products is off by at most
    k * eps * magnitude to first order; 2 (k + 1) leaves room for the rounding of the expected value
    and of one function of the sum (an activation, a division).
    """
    return 2 * (reduction + 1) * float(np.finfo(np.dtype(dtype)).eps) * magnitude


def rounding(dtype: Any, roundings: int) -> float:
    """The largest relative error of a sum through which each term is rounded that often (Higham, "Accuracy
    and stability of numerical algorithms", section 3.1); to be multiplied by the sum of the terms' absolute
    values."""
    u = float(np.finfo(np.dtype(dtype)).eps) / 2
    return roundings * u / (1 - roundings * u)


def equal(found: Array, wanted: Array, where: str = "") -> None:
    """np.testing.assert_array_equal of arrays of one shape, without its 50 us where they are equal."""
    assert found.shape == wanted.shape, where
    if not (found == wanted).all():
        np.testing.assert_array_equal(found, wanted, where)


@np.errstate(invalid="ignore")
def close(found: Array, wanted: Array, rtol: float, atol: float, where: str = "") -> None:
    """np.testing.assert_allclose in the same way; integers and bools are equal."""
    assert found.shape == wanted.shape, where
    if found.dtype.kind != "f":
        equal(found, wanted, where)
    elif not (abs(found - wanted) <= atol + rtol * abs(wanted)).all():
        np.testing.assert_allclose(found, wanted, rtol, atol, err_msg=where)
