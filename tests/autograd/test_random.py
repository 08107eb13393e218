"""Keys of random streams."""

from __future__ import annotations

import pytest
import ranvier as rv
from ranvier.autograd import random


def test_keys_are_those_of_splitmix64():
    """Its published numbers for the seed 1234567, and two keys in a row."""
    numbers = [random._mix(1234567 + i * 0x9E3779B97F4A7C15) for i in range(5)]
    assert numbers == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert random.mixed(7, 3) == random._mix(random._mix(7) + 3) == 17670481865470212032
    assert all(0 <= random.mixed(seed, n) < 2**64 for seed in range(20) for n in range(20))


@pytest.mark.parametrize(
    ("draw", "mean", "deviation"),
    [
        (lambda: rv.rand(10_000), 0.5, 12**-0.5),
        (lambda: rv.randn(10_000), 0.0, 1.0),
        (lambda: rv.rand_like(rv.zeros(10_000)), 0.5, 12**-0.5),
        (lambda: rv.randn_like(rv.zeros(10_000)), 0.0, 1.0),
    ],
)
def test_mean_and_deviation(draw, mean, deviation):
    x = draw().numpy().astype("float64")
    assert abs(x.mean() - mean) < 5 * deviation / 100  # five standard errors
    assert abs(x.std() - deviation) < 5 * deviation / 100
