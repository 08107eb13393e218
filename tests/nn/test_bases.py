"""PyTorch's base classes of layers, and parametrizations of their weights.

A class derived from each base must work as a layer; parametrized weights are compared with NumPy.
"""

import copy
import pickle
import typing

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from ranvier.nn.attention import multi_head_attention_forward
from ranvier.nn.utils import parametrize, weight_norm
from ranvier.torch.modules import bases
from support.refused import refused

X = rv.arange(50.0).reshape(1, 2, 5, 5)
PADS = {"padding": (1, 1, 1, 1)}
ROWS = {  # arguments, forward, the result's shape, a layer that is one
    "_DropoutNd": ((0.25, True), lambda m, x: x * m.p, (1, 2, 5, 5), nn.Dropout2d()),
    "_MaxPoolNd": ((2,), lambda m, x: F.max_pool2d(x, 2, m.stride), (1, 2, 2, 2), nn.MaxPool1d(2)),
    "_AdaptiveAvgPoolNd": (
        (1,),
        lambda m, x: F.adaptive_avg_pool2d(x, m.output_size),
        (1, 2, 1, 1),
        nn.AdaptiveAvgPool1d(1),
    ),
    "_ReflectionPadNd": ((), None, (1, 2, 7, 7), nn.ReflectionPad1d(1)),
    "_ConstantPadNd": ((2.0,), None, (1, 2, 7, 7), nn.ZeroPad2d(1)),
    "_Loss": ((None, None, "sum"), lambda m, x: getattr(x, m.reduction)(), (), nn.MSELoss()),
    "_WeightedLoss": ((rv.ones(5),), lambda m, x: (x * m.weight).mean(), (), nn.NLLLoss()),
    "_ConvNd": (
        (2, 3, (3, 3), (1, 1), (0, 0), (1, 1), False, (0, 0), 1, True, "zeros"),
        lambda m, x: F.conv2d(x, m.weight, m.bias),
        (1, 3, 3, 3),
        nn.Conv1d(1, 1, 1),
    ),
    "_ConvTransposeNd": (
        (2, 3, (3, 3), (1, 1), (0, 0), (1, 1), True, (0, 0), 1, True, "zeros"),
        lambda m, x: F.conv_transpose2d(x, m.weight, m.bias),
        (1, 3, 7, 7),
        nn.ConvTranspose2d(1, 1, 1),
    ),
    "_BatchNorm": ((2, 1e-3, 0.2, True, True), None, (1, 2, 5, 5), nn.BatchNorm1d(1)),
    "_InstanceNorm": ((2,), None, (1, 2, 5, 5), nn.InstanceNorm2d(1)),
    "RNNBase": (("LSTM", 5, 3), lambda m, x: rv.ones(len(m.all_weights[0])), (4,), nn.GRU(1, 1)),
    "RNNCellBase": ((5, 3, True, 4), lambda m, x: x @ m.weight_ih.mT, (1, 2, 5, 12), nn.GRUCell(1, 1)),
}


@pytest.mark.parametrize("name", ROWS)
def test_classes_derived_from_a_base(name):
    arguments, forward, shape, layer = ROWS[name]
    base = getattr(bases, name)
    body = {
        "__init__": lambda self: base.__init__(self, *arguments),
        "_check_input_dim": lambda self, x: None,
    }
    model = type("Mine", (base,), body if forward is None else body | {"forward": forward})()
    for key, value in PADS.items() if "Pad" in name else ():
        setattr(model, key, value)
    assert model(X).shape == shape
    assert repr(model).startswith("Mine(")
    assert isinstance(layer, base)
    assert not isinstance(nn.Linear(1, 1), base)
    assert type(base) is type  # a class of a library may have a metaclass besides


def test_wrong_arguments_of_a_base():
    refused(TypeError, "missing 1 required positional argument: 'kernel_size'", bases._MaxPoolNd)
    refused(NotImplementedError, "_check_input_dim", lambda: bases._BatchNorm(2)(X))
    assert not isinstance(nn.MSELoss(), bases._WeightedLoss)


@pytest.mark.parametrize(("padding", "around"), [((1, 2), (2, 2, 1, 1)), ("same", [1, 1, 0, 1])])
def test_padding_as_programs_read_it(padding, around):
    layer = nn.Conv2d(1, 1, (2, 3), padding=padding)
    assert layer._reversed_padding_repeated_twice == around
    assert (layer.transposed, nn.ConvTranspose1d(1, 1, 1).transposed) == (False, True)


def test_methods_that_a_subclass_overrides_are_called_by_forward_alone():
    calls = []

    class Conv(nn.Conv2d):
        def _conv_forward(self, input, weight, bias):
            calls.append("conv")
            return super()._conv_forward(input, weight, bias)

    class Norm(nn.BatchNorm2d):
        def _check_input_dim(self, input):
            calls.append("norm")

    model = nn.Sequential(Conv(2, 2, 1), Norm(2))
    assert not calls
    model(X)
    assert calls == ["conv", "norm"]


@pytest.mark.parametrize("apart", [False, True], ids=["one weight", "three weights"])
def test_attention_as_a_function_and_without_hooks(apart):
    layer, x, calls = nn.MultiheadAttention(4, 2).eval(), rv.randn(3, 1, 4), []
    layer.out_proj.register_forward_hook(lambda *_: calls.append(1))
    y, weights = layer(x, x, x)
    assert not calls
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    parts = dict(zip(names, layer.in_proj_weight.chunk(3), strict=True)) if apart else {}
    first = (x, x, x, 4, 2, None if apart else layer.in_proj_weight, layer.in_proj_bias)
    last = (None, None, False, 0.0, layer.out_proj.weight, layer.out_proj.bias, False)
    got = multi_head_attention_forward(*first, *last, use_separate_proj_weight=apart, **parts)
    np.testing.assert_allclose(got[0].detach(), y.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1].detach(), weights.detach(), rtol=1e-5)
    refused(ValueError, "static_k", multi_head_attention_forward, *first, *last, static_k=x)


@pytest.mark.parametrize(
    "layer", [nn.CrossEntropyLoss(), nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Linear(1, 1)], ids=str
)
def test_annotations_of_a_layer_are_types(layer):
    assert typing.get_type_hints(layer, globalns={}, localns={})
    assert typing.get_type_hints(type(layer).forward)


# nn.utils.parametrize: a module computes a parameter whenever it is read.


class Exp(nn.Module):
    def forward(self, x):
        return x.exp()

    def right_inverse(self, x):
        return x.log()


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(rv.tensor(2.0))

    def forward(self, x):
        return x * self.factor


class Wider(nn.Module):
    def forward(self, x):
        return rv.cat([x, x])


def positive(layer):
    with rv.no_grad():
        layer.weight.copy_(rv.arange(1.0, 7.0).reshape(2, 3))
    return layer


def test_a_step_trains_the_original():
    layer = positive(nn.Linear(3, 2))
    weight = layer.weight
    optimizer = rv.optim.SGD(layer.parameters(), lr=0.1)
    assert parametrize.register_parametrization(layer, "weight", Scale()) is layer
    assert isinstance(layer, nn.Linear)
    assert parametrize.is_parametrized(layer, "weight")
    assert parametrize.is_parametrized(layer)
    assert not parametrize.is_parametrized(layer, "bias")
    assert layer.parametrizations.weight.original is weight
    before = weight.detach().clone()
    layer(rv.ones(3)).sum().backward()
    optimizer.step()
    np.testing.assert_allclose((before - weight.detach()).numpy(), np.full((2, 3), 0.2), rtol=1e-5)
    np.testing.assert_array_equal(layer.weight.tolist(), (2 * weight).tolist())
    assert layer.parametrizations.weight[0].factor.grad.item() == pytest.approx(21)


def test_right_inverse_keeps_the_value_and_takes_assignments():
    layer = positive(nn.Linear(3, 2))
    parametrize.register_parametrization(layer, "weight", Exp())
    wanted = np.arange(1, 7).reshape(2, 3)
    np.testing.assert_allclose(layer.weight.tolist(), wanted, rtol=1e-6)
    np.testing.assert_allclose(layer.parametrizations.weight.original.tolist(), np.log(wanted), rtol=1e-6)
    layer.weight = rv.full((2, 3), 5.0)
    np.testing.assert_allclose(layer.weight.tolist(), np.full((2, 3), 5.0), rtol=1e-6)
    parametrize.register_parametrization(layer, "weight", Scale())
    np.testing.assert_allclose(layer.weight.tolist(), np.full((2, 3), 10.0), rtol=1e-6)
    with pytest.raises(AttributeError, match="right_inverse"):
        layer.weight = rv.ones(2, 3)
    original = layer.parametrizations.weight.original
    assert parametrize.remove_parametrizations(layer, "weight") is layer
    assert layer.weight is original
    np.testing.assert_allclose(layer.weight.tolist(), np.full((2, 3), 10.0), rtol=1e-6)
    assert type(layer) is nn.Linear
    assert not hasattr(layer, "parametrizations")
    assert sorted(layer.state_dict()) == ["bias", "weight"]


def test_a_buffer():
    norm = parametrize.register_parametrization(nn.BatchNorm1d(2), "running_var", Scale())
    assert norm.running_var.tolist() == [2, 2]
    assert "parametrizations.running_var.original" in dict(norm.named_buffers())
    parametrize.remove_parametrizations(norm, "running_var", leave_parametrized=False)
    assert dict(norm.named_buffers())["running_var"].tolist() == [1, 1]


def test_wrong_calls():
    layer = positive(nn.Linear(3, 2))
    before = layer.weight
    register = parametrize.register_parametrization
    text = "[register_parametrization] got 'wieght'; expected a param"
    refused(ValueError, text, register, layer, "wieght", Exp())
    refused(ValueError, "got a result of shape (4, 3) and float32", register, layer, "weight", Wider())
    text = "[remove_parametrizations] got 'weight'"
    refused(ValueError, text, parametrize.remove_parametrizations, layer, "weight")
    assert layer.weight is before
    assert register(layer, "weight", Wider(), unsafe=True).weight.shape == (4, 3)
    refused(ValueError, "got a result of shape (8, 3) and float32", register, layer, "weight", Wider())
    assert len(layer.parametrizations.weight) == 1
    assert parametrize.remove_parametrizations(layer, "weight").weight.shape == (4, 3)
    assert layer.weight is before


def test_copies_other_layers_and_compiled_steps():
    layer = weight_norm(
        parametrize.register_parametrization(positive(nn.Linear(3, 2)), "weight", Exp()), "bias"
    )
    x = rv.ones(4, 3)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(x).tolist() == layer(x).tolist()
        with rv.no_grad():
            twin.parametrizations.weight.original.zero_()
        assert twin(x).tolist() != layer(x).tolist()
    other = weight_norm(parametrize.register_parametrization(nn.Linear(3, 2), "weight", Exp()), "bias")
    other.load_state_dict(layer.state_dict())
    fast = rv.compile(layer.eval())
    for _ in range(5):
        assert fast(x).tolist() == other(x).tolist()


def test_what_is_no_module_or_tensor_is_refused():
    class Number(rv.nn.Module):
        def forward(self, x):
            return 5

    layer = rv.nn.Linear(4, 2)
    with pytest.raises(TypeError, match=r"^\[register_parametrization\] got <function .+; expected a Module"):
        parametrize.register_parametrization(layer, "weight", lambda x: x)
    with pytest.raises(TypeError, match=r"^\[register_parametrization\] got the result 5; expected a Tensor"):
        parametrize.register_parametrization(layer, "weight", Number())
    parametrize.register_parametrization(layer, "weight", rv.nn.Tanh())
    message = r"^\[setattr\] got 'weight'; expected modules with right_inverse"
    with pytest.raises(AttributeError, match=message):
        layer.weight = rv.ones(2, 4)


def test_zeros_around_are_a_constant_around():
    """Programs choose by `isinstance`, as in PyTorch."""
    pads = nn.ZeroPad1d(1), nn.ZeroPad2d((1, 2, 3, 4))
    assert isinstance(pads[0], nn.ConstantPad1d)
    assert isinstance(pads[1], nn.ConstantPad2d)
    assert [pad.value for pad in pads] == [0.0, 0.0]
    assert str(pads) == "(ZeroPad1d((1, 1)), ZeroPad2d((1, 2, 3, 4)))"
    assert not isinstance(pads[1], nn.ConstantPad1d)
