"""Turns the data that a Trainer is given into sources: arrays or a loader, and validation data.

`Trainer.fit` calls `open_training`, `evaluate` calls `open_source`, and the predictions `only_samples`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

import ranvier.train.prepared_data as prepared_data
from ranvier.tensors.memory import Array
from ranvier.train.arrays import array_like, require_finite
from ranvier.train.batch_source import ArraySource, LoaderSource, Source
from ranvier.train.prepared_data import ClassWeight, DataSpec, Prepared, Samples, ValidationData

if TYPE_CHECKING:
    import numpy.typing as npt


def open_source(
    name: str,
    x: Samples,
    y: npt.ArrayLike | None,
    spec: DataSpec,
    batch_size: int,
    sample_weight: npt.ArrayLike | None = None,
    class_weight: ClassWeight | None = None,
) -> Source:
    """Arrays, or without `y` a loader, as batches in order; `name` is the method that errors name.

    class_weight: a mapping from label to weight, which may have labels that do not occur here.
    """
    if y is None:
        return _loader_source(name, x, spec, sample_weight, class_weight)
    _refuse_loader(name, x)
    data = prepared_data.prepare(name, x, y, spec, sample_weight, class_weight, whole=False)
    if sample_weight is not None and data.weights is not None and not data.weights.any():
        raise ValueError(f"[{name}] got sample_weight of zeros alone; expected some above 0")
    return ArraySource(data, batch_size)


def _loader_source(
    name: str,
    x: Samples,
    spec: DataSpec,
    sample_weight: npt.ArrayLike | None,
    class_weight: ClassWeight | None = None,
) -> LoaderSource:
    """A loader x as a source; an error for other x, and for sample_weight, which its batches must have."""
    _require_loader(name, x)
    _refuse(name, "with a loader; expected batches (x, y, sample_weight)", sample_weight=sample_weight)
    return LoaderSource(name, x, spec, class_weight)


def open_training(
    x: Samples,
    y: npt.ArrayLike | None,
    spec: DataSpec,
    batch_size: int,
    shuffle: bool,
    *,
    class_weight: ClassWeight | None,
    sample_weight: npt.ArrayLike | None,
    validation_data: ValidationData | None,
    validation_split: float,
) -> tuple[Source, Source | None]:
    """The training and the validation data of `Trainer.fit`."""
    name = "Trainer.fit"
    valid_size = max(batch_size, 256)  # evaluation keeps no gradients, so its batches may be larger
    split = validation_split or None
    if validation_data is not None:
        _refuse(name, "and validation_data; expected one of them", validation_split=split)

    def validation(label_weights: ClassWeight | None) -> Source | None:
        if validation_data is None:
            return None
        xv, yv, *weights = _validation_arguments(validation_data)
        weight = weights[0] if weights else None
        return open_source(f"{name} validation_data", xv, yv, spec, valid_size, weight, label_weights)

    if y is None:
        source = _loader_source(name, x, spec, sample_weight, class_weight)
        _refuse(name, "with a loader; expected validation_data", validation_split=split)
        return source, validation(class_weight)
    _refuse_loader(name, x)
    data = prepared_data.prepare(name, x, y, spec, sample_weight, learn=True)
    held_out = None
    if split is not None:
        data, held_out = _split_off(name, data, split)
    # The validation data are weighted by the labels of the training data, and numbered as these are.
    label_weights = prepared_data.weights_by_label(name, class_weight, data.y, spec.classes)
    valid = validation(label_weights)
    if held_out is not None:
        weighted = prepared_data.weighted(name, held_out, label_weights, spec, whole=False)
        valid = ArraySource(weighted, valid_size)
    data = prepared_data.weighted(name, data, class_weight, spec)
    return ArraySource(data, batch_size, shuffle), valid


def only_samples(name: str, x: Samples, spec: DataSpec, batch_size: int) -> Iterator[Array]:
    """Batches of an array (one of no samples if it is empty), or the x of a loader's batches."""
    if is_loader(x):
        for number, batch in enumerate(x):
            samples = batch[0] if isinstance(batch, (tuple, list)) else batch
            array = spec.samples(f"{name} batch {number}", samples)
            require_finite(f"{name} batch {number}", "x", array, samples, spec.on_nonfinite)
            yield array
        return
    array = spec.samples(name, x)
    require_finite(name, "x", array, x, spec.on_nonfinite)
    for start in range(0, max(len(array), 1), batch_size):
        yield array[start : start + batch_size]


def _require_loader(name: str, x: Samples) -> None:
    """Raise TypeError for x without y that is no loader: an array, lists of numbers or samples, (x, y)."""
    holds_samples = False
    if isinstance(x, (tuple, list)) and len(x) > 0:
        first = x[0]
        if isinstance(first, (tuple, list)):
            # A list of batches (x, y) is a loader, nested lists of numbers are samples.
            holds_samples = len(first) > 0 and isinstance(first[0], (int, float, np.generic))
        elif not isinstance(first, dict):
            if isinstance(x, tuple) and len(x) == 2 and array_like(first):
                raise TypeError(f"[{name}] got a tuple and no y; expected x and y as two arguments: *data")
            holds_samples = not array_like(first)
    if array_like(x) or holds_samples:
        raise TypeError(f"[{name}] got x of type {type(x).__name__} and no y; expected both, or a loader")


def is_loader(x: object) -> TypeGuard[Iterable[Any]]:
    """True for an object that gives batches, and is no array."""
    return hasattr(x, "__iter__") and not isinstance(x, (tuple, list)) and not array_like(x)


def _refuse_loader(name: str, x: Samples) -> None:
    """Raise ValueError for a loader beside targets."""
    if is_loader(x) and hasattr(x, "dataset"):
        raise ValueError(f"[{name}] got a loader and y; expected the loader alone, whose batches are (x, y)")


def _refuse(name: str, why: str, **arguments: Any) -> None:
    """Raise ValueError for an argument that is not None and would have no effect."""
    for argument, value in arguments.items():
        if value is not None:
            raise ValueError(f"[{name}] got {argument} {why}")


def _validation_arguments(data: ValidationData) -> tuple[Any, ...]:
    """(x, y) or (x, y, weights) of an argument of this form, (loader, None) of a loader."""
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        return tuple(data)
    if is_loader(data):
        return data, None
    raise ValueError(
        f"[Trainer.fit validation_data] got {type(data).__name__}; expected (x, y) or (x, y, sample_weight), "
        "or a loader"
    )


def _split_off(name: str, data: Prepared, share: float) -> tuple[Prepared, Prepared]:
    """The data without its last share, and that share.

    Raises:
        ValueError: a share that is not between 0 and 1, or leaves no sample on one side.
    """
    if not 0 < share < 1:
        raise ValueError(f"[{name}] got validation_split {share}; expected a share between 0 and 1")
    n = len(data.x)
    kept = int(n * (1 - share))
    if not 0 < kept < n:
        raise ValueError(f"[{name}] got validation_split {share} of {n} samples; expected some on each side")
    return data.part(0, kept), data.part(kept, n)
