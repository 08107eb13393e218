"""Grids of images, and of predictions: which pixels, which titles, which marks."""

import numpy as np
import pytest
import ranvier as rv
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


def test_right_and_wrong_differ_by_mark_and_frame():
    names = ["cat", "dog"]
    right, wrong = rv.plot.predictions(X, [0, 1], [0, 0], [[0.9, 0.1], [0.6, 0.4]], names)
    assert titles([right, wrong]) == ["✓ cat (90%)", "✗ cat (60%)\ntrue: dog"]
    frames = [panel.spines["left"] for panel in (right, wrong)]
    assert [frame.get_linestyle() for frame in frames] == ["-", "--"]
    assert frames[0].get_edgecolor() != frames[1].get_edgecolor()
    assert right.figure.get_suptitle() == "1 of 2 right"


def test_predictions_without_probabilities_of_other_labels_and_more_than_are_drawn():
    panels = rv.plot.predictions(X, ["x", "y"], ["x", "y"], limit=1)
    assert titles(panels) == ["✓ x"]
    assert panels[0].figure.get_suptitle() == "2 of 2 right (the first 1 shown)"


def test_wrong_arguments():
    refused(ValueError, "images of shape (2, 4, 5, 5); expected", rv.plot.images, np.zeros((2, 4, 5, 5)))
    refused(ValueError, "n at least 1", rv.plot.images, np.zeros((0, 5, 5)))
    refused(ValueError, "1 titles; expected one for each of 2", rv.plot.images, X, ["a"])
    refused(ValueError, "limit 0; expected at least 1", rv.plot.images, X, limit=0)
    refused(TypeError, "images of list; expected numbers", rv.plot.images, ["a"])
    refused(ValueError, "labels of shape (1,); expected (2,)", rv.plot.predictions, X, [0], [0, 1])
    refused(
        ValueError,
        "probabilities of shape (2, 1, 3) for 2 images",
        lambda: rv.plot.predictions(X, [0, 1], [0, 1], np.zeros((2, 1, 3))),
    )
