"""The networks whose training steps are timed, written once for every library.

Imports NumPy only: the peers' processes read this file too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

import numpy as np

CHECKED_STEPS = 5
SAMPLES = 4096  # with noise in the labels, so that no run comes near a loss of zero
MOST_VALUES = 4096 * 784  # numbers in all samples: there are fewer samples where they are larger
LR = 1e-3
MOMENTUM = 0.9

# A layer: ("linear", in, out), ("conv", in, out[, size, padding]) of 3x3, ("norm", channels), ("dropout", p),
# ("relu",), ("tanh",), ("pool",) of 2x2, ("flatten",)
Layer = tuple[str | int | float, ...]


@dataclass(frozen=True)
class Network:
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    loss: str = "classes"  # cross-entropy; "binary": one logit against 0 or 1; "squares": mean squared error
    optimizer: str = "Adam"  # or "SGD", with momentum

    @property
    def classes(self) -> int:
        return 2 if self.loss == "binary" else int(self.layers[-1][2])

    def without_dropout(self) -> Network:
        """The network without dropout, for comparisons: each library draws different random numbers."""
        return replace(self, layers=tuple(layer for layer in self.layers if layer[0] != "dropout"))


def mlp(*sizes: int, activation: str = "relu") -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for a, b in pairwise(sizes):
        layers += [("linear", a, b), (activation,)]
    return tuple(layers[:-1])


class Networks(dict[str, Network]):
    """Networks by name; an mlp's name may also be its sizes, as "784-1024-1024-10"."""

    def __missing__(self, name: str) -> Network:
        sizes = [int(size) for size in name.split("-")]
        return Network((sizes[0],), mlp(*sizes))


IMAGE = (1, 28, 28)
NETWORKS = Networks()
NETWORKS |= {
    "tabular": Network((20,), mlp(20, 32, 1), "binary"),
    "mlp": Network((784,), mlp(784, 128, 64, 10)),
    "cnn": Network(
        IMAGE,
        (
            *(("conv", 1, 32), ("relu",), ("pool",), ("conv", 32, 64), ("relu",), ("pool",), ("flatten",)),
            *mlp(1600, 128, 10),
        ),
    ),
    "mlp, SGD": Network((784,), mlp(784, 128, 64, 10), optimizer="SGD"),
    "deep mlp": Network((784,), mlp(784, 512, 256, 128, 10)),
    "deep tanh mlp": Network((784,), mlp(784, 256, 256, 256, 256, 10, activation="tanh"), optimizer="SGD"),
    "wide mlp": Network((784,), mlp(784, 1024, 1024, 10), optimizer="SGD"),
    "regression": Network((1,), mlp(1, 64, 64, 1, activation="tanh"), "squares"),
    "lenet": Network(
        IMAGE,
        (
            *(("conv", 1, 6, 5, 2), ("relu",), ("pool",), ("conv", 6, 16, 5), ("relu",), ("pool",)),
            *(("flatten",), *mlp(400, 120, 84, 10)),
        ),
    ),
    "lenet, tanh": Network(
        IMAGE,
        (
            *(("conv", 1, 6, 5, 2), ("tanh",), ("pool",), ("conv", 6, 16, 5), ("tanh",), ("pool",)),
            *(("flatten",), *mlp(400, 120, 84, 10, activation="tanh")),
        ),
    ),
    "vgg": Network(
        (3, 32, 32),
        (
            *(("conv", 3, 32, 3, 1), ("relu",), ("conv", 32, 32, 3, 1), ("relu",), ("pool",)),
            *(("conv", 32, 64, 3, 1), ("relu",), ("conv", 64, 64, 3, 1), ("relu",), ("pool",)),
            *(("flatten",), *mlp(4096, 128, 10)),
        ),
    ),
    "norm and dropout": Network(
        IMAGE,
        (
            *(("conv", 1, 32, 3, 1), ("norm", 32), ("relu",), ("pool",)),
            *(("conv", 32, 64, 3, 1), ("norm", 64), ("relu",), ("pool",), ("flatten",), ("dropout", 0.25)),
            *(("linear", 3136, 128), ("relu",), ("dropout", 0.5), ("linear", 128, 10)),
        ),
    ),
}
# texts of the tables
TITLES = {
    "tabular": "tabular 20-32-1",
    "mlp": "mlp 784-128-64-10",
    "cnn": "cnn (2 conv, 2 linear layers, 28x28)",
    "mlp, SGD": "mlp 784-128-64-10, SGD with momentum",
    "deep mlp": "mlp 784-512-256-128-10",
    "deep tanh mlp": "mlp 784-256-256-256-256-10, tanh, SGD",
    "wide mlp": "mlp 784-1024-1024-10, SGD",
    "regression": "regression 1-64-64-1, tanh",
    "lenet": "LeNet-like (2 conv of 5x5, 3 linear layers)",
    "lenet, tanh": "LeNet-like, tanh before the pools",
    "vgg": "VGG-like (4 conv with padding, 3x32x32)",
    "norm and dropout": "cnn with batch norm and dropout",
}


def conv_sizes(layer: Layer) -> tuple[int, int, int, int]:
    """Input channels, output channels, kernel size, padding of a convolution."""
    inputs, outputs, size, padding = (*layer[1:], *(3, 0)[len(layer) - 3 :])
    return int(inputs), int(outputs), int(size), int(padding)


def parameter_forms(network: Network) -> Iterator[tuple[tuple[int, ...], float, float]]:
    """Shape, centre and half width of the values to start from, in the order of ``parameters()``."""
    for layer in network.layers:
        if layer[0] in ("linear", "conv"):
            inputs, outputs = int(layer[1]), int(layer[2])
            kernel = conv_sizes(layer)[2:3] * 2 if layer[0] == "conv" else ()
            yield (outputs, inputs, *kernel), 0.0, 1 / np.sqrt(prod((inputs, *kernel)))
            yield (outputs,), 0.0, 0.1
        elif layer[0] == "norm":
            yield (int(layer[1]),), 1.0, 0.1
            yield (int(layer[1]),), 0.0, 0.1


def case(network: Network, batch: int) -> dict[str, np.ndarray]:
    """Batches of samples x and targets y, and the parameters to start from: p0, p1, ..."""
    rng = np.random.default_rng(0)
    samples = min(SAMPLES, MOST_VALUES // prod(network.input_shape) // batch * batch)
    if network.loss == "squares":
        x = rng.uniform(-1, 1, (samples, *network.input_shape))
        y = np.sin(3 * x) + rng.normal(0, 0.2, x.shape)
    else:
        centres = rng.uniform(0, 1, (network.classes, *network.input_shape))
        labels = rng.integers(0, network.classes, samples)
        x = 0.5 * centres[labels] + rng.uniform(0, 1, (samples, *network.input_shape))
        y = np.where(rng.uniform(size=samples) < 0.2, rng.integers(0, network.classes, samples), labels)
    if network.loss != "classes":
        y = y.astype(np.float32).reshape(-1, 1)
    count = samples // batch
    arrays = {
        "x": x[: count * batch].astype(np.float32).reshape(count, batch, *network.input_shape),
        "y": y[: count * batch].reshape(count, batch, *y.shape[1:]),
    }
    for i, (shape, centre, width) in enumerate(parameter_forms(network)):
        arrays[f"p{i}"] = rng.uniform(centre - width, centre + width, shape).astype(np.float32)
    return arrays


def parameters(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [arrays[f"p{i}"] for i in range(len(arrays) - 2)]


def flops(network: Network, batch: int, training: bool = True) -> float:
    """FLOP of the forward pass; in training with all gradients but the first layer's input."""
    total, size, first = 0.0, network.input_shape[-1], True
    for layer in network.layers:
        if layer[0] == "pool":
            size //= 2
        if layer[0] == "conv":
            inputs, outputs, kernel, padding = conv_sizes(layer)
            size += 2 * padding - kernel + 1
            products = inputs * outputs * kernel * kernel * size * size
        elif layer[0] == "linear":
            products = int(layer[1]) * int(layer[2])
        else:
            continue
        total += 2 * batch * products * ((2 if first else 3) if training else 1)
        first = False
    return total
