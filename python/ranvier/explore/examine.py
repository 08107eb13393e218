"""The measurements for `rv.diagnose`: a pass of the data through the model.

The rules of `diagnosis_rules` read them from a `Measurements`; they run no model themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import Tensor, enable_grad, grad, set_grad_enabled, wrap
from ranvier.nn.modes import LayerCall, evaluating, layer_calls
from ranvier.tensors.memory import Array
from ranvier.train.data_sources import only_samples, open_source
from ranvier.train.losses import batch_loss
from ranvier.train.prepared_data import DataSpec

__all__: list[str] = []

Loss: TypeAlias = Callable[[Any, Any], Tensor] | None
"""The loss of a program, called as `loss(output, target)`; None if it is not known."""

SAMPLES = 30
"""The fewest samples to judge a unit: if it is active for half of all samples, it is inactive for 30 with
probability 2^-30."""

SATURATED = 0.02
"""A derivative below this, 8 % of the sigmoid's largest and 2 % of tanh's: |z| above 3.9 and 2.6."""


class Measurements:
    """The results of a pass over the data in evaluation mode, with the gradients of the first batch.

    Attributes:
        x: all samples, (samples and places, features or channels); `samples`: the number of samples.
        y: the targets (samples,); None unless there is one number for each sample.
        loss: the loss of the program, if it is known.
        calls: the calls of the layers without layers inside, for the first batch; with gradients if targets
            and a loss are given.
        last_layer: the layer whose output is that of the model; None if a function follows it.
        loss_error: the error of the loss, if it does not take output and targets; else "".
        dead: for each ReLU by its name, which of its units are 0 for all samples: booleans (units,).
        saturated: for each sigmoid and tanh, the share of outputs with a derivative below SATURATED.
        missing: what could not be examined.
    """

    def __init__(self, model: nn.Module, data: Any, loss: Loss) -> None:
        self.missing: list[str] = []
        self.calls: list[LayerCall] = []
        self.last_layer: nn.Module | None = None
        self.loss_error = ""
        self.samples = 0
        self.loss = loss
        self.dead: dict[str, Array] = {}
        self._slopes: dict[str, _Slopes] = {}
        xs: list[Array] = []
        ys: list[Array] = []
        with evaluating(model):
            for x, y in _batches(model, data, loss):
                is_first = not xs
                with layer_calls(model) as all_calls, set_grad_enabled(is_first):
                    output = model(x)
                calls = [call for call in all_calls if _is_innermost(call)]
                if is_first:
                    self._measure_first(output, y, loss, calls)
                self._measure_units(calls)
                first_layer = calls[0].layer if calls else None
                xs.append(units(x, first_layer))
                if y is not None:
                    ys.append(y)
                self.samples += len(x)
        self.x = np.concatenate(xs)
        self.y: Array | None = None
        if ys and all(y.size == len(y) for y in ys):
            self.y = np.concatenate(ys, axis=None)
        self.saturated: dict[str, float] = {}
        for name, slopes in self._slopes.items():
            if slopes.total:
                self.saturated[name] = slopes.small / slopes.total
        lacking = []
        if not ys:
            lacking.append("targets")
        if loss is None:
            lacking.append("loss")
        if lacking:
            self.missing.append(f"gradients: give {' and '.join(lacking)}")
        if self.samples < SAMPLES:
            self.missing.append(f"units: {self.samples} samples say little; give {SAMPLES} or more")

    def _measure_first(self, output: Any, y: Array | None, loss: Loss, calls: list[LayerCall]) -> None:
        """Keep the calls of the first batch, its last layer and the gradients; no `.grad` changes.

        output: whatever the model returns, which the loss may refuse.
        """
        self.calls = calls
        if calls and isinstance(output, Tensor):
            last = calls[-1]
            if np.array_equal(output._array, last.value, equal_nan=True):
                self.last_layer = last.layer
        if y is None or loss is None:
            return
        try:
            with enable_grad():
                value = batch_loss(loss, output, wrap(y), weights=False, total=False)
        except (ValueError, TypeError, IndexError) as error:
            self.loss_error = str(error)
            return
        if not value.requires_grad:
            return
        with_gradient = [call for call in calls if call.output.requires_grad]
        if not with_gradient:
            return
        gradients = grad(value, [call.output for call in with_gradient], allow_unused=True)
        for call, gradient in zip(with_gradient, gradients, strict=True):
            call.gradient = None if gradient is None else gradient._array

    def _measure_units(self, calls: list[LayerCall]) -> None:
        """Add the dead and the saturated units of a batch to those of the batches before."""
        weighted = None  # the last layer with a weight, whose units the activation is applied to
        for call in calls:
            name = call.name
            if getattr(call.layer, "weight", None) is not None:
                weighted = call.layer
            if isinstance(call.layer, (nn.ReLU, nn.ReLU6)):
                dead: Array = ~np.any(units(call.value, weighted) > 0, axis=0)
                if name in self.dead:
                    dead = dead & self.dead[name]
                self.dead[name] = dead
            elif isinstance(call.layer, nn.Sigmoid):
                self._count_slopes(name, call.value * (1 - call.value))
            elif isinstance(call.layer, nn.Tanh):
                self._count_slopes(name, 1 - call.value * call.value)

    def _count_slopes(self, name: str, slopes: Array) -> None:
        counted = self._slopes.setdefault(name, _Slopes())
        counted.small += int((slopes < SATURATED).sum())
        counted.total += slopes.size


@dataclass
class _Slopes:
    """How many derivatives of an activation were counted, and how many of them are below SATURATED."""

    small: int = 0
    total: int = 0


def _is_innermost(call: LayerCall) -> bool:
    """True for the call of a layer without layers inside, with one Tensor as its output."""
    return isinstance(call.output, Tensor) and not list(call.layer.children())


def _batches(model: nn.Module, data: Any, loss: Loss) -> Iterator[tuple[Array, Array | None]]:
    """The batches (x, y) of `data`: `(x, y)`, a loader of such batches, or samples alone, with None as y."""
    if loss is None:
        loss = nn.CrossEntropyLoss()  # unknown: integers stay labels
    spec = DataSpec(model, loss)
    if isinstance(data, (np.ndarray, Tensor)):
        for x in only_samples("diagnose", data, spec, 256):
            yield x, None
        return
    pair = isinstance(data, (tuple, list)) and len(data) in (2, 3)
    if not pair and (isinstance(data, (tuple, list)) or not hasattr(data, "__iter__")):
        raise ValueError(f"[diagnose] got data of type {type(data).__name__}; expected (x, y), x or a loader")
    x, y = data[:2] if pair else (data, None)
    for xb, yb, _ in open_source("diagnose", x, y, spec, 256):
        yield xb, yb


_SIGNALS = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d)  # take (n, channels, length)


def units(value: Array, layer: nn.Module | None) -> Array:
    """(samples and places, units): the units are channels of images and 1d signals, else the last axis."""
    ndim_with_channels = 3 if isinstance(layer, _SIGNALS) else 4
    if value.ndim == ndim_with_channels and not isinstance(layer, nn.Linear):
        value = np.moveaxis(value, 1, -1)
    if value.ndim > 1:
        return value.reshape(-1, value.shape[-1])
    return value.reshape(-1, 1)


def spread(value: Array) -> float:
    """The root of the mean variance over the samples: how much an output depends on the input."""
    flat = value.reshape(len(value), -1)
    if flat.size:
        return float(np.sqrt(flat.var(axis=0, dtype=np.float64).mean()))
    return 0.0


def weighs(module: nn.Module) -> bool:
    """True for a linear or convolution layer: its weight has two or more dimensions."""
    weight = getattr(module, "weight", None)
    return weight is not None and weight.ndim >= 2 and not isinstance(module, nn.Embedding)


def rms(array: Array) -> float:
    """sqrt(mean(x^2)), in float64; 0 for an empty array."""
    if array.size == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
