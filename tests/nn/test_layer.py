"""Layers of one op: their settings, subclasses, wrong arguments; modules of
half floats."""

import copy
import pickle

import numpy as np
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


class Failing(nn.Module):
    """Properties that fail, as what they read is not set: the names are found among what is registered."""

    head = weight = total = property(lambda self: self.missing)

    def __init__(self):
        super().__init__()
        self.head, self.weight = nn.Linear(2, 1), nn.Parameter(rv.ones(2))
        self.register_buffer("total", rv.zeros(1))

    def forward(self, x):
        return self.head(x * self.weight) + self.total


class Inherited(Failing):
    def __init__(self):
        super().__init__()
        self.missing = 5


@pytest.mark.parametrize("again", [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_property_that_fails_gives_what_is_registered(again):
    m = again(Failing())
    assert [*m.state_dict()] == ["weight", "total", "head.weight", "head.bias"]
    assert (m.head, m.weight) == (next(m.children()), next(m.parameters()))
    assert m(rv.zeros(1, 2)).item() == m.head.bias.item()
    del m.head
    assert not hasattr(m, "head")
    assert Inherited().head == 5  # it does not fail


def test_a_pickle_is_read_by_a_class_that_has_made_no_module():
    state = Failing().__dict__
    fresh = type("Fresh", (nn.Module,), {"head": property(lambda self: self.missing)})
    m = fresh.__new__(fresh)
    m.__setstate__(state)
    assert m.head is state["head"]


def test_a_parameter_as_a_setting_is_trained():
    layer = nn.LeakyReLU(nn.Parameter(rv.tensor(0.1)))
    assert [name for name, _ in layer.named_parameters()] == ["negative_slope"]


def test_a_class_after_the_layer_is_initialised():
    assert [name for name, _ in ScaledReLU().named_parameters()] == ["scale"]


@pytest.mark.parametrize("name", ["Sigmoid", "ReLU", "LeakyReLU", "Dropout", "PixelShuffle", "MaxPool2d"])
def test_wrong_arguments(name):
    kind = getattr(nn, name)
    with pytest.raises(TypeError, match="unexpected keyword argument 'bogus'"):
        kind(2, bogus=1) if name in ("PixelShuffle", "MaxPool2d") else kind(bogus=1)
    refused(TypeError, "but 10 were given", kind, *[1] * 9)
    refused(TypeError, "multiple values for argument 'negative_slope'", nn.LeakyReLU, 0.1, negative_slope=0.2)


@pytest.mark.parametrize(
    "cast",
    [
        lambda m: m.bfloat16(),
        lambda m: m.half(),
        lambda m: m.to(rv.bfloat16),
        lambda m: m.to(dtype=rv.float16),
        lambda m: m.to(rv.zeros(1, dtype=rv.bfloat16)),
        lambda m: m.type(rv.float16),
    ],
)
def test_a_module_of_halves(cast):
    """Its floats are rounded to nearest, ties to even; a state is copied across dtypes, both ways."""
    given = [1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-20, np.inf, np.nan]  # two are ties in bfloat16
    module = nn.BatchNorm1d(6)
    module.bias.data = rv.tensor(given)
    module.bias.grad = rv.tensor(given)
    single, weight = module.state_dict(), module.weight
    assert cast(module) is module
    assert module.weight is weight
    dtype = weight.dtype
    assert {x.dtype for x in (*module.parameters(), module.running_var, module.bias.grad)} == {dtype}
    rounded = rv.tensor(given).to(dtype).float()
    np.testing.assert_array_equal(module.bias.detach().float(), rounded)
    assert {x.dtype for x in copy.deepcopy(module).parameters()} == {dtype}
    module.load_state_dict(single)
    np.testing.assert_array_equal(module.bias.detach().float(), rounded)
    assert module.bias.dtype == dtype
    other = nn.BatchNorm1d(6)
    other.load_state_dict(module.state_dict())
    np.testing.assert_array_equal(other.bias.detach(), rounded, strict=True)
    assert module.float() is module
    assert module.bias.dtype == rv.float32


def test_parameters_are_looked_up_as_they_are_asked_for():
    m = rv.nn.Sequential(rv.nn.Linear(1, 1), rv.nn.Linear(1, 1))
    parameters = m.parameters()
    assert next(parameters) is m[0].weight
    m[1].weight = rv.nn.Parameter(rv.ones(1, 1))  # after it has begun, as in PyTorch
    assert [*map(id, parameters)] == [id(m[0].bias), id(m[1].weight), id(m[1].bias)]


# Layers that call one op: PyTorch's signatures and text, and the op with the same settings.


def test_a_wrong_flag_is_shown_as_given():
    refused(TypeError, "got return_indices []; expected True or False", nn.MaxPool1d, 2, return_indices=[])
    refused(TypeError, "got ceil_mode []; expected True or False", nn.MaxPool1d, 2, ceil_mode=[])
    refused(TypeError, "got bidirectional []; expected True or False", nn.LSTM, 2, 3, bidirectional=[])
    refused(TypeError, "got zero_infinity []; expected True or False", nn.CTCLoss, zero_infinity=[])


@pytest.mark.parametrize("padding", [1.5, (1, 2), "same", None, (1, 2, 3, True)])
def test_wrong_padding(padding):
    with pytest.raises(ValueError, match=r"\[ReflectionPad2d\] got padding .*; expected a whole number"):
        nn.ReflectionPad2d(padding)


def test_modes_of_dropout():
    layer, x = nn.Dropout(0.5), rv.ones(1000)
    assert 0.4 < (layer(x) == 0).float().mean() < 0.6
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), x.numpy())
    assert repr(layer) == "Dropout(p=0.5, inplace=False)"
    refused(ValueError, "[dropout] got p -1; expected a probability", nn.Dropout, -1)
    for text, make, *arguments in (
        ("[dropout] got p 'x'; expected a number", nn.Dropout, "x"),
        ("[multihead_attention] got dropout None; expected a number", nn.MultiheadAttention, 2, 1, None),
        ("[linear] got in_features 'x'; expected a whole number", nn.Linear, "x", 2),
        ("[embedding] got num_embeddings 1.5; expected a whole number", nn.Embedding, 1.5, 2),
        ("[Threshold] got value None; expected a number", nn.Threshold, 1, None),
        ("[RReLU] got lower 'x'; expected a number", nn.RReLU, "x"),
        ("[prelu] got init (1, 2); expected a number", nn.PReLU, 1, (1, 2)),
    ):
        refused(TypeError, text, make, *arguments)
