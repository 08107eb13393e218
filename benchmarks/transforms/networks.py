"""The networks of the rows: as modules of PyTorch and ranvier, as parameters, and as functions of JAX.

The modules give the structure alone: each call gets the parameters as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.transforms.rows import Parameters, float32

CLASSES = 10
CHANNELS, SIDE = 8, 8  # of the convolution, and of an image


@dataclass(frozen=True)
class Network:
    """A network and the shape of a sample."""

    name: str
    sample: tuple[int, ...]
    module: Callable[[Any], Any]  # of the library, ranvier or torch
    parameters: Callable[[np.random.Generator], Parameters]
    jax: Callable[[Any, Any, Any], Any]  # of the module jax, parameters and one sample
    terms: int  # of the sums of a forward pass


def linear_parameters(rng: np.random.Generator, layer: int, inputs: int, outputs: int) -> Parameters:
    """The weight and the bias of the layer with this number in a Sequential."""
    weight = rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)
    bias = 0.1 * rng.standard_normal(outputs)
    return {f"{layer}.weight": float32(weight), f"{layer}.bias": float32(bias)}


def mlp(widths: tuple[int, ...], activation: str = "ReLU") -> Network:
    """Linear layers with an activation (ReLU, Tanh) between them."""
    last = 2 * (len(widths) - 2)

    def module(library: Any) -> Any:
        nn = library.nn
        layers = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), getattr(nn, activation)()]
        return nn.Sequential(*layers[:-1])

    def parameters(rng: np.random.Generator) -> Parameters:
        found: Parameters = {}
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            found |= linear_parameters(rng, 2 * number, inputs, outputs)
        return found

    def forward(jax: Any, given: Any, x: Any) -> Any:
        function = jax.nn.relu if activation == "ReLU" else jax.numpy.tanh
        for layer in range(0, last + 1, 2):
            x = given[f"{layer}.weight"] @ x + given[f"{layer}.bias"]
            if layer < last:
                x = function(x)
        return x

    name = "mlp " + "-".join(map(str, widths))
    return Network(name, (widths[0],), module, parameters, forward, sum(widths))


def cnn_module(library: Any) -> Any:
    nn = library.nn
    convolution = nn.Conv2d(1, CHANNELS, 3, padding=1)
    features = CHANNELS * (SIDE // 2) ** 2
    return nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(features, CLASSES))


def cnn_parameters(rng: np.random.Generator) -> Parameters:
    filters = rng.standard_normal((CHANNELS, 1, 3, 3)) / 3
    bias = 0.1 * rng.standard_normal(CHANNELS)
    features = CHANNELS * (SIDE // 2) ** 2
    convolution = {"0.weight": float32(filters), "0.bias": float32(bias)}
    return convolution | linear_parameters(rng, 4, features, CLASSES)


def cnn_forward(jax: Any, given: Any, x: Any) -> Any:
    maps = jax.lax.conv_general_dilated(x[None], given["0.weight"], (1, 1), "SAME")[0]
    maps = jax.nn.relu(maps + given["0.bias"][:, None, None])
    half = SIDE // 2
    pooled = maps.reshape(CHANNELS, half, 2, half, 2).max((2, 4))
    return given["4.weight"] @ pooled.ravel() + given["4.bias"]


CNN_TERMS = 9 + CHANNELS * (SIDE // 2) ** 2 + SIDE**2
CNN = Network("cnn 8x8", (1, SIDE, SIDE), cnn_module, cnn_parameters, cnn_forward, CNN_TERMS)
