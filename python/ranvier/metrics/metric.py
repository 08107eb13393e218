"""What all metrics share: checks of their arguments, and the base of those that take batch after batch.

A metric as an object has update(y_true, y_pred), compute() and reset(). Each result equals the function's for
all samples at once. An object keeps counts and sums; ROC AUC keeps all samples. `metric(y_true, y_pred)`
measures these samples alone and does not change the state, so `Trainer(metrics=[...])` takes objects and
functions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ranvier.autograd.errors import own_methods
from ranvier.autograd.memory import Array, plain

__all__ = ["StreamingMetric"]

EXAMPLE = """

    >>> from ranvier.metrics import {0}
    >>> metric = {0}({1})
    >>> metric.update({2}); metric.update({3})
    >>> metric.compute()
    {4}
    """

Floats = npt.NDArray[np.float64]


def targets(name: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Both as arrays; TypeError for masked ones."""
    return np.asarray(plain(name, y_true)), np.asarray(plain(name, y_pred))


def same_shape(name: str, true: Array, pred: Array) -> None:
    for argument, array in (("y_true", true), ("y_pred", pred)):
        if array.dtype.kind in "cmMV" or (array.dtype.kind == "O" and array.ndim == 0):
            raise TypeError(
                f"[{name}] got {argument} of dtype {array.dtype}; expected real numbers or labels"
            )
    if true.shape != pred.shape:
        raise ValueError(f"[{name}] got y_true of shape {true.shape} and y_pred of shape {pred.shape}")
    if true.size == 0:
        raise ValueError(f"[{name}] got no samples; expected at least one")


def label_arrays(name: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Labels as two arrays (n,) of numbers, strings or booleans.

    Columns (n, 1) become (n,); of targets that are probabilities (n, classes) the largest gives the label.
    Floats must be whole numbers.
    """
    true, pred = targets(name, y_true, y_pred)
    if true.ndim == 2 and true.shape[1] > 1 and true.dtype.kind == "f" and pred.ndim == 1:
        true = true.argmax(axis=1)
    same_shape(name, true, pred)
    if true.ndim != 1 and true.size != len(true):
        raise ValueError(f"[{name}] got labels of shape {true.shape}; expected (n,)")
    for argument, array in (("y_true", true), ("y_pred", pred)):
        if array.dtype.kind not in "iubfUSO":
            raise TypeError(f"[{name}] got {argument} of dtype {array.dtype}; expected labels")
        if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
            raise ValueError(f"[{name}] got {argument} that is no label; expected whole numbers")
    if (true.dtype.kind in "USO") != (pred.dtype.kind in "USO"):
        raise ValueError(
            f"[{name}] got labels of dtype {true.dtype} and {pred.dtype}; expected the same kind"
        )
    return true.reshape(-1), pred.reshape(-1)


def distinct(name: str, *arrays: Any) -> Array:
    """The sorted distinct labels of several arrays."""
    try:
        return np.unique(np.concatenate([np.asarray(a).reshape(-1) for a in arrays]))
    except TypeError:
        raise TypeError(f"[{name}] got labels of mixed types; expected numbers or strings") from None


def weights_of(name: str, sample_weight: Any, n: int) -> Floats | None:
    """One weight for each sample, or None."""
    if sample_weight is None:
        return None
    weights = np.asarray(plain(name, sample_weight))
    if weights.dtype.kind not in "iubf":
        raise TypeError(f"[{name}] got sample_weight of dtype {weights.dtype}; expected numbers")
    if weights.shape != (n,):
        raise ValueError(f"[{name}] got sample_weight of shape {weights.shape}; expected ({n},)")
    return weights.astype(np.float64)


def mean_or_sum(values: Array, weights: Floats | None, mean: bool) -> float:
    """The mean or the sum of one value for each sample; NaN for the mean if the weights add up to 0."""
    if weights is None:
        return float(values.mean() if mean else values.sum())
    total, weight = float(values @ weights), weights.sum()
    if not mean:
        return total
    return float(total / weight) if weight else float("nan")


def one_of(name: str, argument: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed):
        raise ValueError(f"[{name}] got {argument} {value!r}; expected {', '.join(map(repr, allowed))}")


def arguments(names: dict[str, Any]) -> dict[str, Any]:
    """The settings among the `locals()` of a metric's constructor."""
    return {name: value for name, value in names.items() if name not in ("self", "__class__")}


class StreamingMetric:
    """Base class: a subclass adds a batch in `_add` and computes the metric in `_value`. `example` has
    arguments, two batches and the result of `EXAMPLE`, which then ends its docstring.

    Attributes:
        scored: what `y_pred` holds: "labels", "probabilities" or "values". `Trainer` gives that.
        is_number: whether `compute` gives one number, as a `Trainer` needs.

    >>> from ranvier.metrics import StreamingMetric
    >>> class Samples(StreamingMetric):
    ...     def _add(self, y_true, y_pred, sample_weight): pass
    ...     def _value(self): return self.samples
    >>> metric = Samples()
    >>> metric.update([0, 1], [0, 1]); metric.update([1], [0])
    >>> metric.compute(), metric.__name__
    (3, 'samples')
    """

    scored: ClassVar[str] = "labels"
    is_number: bool = True
    example: ClassVar[tuple[str, str, str, str] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own_methods(cls, "__init__")
        if cls.example and cls.__doc__ and "example" in vars(cls):
            cls.__doc__ = cls.__doc__.rstrip() + EXAMPLE.format(cls.__name__, *cls.example)

    def __init__(self, **settings: Any) -> None:
        if type(self) is StreamingMetric:
            raise NotImplementedError(
                "[StreamingMetric] got no metric; expected a subclass with _add and _value"
            )
        self.settings = settings
        self.__name__ = self._name()  # the key in a Trainer's history
        self.reset()

    def _name(self) -> str:
        average = self.settings.get("average")
        name = "".join("_" + c.lower() if c.isupper() else c for c in type(self).__name__).lstrip("_")
        return f"{name}_{average}" if isinstance(average, str) and average != "binary" else name

    def reset(self) -> None:
        """Remove all samples."""
        self.samples = 0
        self._start()

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Raises ValueError, TypeError: as the function. The batch is not added.
        """
        self._add(y_true, y_pred, sample_weight)
        self.samples += len(np.atleast_1d(np.asarray(y_true)))

    def compute(self) -> Any:
        """The metric over all samples since the last reset.

        Raises ValueError: there are no samples.
        """
        if self.samples == 0:
            raise ValueError(f"[{self.__name__}] got no samples; expected at least one")
        return self._value()

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        alone = copy.copy(self)
        alone.reset()
        alone.update(y_true, y_pred, sample_weight)
        return alone.compute()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.settings.items())})"

    def _start(self) -> None:
        """Remove what `_add` has kept, if it does not replace that at the first batch."""

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        raise NotImplementedError

    def _value(self) -> Any:
        raise NotImplementedError


class MeanMetric(StreamingMetric):
    _function: Callable[..., float]

    def _start(self) -> None:
        self._sum, self._weight = 0.0, 0.0

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        value = self._function(y_true, y_pred, sample_weight=sample_weight, **self.settings)
        n = len(np.asarray(y_true))
        weights = weights_of(self.__name__, sample_weight, n)
        weight = float(n) if weights is None else float(weights.sum())
        if weight:
            self._sum, self._weight = self._sum + value * weight, self._weight + weight

    def _value(self) -> float:
        return self._sum / self._weight if self._weight else float("nan")
