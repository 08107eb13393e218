"""Each fusion fires where it should, stays away where it may not, and gives the eager step's numbers."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F

from tests.support.tolerance import tolerance

RNG = np.random.default_rng(3)


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def gradients_step(model, loss=lambda y: (y * y).mean()):
    """A step without an update: every run of it gives the same gradients."""

    def step(x):
        model.zero_grad()
        value = loss(model(x))
        value.backward()
        return value

    return step


def eager_and_captured(model, x, loss=lambda y: (y * y).mean()):
    """[(value, gradients)] of an eager run and of a replay; the program."""
    found = []
    compiled = rv.compile(gradients_step(model, loss))
    compiled(x)
    for step in (gradients_step(model, loss), compiled):
        value = step(rv.from_numpy(x))
        found.append((value.item(), [p.grad.numpy().copy() for p in model.parameters()]))
    return found, compiled.programs[0]


def names(program):
    return [i.op for i in program.instructions]


def fused(program):
    return sorted(name for i in program.instructions for name in i.fused)


def assert_equal(found):
    (value, gradients), (value_c, gradients_c) = found
    assert value == value_c
    for a, b in zip(gradients, gradients_c, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
@pytest.mark.parametrize("shape", [(5, 7), (32, 20), (3, 4, 7)])
def test_activation_and_its_backward_join_the_matmuls(activation, shape):
    model = nn.Sequential(nn.Linear(shape[-1], 6), activation(), nn.Linear(6, 3))
    found, program = eager_and_captured(model, draw(*shape))
    assert_equal(found)
    assert fused(program) == ["activation_backward", "activation_forward"]


def test_an_activation_whose_input_is_needed_again_stays():
    model = nn.Sequential(nn.Linear(7, 6), nn.GELU(), nn.Linear(6, 3))  # the backward of GELU reads x
    found, program = eager_and_captured(model, draw(5, 7))
    assert_equal(found)
    assert fused(program) == ["activation_backward"]


def test_a_product_that_others_read_stays():
    layer = nn.Linear(7, 6)

    def model(x):
        y = layer(x)
        return rv.relu(y) + y

    model.zero_grad, model.parameters = layer.zero_grad, layer.parameters
    found, program = eager_and_captured(model, draw(5, 7))
    assert_equal(found)
    assert fused(program) == []


def test_relu_joins_the_convolution():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Sigmoid())
    found, program = eager_and_captured(model, draw(2, 3, 9, 9))
    assert_equal(found)
    assert fused(program) == ["activation_forward"]


POOLED = {
    "relu before": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "relu behind": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.ReLU()),
    "no relu": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(3)),
    "two stages": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 5, 3), nn.ReLU(), nn.MaxPool2d(2)
    ),
}


@pytest.mark.parametrize("case", POOLED)
@pytest.mark.parametrize("size", [(2, 3, 13, 12), (1, 3, 16, 16)])
def test_pooled_convolutions(case, size):
    rv.manual_seed(1)
    model = POOLED[case]()
    found, program = eager_and_captured(model, draw(*size))
    stages = case.count("stages") + 1
    assert names(program).count("conv2d_pool") == stages
    assert names(program).count("conv2d_pool_backward_weight") == stages
    assert names(program).count("conv2d_pool_backward_input") == stages - 1
    assert not {"conv2d_forward", "max_pool2d", "max_pool2d_backward"} & set(names(program))
    (value, gradients), (value_c, gradients_c) = found
    assert value == value_c
    # at most: pixels, channels and taps in a chain; n terms of both signs add up to sqrt(n) of their size
    terms = size[0] * size[2] * size[3] * 8 * 9
    for a, b in zip(gradients, gradients_c, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(np.float32, terms, abs(a).max() / terms**0.5))


def test_pools_that_overlap_or_are_read_elsewhere_stay():
    overlapping = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2))
    found, program = eager_and_captured(overlapping, draw(2, 3, 13, 13))
    assert_equal(found)
    assert "conv2d_pool" not in names(program)
    conv = nn.Conv2d(3, 8, 3)

    def model(x):
        y = F.relu(conv(x))
        return F.max_pool2d(y, 2).sum() + y.sum()

    model.zero_grad, model.parameters = conv.zero_grad, conv.parameters
    found, program = eager_and_captured(model, draw(2, 3, 13, 13), loss=lambda y: y)
    assert_equal(found)
    assert "conv2d_pool" not in names(program)


def test_float64_is_not_pooled_but_right():
    model = POOLED["two stages"]().double()
    found, program = eager_and_captured(model, draw(2, 3, 13, 12).astype(np.float64))
    assert_equal(found)
    assert "max_pool2d" in names(program)


def test_inference_pools_without_offsets():
    model = POOLED["two stages"]().eval()
    forward = rv.compile(lambda x: model(x).detach())
    x = draw(2, 3, 13, 12)
    with rv.no_grad():
        expected = forward(x).numpy()
        np.testing.assert_array_equal(forward(x).numpy(), expected)
        np.testing.assert_array_equal(model(x).numpy(), expected)
    assert names(forward.programs[0]) == ["conv2d_pool", "conv2d_pool"]


def test_what_nobody_reads_is_not_computed():
    step = rv.compile(lambda x: (rv.exp(x), x + 1)[1])
    step(draw(3))
    assert names(step.programs[0]) == ["elementwise"]
