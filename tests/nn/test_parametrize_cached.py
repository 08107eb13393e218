"""parametrize.cached: within its blocks each parametrized tensor is computed once."""

import threading
from contextlib import nullcontext

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.utils import parametrizations, parametrize


class Masked(nn.Module):
    """The tensor with another random mask at each use."""

    calls = 0

    def forward(self, weight):
        self.calls += 1
        return weight * (rv.rand(*weight.shape) < 0.5)

    def right_inverse(self, value):
        return value


def masked(size=20):
    layer = nn.Linear(size, size)
    mask = Masked()
    parametrize.register_parametrization(layer, "weight", mask)
    mask.calls = 0
    return layer, mask


def test_once_in_a_block_and_anew_after_it():
    layer, mask = masked()
    other, other_mask = masked()
    x = rv.ones(1, 20)
    with parametrize.cached():
        first = layer(x)
        with parametrize.cached():
            second = layer(x)
        third = layer(x)  # the inner block does not end the outer one
        other(x)
    assert (mask.calls, other_mask.calls) == (1, 1)
    assert (first == second).all()
    assert (first == third).all()
    assert not (layer(x) == first).all()
    with parametrize.cached():
        layer(x)
    assert mask.calls == 3


def test_gradients_of_several_uses_are_summed():
    layer = parametrize.register_parametrization(nn.Linear(3, 3, bias=False).double(), "weight", nn.Tanh())
    original = layer.parametrizations.weight.original
    x = rv.randn(4, 3, dtype=rv.float64)

    def gradient(block):
        original.grad = None
        with block:
            layer(layer(x)).sum().backward()
        return original.grad.numpy().copy()

    np.testing.assert_allclose(gradient(parametrize.cached()), gradient(nullcontext()), rtol=1e-12)


def test_an_error_ends_the_block():
    layer, mask = masked()
    with pytest.raises(ZeroDivisionError), parametrize.cached():
        _ = len(layer.weight) // 0
    assert layer.weight is not layer.weight
    assert mask.calls == 3


def test_an_assigned_value_holds():
    layer, _ = masked()
    with parametrize.cached():
        old = layer.weight
        layer.weight = rv.full((20, 20), 2.0)
        assert layer.weight is not old
        assert set(layer.weight.detach().numpy().ravel()) == {0.0, 2.0}


def test_a_thread_has_its_own():
    layer, mask = masked()
    weights = []
    with parametrize.cached():
        weights.append(layer.weight)
        thread = threading.Thread(target=lambda: weights.extend([layer.weight, layer.weight]))
        thread.start()
        thread.join()
    assert mask.calls == 3
    assert len({id(w) for w in weights}) == 3


def test_spectral_norm_takes_one_step_in_a_block():
    layer = parametrizations.spectral_norm(nn.Linear(3, 3))
    before = layer.parametrizations.weight[0]._u.clone()
    with parametrize.cached():
        first = layer.weight
        after = layer.parametrizations.weight[0]._u.clone()
        assert layer.weight is first
    assert not (before == after).all()
    assert (layer.parametrizations.weight[0]._u == after).all()


@pytest.mark.filterwarnings("ignore:.*parametrize\\.cached\\(\\)")
def test_compiled_steps_inside_and_outside_of_a_block():
    layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", nn.Tanh())
    x = rv.randn(4, 3)
    inside = rv.compile(lambda x: cell(layer, x))
    plain = rv.compile(layer.forward)

    def expected():
        return layer(layer(x)).numpy()

    def check(turn):
        layer.parametrizations.weight.original.add_(0.01)
        np.testing.assert_array_equal(inside(x).numpy(), expected(), str(turn))
        with parametrize.cached():
            np.testing.assert_array_equal(plain(plain(x)).numpy(), expected(), str(turn))
        np.testing.assert_array_equal(plain(plain(x)).numpy(), expected(), str(turn))

    with rv.no_grad():
        for turn in range(20):
            check(turn)
    assert inside.programs


@pytest.mark.filterwarnings("ignore:.*parametrize\\.cached\\(\\)")
@pytest.mark.parametrize("has_a_block", [False, True])
def test_a_compiled_step_in_a_block_computes_the_tensor_for_the_block(has_a_block):
    """A replay would draw other numbers than the block keeps."""
    layer = parametrize.register_parametrization(nn.Linear(20, 20), "weight", nn.Dropout(0.5))
    x = rv.ones(1, 20)
    step = rv.compile((lambda x: cell(layer, x)) if has_a_block else (lambda x: layer(layer(x))))
    with rv.no_grad():
        for _ in range(8):
            with parametrize.cached():
                y = step(x)
                assert (layer(layer(x)) == y).all()


def cell(layer, x):
    with parametrize.cached():
        return layer(layer(x))
