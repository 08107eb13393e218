"""nn.utils.parametrize: a module computes a parameter whenever it is read."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.utils import parametrize, weight_norm
from support.refused import refused


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
    refused(
        ValueError,
        "[register_parametrization] got 'wieght'; expected a param",
        lambda: register(layer, "wieght", Exp()),
    )
    refused(ValueError, "got a result of shape (4, 3) and float32", register, layer, "weight", Wider())
    refused(
        ValueError,
        "[remove_parametrizations] got 'weight'",
        lambda: parametrize.remove_parametrizations(layer, "weight"),
    )
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
    with pytest.raises(
        AttributeError, match=r"^\[setattr\] got 'weight'; expected modules with right_inverse"
    ):
        layer.weight = rv.ones(2, 4)
