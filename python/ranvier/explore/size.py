"""The parameters of convolutions, beside those of dense layers of the same inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import wrap
from ranvier.nn.modes import layer_outputs

__all__ = ["dense_against_convolution"]


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
        inputs = "x".join(map(str, self.input_shape))
        outputs = "x".join(map(str, self.output_shape))
        return (
            f"{self.name}: {inputs} -> {outputs}: convolution {self.convolution:,}, dense {self.dense:,} "
            f"({self.ratio:,.0f} times as many)"
        )


def dense_against_convolution(model: nn.Module, input_shape: Sequence[int]) -> list[Compared]:
    """Compare each convolution of a network with a dense layer of the same inputs and outputs.

    A convolution has c k^2 + 1 parameters for each output channel, independent of the image's size, since all
    places share them; a dense layer has one for each pair of an input and an output, and a bias for each
    output. The dense layers are not created.

    Args:
        model: an `nn.Conv2d`, or a model with convolutions.
        input_shape: the shape of one sample, without the batch, (channels, h, w).

    Raises TypeError: model is not a Module.
    Raises ValueError: a model without convolutions, or that does not take the shape.

    >>> import ranvier as rv
    >>> from ranvier import nn
    >>> print(rv.explore.dense_against_convolution(nn.Conv2d(1, 32, 3), (1, 28, 28))[0])
    Conv2d: 1x28x28 -> 32x26x26: convolution 320, dense 16,981,120 (53,066 times as many)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"[dense_against_convolution] got model of type {type(model).__name__}; expected a Module"
        )
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv1d | nn.Conv2d)]
    if not convolutions:
        raise ValueError("[dense_against_convolution] got a model without convolutions; expected some")
    sample = wrap(np.zeros((1, *input_shape), convolutions[0].weight.dtype))  # a batch of one
    compared = []
    for call in layer_outputs(model, sample):
        if not isinstance(call.layer, nn.Conv1d | nn.Conv2d):
            continue
        inputs = call.input_shape[1:]
        outputs = call.value.shape[1:]
        parameters = sum(p.numel() for p in call.layer.parameters())
        dense = math.prod(inputs) * math.prod(outputs)
        if call.layer.bias is not None:
            dense += math.prod(outputs)
        name = call.name or type(call.layer).__name__
        compared.append(Compared(name, inputs, outputs, parameters, dense))
    return compared
