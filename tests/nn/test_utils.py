"""nn.utils: clipping of the gradients of parameters."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.utils import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from support.refused import refused


def with_gradient(values, dtype="float32"):
    p = rv.tensor(np.zeros(len(values), dtype), requires_grad=True)
    p.grad = rv.tensor(np.array(values, dtype))
    return p


def test_clip_grad_norm():
    p, q, without = (
        with_gradient([3.0]),
        with_gradient([4.0], "float64"),
        rv.tensor([1.0], requires_grad=True),
    )
    assert clip_grad_norm_([p, q, without], 1.0).item() == 5.0
    np.testing.assert_allclose([p.grad.item(), q.grad.item()], [0.6, 0.8], rtol=1e-6)
    assert clip_grad_norm_(p, 10.0, float("inf")).item() == p.grad.item()
    assert clip_grad_norm_([], 1.0).item() == 0.0


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
def test_clipping_of_halves(dtype):
    """By the norm in float64; each gradient is rounded once."""
    values = rv.tensor([3.0, -0.7, 0.123]).to(dtype)
    p, q = (rv.zeros(3, dtype=kind, requires_grad=True) for kind in (dtype, rv.float32))
    p.grad, q.grad = values.clone(), values.float()
    norm, exact = clip_grad_norm_(p, 1.0), clip_grad_norm_(q, 1.0)
    assert (norm.dtype, norm.item()) == (dtype, exact.to(dtype).item())
    assert p.grad.tolist() == q.grad.to(dtype).tolist()
    clip_grad_value_(p, 0.2)
    assert p.grad.tolist() == q.grad.to(dtype).clip(-0.2, 0.2).tolist()
    assert clip_grad_norm_([p, q], 1.0).dtype == rv.float32


def test_clip_grad_norm_that_is_not_finite():
    p = with_gradient([np.inf])
    refused(RuntimeError, "expected a finite norm", clip_grad_norm_, p, 1.0, error_if_nonfinite=True)
    refused(ValueError, "got norm_type", clip_grad_norm_, p, 1.0, -1.0)


def test_clip_grad_value():
    p = with_gradient([-3.0, 0.5, 3.0])
    clip_grad_value_([p], 1.0)
    assert p.grad.numpy().tolist() == [-1.0, 0.5, 1.0]


def test_shared_gradient_is_clipped_once():
    """Both terms of a sum may get the same array as their gradient."""
    a, b = rv.tensor([1.0, 2.0], requires_grad=True), rv.tensor([3.0, 4.0], requires_grad=True)
    (a + b).backward(np.array([3.0, 4.0], np.float32))
    clip_grad_norm_([a, b], 1.0)
    expected = np.array([3.0, 4.0]) / np.sqrt(50)
    np.testing.assert_allclose(a.grad.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(b.grad.numpy(), expected, rtol=1e-5)


def test_norm_and_scaling_apart():
    p, q = with_gradient([3.0, 0.0]), with_gradient([4.0], "float64")
    norm = get_total_norm([p.grad, q.grad])
    assert norm.item() == 5.0
    assert get_total_norm(p.grad, 1.0).item() == 3.0
    assert get_total_norm([p.grad, q.grad], float("inf")).item() == 4.0
    assert get_total_norm([]).item() == 0.0
    clip_grads_with_norm_([p, q], 1.0, norm)
    np.testing.assert_allclose([*p.grad.tolist(), q.grad.item()], [0.6, 0.0, 0.8], rtol=1e-6)
    p.grad._array[0] = np.nan
    with pytest.raises(RuntimeError, match=r"\[get_total_norm\] got gradients of norm nan"):
        get_total_norm([p.grad], error_if_nonfinite=True)


def test_norm_zero_leaves_gradients_alone():
    p = with_gradient([0.0, 0.0])
    assert clip_grad_norm_(p, 1.0, 3.0).item() == 0.0
    assert p.grad.tolist() == [0.0, 0.0]


def test_parameters_as_a_vector():
    layer = nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.tolist() == [*layer.weight.detach().reshape(-1).tolist(), *layer.bias.tolist()]
    (vector * vector).sum().backward()
    assert layer.bias.grad.tolist() == (2 * layer.bias).tolist()
    nn.utils.vector_to_parameters(rv.arange(8.0), layer.parameters())
    assert (layer.weight.tolist(), layer.bias.tolist()) == ([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], [6.0, 7.0])
    assert layer.weight.requires_grad
    refused(ValueError, "expected (8,)", nn.utils.vector_to_parameters, rv.ones(9), layer.parameters())
    refused(ValueError, "got no parameters", nn.utils.parameters_to_vector, [])
