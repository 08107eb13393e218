"""Finite differences against autograd: their values, their errors and the table."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import explore, nn
from support.refused import refused


def test_a_parabola():
    """x^2 + 3 x + 2: central differences are exact up to rounding, forward ones are off by h."""
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    found = explore.finite_differences(lambda t: (t**2 + 3 * t + 2).sum(), x, h=2.0**-10)
    np.testing.assert_array_equal(found.autograd, 2 * x + 3)
    np.testing.assert_allclose(found.central, 2 * x + 3, rtol=0, atol=1e-12)  # eps |f| / h
    np.testing.assert_allclose(found.forward, 2 * x + 3 + 2.0**-10, rtol=0, atol=1e-12)
    assert found.value == ((x + 1) * (x + 2)).sum()
    assert found.evaluations == 11


def test_the_error_falls_with_h_squared_and_rises_again():
    errors = [
        explore.finite_differences(lambda t: rv.exp(t).sum(), [1.0], h).error for h in (1e-1, 1e-2, 1e-12)
    ]
    np.testing.assert_allclose(errors[:2], np.e / 6 * np.array([1e-2, 1e-4]), rtol=1e-2)
    assert errors[2] > errors[1] / 100


def test_the_parameters_of_a_network():
    rv.manual_seed(0)
    model = rv.mlp([3, 5, 2], "tanh", dtype=rv.float64)
    loss = explore.ParameterLoss(
        model, nn.CrossEntropyLoss(), rv.rand(6, 3, dtype=rv.float64), np.arange(6) % 2
    )
    found = explore.finite_differences(loss, loss.start, entries=7)
    assert found.index.tolist() == [0, 5, 10, 15, 20, 25, 31]
    assert found.error < 1e-9
    assert abs(found.autograd).max() > 1e-2
    assert (np.concatenate([p.detach().numpy().reshape(-1) for p in model.parameters()]) == loss.start).all()


def test_the_table():
    lines = str(explore.finite_differences(lambda t: (t**2).sum(), [3.0, -0.5])).splitlines()
    assert lines[0].split() == ["i", "x_i", "autograd", "central", "forward", "difference"]
    assert lines[1].split()[:3] == ["0", "3", "6"]
    assert lines[2].split()[:3] == ["1", "-0.5", "-1"]
    assert lines[3] == "f = 9.25, h = 1e-05, 5 evaluations for the differences"


def test_wrong_calls():
    with pytest.raises(ValueError, match=r"\[finite_differences\] got h = 0"):
        explore.finite_differences(lambda t: t.sum(), [1.0], h=0)
    refused(ValueError, "entries = 0", explore.finite_differences, lambda t: t.sum(), [1.0], entries=0)
    refused(ValueError, "got point of shape (1, 1)", explore.finite_differences, lambda t: t.sum(), [[1.0]])
