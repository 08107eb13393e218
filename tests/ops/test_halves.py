"""float16: NumPy computes it, with the function's own formula, outside the tape."""

import numpy as np
import pytest
import ranvier as rv


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("atan2", np.arctan2),
        ("copysign", np.copysign),
        ("fmax", np.fmax),
        ("fmod", np.fmod),
        ("hypot", np.hypot),
        ("nextafter", np.nextafter),
        ("remainder", np.remainder),
        ("xlogy", lambda a, b: a * np.log(b)),
        ("pow", np.power),
        ("div", np.true_divide),
    ],
)
@pytest.mark.filterwarnings("error")
def test_halves_with_numbers_and_integers(name, function):
    halves = np.array([1.0, -1.0, -2.0, 0.5, 3.0], np.float16)
    whole = np.array([1, 2, 3, -4, 5])
    op = getattr(rv, name)
    with np.errstate(all="ignore"):
        expected = [
            function(halves, np.float16(2)),
            function(np.float16(2), halves),
            function(whole.astype(np.float16), halves),
        ]
    found = [op(rv.tensor(halves), 2), op(2, rv.tensor(halves)), op(rv.tensor(whole), rv.tensor(halves))]
    for y, z in zip(found, expected, strict=True):
        assert y.dtype == np.float16
        np.testing.assert_array_equal(y.numpy(), z)
