"""Neuron: one unit of a layer, which can show its arithmetic."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.autograd.creation import as_tensor, empty
from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor
from ranvier.nn.linear import Linear
from ranvier.nn.module import Module, Parameter
from ranvier.ops.activation.slope import activation_named

__all__ = ["Neuron"]


Array = npt.NDArray[np.float64]


class NeuronSignal(NamedTuple):
    """The numbers inside a neuron for one input: see :meth:`Neuron.explain`."""

    x: Array
    products: Array  # w_i x_i
    bias: float
    z: float  # their sum and the bias
    a: float  # the activation of z
    activation: str

    def __str__(self) -> str:
        terms = [f"{term:+g}" for term in (*self.products, self.bias)]
        total = " ".join([terms[0].lstrip("+"), *(f"{term[0]} {term[1:]}" for term in terms[1:])])
        return f"z = {total} = {self.z:.4g}; a = {self.activation}(z) = {self.a:.4g}"


class Neuron(Module):
    """One neuron: z = w x + b, a = f(z).

    x (in_features,) gives a number (), x (N, in_features) one for each row, (N,). The parameters are
    `weights` (in_features,) and `bias` (); both start uniform in +-1/sqrt(in_features), as those of Linear.

    In a nerve cell, x is the signal at the dendrites, a weight the strength of a synapse (below 0 it
    inhibits), the sum the potential of the cell body, the bias its negative threshold, and a the signal of
    the axon.

    Args:
        in_features: the number of inputs.
        activation: "sigmoid", "relu", "tanh", "heaviside", "linear" or another element-wise activation of
            :func:`ranvier.derivative`.
        dtype: of the parameters, float32 or float64.

    Raises:
        ValueError: in_features below 1, an unknown activation, or an x with another last dimension.

    Source: McCulloch and Pitts, "A Logical Calculus of the Ideas Immanent in Nervous Activity" (1943).

    >>> from ranvier import nn
    >>> neuron = nn.Neuron.with_weights([-0.5, 1.2], bias=0.3, activation="sigmoid")
    >>> neuron.z([0.8, 0.9]).item(), neuron([0.8, 0.9]).item()
    (0.98, 0.7271082163411295)
    >>> print(neuron.explain([0.8, 0.9]))
    z = -0.4 + 1.08 + 0.3 = 0.98; a = sigmoid(z) = 0.7271
    """

    weights: Any
    bias: Any

    def __init__(self, in_features: int, activation: str = "sigmoid", dtype: Any = None) -> None:
        super().__init__()
        if in_features < 1:
            raise ValueError(f"[neuron] got {in_features} in_features; expected a number >= 1")
        activation_named("neuron", activation)
        self.in_features = in_features
        self.activation = activation
        self.weights = Parameter(empty(in_features, dtype=dtype))
        self.bias = Parameter(empty((), dtype=dtype))
        self.reset_parameters()

    @classmethod
    def with_weights(cls, weights: npt.ArrayLike, bias: float = 0.0, activation: str = "sigmoid") -> Neuron:
        """A neuron of given weights (in_features,) and bias, in float64.

        Raises ValueError where weights is no vector.
        """
        values = np.array(weights, np.float64)
        if values.ndim != 1:
            raise ValueError(f"[neuron] got weights of shape {values.shape}; expected (in_features,)")
        neuron = cls(values.size, activation, np.float64)
        neuron.load_state_dict({"weights": values, "bias": np.float64(bias)})
        return neuron

    @staticmethod
    def of(layer: Linear, index: int, activation: str = "linear") -> Neuron:
        """Neuron `index` of a Linear layer: row `index` of its weight matrix, and its bias.

        It reads the values of the layer, and gradients go to the layer.

        Raises TypeError for another layer, IndexError where it has no such neuron.

        >>> import ranvier as rv
        >>> layer = rv.nn.Linear(2, 3)
        >>> x = rv.tensor([1.0, 2.0])
        >>> all(rv.nn.Neuron.of(layer, i)(x).item() == layer(x)[i].item() for i in range(3))
        True
        """
        return _LayerNeuron(layer, index, activation)

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        bound = 1 / math.sqrt(self.in_features)
        init.uniform_(self.weights, -bound, bound)
        init.uniform_(self.bias, -bound, bound)

    def z(self, x: Any) -> Tensor:
        """The weighted sum w x + b, before the activation: () or (N,)."""
        weights = self.weights
        if not isinstance(x, Tensor) or x.dtype.kind != "f":
            x = as_tensor(np.asarray(getattr(x, "_array", x), weights.dtype))
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"[neuron] got x of shape {tuple(x.shape)}; expected (..., {self.in_features}), one number "
                "for each weight"
            )
        return ops.matmul(x, weights) + self.bias

    def forward(self, x: Any) -> Tensor:
        return activation_named("neuron", self.activation)(self.z(x))

    def explain(self, x: npt.ArrayLike) -> NeuronSignal:
        """All numbers from one input x (in_features,) to the output; its text is the sum.

        Raises ValueError for an x of another shape.
        """
        x = np.asarray(getattr(x, "_array", x), np.float64)
        if x.ndim != 1:
            raise ValueError(f"[neuron] got x of shape {x.shape}; expected one input ({self.in_features},)")
        with no_grad():
            z, a = self.z(x).item(), self(x).item()
        weights, bias = self._numbers()
        return NeuronSignal(x, weights * x, bias, z, a, self.activation)

    def _numbers(self) -> tuple[Array, float]:
        """The weights and the bias for NumPy."""
        return self.weights.detach().numpy().astype(np.float64), float(self.bias)

    def boundary(self, low: npt.ArrayLike = (-1.0, -1.0), high: npt.ArrayLike = (1.0, 1.0)) -> Array:
        """The straight line z = 0 of a neuron of two inputs, inside the box from low to high.

        There heaviside jumps and sigmoid is 1/2.

        Returns:
            The two ends of the line in the box, (2, 2): a row is a point; (0, 2) if it does not meet the box.

        Raises:
            ValueError: a neuron of another number of inputs, or with both weights 0.

        >>> from ranvier import nn
        >>> nn.Neuron.with_weights([1.0, 1.0], -1.5, "heaviside").boundary((0, 0), (2, 2)).tolist()
        [[1.5, 0.0], [0.0, 1.5]]
        """
        w, b = self._numbers()
        if w.shape != (2,) or not w.any():
            raise ValueError(f"[neuron] got weights {w.tolist()}; expected two that are not both 0")
        low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if low.shape != (2,) or high.shape != (2,):
            raise ValueError(f"[neuron] got low {low} and high {high}; expected two corners (2,)")
        near, along = -b * w / (w @ w), np.array([-w[1], w[0]])  # points of the line: near + t along
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = (np.stack([low, high]) - near) / along  # where the line meets the sides of the box
        for axis in np.flatnonzero(along == 0):  # parallel to these sides
            ends[:, axis] = (-np.inf, np.inf) if low[axis] <= near[axis] <= high[axis] else np.nan
        first, last = np.sort(ends, axis=0)
        enter, leave = first.max(), last.min()
        return np.stack([near + t * along for t in (enter, leave)]) if enter <= leave else np.empty((0, 2))

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, activation={self.activation}"


class _LayerNeuron(Neuron):
    """A neuron of a layer: it reads the layer's parameters at each use."""

    def __init__(self, layer: Linear, index: int, activation: str) -> None:
        Module.__init__(self)
        if not isinstance(layer, Linear) or not isinstance(index, int):
            raise TypeError(
                f"[neuron] got {type(layer).__name__} and index {index!r}; expected a Linear and a number"
            )
        if not -layer.out_features <= index < layer.out_features:
            raise IndexError(
                f"[neuron] got neuron {index} of a layer of {layer.out_features}; expected fewer"
            )
        activation_named("neuron", activation)
        self.in_features = layer.in_features
        self.activation = activation
        self.layer, self.index = layer, index

    def reset_parameters(self) -> None:
        """Draws new starting values for the whole layer."""
        self.layer.reset_parameters()

    @property
    def weights(self) -> Tensor:
        return self.layer.weight[self.index]

    @property
    def bias(self) -> Any:
        return 0.0 if self.layer.bias is None else self.layer.bias[self.index]
