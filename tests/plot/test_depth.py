"""Signals by depth, the flow of gradients and dead units: what is drawn is what was measured."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


def test_signals(tmp_path):
    found = {"good": rv.explore.signals("he", depth=6), "bad": rv.explore.signals(0.01, depth=6)}
    left, right = rv.plot.signals(found, tmp_path / "signals.png")
    assert (tmp_path / "signals.png").stat().st_size > 10_000
    np.testing.assert_array_equal(left.lines[0].get_ydata(), found["good"].forward)
    np.testing.assert_array_equal(right.lines[1].get_ydata(), found["bad"].backward)
    assert left.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    assert (left.get_yscale(), left.get_xlabel()) == ("log", "layer")
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels == ["good: stable", "bad: vanishing"]


def test_signals_that_left_the_numbers_leave_gaps():
    found = rv.explore.signals(100.0, depth=20)
    assert np.isinf(found.forward[-1])
    left, _ = rv.plot.signals(found)
    assert np.isnan(left.lines[0].get_ydata()[-1])
    refused(ValueError, "got nothing to draw", rv.plot.signals, [])


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_gradient_flow_of_all_that_is_between(model, rng):
    x, y = rng.standard_normal((5, 3)), np.array([0, 1, 1, 0, 1])
    found = rv.explore.gradients(model, nn.CrossEntropyLoss(), x, y)
    ax = rv.plot.gradient_flow(found)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["x input", "0.weight", "0.bias", "0 Linear", "1 Tanh", "2.weight", "2.bias", "2 Linear"]
    bars = {names[round(bar.get_y() + bar.get_height() / 2)]: bar.get_width() for bar in ax.patches}
    assert bars["0.weight"] == pytest.approx(np.abs(found["0.weight"].gradient).mean())
    assert bars["1 Tanh"] == pytest.approx(np.abs(found["1"].gradient).mean())
    assert ax.lines[0].get_xdata()[5] == pytest.approx(np.abs(found["2.weight"].gradient).max())
    assert ax.get_xscale() == "log"


def test_gradient_flow_of_a_model_after_backward(model):
    refused(ValueError, "expected a model after backward", rv.plot.gradient_flow, model)
    model(np.ones((2, 3), np.float32)).sum().backward()
    ax = rv.plot.gradient_flow(model)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_dead_units():
    ax = rv.plot.dead_units({"1": [True] * 9 + [False], "3": [False, False], "5": [True, False]})
    assert [bar.get_width() for bar in ax.patches] == [90, 0, 50]
    assert [text.get_text() for text in ax.texts] == ["9 of 10", "0 of 2", "1 of 2"]
    assert ax.get_xlabel() == "share of the layer's units (%)"
    refused(ValueError, "got no layers", rv.plot.dead_units, {})


def test_drawn_in_given_axes(model):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert rv.plot.dead_units({"1": [True]}, ax=ax) is ax
    figure = Figure()
    assert rv.plot.signals(rv.explore.signals(depth=3), figure=figure)[0].figure is figure
    refused(TypeError, "[plot.dead_units] got ax of type int", rv.plot.dead_units, {"1": [True]}, ax=3)
