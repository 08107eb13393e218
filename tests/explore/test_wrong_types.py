"""What is of the wrong type is refused by name, before any work."""

import pytest
from ranvier import explore, nn
from support.refused import refused


@pytest.mark.parametrize("model", [None, [nn.Linear(2, 2)], "model", nn.MSELoss().forward])
def test_models(model):
    text = f"[dense_against_convolution] got model of type {type(model).__name__}; expected a Module"
    refused(TypeError, text, explore.dense_against_convolution, model, (1, 8, 8))
