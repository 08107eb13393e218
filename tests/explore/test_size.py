"""Dense against convolution by parameters, checked against layers that are really made."""

import pytest
from ranvier import nn
from ranvier.explore import dense_against_convolution
from support.refused import refused


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_counts_are_those_of_the_layers(stride, padding, bias):
    conv = nn.Conv2d(2, 3, 3, stride=stride, padding=padding, bias=bias)
    (found,) = dense_against_convolution(conv, (2, 6, 5))
    c, h, w = found.output_shape
    dense = nn.Linear(2 * 6 * 5, c * h * w, bias=bias)
    assert found.dense == sum(p.numel() for p in dense.parameters())
    assert found.convolution == sum(p.numel() for p in conv.parameters())
    assert found.ratio == found.dense / found.convolution


def test_every_convolution_of_a_network():
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)
    )
    first, second = dense_against_convolution(model, (1, 28, 28))
    assert (first.input_shape, first.output_shape) == ((1, 28, 28), (32, 26, 26))
    assert (second.input_shape, second.output_shape) == ((32, 13, 13), (64, 11, 11))
    assert (first.convolution, second.convolution) == (320, 18_496)
    assert second.dense == 64 * 121 * (32 * 169 + 1)
    assert str(second).startswith("3: 32x13x13 -> 64x11x11: convolution 18,496, dense 41,887,296 (")


def test_wrong_models():
    of = dense_against_convolution
    refused(
        ValueError, "[dense_against_convolution] got a model without convolutions", of, nn.Linear(3, 2), (3,)
    )
    refused(TypeError, "[dense_against_convolution] got model of type list; expected a Module", of, [], (3,))
