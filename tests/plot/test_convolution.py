"""Kernels and feature maps: the values of the colours, their places, the names of channels and layers."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


def ticks(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


def tile(ax, row, column, size):
    top, left = row * (size + 1), column * (size + 1)
    return ax.images[0].get_array()[top : top + size, left : left + size]


def test_kernels_of_several_channels():
    weight = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 2, 2) - 10
    ax = rv.plot.kernels(weight)
    for (k, c), _ in np.ndenumerate(weight[..., 0, 0]):
        np.testing.assert_array_equal(tile(ax, k, c, 2), weight[k, c])
    assert ax.images[0].get_clim() == (-13, 13)
    assert (ticks(ax.xaxis), ticks(ax.yaxis)) == (["0", "1", "2"], ["0", "1"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input channel", "output channel")
    assert sorted(float(t.get_text()) for t in ax.texts) == weight.reshape(-1).tolist()
    assert ax.get_title() == "2 kernels of 2 × 2 on 3 channels"


def test_kernels_of_one_channel_fill_rows_of_eight():
    weight = np.random.default_rng(0).standard_normal((10, 1, 3, 3))
    ax = rv.plot.kernels(weight)
    np.testing.assert_array_equal(tile(ax, 1, 1, 3), weight[9, 0])
    assert ax.images[0].get_array().mask[:, 3].all()  # between two kernels
    assert ticks(ax.yaxis) == ["0 … 7", "8 … 9"]
    assert not ax.texts


def test_kernels_of_a_layer_of_a_model_and_a_limit():
    model = nn.Sequential(nn.Flatten(0, 0), nn.Conv2d(4, 6, 3))
    for source in (model, model[1], model[1].weight):
        ax = rv.plot.kernels(source, limit=2)
        assert ax.get_title() == "6 kernels of 3 × 3 on 4 channels (the first 2 × 2 drawn)"
        np.testing.assert_array_equal(tile(ax, 1, 0, 3), model[1].weight.detach().numpy()[1, 0])


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Dropout(), nn.Conv2d(3, 10, 2))


def test_feature_maps_are_those_of_each_convolution(model):
    x = np.random.default_rng(0).standard_normal((1, 6, 6)).astype(np.float32)
    panels = rv.plot.feature_maps(model, x)
    assert [p.get_title() for p in panels] == [
        "input: 1 × 6 × 6",
        "0 Conv2d: 3 × 4 × 4",
        "3 Conv2d: 10 × 3 × 3",
    ]
    model.eval()
    with rv.no_grad():
        first = model[0](x[None]).numpy()[0]
        last = model(x[None]).numpy()[0]
    np.testing.assert_array_equal(tile(panels[1], 0, 2, 4), first[2])  # as it was before the ReLU
    np.testing.assert_array_equal(tile(panels[2], 1, 1, 3), last[9])  # below the first, of 8 columns
    assert panels[2].images[0].get_clim() == (-np.abs(last).max(), np.abs(last).max())


def test_feature_maps_of_chosen_layers(model):
    x = np.ones((1, 1, 6, 6), np.float32)  # a batch of one
    panels = rv.plot.feature_maps(model, x, ["1"], limit=2)
    assert [p.get_title() for p in panels] == ["input: 1 × 6 × 6", "1 ReLU: 3 × 4 × 4 (the first 2 drawn)"]
    assert panels[1].images[0].get_clim()[0] == 0
    assert model.training


def test_wrong_arguments(model):
    m = model
    refused(ValueError, "weight of shape (3, 3); expected (K, C", rv.plot.kernels, np.ones((3, 3)))
    refused(ValueError, "without a weight of shape (K, C", rv.plot.kernels, nn.Linear(2, 2))
    refused(ValueError, "limit 0; expected at least 1", rv.plot.kernels, m, limit=0)
    refused(
        ValueError, "layer '9'; expected some of 0, 1", rv.plot.feature_maps, m, np.ones((1, 6, 6)), ["9"]
    )
    refused(ValueError, "no layer that gives", rv.plot.feature_maps, nn.Linear(2, 2), np.ones(2))
    with pytest.raises(TypeError, match=r"type builtin_function.*expected a Module"):
        rv.plot.feature_maps(len, np.ones(2))
    refused(ValueError, "channels", rv.plot.feature_maps, m, np.ones((2, 6, 6)))
