"""mlp, which makes a Sequential from the sizes of its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ranvier.nn.activation import named as activation_named
from ranvier.nn.container import Sequential
from ranvier.nn.dropout import Dropout
from ranvier.nn.init import named as initialiser_named, zeros_
from ranvier.nn.linear import Linear
from ranvier.nn.module import Module
from ranvier.nn.norm import BatchNorm1d
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike


def mlp(
    sizes: Sequence[int],
    activation: str | type[Module] | Sequence[str | type[Module]] = "relu",
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
    one = isinstance(activation, (str, type))
    for kind in [activation] if one or not isinstance(activation, Sequence) else activation:
        refuse_torch("mlp", "an activation", kind)
        if not isinstance(kind, str) and not (isinstance(kind, type) and issubclass(kind, Module)):
            raise TypeError(
                f"[mlp] got activation {activation!r}; expected a name, or one for each hidden layer"
            )
    if isinstance(activation, str):
        activation_named(activation)  # So a wrong name is an error without hidden layers, too.
    hidden = len(sizes) - 2
    names: list[Any] = [activation] * hidden if one else list(activation)  # type: ignore[arg-type]
    if len(names) != hidden:
        raise ValueError(
            f"[mlp] got {len(names)} activations for {hidden} hidden layers; expected one for each"
        )
    layers: list[Module] = []
    for i, name in enumerate(names):
        layers.append(_linear(sizes[i], sizes[i + 1], init, not batch_norm, dtype))
        if batch_norm:
            layers.append(BatchNorm1d(sizes[i + 1], dtype=dtype))
        layers.append(activation_named(name) if isinstance(name, str) else name())
        if dropout:
            layers.append(Dropout(dropout))
    layers.append(_linear(sizes[-2], sizes[-1], init, True, dtype))
    if output is not None:
        layers.append(activation_named(output))
    return Sequential(*layers)


def _linear(n: int, m: int, init: Any, bias: bool, dtype: DtypeLike | None) -> Linear:
    layer = Linear(n, m, bias, dtype)
    if init != "default":
        initialiser_named(init)(layer.weight)
        if layer.bias is not None:
            zeros_(layer.bias)
    return layer


def _check_sizes(sizes: Any) -> None:
    if not isinstance(sizes, Sequence):
        raise TypeError(f"[mlp] got sizes {sizes!r}; expected whole numbers such as [2, 4, 1]")
    whole = all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in sizes)
    if len(sizes) < 2 or not whole:
        raise ValueError(f"[mlp] got sizes {list(sizes)}; expected at least two whole numbers >= 1")
