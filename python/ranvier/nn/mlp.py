"""mlp, which makes a Sequential from the sizes of its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import ranvier.nn as nn
from ranvier.nn.activation import named as activation_named
from ranvier.nn.container import Sequential
from ranvier.nn.init import named as initialiser_named, zeros_
from ranvier.nn.linear import Linear
from ranvier.nn.module import Module
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike

Activation: TypeAlias = str | type[Module]
"""An activation by its name, or the class of its layer."""


def mlp(
    sizes: Sequence[int],
    activation: Activation | Sequence[Activation] = "relu",
    init: str | Callable[[Tensor], Any] = "he",
    output: str | None = None,
    dropout: float = 0.0,
    batch_norm: bool = False,
    dtype: DtypeLike | None = None,
) -> Sequential:
    """A multi-layer perceptron, an ordinary Sequential: a = f(a W^T + b) layer after layer.

    x (N, sizes[0]), y (N, sizes[-1]). A hidden layer is Linear, optionally BatchNorm1d, the activation and
    Dropout; the last layer is Linear. With BatchNorm1d the Linear has no bias, since the norm would cancel
    it.

    Args:
        sizes: inputs, hidden layers, outputs: [784, 128, 64, 10].
        activation: the activation of the hidden layers: a name ("relu", "leaky_relu", "tanh", "sigmoid",
            "gelu", "linear" ...) or the class of a layer; or a list with one for each hidden layer.
        init: the starting values of weights: "he" (for relu), "xavier" (Glorot's) or "lecun", each also with
            "_uniform"; "normal" (standard deviation 0.01), "zeros", a function that fills a weight, or
            "default" for the values of Linear. Biases start at 0, except with "default".
        output: an activation after the last layer, such as "sigmoid"; None for a loss that takes logits.
        dropout: the probability that an element of a hidden layer is dropped in training.
        batch_norm: whether to normalise each hidden layer before its activation.
        dtype: the dtype of the parameters, float32 or float64.

    Raises:
        TypeError: sizes or activations of another type, or an init that is neither a name nor a function.
        ValueError: fewer than two sizes, a size below 1, an unknown name, another number of activations than
            of hidden layers, or a dropout outside [0, 1].

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors" (1986).

    >>> import ranvier as rv
    >>> model = rv.mlp([784, 128, 64, 10], activation="relu", init="he")
    >>> sum(p.numel() for p in model.parameters())
    109386
    >>> rv.mlp([2, 4, 1], activation="tanh", output="sigmoid")
    Sequential(
      (0): Linear(in_features=2, out_features=4, bias=True)
      (1): Tanh()
      (2): Linear(in_features=4, out_features=1, bias=True)
      (3): Sigmoid()
    )
    """
    _check_sizes(sizes)
    activations = _for_each_hidden_layer(activation, len(sizes) - 2)
    layers: list[Module] = []
    for i, name_or_class in enumerate(activations):
        layers.append(_linear(sizes[i], sizes[i + 1], init, bias=not batch_norm, dtype=dtype))
        if batch_norm:
            layers.append(nn.BatchNorm1d(sizes[i + 1], dtype=dtype))
        if isinstance(name_or_class, str):
            layers.append(activation_named(name_or_class))
        else:
            layers.append(name_or_class())
        if dropout:
            layers.append(nn.Dropout(dropout))
    layers.append(_linear(sizes[-2], sizes[-1], init, bias=True, dtype=dtype))
    if output is not None:
        layers.append(activation_named(output))
    return Sequential(*layers)


def _for_each_hidden_layer(activation: Activation | Sequence[Activation], hidden: int) -> list[Activation]:
    """One activation for each of the hidden layers. Errors as in `mlp`."""
    is_list = False
    activations: list[Any] = [activation]
    if isinstance(activation, Sequence) and not isinstance(activation, str):
        is_list = True
        activations = list(activation)
    for entry in activations:
        refuse_torch("mlp", "an activation", entry)
        if not isinstance(entry, str) and not (isinstance(entry, type) and issubclass(entry, Module)):
            raise TypeError(
                f"[mlp] got activation {activation!r}; expected a name, or one for each hidden layer"
            )
    if not is_list:
        if isinstance(activation, str):
            activation_named(activation)  # So a wrong name is an error without hidden layers, too.
        return activations * hidden
    if len(activations) != hidden:
        raise ValueError(
            f"[mlp] got {len(activations)} activations for {hidden} hidden layers; expected one for each"
        )
    return activations


def _linear(
    inputs: int, outputs: int, init: str | Callable[[Tensor], Any], bias: bool, dtype: DtypeLike | None
) -> Linear:
    """A Linear with starting values by `init`, as in `mlp`."""
    layer = Linear(inputs, outputs, bias, dtype)
    if init != "default":
        initialiser_named(init)(layer.weight)
        if layer.bias is not None:
            zeros_(layer.bias)
    return layer


def _check_sizes(sizes: Sequence[int]) -> None:
    if not isinstance(sizes, Sequence):
        raise TypeError(f"[mlp] got sizes {sizes!r}; expected whole numbers such as [2, 4, 1]")
    are_counts = all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in sizes)
    if len(sizes) < 2 or not are_counts:
        raise ValueError(f"[mlp] got sizes {list(sizes)}; expected at least two whole numbers >= 1")
