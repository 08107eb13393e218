"""What is of the wrong type is refused by name, before any work."""

import numpy as np
import pytest
from ranvier import explore, nn

LOSS = nn.MSELoss()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("collapse", lambda model: explore.collapse(model)),
        ("gradients", lambda model: explore.gradients(model, LOSS, [[1.0]], [[1.0]])),
        ("one_step", lambda model: explore.one_step(model, LOSS, None, [[1.0]], [[1.0]])),
        ("dense_against_convolution", lambda model: explore.dense_against_convolution(model, (1, 8, 8))),
        ("dead_units", lambda model: explore.dead_units(model, np.zeros((3, 2)))),
    ],
)
@pytest.mark.parametrize("model", [None, [nn.Linear(2, 2)], "model", LOSS.forward])
def test_models(name, call, model):
    kind = type(model).__name__
    with pytest.raises(TypeError, match=rf"\[{name}\] got model of type {kind}; expected a Module"):
        call(model)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: explore.filter_image([["a"]], "blur"), r"\[filter_image\] got an image of dtype <U1"),
        (lambda: explore.signals(None), r"\[signals\] got init None and activation 'relu'"),
        (lambda: explore.signals(depth="3"), r"\[signals\] got depth"),
        (lambda: explore.grid_search(3, {"a": [1]}), r"\[grid_search\] got score of type int"),
        (lambda: explore.grid_search(max, [1]), r"\[grid_search\] got list; expected a mapping"),
        (lambda: explore.randomized_search(max, None, 3), r"\[randomized_search\] got NoneType"),
        (lambda: explore.count_steps(10, 2.5), r"\[count_steps\] got batch_size"),
    ],
)
def test_everything_else(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
