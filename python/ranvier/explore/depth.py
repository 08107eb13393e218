"""What passes through a model layer by layer: signals and gradients by depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import ranvier.nn as nn
from ranvier import randn
from ranvier.autograd import Tensor, enable_grad, grad, random, wrap
from ranvier.autograd.memory import Array
from ranvier.data.sampler import positive
from ranvier.explore.compare import text_table
from ranvier.nn import Module
from ranvier.nn.modes import mode_kept

__all__ = ["Gradients", "Signals", "gradients", "signals"]


@dataclass
class Call:
    """One call of a layer: its path in the model, the layer, its output and, later, the output's gradient."""

    name: str
    module: Any
    output: Tensor
    input_shape: tuple[int, ...]  # of the first argument
    gradient: Array | None = None

    @property
    def kind(self) -> str:
        return type(self.module).__name__

    @property
    def value(self) -> Array:
        return self.output._array


def require_module(name: str, model: Any) -> None:
    """Raise the TypeError of function `name` unless the model is a Module."""
    if not isinstance(model, Module):
        raise TypeError(f"[{name}] got model of type {type(model).__name__}; expected a Module")


def layers(model: Any) -> Iterator[tuple[str, Any]]:
    """The modules without children, with their paths."""
    for name, module in model.named_modules():
        if not any(True for _ in module.children()):
            yield name, module


@contextmanager
def watching(model: Any) -> Iterator[list[Call]]:
    """Within the block, the list records every call of a layer, in order.

    The model continues with a copy of the output, so that layers that work in place do not change the record.
    """
    calls: list[Call] = []

    def note(name: str) -> Callable[..., Any]:
        def hook(module: Any, inputs: Any, output: Any) -> Any:
            if not isinstance(output, Tensor):  # a recurrent layer returns several
                return None
            calls.append(Call(name, module, output, tuple(getattr(inputs[0], "shape", ()))))
            return output.clone()

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in layers(model)]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def as_batch(x: Any, y: Any, dtype: Any, requires_grad: bool = False) -> tuple[Tensor, Tensor]:
    """Copies of a batch as Tensors; floats get `dtype`, and only a float x can require gradients."""
    batch, target = (np.array(getattr(part, "_array", part)) for part in (x, y))
    batch, target = (part.astype(dtype) if part.dtype.kind == "f" else part for part in (batch, target))
    return wrap(batch, requires_grad=requires_grad and batch.dtype.kind == "f"), wrap(target)


def gradients_of(
    calls: list[Call], parameters: list[Any], of: Callable[[], Tensor], start: Any = None
) -> tuple[Tensor, list[Array | None]]:
    """Run `of`, and compute the gradients of its value with respect to the calls' outputs and the parameters.

    The gradients of the outputs are stored in the calls; the value and the gradients of the parameters are
    returned. No `.grad` changes. start: the gradient at the value, 1 for a number.
    """
    with enable_grad():
        value = of()
    passing = [call for call in calls if call.output.requires_grad]
    wanted = [call.output for call in passing] + [p for p in parameters if p.requires_grad]
    if not value.requires_grad:  # all parameters are frozen
        return value, [None] * len(parameters)
    slopes = iter(grad(value, wanted, start, allow_unused=True))
    for call in passing:
        gradient = next(slopes)
        call.gradient = None if gradient is None else gradient._array
    rest = [next(slopes) if p.requires_grad else None for p in parameters]
    return value, [None if g is None else g._array for g in rest]


def rms(array: Array) -> float:
    """sqrt(mean(x^2)), in float64; 0 for an empty array."""
    if array.size == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


class Row(NamedTuple):
    """One array of the computation: its name, its kind ("input", "parameter", a layer's class or "loss"), its
    value, and the gradient of the loss with respect to it (None without gradient)."""

    name: str
    kind: str
    value: Array
    gradient: Array | None


class Gradients(Mapping[str, Row]):
    """The result of `gradients`: a mapping from names to rows in the order of the forward pass.

    `str()` of it is a table with Euclidean norms.
    """

    def __init__(self, rows: list[Row]) -> None:
        self._rows = {row.name: row for row in rows}

    def __getitem__(self, name: str) -> Row:
        if name not in self._rows:
            raise KeyError(f"[Gradients] no {name!r}; there are {', '.join(self._rows)}")
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __str__(self) -> str:
        table = [("name", "kind", "shape", "norm", "gradient's norm", "largest")]
        for row in self.values():
            shape = "x".join(map(str, row.value.shape)) or "1"
            g = row.gradient
            sizes = ("", "") if g is None else (_norm(g), f"{np.abs(g).max(initial=0):.3g}")
            table.append((row.name, row.kind, shape, _norm(row.value), *sizes))
        return text_table(table, left=(0, 1))


def _norm(array: Array) -> str:
    return f"{rms(array) * array.size**0.5:.3g}"


def gradients(model: Any, loss: Any, x: Any, y: Any) -> Gradients:
    """Run one batch forward and backward, and keep all values and gradients.

    Rows are the input, the parameters and the output of each layer in the order of the calls ("0.weight",
    "0"), and the loss. The model runs in its present mode; no `.grad` changes.

    Args:
        model: a Module; functions in its forward that are not layers are not listed.
        loss: called as `loss(output, y)`, returns one number.
        x, y: a batch, as arrays or Tensors.

    Raises TypeError: model is not a Module.

    >>> import ranvier as rv
    >>> from ranvier import nn
    >>> model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    >>> model[0].weight.data.fill_(3.0); model[2].weight.data.fill_(0.5)
    tensor([[3.]])
    tensor([[0.5000]])
    >>> found = rv.explore.gradients(model, nn.MSELoss(), [[2.0]], [[5.0]])
    >>> found["2.weight"].gradient, found["0.weight"].gradient
    (array([[-24.]], dtype=float32), array([[-4.]], dtype=float32))
    >>> print(found)
    name      kind       shape  norm  gradient's norm  largest
    ----------------------------------------------------------
    x         input        1x1     2                6        6
    0.weight  parameter    1x1     3                4        4
    0         Linear       1x1     6                2        2
    1         ReLU         1x1     6                2        2
    2.weight  parameter    1x1   0.5               24       24
    2         Linear       1x1     3                4        4
    loss      MSELoss        1     4                1        1
    """
    require_module("gradients", model)
    named = list(model.named_parameters())
    dtype = named[0][1].dtype if named else np.dtype(np.float32)
    batch, wanted = as_batch(x, y, dtype, requires_grad=True)
    with mode_kept(model), watching(model) as calls:
        parameters = [p for _, p in named] + [batch]
        value, slopes = gradients_of(calls, parameters, lambda: loss(model(batch), wanted))
    rows = [Row("x", "input", batch._array, slopes[-1])]
    left = {name: Row(name, "parameter", p._array, g) for (name, p), g in zip(named, slopes, strict=False)}
    seen: dict[str, int] = {}
    for call in calls:
        rows += [left.pop(name) for name in list(left) if name.rpartition(".")[0] == call.name]
        seen[call.name] = again = seen.get(call.name, 0) + 1
        name = call.name or call.kind
        rows.append(Row(f"{name} ({again})" if again > 1 else name, call.kind, call.value, call.gradient))
    rows += left.values()  # of modules with children
    return Gradients([*rows, Row("loss", type(loss).__name__, value._array, np.ones_like(value._array))])


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
