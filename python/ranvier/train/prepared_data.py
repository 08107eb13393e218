"""Samples, targets and weights for a Trainer: checked and converted once, before the first step.

`DataSpec` knows what a model and a loss take, and makes arrays of what a user passes; `prepare` gives
samples, targets and weights together. In errors `name` is the method that was called, such as "Trainer.fit".
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ranvier.autograd import borrowed, no_grad
from ranvier.nn.modes import evaluating
from ranvier.ops.making import random
from ranvier.tensors.memory import Array
from ranvier.train.arrays import categories, column_names, require_finite, require_labels, to_array
from ranvier.train.losses import Loss, is_one_of, link_of, name_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from ranvier.nn.module import Module

Samples: TypeAlias = "npt.ArrayLike | Iterable[Any]"
"""x: an array, a data frame, a tensor of PyTorch, lists; or, without y, a loader that gives batches."""

ValidationData: TypeAlias = "Sequence[npt.ArrayLike] | Iterable[Any]"
"""(x, y), (x, y, sample_weight) or a loader."""

ClassWeight: TypeAlias = Mapping[Any, float] | Sequence[float] | Array | str
"""The weights of classes: by label, one for each class, or "balanced"."""

_FROM_0_TO_1 = ("BCELoss", "BCEWithLogitsLoss")  # losses whose targets must be in [0, 1]


class DataSpec:
    """The data that a model and a loss take, and what is known of the data that `fit` was given.

    A Trainer keeps one from `fit` to `evaluate` and `predict` (`Trainer._current_spec`). Conversions set
    `classes`, `columns`, `outputs` and `integers` where these are not known, and `Trainer.fit` sets `flat`.

    Attributes:
        model, loss: the model and the loss of the Trainer.
        classes: the labels, where they are not the numbers 0, 1, ...; class i is the i-th of them.
        columns: the column names of x, if it is a data frame.
        outputs: the column names of y, if it is a data frame of several columns.
        flat: whether y has one axis.
        integers: whether the model takes integers, as one with an Embedding does; None until it is tried.
        on_nonfinite: the Trainer's setting: what happens if numbers are NaN or infinite.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss,
        classes: Array | None = None,
        columns: list[str] | None = None,
        outputs: list[str] | None = None,
        flat: bool = False,
    ) -> None:
        self.model = model
        self.loss = loss
        self.classes = classes
        self.columns = columns
        self.outputs = outputs
        self.flat = flat
        self.integers: bool | None = None
        self.on_nonfinite = "ignore"

    @property
    def link(self) -> str | None:
        return link_of(self.loss)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the model's parameters; float32 for a model without."""
        for p in self.model.parameters():
            return np.dtype(p.dtype)
        return np.dtype(np.float32)

    def samples(self, name: str, x: Samples) -> Array:
        """`x` as an array in the model's dtype; integers and booleans stay if the model takes them.

        Raises:
            ValueError: a data frame whose columns are not those of `fit`, in their order.
        """
        self.columns = _same_columns(name, "columns", x, self.columns)
        array = to_array(name, "x", x)
        if array.dtype.kind == "f":
            return _converted(array, self.dtype)
        if len(array) == 0:
            return array  # It is not known whether the model takes integers.
        if self.integers is None:
            self.integers = self._takes_integers(array[:1])
        if self.integers:
            return np.ascontiguousarray(array)
        return _converted(array, self.dtype)

    def _takes_integers(self, x: Array) -> bool:
        """Whether the model takes a sample of integers, or takes neither these nor floats."""
        if not _raises(self.model, x):
            return True
        return _raises(self.model, x.astype(self.dtype))

    def targets(self, name: str, y: npt.ArrayLike, x: Array, learn: bool = False) -> Array:
        """`y` as an array with a target for each sample of x: class indices, or numbers in the model's dtype.

        learn: take the classes from `y`, if they are not known.
        """
        self.outputs = _same_columns(name, "columns of y", y, self.outputs)
        array = to_array(name, "y", y, text=True)
        if len(array) != len(x):
            raise ValueError(
                f"[{name}] got {len(x)} samples in x and {len(array)} targets in y; expected as "
                f"many{_of_lengths(x, array)}"
            )
        has_class_indices = self.link == "softmax"
        if self.classes is not None or self._holds_labels(y, array):
            array = self._encoded(name, array, learn)
            is_column = array.shape[1:] == (1,)
            if has_class_indices and is_column:
                array = self._from_rows(array, x)
        elif has_class_indices and array.dtype.kind in "iub" and array.ndim == 2:
            array = self._from_rows(array, x)
        if has_class_indices and array.dtype.kind in "iu":
            return np.ascontiguousarray(array)
        if is_one_of(self.loss, *_FROM_0_TO_1) and array.size:
            self._require_0_to_1(name, array)
        if has_class_indices and array.size and x.ndim > 1 and array.min() < 0:
            raise ValueError(
                f"[{name}] got y from {array.min():g} to {array.max():g} for {name_of(self.loss)}; expected "
                "integers as class indices, or probabilities of the classes; for values take MSELoss"
            )
        return _converted(array, self.dtype)

    def _holds_labels(self, y: npt.ArrayLike, array: Array) -> bool:
        """Whether the targets name classes: text, categories of a data frame, or flags for a softmax."""
        kind = array.dtype.kind
        if kind in "UO":
            return True
        if kind == "b" and self.link == "softmax" and array.ndim == 1:
            return True
        return self.link is not None and categories(y)

    def decoded(self, name: str, codes: Array) -> Array:
        """The labels of class indices."""
        if self.classes is None:
            return codes
        if codes.size and codes.max() >= len(self.classes):
            raise ValueError(
                f"[{name}] got a prediction of class {codes.max()} for {len(self.classes)} labels; expected "
                "a model with one output for each"
            )
        return self.classes[codes]

    def _require_0_to_1(self, name: str, array: Array) -> None:
        """Raise ValueError for targets outside 0 to 1, for which a binary loss has no meaning."""
        low = array.min()
        high = array.max()
        if not (low < 0 or high > 1):  # NaN is refused later, with its place
            return
        if high > 2:
            remedy = "CrossEntropyLoss takes more classes"
        elif low >= 1:
            remedy = "pass y - 1"
        elif low == -1:
            remedy = "pass y > 0"
        else:
            remedy = "y / y.max()"
        raise ValueError(
            f"[{name}] got y from {low:g} to {high:g} for {name_of(self.loss)}; expected targets from 0 "
            f"to 1: {remedy}"
        )

    # --- labels

    def _encoded(self, name: str, array: Array, learn: bool) -> Array:
        """The class index of each label."""
        loss = name_of(self.loss)
        if self.link is None:
            raise TypeError(
                f"[{name}] got y of dtype {array.dtype} for {loss}; expected numbers: convert text by "
                "astype(float), or use a classification loss (CrossEntropyLoss) for labels"
            )
        require_labels(name, array)
        classes = self.classes
        if classes is None and not learn:
            raise TypeError(
                f"[{name}] got y of dtype {array.dtype}, and the labels are not known before; expected "
                "class indices, or a fit with all of y in one array before"
            )
        if classes is None:
            classes = self._learned(name, array)
        classes_are_text = classes.dtype.kind in "UO"
        labels_are_text = array.dtype.kind in "UO"
        if classes_are_text == labels_are_text:
            codes = np.minimum(np.searchsorted(classes, array), len(classes) - 1)
        else:
            # Text is not compared with numbers: no class fits, so every label is unknown.
            codes = np.zeros(array.shape, np.int64)
        unknown = np.asarray(classes[codes] != array)
        if unknown.any():
            raise ValueError(
                f"[{name}] got label {array[unknown].flat[0]!s}; expected one of "
                f"{', '.join(map(str, classes[:20].tolist()))}, the labels of fit"
            )
        self.classes = classes
        return codes.astype(np.int64)

    def _learned(self, name: str, array: Array) -> Array:
        """The classes: the different labels, sorted."""
        try:
            classes = np.unique(array)
        except TypeError:
            types = sorted({type(value).__name__ for value in array.ravel().tolist()})
            raise TypeError(
                f"[{name}] got labels of the types {', '.join(types)}; expected labels of one type: "
                "y.astype(str)"
            ) from None
        if len(classes) == 1:
            raise ValueError(
                f"[{name}] got the label {classes[0]!s} for all samples; expected samples of two labels or "
                "more"
            )
        if self.link != "softmax" and len(classes) != 2:
            raise ValueError(
                f"[{name}] got {len(classes)} different labels ({', '.join(map(str, classes[:5].tolist()))}) "
                f"for {name_of(self.loss)}; expected 2 (CrossEntropyLoss takes more)"
            )
        return classes

    def _from_rows(self, array: Array, x: Array) -> Array:
        """Class indices (n) of one-hot rows (n, classes) or of a column (n, 1), where the model has one
        output for each class; other arrays as they are."""
        columns = array.shape[1]
        is_column = columns == 1 and array.dtype.kind != "b"
        is_one_hot = columns > 1 and _is_one_hot(array)
        if not (is_column or is_one_hot) or len(x) == 0:
            return array
        try:
            shape = output_shape(self.model, x[:1])
        except Exception:  # the error of the model itself is shown at the first step
            return array
        if is_one_hot and shape == (1, columns):
            return array.argmax(axis=1)
        if is_column and len(shape) == 2:
            return array.ravel()
        return array


def _is_one_hot(array: Array) -> bool:
    """Whether each row has one 1 and else zeros."""
    integers = array.astype(np.int64)
    are_0_or_1 = (integers == 0) | (integers == 1)
    return bool(are_0_or_1.all()) and bool((integers.sum(1) == 1).all())


def _of_lengths(x: Array, y: Array) -> str:
    """A remedy for samples and targets of different numbers; "" if none is known."""
    if x.ndim > 2 and len(x) <= 8 and x.shape[1] == len(y):
        return (
            f": x holds {len(x)} arrays of {len(y)} samples each. A model of several inputs gets them as "
            "one array, np.concatenate(x, axis=1), which it divides in forward, or in a loop of your own"
        )
    if x.ndim > 1 and x.shape[-1] == len(y):
        return ": samples are rows, so pass x.T"
    return ""


def _same_columns(name: str, what: str, data: Samples, expected: list[str] | None) -> list[str] | None:
    """The column names of a data frame; `expected` for other data, or for targets of one column.

    Raises ValueError if they are not those expected.
    """
    names = column_names(data)
    if names is None or (len(names) == 1 and what != "columns"):
        return expected
    columns = [str(column) for column in names]
    if expected is not None and columns != expected:
        raise ValueError(
            f"[{name}] got the {what} {', '.join(columns)}; expected "
            f"{', '.join(expected)}, as fit was given them"
        )
    return columns


def output_shape(model: Module, x: Array) -> tuple[int, ...]:
    """The shape of the model's output for x, by a forward pass that does not change the random state."""
    with random.fork_rng(), no_grad(), evaluating(model):
        return tuple(model(borrowed(x)).shape)


def _raises(model: Module, x: Array) -> bool:
    try:
        output_shape(model, x)
    except Exception:
        return True
    return False


def _converted(array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):  # what is too large is found, with its place, by `require_finite`
        return np.ascontiguousarray(array, dtype)


class Prepared:
    """Samples, targets and, if there are any, weights: arrays of equal length."""

    def __init__(self, x: Array, y: Array, weights: Array | None) -> None:
        self.x = x
        self.y = y
        self.weights = weights

    def part(self, start: int, stop: int) -> Prepared:
        """Samples start to stop - 1."""
        weights = self.weights
        if weights is not None:
            weights = weights[start:stop]
        return Prepared(self.x[start:stop], self.y[start:stop], weights)

    @property
    def arrays(self) -> tuple[Array, ...]:
        if self.weights is None:
            return (self.x, self.y)
        return (self.x, self.y, self.weights)


def prepare(
    name: str,
    x: Samples,
    y: npt.ArrayLike,
    spec: DataSpec,
    sample_weight: npt.ArrayLike | None = None,
    class_weight: ClassWeight | None = None,
    whole: bool = True,
    learn: bool = False,
) -> Prepared:
    """The data, checked and converted; `name` is the method that errors name.

    whole: these are all the data, so that their weights must not all be zero; those of a batch may be.
    learn: take the classes from y, if they are not known.
    """
    xs = spec.samples(name, x)
    if len(xs) == 0:
        raise ValueError(f"[{name}] got no samples; expected at least one")
    ys = spec.targets(name, y, xs, learn)
    require_finite(name, "x", xs, x, spec.on_nonfinite)
    require_finite(name, "y", ys, y, spec.on_nonfinite)
    _require_order(name, x, y)
    if sample_weight is None:
        weights = None
    else:
        weights = sample_weights(name, sample_weight, len(xs), whole)
    return weighted(name, Prepared(xs, ys, weights), class_weight, spec, whole)


def _require_order(name: str, x: Samples, y: npt.ArrayLike) -> None:
    """Warn if x and y are pandas objects with the same row labels in different orders."""
    rows: Any = getattr(x, "index", None)
    others: Any = getattr(y, "index", None)
    if not hasattr(rows, "equals") or not hasattr(others, "equals") or rows.equals(others):
        return
    if rows.is_unique and rows.isin(others).all():
        warnings.warn(
            f"[{name}] x and y have the same index in different orders, and are paired by position: "
            "y.loc[x.index] pairs them by index",
            stacklevel=4,
        )


def weighted(
    name: str, data: Prepared, class_weight: ClassWeight | None, spec: DataSpec, whole: bool = True
) -> Prepared:
    """The data with each weight multiplied by that of the sample's class; 0 for the loss's `ignore_index`.

    whole: see `prepare`.
    """
    weights = data.weights
    if class_weight is not None:
        by_class = class_weights(name, class_weight, data.y, whole, spec.classes)
        if weights is None:
            weights = by_class
        else:
            weights = weights * by_class
    ignored = getattr(spec.loss, "ignore_index", None)
    if weights is not None and ignored is not None and data.y.ndim == 1:
        weights = np.where(data.y == ignored, 0.0, weights)
    return Prepared(data.x, data.y, weights)


def sample_weights(name: str, weights: npt.ArrayLike, n: int, whole: bool = True) -> npt.NDArray[np.float64]:
    """One non-negative weight per sample; whole: see `prepare`."""
    array = to_array(name, "sample_weight", weights).astype(np.float64)
    if array.shape != (n,):
        raise ValueError(f"[{name}] got sample_weight of shape {array.shape}; expected ({n},)")
    are_valid = np.isfinite(array).all() and (array >= 0).all()
    may_be_zeros = not whole
    if not (are_valid and (may_be_zeros or array.sum() > 0)):
        raise ValueError(f"[{name}] got a sample_weight below 0, not finite, or all zeros")
    return array


def weights_by_label(
    name: str, weights: ClassWeight | None, y: Array, names: Array | None
) -> dict[Any, float] | None:
    """The weights of the classes of training data by their labels, for other data; None without weights.

    y: class indices. names: the labels of the indices, where they are not the indices themselves.
    """
    if weights is None:
        return None
    per_sample = class_weights(name, weights, y, whole=True, names=names)
    codes, first = np.unique(y.reshape(-1).astype(np.int64), return_index=True)
    labels = _labels(codes, names)
    return dict(zip(labels, per_sample[first].tolist(), strict=True))


def _labels(indices: Array, names: Array | None) -> list[Any]:
    """The labels of class indices: `names` of them, or the indices themselves."""
    if names is None:
        return indices.tolist()
    return names[indices].tolist()


def class_weights(
    name: str, weights: ClassWeight, y: Array, whole: bool, names: Array | None
) -> npt.NDArray[np.float64]:
    """The weight of each sample's class.

    `weights` is a mapping from label to weight (1 for labels that it lacks), a sequence with one weight per
    class, or "balanced": n / (classes * count of the class), as in scikit-learn. names: the labels of the
    indices in y, where they are not the indices themselves.
    """
    labels = y.reshape(len(y), -1)
    if labels.shape[1] != 1 or not np.array_equal(labels, np.rint(labels)):
        raise ValueError(
            f"[{name}] got class_weight with targets of shape {y.shape}; expected one label per sample: "
            "y.argmax(1) of one-hot rows"
        )
    classes, codes, counts = np.unique(labels.astype(np.int64), return_inverse=True, return_counts=True)
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(
                f"[{name}] got class_weight {weights!r}; expected 'balanced', a mapping or a sequence"
            )
        per_class = len(y) / (len(classes) * counts)
    elif isinstance(weights, Mapping):
        per_class = _mapped_weights(name, weights, classes, whole, names)
    else:
        per_class = _listed_weights(name, weights, classes, names)
    return sample_weights(name, per_class[codes.ravel()], len(y), whole)


def _mapped_weights(
    name: str, weights: Mapping[Any, float], classes: Array, whole: bool, names: Array | None
) -> npt.NDArray[np.float64]:
    """The weight of each class of the data, from {label: weight}; ValueError for labels without samples."""
    occurring = _labels(classes, names)
    if whole or names is None:
        allowed = occurring
    else:
        allowed = names.tolist()
    absent = [label for label in weights if label not in allowed]
    if absent and (whole or names is not None):
        raise ValueError(
            f"[{name}] got class_weight for label {absent[0]!r}, which does not occur; expected some of "
            f"{', '.join(map(str, allowed[:20]))}"
        )
    return np.array([weights.get(label, 1.0) for label in occurring], np.float64)


def _listed_weights(
    name: str, weights: npt.ArrayLike, classes: Array, names: Array | None
) -> npt.NDArray[np.float64]:
    """The weight of each class of the data, from one weight for each class there is."""
    every_class = np.asarray(weights, np.float64)
    count = -1
    if every_class.ndim == 1:
        count = len(every_class)
    if names is None:
        fits = classes[0] >= 0 and count > classes[-1]
        expected = f"each label 0 to {classes[-1]}"
    else:
        fits = count == len(names)
        expected = f"each of the {len(names)} labels"
    if not fits:
        raise ValueError(
            f"[{name}] got class_weight of shape {every_class.shape}; expected one weight for {expected}"
        )
    return every_class[classes]
