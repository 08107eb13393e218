"""The diagram of a network: how many units and weights are drawn, and what is written beside them."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


def texts(ax):
    return [text.get_text() for text in ax.texts]


def lines(ax):
    return [len(collection.get_segments()) for collection in ax.collections]


def test_units_and_names():
    ax = rv.plot.network(rv.mlp([3, 4, 2]), input_names="abc", output_names=[0, 1])
    assert len(ax.patches) == 9
    assert sum(lines(ax)) == 20
    shown = ["input\n3 units", "hidden 1\n4 units\nReLU", "output\n2 units", *"abc01"]
    assert texts(ax) == shown
    assert ax.get_title() == "2 layers, 26 parameters"


def test_weights_are_drawn_by_sign_and_size():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
    model.load_state_dict({"0.weight": np.array([[4.0, -2.0], [0.0, 1.0]])})
    above, below = rv.plot.network(model).collections
    assert len(above.get_segments()) == 2
    assert len(below.get_segments()) == 1  # a weight of 0 is no line
    widths = above.get_linewidth()
    assert widths[0] > widths[1] > 0.25  # of the weights 4 and 1
    assert {style[1] for style in above.get_linestyle()} == {None}
    assert below.get_linestyle()[0][1] is not None
    (from_unit, to_unit), *_ = below.get_segments()
    assert from_unit[1] < to_unit[1]  # from the second input to the first output


def test_large_layers_are_abbreviated():
    ax = rv.plot.network(rv.mlp([784, 100, 10]), limit=5, output_names=range(10))
    assert len(ax.patches) == 12
    assert texts(ax)[0] == "input\n784 units"
    assert texts(ax)[3:] == ["0", "1", "8", "9"]
    assert len(ax.lines) == 3 + 2  # the dots of what is left out, and the legend
    assert ax.get_title() == "2 layers, 79,510 parameters"


def test_convolutions_have_channels():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3), nn.Softmax(dim=1)
    )
    ax = rv.plot.network(model)
    assert texts(ax) == ["input\n1 channel", "hidden 1: Conv2d\n4 channels\nReLU", "output\n3 units\nSoftmax"]
    assert lines(ax) == [4, 12]
    assert [type(patch).__name__ for patch in ax.patches] == ["Rectangle"] * 5 + ["Circle"] * 3


@pytest.mark.parametrize(
    ("model", "arguments", "error", "text"),
    [
        ([3], {}, TypeError, "got model of type list; expected a Module"),
        (nn.ReLU(), {}, ValueError, "without a Linear or convolution layer"),
        (nn.Linear(3, 2), {"output_names": "abc"}, ValueError, "3 output_names; expected 2"),
        (nn.Linear(3, 2), {"limit": 2}, ValueError, "limit 2; expected at least 3"),
    ],
)
def test_wrong_arguments(model, arguments, error, text):
    refused(error, text, rv.plot.network, model, **arguments)
