"""Checks and conversions of the arguments of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier.autograd import Tensor
from ranvier.autograd.memory import Array
from ranvier.nn import Module
from ranvier.nn.trace import LayerOutput, layer_outputs


def array_of(name: str, what: str, values: Any) -> Array:
    """A Tensor, array or list of numbers as an array."""
    array = values._array if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"[{name}] got {what} of {type(values).__name__}; expected numbers")
    return array


def labels_of(name: str, what: str, labels: Any, count: int | None = None) -> Array:
    """Labels (n,) of numbers, strings or booleans; a column (n, 1) becomes (n,)."""
    array = labels._array if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) == 0 or (count is not None and len(array) != count):
        shape = "(n,) with n at least 1" if count is None else f"({count},)"
        raise ValueError(f"[{name}] got {what} of shape {array.shape}; expected {shape}")
    return array


def class_names_of(name: str, labels: Array, class_names: Sequence[Any] | None) -> tuple[Array, list[str]]:
    """The classes and their names: the sorted labels, or 0 ... K-1 with the K given names."""
    if class_names is None:
        classes = np.unique(labels)
        return classes, [f"{c:g}" if classes.dtype.kind == "f" else str(c) for c in classes]
    names = [str(c) for c in class_names]
    wrong = [c for c in np.unique(labels) if not (labels.dtype.kind in "biuf" and 0 <= c < len(names))]
    if wrong:
        raise ValueError(
            f"[{name}] got {len(names)} class names and the label {wrong[0]!r}; "
            f"expected labels 0 ... {len(names) - 1}"
        )
    return np.arange(len(names)), names


def shortened(text: str, length: int) -> str:
    """The text, without its middle if it is too long: long names often differ at the end only."""
    half = length // 2
    return text if len(text) <= length else f"{text[:half].rstrip()}…{text[half - length + 1 :].lstrip()}"


def module_of(name: str, model: Any) -> Module:
    if not isinstance(model, Module):
        raise TypeError(f"[{name}] got a model of type {type(model).__name__}; expected a Module")
    return model


def traced(name: str, model: Any, x: Any) -> tuple[Array, list[LayerOutput]]:
    """One input as an array, and the output of every layer for it, both without the batch axis."""
    module_of(name, model)
    sample = array_of(name, "x", x)
    try:
        calls = layer_outputs(model, sample[None])
    except (ValueError, RuntimeError, IndexError):
        if len(sample) != 1:  # else the sample may have a batch axis
            raise
        sample = sample[0]
        calls = layer_outputs(model, sample[None])
    arrays = [call for call in calls if isinstance(call.output, np.ndarray) and len(call.output) == 1]
    return sample, [call._replace(output=call.output[0]) for call in arrays]
