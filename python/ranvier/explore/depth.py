"""The variance of signals and gradients at each depth of an untrained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier.nn as nn
from ranvier import randn
from ranvier.autograd import random, wrap
from ranvier.data.sampler import positive
from ranvier.explore.path import Array
from ranvier.explore.watch import gradients_of, watching

__all__ = ["Signals", "signals"]


INITS: dict[str, Callable[..., Any]] = {
    "he": partial(nn.init.he_normal_, nonlinearity="relu"),
    "xavier": nn.init.xavier_normal_,
    "lecun": partial(nn.init.he_normal_, nonlinearity="linear"),  # a gain of 1: 1 / sqrt(fan_in)
}


@dataclass(frozen=True)
class Signals:
    """The result of `signals`, layer by layer from the input.

    Attributes:
        init, activation: the arguments.
        forward: the variance of the activations of each layer, (depth,).
        backward: the variance of the gradient of the weighted sums of each layer, (depth,), for a standard
            normal gradient at the output.
        dead: the number of units of each layer that are 0 for every sample, (depth,); with ReLU only.
        width: units in a layer.
    """

    init: str | float
    activation: str
    forward: Array
    backward: Array
    dead: npt.NDArray[np.int64]
    width: int

    @property
    def verdict(self) -> str:
        """ "vanishing" or "exploding" if a variance changes by a factor of 1e3, else "stable"."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.array([self.forward[-1] / self.forward[0], self.backward[0] / self.backward[-1]])
        if not (ratios < 1e3).all():  # NaN: both ends are infinite
            return "exploding"
        return "vanishing" if (ratios < 1e-3).any() else "stable"

    def __str__(self) -> str:
        rows = [f"{self.init}, {self.activation}: {self.verdict}", "layer   forward  backward  dead"]
        for i, (f, b, d) in enumerate(zip(self.forward, self.backward, self.dead, strict=True)):
            rows.append(f"{i + 1:5}  {f:8.2e}  {b:8.2e}  {d:4}")
        return "\n".join(rows)


def signals(
    init: str | float = "he",
    activation: str = "relu",
    *,
    depth: int = 20,
    width: int = 128,
    samples: int = 256,
    seed: int = 0,
) -> Signals:
    """Propagate standard normal noise forward through a deep network, and a noise gradient backward.

    For weights of variance s^2 and an activation that keeps the share c of the second moment, each layer
    multiplies the variance by width * c * s^2: 1 for He's initialisation with ReLU; below 1 signals vanish,
    above 1 they explode, exponentially with the depth.

    Args:
        init: "he", "xavier" or "lecun" (`nn.init.he_normal_` ...), or a number: the standard deviation of
            normal weights. Biases are 0.
        activation: a name in `rv.nn.functional`: "relu", "tanh", "sigmoid", "leaky_relu" ...; "linear" for
            none.
        depth, width: layers, and units in each.
        samples: the number of inputs.
        seed: of weights and noise; the global random stream does not change.

    Raises TypeError, ValueError: an unknown init or activation, or sizes that are not integers of at least 1.

    Source: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010); K. He et al., "Delving Deep into Rectifiers" (2015).

    >>> import ranvier as rv
    >>> [rv.explore.signals(init, "relu").verdict for init in ("he", "xavier", 0.01, 0.5)]
    ['stable', 'vanishing', 'vanishing', 'exploding']
    """
    depth, width, samples = (
        positive("signals", name, value)
        for name, value in (("depth", depth), ("width", width), ("samples", samples))
    )
    if not isinstance(init, (str, float, int)) or not isinstance(activation, str):
        raise TypeError(f"[signals] got init {init!r} and activation {activation!r}; expected names")
    linear = activation == "linear"
    act = None if linear else getattr(nn.functional, activation, None)
    if not linear and act is None:
        raise ValueError(f"[signals] got activation {activation!r}; expected 'relu', 'tanh', 'sigmoid' ...")
    if isinstance(init, str) and init not in INITS:
        raise ValueError(f"[signals] got init {init!r}; expected one of {', '.join(INITS)}, or a number")
    with random.using(random.Generator().manual_seed(seed)):
        layers = [nn.Linear(width, width, bias=False) for _ in range(depth)]
        for layer in layers:
            if isinstance(init, str):
                INITS[init](layer.weight)
            else:
                nn.init.normal_(layer.weight, std=init)
        x, start = randn(samples, width), randn(samples, width)
    outputs: list[Any] = []

    def forward() -> Any:
        y = x
        for layer in layers:
            y = layer(y) if act is None else act(layer(y))
            outputs.append(y._array)
        return y

    with watching(nn.ModuleList(layers)) as calls:
        gradients_of(calls, [], forward, wrap(start._array))
    dead = [int((~(y > 0).any(axis=0)).sum()) if activation == "relu" else 0 for y in outputs]
    return Signals(
        init,
        activation,
        np.array([_variance(y) for y in outputs]),
        np.array([_variance(c.gradient) for c in calls]),
        np.array(dead),
        width,
    )


def _variance(values: npt.NDArray[Any] | None) -> float:
    """The variance; infinite if a value is not finite."""
    if values is None or not np.isfinite(values).all():
        return float("inf")
    return float(values.var(dtype=np.float64))
