"""What is of the wrong type is refused by name, before any work."""

import numpy as np
import pytest
from ranvier import explore, nn
from support.refused import refused

LOSS = nn.MSELoss()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("gradients", lambda model: explore.gradients(model, LOSS, [[1.0]], [[1.0]])),
        ("one_step", lambda model: explore.one_step(model, LOSS, None, [[1.0]], [[1.0]])),
        ("dense_against_convolution", lambda model: explore.dense_against_convolution(model, (1, 8, 8))),
        ("dead_units", lambda model: explore.dead_units(model, np.zeros((3, 2)))),
    ],
)
@pytest.mark.parametrize("model", [None, [nn.Linear(2, 2)], "model", LOSS.forward])
def test_models(name, call, model):
    kind = type(model).__name__
    refused(TypeError, f"[{name}] got model of type {kind}; expected a Module", call, model)


def test_everything_else():
    refused(
        (TypeError, ValueError),
        "[filter_image] got an image of dtype <U1",
        lambda: explore.filter_image([["a"]], "blur"),
    )
    refused((TypeError, ValueError), "[signals] got init None and activation 'relu'", explore.signals, None)
    refused((TypeError, ValueError), "[signals] got depth", explore.signals, depth="3")
    refused((TypeError, ValueError), "[count_steps] got batch_size", explore.count_steps, 10, 2.5)
