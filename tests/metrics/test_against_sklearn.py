"""Each metric gives scikit-learn's numbers: stored ones always, its own where it is installed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ranvier import metrics
from support.grouped import grouped
from support.metric_cases import CASES, EXPECTED, plain, theirs

STORED = json.loads(EXPECTED.read_text())
IDS = [f"{number}-{name}-{settings}" for number, (name, _, settings) in enumerate(CASES)]
numbered = grouped("number", range(len(CASES)), ids=[i[:60] for i in IDS])


def assert_same(got, want):
    """Equal texts, numbers to 12 digits and structures; NaN equals NaN."""
    if isinstance(want, dict):
        assert list(got) == list(want)
        for key in want:
            assert_same(got[key], want[key])
    elif isinstance(want, list):
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            assert_same(a, b)
    elif isinstance(want, float):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    else:
        assert got == want


def ours(number):
    name, arrays, settings = CASES[number]
    return plain(getattr(metrics, name)(*arrays, **settings))


def test_as_many_stored_as_cases():
    assert len(STORED) == len(CASES)


@numbered
def test_stored(number):
    assert_same(ours(number), STORED[number])


@numbered
def test_live(number):
    pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    assert_same(ours(number), theirs(CASES[number]))


def test_the_same_names():
    for name, _, _ in CASES:
        assert name in metrics.__all__
