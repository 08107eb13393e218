"""The networks whose training steps are timed, written once for every library that has PyTorch's names.

Imports NumPy only: the peers' processes read this file too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import prod
from typing import Any

import numpy as np

CHECKED_STEPS = 5
SAMPLES = 4096  # with noise in the labels, so that no run comes near a loss of zero
LR = 1e-3

# A layer: ("linear", in, out), ("conv", in, out) of 3x3, ("relu",), ("pool",) of 2x2, ("flatten",)
Layer = tuple[Any, ...]


@dataclass(frozen=True)
class Network:
    input_shape: tuple[int, ...]
    classes: int
    layers: tuple[Layer, ...]

    @property
    def binary(self) -> bool:
        """One logit against 0 or 1, instead of a logit for each class."""
        return self.classes == 2


NETWORKS = {
    "tabular": Network((20,), 2, (("linear", 20, 32), ("relu",), ("linear", 32, 1))),
    "mlp": Network(
        (784,),
        10,
        (("linear", 784, 128), ("relu",), ("linear", 128, 64), ("relu",), ("linear", 64, 10)),
    ),
    "cnn": Network(
        (1, 28, 28),
        10,
        (
            ("conv", 1, 32),
            ("relu",),
            ("pool",),
            ("conv", 32, 64),
            ("relu",),
            ("pool",),
            ("flatten",),
            ("linear", 1600, 128),
            ("relu",),
            ("linear", 128, 10),
        ),
    ),
}


def parameter_shapes(network: Network) -> list[tuple[int, ...]]:
    """Weights and biases in the order of ``parameters()``."""
    shapes: list[tuple[int, ...]] = []
    for kind, *sizes in network.layers:
        if kind == "linear":
            shapes += [(sizes[1], sizes[0]), (sizes[1],)]
        elif kind == "conv":
            shapes += [(sizes[1], sizes[0], 3, 3), (sizes[1],)]
    return shapes


def case(network: Network, batch: int) -> dict[str, np.ndarray]:
    """Batches of samples x and labels y, and the parameters to start from: p0, p1, ..."""
    rng = np.random.default_rng(0)
    count = SAMPLES // batch
    centres = rng.uniform(0, 1, (network.classes, *network.input_shape))
    labels = rng.integers(0, network.classes, SAMPLES)
    x = 0.5 * centres[labels] + rng.uniform(0, 1, (SAMPLES, *network.input_shape))
    noisy = np.where(rng.uniform(size=SAMPLES) < 0.2, rng.integers(0, network.classes, SAMPLES), labels)
    y = noisy.astype(np.float32).reshape(-1, 1) if network.binary else noisy
    arrays = {
        "x": x.astype(np.float32).reshape(count, batch, *network.input_shape),
        "y": y.reshape(count, batch, *y.shape[1:]),
    }
    for i, shape in enumerate(parameter_shapes(network)):
        bound = 1 / np.sqrt(prod(shape[1:])) if len(shape) > 1 else 0.1
        arrays[f"p{i}"] = rng.uniform(-bound, bound, shape).astype(np.float32)
    return arrays


def parameters(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [arrays[f"p{i}"] for i in range(len(arrays) - 2)]


def flops(network: Network, batch: int) -> float:
    """Of forward, weight gradients, and input gradients (not of the first layer)."""
    total, size, first = 0.0, network.input_shape[-1], True
    for kind, *sizes in network.layers:
        if kind == "conv":
            size -= 2
        elif kind == "pool":
            size //= 2
        if kind in ("linear", "conv"):
            products = sizes[0] * sizes[1] * (9 * size * size if kind == "conv" else 1)
            total += 2 * batch * products * (2 if first else 3)
            first = False
    return total


def build(nn: Any, network: Network) -> Any:
    """The network as a model of a library with PyTorch's names."""
    makers: dict[str, Callable[..., Any]] = {
        "linear": nn.Linear,
        "conv": lambda inputs, outputs: nn.Conv2d(inputs, outputs, 3),
        "relu": nn.ReLU,
        "pool": lambda: nn.MaxPool2d(2),
        "flatten": nn.Flatten,
    }
    return nn.Sequential(*(makers[kind](*sizes) for kind, *sizes in network.layers))


class Steps:
    """Training steps of a model, one a call, on one batch after the other."""

    def __init__(self, model: Any, loss: Any, optimizer: Any, batches: Sequence[tuple[Any, Any]]) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.batches = cycle(batches)

    def __call__(self) -> Any:
        x, y = next(self.batches)
        self.optimizer.zero_grad()
        value = self.loss(self.model(x), y)
        value.backward()
        self.optimizer.step()
        return value

    def answer(self) -> np.ndarray:
        """What is checked before timing: the losses of the first steps."""
        return np.array([self().item() for _ in range(CHECKED_STEPS)])


def steps(
    nn: Any,
    optim: Any,
    to_tensor: Callable[[np.ndarray], Any],
    network: Network,
    arrays: dict[str, np.ndarray],
    **adam: Any,
) -> Steps:
    """Steps from the case's parameters, for a library with PyTorch's names."""
    model = build(nn, network)
    values = dict(zip(model.state_dict(), parameters(arrays), strict=True))
    model.load_state_dict({name: to_tensor(value) for name, value in values.items()})
    loss = nn.BCEWithLogitsLoss() if network.binary else nn.CrossEntropyLoss()
    batches = [(to_tensor(x), to_tensor(y)) for x, y in zip(arrays["x"], arrays["y"], strict=True)]
    return Steps(model, loss, optim.Adam(model.parameters(), lr=LR, **adam), batches)
