"""call_for_per_sample_grads: the gradients of parameters for each sample of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier.torch.modules.sample_gradients import call_for_per_sample_grads
from support.python import in_mode
from support.refused import refused

RNG = np.random.default_rng(0)


def double(*shape):
    return rv.tensor(RNG.standard_normal(shape))


def linear_layer():
    return rv.nn.Linear(2, 3, dtype=rv.float64)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("loss_reduction", ["sum", "mean"])
def test_rows_of_a_linear_layer(loss_reduction, count):
    layer = linear_layer()
    x = double(count, 2)
    weights = double(count, 3)
    y = call_for_per_sample_grads(layer, loss_reduction=loss_reduction)(x)
    np.testing.assert_allclose(y.detach().numpy(), layer(x).detach().numpy(), rtol=1e-14)
    losses = (y * weights).sum(1)
    (losses.mean() if loss_reduction == "mean" else losses.sum()).backward()
    expected = np.einsum("no,ni->noi", weights.numpy(), x.numpy())
    np.testing.assert_allclose(layer.weight.grad_sample.numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(layer.bias.grad_sample.numpy(), weights.numpy(), rtol=1e-14)
    assert layer.weight.grad is None
    assert layer.bias.grad is None


def test_samples_along_dimension_1():
    layer = linear_layer()
    x = double(5, 4, 2)
    weights = double(5, 4, 3)
    y = call_for_per_sample_grads(layer, batch_first=False)(x)
    assert y.shape == (5, 4, 3)
    (y * weights).sum().backward()
    expected = np.einsum("tno,tni->noi", weights.numpy(), x.numpy())
    np.testing.assert_allclose(layer.weight.grad_sample.numpy(), expected, rtol=1e-13)


def test_layers_as_each_sample_alone():
    model = rv.nn.Sequential(
        rv.nn.Conv1d(2, 4, 3), rv.nn.GroupNorm(2, 4), rv.nn.Flatten(), rv.nn.Linear(8, 2)
    ).to(rv.float64)
    model[0].bias.requires_grad_(False)
    x = double(3, 2, 4).requires_grad_()
    (call_for_per_sample_grads(model)(x) ** 2).sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradient = x.grad.numpy().copy()
    for i in range(3):
        alone = x[i : i + 1].detach().requires_grad_()
        expected = rv.autograd.grad((model(alone) ** 2).sum(), [*trained, alone])
        for parameter, of_sample in zip(trained, expected, strict=False):
            np.testing.assert_allclose(
                parameter.grad_sample[i].numpy(), of_sample.numpy(), rtol=1e-10, atol=1e-12
            )
        np.testing.assert_allclose(gradient[i], expected[-1][0].numpy(), rtol=1e-10, atol=1e-12)
    assert not hasattr(model[0].bias, "grad_sample")


def test_arguments_by_name_and_whole():
    class Scaled(rv.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = rv.nn.Parameter(rv.ones(2, dtype=rv.float64))

        def forward(self, x, factors, *, power):
            return (self.scale * x * factors) ** power

    module = Scaled()
    x = double(3, 2)
    factors = double(1, 2)
    call_for_per_sample_grads(module, batch_size=3)(x, factors, power=2).sum().backward()
    expected = 2 * (x.numpy() * factors.numpy()) ** 2
    np.testing.assert_allclose(module.scale.grad_sample.numpy(), expected, rtol=1e-14)


def test_rows_of_an_embedding():
    table = rv.nn.Embedding(4, 1)
    call_for_per_sample_grads(table)(rv.tensor([[1, 2], [1, 1]])).sum().backward()
    assert table.weight.grad_sample.squeeze(-1).tolist() == [[0.0, 1.0, 1.0, 0.0], [0.0, 2.0, 0.0, 0.0]]


def test_what_has_no_gradients_of_samples():
    layer = linear_layer()
    refused(RuntimeError, "loss_reduction", call_for_per_sample_grads, layer, loss_reduction="max")
    refused(RuntimeError, "expected a Module", call_for_per_sample_grads, rv.ones(2))
    refused(RuntimeError, "batch_size", call_for_per_sample_grads, layer, batch_size=0)
    refused(RuntimeError, "batch_size", call_for_per_sample_grads, layer, batch_size=2.0)
    refused(RuntimeError, "recurrence", call_for_per_sample_grads, rv.nn.LSTM(2, 2))
    refused(RuntimeError, "mixes samples", call_for_per_sample_grads, rv.nn.BatchNorm1d(2))
    refused(RuntimeError, "no Tensor", call_for_per_sample_grads(layer), 1.0)
    refused(RuntimeError, "2 and 3 samples", call_for_per_sample_grads(layer), double(2, 2), double(3, 2))
    refused(RuntimeError, "shape", call_for_per_sample_grads(layer, batch_first=False), double(2))
    call_for_per_sample_grads(layer)(double(2, 2)).sum().backward()
    refused(RuntimeError, "grad_sample", call_for_per_sample_grads, layer)


def test_under_the_name_of_pytorch():
    program = """
import torch
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads
layer = torch.nn.Linear(2, 3)
call_for_per_sample_grads(layer)(torch.ones(4, 2)).sum().backward()
print(tuple(layer.weight.grad_sample.shape), layer.weight.grad)
"""
    assert in_mode(program) == "(4, 3, 2) None\n"
