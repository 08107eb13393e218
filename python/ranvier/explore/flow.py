"""Every value and gradient from the input to the loss, for one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.explore.table import text_table
from ranvier.explore.watch import as_batch, gradients_of, require_module, rms, watching
from ranvier.nn.modes import mode_kept

__all__ = ["Gradients", "gradients"]


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
        value, found = gradients_of(calls, parameters, lambda: loss(model(batch), wanted))
    rows = [Row("x", "input", batch._array, found[-1])]
    left = {name: Row(name, "parameter", p._array, g) for (name, p), g in zip(named, found, strict=False)}
    seen: dict[str, int] = {}
    for call in calls:
        rows += [left.pop(name) for name in list(left) if name.rpartition(".")[0] == call.name]
        seen[call.name] = again = seen.get(call.name, 0) + 1
        name = call.name or call.kind
        rows.append(Row(f"{name} ({again})" if again > 1 else name, call.kind, call.value, call.gradient))
    rows += left.values()  # of modules with children
    return Gradients([*rows, Row("loss", type(loss).__name__, value._array, np.ones_like(value._array))])
