"""Signals and gradients by depth: the theory's factor for each layer, and the verdicts."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.explore import signals
from support.refused import refused


@pytest.mark.parametrize(
    ("init", "activation", "verdict"),
    [
        ("he", "relu", "stable"),
        ("he", "leaky_relu", "stable"),
        ("xavier", "tanh", "stable"),
        ("lecun", "linear", "stable"),
        ("xavier", "relu", "vanishing"),
        ("xavier", "sigmoid", "vanishing"),
        (0.01, "tanh", "vanishing"),
        (0.5, "relu", "exploding"),
        ("he", "linear", "exploding"),
        (100.0, "relu", "exploding"),  # to infinity
    ],
)
def test_verdicts(init, activation, verdict):
    assert signals(init, activation).verdict == verdict


@pytest.mark.parametrize(("std", "share"), [(0.1, 0.5), (0.02, 0.5)])
def test_a_layer_multiplies_by_width_and_variance(std, share):
    width, depth = 400, 8
    found = signals(std, "relu", width=width, depth=depth, samples=400)
    factor = width * std**2 * share
    for values in (found.forward, found.backward[::-1]):
        measured = (values[-1] / values[0]) ** (1 / (depth - 1))
        assert measured == pytest.approx(factor, rel=0.1)  # products of 7 means over 400 units


def test_linear_layers_keep_the_whole_variance():
    found = signals("lecun", "linear", width=400, depth=1, samples=1000)
    assert found.forward[0] == pytest.approx(1, rel=0.05)
    assert found.backward[0] == pytest.approx(1, rel=0.05)  # that at the activations: there is none between


def test_dead_units_are_counted():
    alive = signals("he", "relu", depth=3, samples=1000)
    assert alive.dead[0] == 0
    assert 0 < signals("he", "relu", depth=20).dead[-1] < 128
    assert not signals("he", "tanh").dead.any()


def test_the_seed_decides_and_the_global_stream_stays():
    before = rv.get_rng_state()
    first, again, other = signals(depth=3), signals(depth=3), signals(depth=3, seed=1)
    assert rv.get_rng_state() == before
    assert np.array_equal(first.forward, again.forward)
    assert not np.array_equal(first.forward, other.forward)


def test_the_table():
    lines = str(signals(depth=2)).splitlines()
    assert lines[0] == "he, relu: stable"
    assert len(lines) == 4


def test_wrong_arguments():
    refused(ValueError, "[signals] got init 'big'; expected one of he, xavier, lecun", signals, "big")
    refused(ValueError, "got activation 'rellu'", signals, "he", "rellu")
    refused(ValueError, "[signals] got depth 0; expected at least 1", signals, depth=0)
