"""The flow of gradients: what is drawn is what a backward pass left."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


def test_gradient_flow_of_a_model_after_backward():
    from matplotlib.figure import Figure

    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    refused(ValueError, "expected a model after backward", rv.plot.gradient_flow, model)
    model(np.ones((2, 3), np.float32)).sum().backward()
    ax = Figure().subplots()
    assert rv.plot.gradient_flow(model, ax=ax) is ax
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    slopes = np.abs(model[0].weight.grad.numpy())
    assert ax.patches[0].get_width() == pytest.approx(slopes.mean())
    assert ax.lines[0].get_xdata()[0] == pytest.approx(slopes.max())
    assert ax.get_xscale() == "log"
