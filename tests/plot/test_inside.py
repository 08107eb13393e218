"""A network at work: the values of each layer for one input."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


@pytest.fixture
def model():
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2), nn.Softmax(dim=-1))
    first = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0]])
    second = np.array([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    state = {"0.weight": first, "0.bias": np.zeros(4), "3.weight": second, "3.bias": np.zeros(2)}
    model.load_state_dict(state)
    return model


def heights(panel):
    return [bar.get_height() for bar in panel.patches]


def test_every_layer_that_changes_something(model):
    panels = rv.plot.inside(model, [1.0, 2.0], ["no", "yes"])
    assert [p.get_title() for p in panels] == [
        "input: 2",
        "0 Linear: 4",
        "1 ReLU: 4, 25% are 0",
        "3 Linear: 2",
        "4 Softmax: 2",
    ]
    assert heights(panels[0]) == [1, 2]
    assert heights(panels[1]) == [1, 2, -1, 3]
    assert heights(panels[2]) == [1, 2, 0, 3]
    colours = [bar.get_facecolor() for bar in panels[1].patches]
    assert colours[0] == colours[1] != colours[2]
    np.testing.assert_allclose(heights(panels[4])[1], 1 / (1 + np.exp(-2)), rtol=1e-6)
    assert [t.get_text() for t in panels[4].texts] == ["0.881"]
    assert [t.get_text() for t in panels[4].get_xticklabels()] == ["no", "yes"]
    assert model.training


def test_images_become_maps_and_long_vectors_lines():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 100))
    panels = rv.plot.inside(model, np.ones((1, 8, 8), np.float32))
    assert [p.get_title() for p in panels] == ["input: 1 × 8 × 8", "0 Conv2d: 2 × 6 × 6", "2 Linear: 100"]
    assert panels[1].images[0].get_array().shape == (6, 13)
    assert len(panels[2].collections[0].get_segments()) == 100


def test_not_a_number_is_drawn_too(model):
    panels = rv.plot.inside(model, np.array([np.nan, 1.0], np.float32))
    assert len(panels) == 5
    assert not panels[4].texts


def test_wrong_arguments(model):
    refused(ValueError, "3 class names for an output of 2 values", rv.plot.inside, model, [1.0, 2.0], "abc")
    refused(ValueError, "[inside] got x of shape (1, 3)", rv.plot.inside, model, [1.0, 2.0, 3.0])
    refused(TypeError, "model of type int; expected a Module", rv.plot.inside, 3, [1.0])
