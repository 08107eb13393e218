"""The Conv2d layer: parameters, starting values, settings."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn


def test_parameters_and_forward():
    layer = nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), groups=2)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "weight": (6, 2, 3, 2),
        "bias": (6,),
    }
    x = rv.randn(2, 4, 5, 6)
    y = layer(x)
    assert y.shape == (2, 6, 3, 3)
    expected = rv.conv2d(x, layer.weight, layer.bias, stride=2, padding=(1, 0), groups=2)
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())
    y.backward(np.ones(y.shape, np.float32))
    assert layer.weight.grad.shape == layer.weight.shape
    assert layer.bias.grad.shape == (6,)


def test_starting_values():
    layer = nn.Conv2d(8, 64, 5)
    bound = 1 / math.sqrt(8 * 25)
    for p in layer.parameters():
        values = p.detach().numpy()
        assert np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.2)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (lambda: nn.Conv2d(1, 2, 3), "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))"),
        (
            lambda: nn.Conv2d(2, 2, (3, 1), (2, 1), "valid", 2, 2, bias=False),
            "Conv2d(2, 2, kernel_size=(3, 1), stride=(2, 1), padding=valid, dilation=(2, 2), groups=2, "
            "bias=False)",
        ),
    ],
)
def test_text(layer, text):
    assert repr(layer()) == text


def test_same_padding_keeps_the_size():
    assert nn.Conv2d(1, 2, 4, padding="same", dilation=2)(rv.zeros(1, 1, 7, 9)).shape == (1, 2, 7, 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 4, 0), r"got kernel_size 0; expected an integer or a pair of integers >= 1"),
        ((3, 4, 3, 1.5), r"got stride 1.5; expected"),
        ((3, 4, 3, 1, -1), r"got padding -1; expected an integer or a pair of integers >= 0"),
        ((3, 4, 3, 1, "full"), r"got padding 'full'; expected"),
        ((3, 4, 3, 2, "same"), r"got padding 'same' and stride \(2, 2\); expected stride 1"),
        ((3, 4, 3, 1, 0, 1, 2), r"got 3 in_channels, 4 out_channels and 2 groups; expected"),
        ((0, 4, 3), r"got 0 in_channels"),
        ((3, 4, 3, 1, 0, 1, 1, True, "mirror"), r"got padding_mode 'mirror'; expected one of 'zeros', "),
    ],
)
def test_wrong_settings(arguments, message):
    with pytest.raises(ValueError, match=r"\[conv2d\] " + message):
        nn.Conv2d(*arguments)


def test_one_axis_and_its_transpose():
    x = rv.randn(2, 4, 9)
    layer = nn.Conv1d(4, 6, 3, stride=2, groups=2)
    assert layer.weight.shape == (6, 2, 3)
    np.testing.assert_array_equal(
        layer(x).detach().numpy(), rv.conv1d(x, layer.weight, layer.bias, stride=2, groups=2).detach().numpy()
    )
    layer = nn.ConvTranspose1d(4, 6, 4, 2, 1, groups=2)
    assert layer.weight.shape == (4, 3, 4)
    assert layer.bias.shape == (6,)
    assert layer(x).shape == (2, 6, 18)
    assert layer(x, output_size=(19,)).shape == (2, 6, 19)
    with pytest.raises(ValueError, match=r"\[conv_transpose1d\] got output_size \(20,\); expected sizes"):
        layer(x, output_size=(20,))


def test_transposed_layers():
    layer = nn.ConvTranspose2d(8, 4, (4, 3), stride=2, padding=1, output_padding=(0, 1))
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "weight": (8, 4, 4, 3),
        "bias": (4,),
    }
    y = layer(rv.randn(2, 8, 5, 5))
    assert y.shape == (2, 4, 10, 10)
    bound = 1 / math.sqrt(4 * 12)
    assert np.abs(layer.weight.detach().numpy()).max() <= bound
    y.backward(np.ones(y.shape, np.float32))
    assert layer.weight.grad.shape == layer.weight.shape
    with pytest.raises(ValueError, match=r"\[conv_transpose2d\] got padding_mode 'reflect'"):
        nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect")


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode):
    """The image is padded by its own values, and what is left is a convolution without padding."""
    x = rv.randn(2, 3, 7, 6)
    layer = nn.Conv2d(3, 4, (3, 2), padding=(2, 1), padding_mode=mode)
    expected = rv.conv2d(rv.pad(x, (1, 1, 2, 2), mode), layer.weight, layer.bias)
    np.testing.assert_array_equal(layer(x).detach().numpy(), expected.detach().numpy())
    same = nn.Conv1d(3, 4, 4, padding="same", dilation=2, padding_mode=mode)
    assert same(x[:, :, 0]).shape == (2, 4, 6)
    assert repr(layer).endswith(f"padding=(2, 1), padding_mode={mode})")
