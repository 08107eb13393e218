"""Counts: the parameters and operations of a model, the steps of a training run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import wrap
from ranvier.autograd.memory import Array
from ranvier.data.sampler import positive
from ranvier.explore.depth import as_batch, require_module, watching
from ranvier.nn.modes import evaluating

__all__ = ["count_steps", "dense_against_convolution", "one_step"]


class Compared(NamedTuple):
    """One convolution: its shapes without the batch, its parameters, and those of an equal dense layer."""

    name: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    convolution: int
    dense: int

    @property
    def ratio(self) -> float:
        return self.dense / self.convolution

    def __str__(self) -> str:
        inputs, outputs = ("x".join(map(str, shape)) for shape in (self.input_shape, self.output_shape))
        return (
            f"{self.name}: {inputs} -> {outputs}: convolution {self.convolution:,}, dense {self.dense:,} "
            f"({self.ratio:,.0f} times as many)"
        )


def dense_against_convolution(model: Any, input_shape: Sequence[int]) -> list[Compared]:
    """Compare each convolution of a network with a dense layer of the same inputs and outputs.

    A convolution has c k^2 + 1 parameters for each output channel, independent of the image's size, since all
    places share them; a dense layer has one for each pair of an input and an output, and a bias for each
    output. The dense layers are not created.

    Args:
        model: an `nn.Conv2d`, or a model with convolutions.
        input_shape: of one sample, without the batch, (channels, h, w).

    Raises TypeError: model is not a Module.
    Raises ValueError: a model without convolutions, or that does not take the shape.

    >>> import ranvier as rv
    >>> from ranvier import nn
    >>> print(rv.explore.dense_against_convolution(nn.Conv2d(1, 32, 3), (1, 28, 28))[0])
    Conv2d: 1x28x28 -> 32x26x26: convolution 320, dense 16,981,120 (53,066 times as many)
    """
    require_module("dense_against_convolution", model)
    kinds = (nn.Conv1d, nn.Conv2d)
    convolutions = [module for module in model.modules() if isinstance(module, kinds)]
    if not convolutions:
        raise ValueError("[dense_against_convolution] got a model without convolutions; expected some")
    with evaluating(model), watching(model) as calls:
        model(wrap(np.zeros((1, *input_shape), convolutions[0].weight.dtype)))
    compared = []
    for call in calls:
        if isinstance(call.module, kinds):
            input_shape, output_shape = call.input_shape[1:], call.value.shape[1:]
            own = sum(p.numel() for p in call.module.parameters())
            bias = call.module.bias is not None
            dense = math.prod(output_shape) * (math.prod(input_shape) + bias)
            compared.append(Compared(call.name or call.kind, input_shape, output_shape, own, dense))
    return compared


class Counted(NamedTuple):
    """Batches (steps, iterations) of an epoch, samples in its last batch, and updates in all epochs."""

    batches: int
    last: int
    updates: int


def count_steps(samples: int, batch_size: int, epochs: int = 1, *, drop_last: bool = False) -> Counted:
    """Count batches and updates: an epoch uses each sample once, an iteration is a batch and an update.

    One batch of all samples is batch gradient descent, batches of one sample stochastic gradient descent.

    Raises TypeError, ValueError: a number that is not an integer of at least 1.

    >>> import ranvier as rv
    >>> rv.explore.count_steps(1000, 32, epochs=5)
    Counted(batches=32, last=8, updates=160)
    """
    n, size, times = (
        positive("count_steps", name, value)
        for name, value in (("samples", samples), ("batch_size", batch_size), ("epochs", epochs))
    )
    whole, rest = divmod(n, size)
    if drop_last or not rest:
        return Counted(whole, size if whole else 0, whole * times)
    return Counted(whole + 1, rest, (whole + 1) * times)


class Step(NamedTuple):
    """Predictions and loss before and after one update of the weights."""

    before: Array
    after: Array
    loss_before: float
    loss_after: float

    def __str__(self) -> str:
        rows = zip(self.before.reshape(-1), self.after.reshape(-1), strict=True)
        lines = [f"{before:9.4f} -> {after:9.4f}" for before, after in list(rows)[:10]]
        more = [f"... {self.before.size} predictions"] if self.before.size > 10 else []
        return "\n".join([f"loss {self.loss_before:.6g} -> {self.loss_after:.6g}", *lines, *more])


def one_step(model: Any, loss: Any, optimizer: Any, x: Any, y: Any) -> Step:
    """Make one update on a batch, and compare predictions and loss before and after, in evaluation mode.

    The update is made in the present mode of the model, which keeps it.

    Args:
        model, loss, optimizer: as in any training loop.
        x, y: a batch, as arrays or Tensors.

    Raises TypeError: model is not a Module.

    >>> import ranvier as rv
    >>> from ranvier import nn
    >>> model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    >>> _ = model[0].weight.data.fill_(1.5), model[0].bias.data.fill_(0.5)
    >>> optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    >>> step = rv.explore.one_step(model, nn.MSELoss(), optimizer, [[1.0], [2.0], [3.0], [4.0]],
    ...                            [[2.0], [4.0], [6.0], [8.0]])
    >>> step.loss_before, round(step.loss_after, 4)
    (0.875, 0.4225)
    """
    require_module("one_step", model)
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    batch, target = as_batch(x, y, dtype)

    def look() -> tuple[Array, float]:
        with evaluating(model):
            output = model(batch)
            return np.array(output._array), float(loss(output, target).item())

    before, loss_before = look()
    optimizer.zero_grad()
    loss(model(batch), target).backward()
    optimizer.step()
    after, loss_after = look()
    return Step(before, after, loss_before, loss_after)
