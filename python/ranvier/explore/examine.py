"""The measurements for `rv.diagnose`: a pass of the data through the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class Seen:
    """The results of a pass over the data in evaluation mode, with the gradients of the first batch.

    Attributes:
        x: all samples, (samples and places, features or channels); `samples`: their number.
        y: the targets, if there is one for each sample.
        calls: the layers' calls for the first batch, with gradients if targets and a loss are given.
        ends: the layer of the model's output; None if a function follows it.
        refused: the error of the loss, if it does not take output and targets.
        off: for each ReLU, the units that are 0 for all samples.
        saturated: for each sigmoid and tanh, the share of outputs with a derivative below SATURATED.
        missing: what could not be examined.
    """

    def __init__(self, model: nn.Module, data: Any, loss: Loss) -> None:
        self.missing: list[str] = []
        self.calls: list[LayerCall] = []
        self.ends: nn.Module | None = None
        self.refused = ""
        self.samples = 0
        self.loss = loss
        self.off: dict[str, Array] = {}
        self._saturated: dict[str, tuple[int, int]] = {}
        xs: list[Array] = []
        ys: list[Array] = []
        with evaluating(model):
            for x, y in _batches(model, data, loss):
                with layer_calls(model) as every, set_grad_enabled(not xs):
                    output = model(x)
                calls = [call for call in every if isinstance(call.output, Tensor) and _is_leaf(call.layer)]
                if not xs:
                    self._first(output, y, loss, calls)
                self._units(calls)
                first = calls[0].layer if calls else None
                xs.append(units(x, first))
                if y is not None:
                    ys.append(y)
                self.samples += len(x)
        self.x = np.concatenate(xs)
        self.y: Array | None = None
        if ys and all(y.size == len(y) for y in ys):
            self.y = np.concatenate([y.reshape(-1) for y in ys])
        self.saturated = {name: n / of for name, (n, of) in self._saturated.items() if of}
        lacking = []
        if not ys:
            lacking.append("targets")
        if loss is None:
            lacking.append("loss")
        if lacking:
            self.missing.append(f"gradients: give {' and '.join(lacking)}")
        if self.samples < SAMPLES:
            self.missing.append(f"units: {self.samples} samples say little; give {SAMPLES} or more")

    def _first(self, output: Any, y: Array | None, loss: Loss, calls: list[LayerCall]) -> None:
        self.calls = calls
        if isinstance(output, Tensor) and calls and np.array_equal(output._array, calls[-1].value, True):
            self.ends = calls[-1].layer
        if y is None or loss is None:
            return
        try:
            with enable_grad():
                value = batch_loss(loss, output, wrap(y), False, False)
        except (ValueError, TypeError, IndexError) as error:
            self.refused = str(error)
            return
        passing = [call for call in calls if call.output.requires_grad and value.requires_grad]
        if passing:
            slopes = grad(value, [call.output for call in passing], allow_unused=True)
        else:
            slopes = ()
        for call, gradient in zip(passing, slopes, strict=True):  # no `.grad` changes
            call.gradient = None if gradient is None else gradient._array

    def _units(self, calls: list[LayerCall]) -> None:
        before = None  # the layer that the units belong to
        for call in calls:
            name = call.name
            value = call.value
            if getattr(call.layer, "weight", None) is not None:
                before = call.layer
            if isinstance(call.layer, (nn.ReLU, nn.ReLU6)):
                off: Array = ~np.any(units(value, before) > 0, axis=0)
                self.off[name] = self.off[name] & off if name in self.off else off
            elif isinstance(call.layer, (nn.Sigmoid, nn.Tanh)):
                if isinstance(call.layer, nn.Sigmoid):
                    slope = value * (1 - value)
                else:
                    slope = 1 - value * value
                n, of = self._saturated.get(name, (0, 0))
                self._saturated[name] = n + int((slope < SATURATED).sum()), of + value.size


def _is_leaf(layer: nn.Module) -> bool:
    return not any(True for _ in layer.children())


def _batches(model: nn.Module, data: Any, loss: Loss) -> Iterator[tuple[Array, Array | None]]:
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
