"""Layers that are one op with its settings: what subclasses and programs may do with the settings."""

import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused

X = rv.tensor([[-8.0, 7.0, 2.0, -1.0]])


class Doubled(nn.LeakyReLU):
    @property
    def negative_slope(self):
        return 2 * self.half

    @negative_slope.setter
    def negative_slope(self, value):
        self.half = value


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(rv.ones(1))


class ScaledReLU(nn.ReLU, Scaled):
    pass


def test_a_property_of_a_subclass_is_the_setting():
    assert Doubled(0.25)(X).tolist() == [[-4.0, 7.0, 2.0, -0.5]]

    class Factor(nn.PixelShuffle):
        upscale_factor = property(lambda self: 1, lambda self, value: None)

    assert Factor(2)(X.reshape(1, 4, 1, 1)).flatten().tolist() == X.flatten().tolist()


def test_a_parameter_as_a_setting_is_trained():
    assert [name for name, _ in nn.LeakyReLU(nn.Parameter(rv.tensor(0.1))).named_parameters()] == [
        "negative_slope"
    ]


def test_a_class_after_the_layer_is_initialised():
    assert [name for name, _ in ScaledReLU().named_parameters()] == ["scale"]


@pytest.mark.parametrize(
    "name", ["Sigmoid", "Tanh", "ReLU", "LeakyReLU", "Dropout", "PixelShuffle", "MaxPool2d"]
)
def test_wrong_arguments(name):
    kind = getattr(nn, name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'bogus'"):
        kind(2, bogus=1) if name in ("PixelShuffle", "MaxPool2d") else kind(bogus=1)
    refused(TypeError, "too many positional arguments", kind, *[1] * 9)


def test_an_argument_given_twice():
    refused(TypeError, "multiple values for argument 'negative_slope'", nn.LeakyReLU, 0.1, negative_slope=0.2)


def test_settings_of_an_optimizer_are_numbers_in_a_row():
    class Half(rv.optim.Adam):
        def settings(self, group):
            lr, *others = super().settings(group)
            return lr / 2, *others

    p = rv.zeros(1, requires_grad=True)
    p.sum().backward()
    Half([p], lr=0.5).step()
    assert p.item() == pytest.approx(-0.25)
