"""Grids of images and feature maps: which pixels, which titles, which scales."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused

X = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 1, 3, 4)


def titles(panels):
    return [panel.get_title() for panel in panels]


def test_grey_images_share_a_scale():
    panels = rv.plot.images(X, ["first", 2])
    assert titles(panels) == ["first", "2"]
    for panel, image in zip(panels, X[:, 0], strict=True):
        np.testing.assert_array_equal(panel.images[0].get_array(), image)
        assert panel.images[0].get_clim() == (0, 23)


@pytest.mark.parametrize("shape", [(1, 5, 5), (5, 5), (1, 1, 5, 5)])
def test_one_constant_image(shape):
    (panel,) = rv.plot.images(np.ones(shape))
    assert panel.images[0].get_array().shape == (5, 5)


def test_colour_images_are_scaled_only_if_they_must_be():
    colours = np.zeros((2, 3, 4, 5), np.float32)
    colours[0, 1, 2, 3] = 1
    drawn = rv.plot.images(colours)[0].images[0].get_array()
    np.testing.assert_array_equal(drawn, colours[0].transpose(1, 2, 0))
    normalised = rv.plot.images(colours * 4 - 2)[0].images[0].get_array()
    np.testing.assert_array_equal(normalised, colours[0].transpose(1, 2, 0))


def test_limit_and_columns():
    panels = rv.plot.images(np.zeros((9, 2, 2)), limit=5, columns=2)
    assert len(panels) == len(panels[0].figure.axes) == 5
    assert panels[4].get_subplotspec().rowspan.start == 2


def tile(ax, row, column, size):
    top, left = row * (size + 1), column * (size + 1)
    return ax.images[0].get_array()[top : top + size, left : left + size]


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
    refused(ValueError, "images of shape (2, 4, 5, 5); expected", rv.plot.images, np.zeros((2, 4, 5, 5)))
    refused(ValueError, "n at least 1", rv.plot.images, np.zeros((0, 5, 5)))
    refused(ValueError, "1 titles; expected one for each of 2", rv.plot.images, X, ["a"])
    refused(ValueError, "limit 0; expected at least 1", rv.plot.images, X, limit=0)
    refused(TypeError, "images of list; expected numbers", rv.plot.images, ["a"])
    maps = rv.plot.feature_maps
    refused(ValueError, "layer '9'; expected some of 0, 1", maps, model, np.ones((1, 6, 6)), ["9"])
    refused(ValueError, "limit 0; expected at least 1", maps, model, np.ones((1, 6, 6)), limit=0)
    refused(ValueError, "no layer that gives", maps, nn.Linear(2, 2), np.ones(2))
    refused(TypeError, "builtin_function_or_method; expected a Module", maps, len, np.ones(2))
    refused(ValueError, "channels", maps, model, np.ones((2, 6, 6)))
