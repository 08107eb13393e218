"""learn_one, predict_one and predict_proba_one: one sample at a time, as a dict, with River's meaning."""

from __future__ import annotations

import copy
import math
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin

import ranvier.nn as nn
from ranvier.sklearn.base import Labels
from ranvier.sklearn.convergence import Convergence
from ranvier.sklearn.one_row import OneRow, is_bounded, values_of_row
from ranvier.sklearn.perceptron import Perceptron
from ranvier.train.losses import link_of
from ranvier.train.step import parameters_of

__all__ = ["OnlineClassifier", "OnlineRegressor"]

Array = npt.NDArray[Any]


class Reader:
    """Dicts as rows, and labels as targets, for the columns and classes of now.

    Attributes:
        names: of the features, in the order of the columns.
        targets: what the loss takes for each label of a classifier.
    """

    def __init__(self, owner: Any) -> None:
        self.names: list[Any] = owner._feature_names()
        self.known = frozenset(self.names)
        first = self.names[0]
        self.get: Any = itemgetter(*self.names) if len(self.names) > 1 else lambda x: (x[first],)
        self.dtype = next(owner.module_.parameters()).dtype
        self.shape = 1, len(self.names)
        self.pack = struct.Struct(f"{len(self.names)}{self.dtype.char}").pack
        self.labels, self.targets = getattr(owner, "_labels", None), dict[Any, Array]()

    def row(self, values: Iterable[Any]) -> Array | None:
        """The numbers in the dtype of the network, (1, features); None: they are not all finite numbers."""
        try:
            row: Array = np.ndarray(self.shape, self.dtype, self.pack(*values))
        except (struct.error, OverflowError, TypeError, ValueError):
            return None
        return row if is_bounded(row) or np.isfinite(row).all() else None


class Online(Perceptron):
    """What the classifier and the regressor have in common."""

    _supervised = _multiclass = True  # for River

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        """Where River is loaded, it counts the class among its own, so that its `evaluate` takes it."""
        base = sys.modules.get("river.base")
        kind = getattr(base, "Classifier" if issubclass(cls, ClassifierMixin) else "Regressor", None)
        if kind is not None and not issubclass(cls, kind):
            kind.register(cls)
        return super().__new__(cls)

    def learn_one(self, x: Mapping[Any, Any], y: Any) -> None:
        """A step with one sample, that of `partial_fit`; `loss_curve_` and `history_` do not list them all.

        Args:
            x: numbers by the names of their features, in any order. A new name becomes an input of the
                network, with weights of 0; one that is missing counts as 0. After a fit of arrays without
                names they are 0, 1, 2 ...
            y: a label, or a value. A new label becomes an output of the network, with weights of 0.

        Raises:
            TypeError: a feature that is no number; a label that cannot be sorted with the others.
            ValueError: a number that is not finite; no label.

        >>> from ranvier.sklearn import MLPClassifier
        >>> model = MLPClassifier((8,), learning_rate_init=0.05, random_state=0)
        >>> for i in range(200):
        ...     model.learn_one({"a": i % 2, "b": i % 3}, ["no", "yes"][i % 2])
        >>> model.predict_one({"b": 2, "a": 1}), sorted(model.predict_proba_one({"a": 0}))
        ('yes', ['no', 'yes'])
        """
        if "trainer_" not in vars(self):
            return self._learn_first(x, y)
        target = self._target_of(y)  # first, so that nothing has grown where y or a feature is refused
        row = self._row_of(x, learns=True)
        if target is None:
            self._add_label(y)
            target = self._target_of(y)
        steps, measured = OneRow.of(self), None
        own_way = self.verbose or self.early_stopping or self.callbacks or getattr(self, "class_weight", None)
        if not own_way and float(self.alpha) / 2 == self.trainer_.l2:
            measured = steps.step(self, row, target, bool(self.dropout))
        if measured is None:
            return self._learn_fully(row, target)
        self.loss_ = steps.record(row, target, *measured) + self._constant(target, None)
        self.n_iter_, self.t_ = 1, self.t_ + 1
        if self.learning_rate == "invscaling":
            Convergence.of_row(self).decay()

    def _learn_first(self, x: Mapping[Any, Any], y: Any) -> None:
        """A network for the features of the first sample; a sample without any is left out."""
        self._require(isinstance(x, Mapping), f"x of type {type(x).__name__}", "a dict", TypeError)
        self._require(self.solver != "lbfgs", "solver 'lbfgs', which takes whole data", "another one")
        names = _in_order(x)
        if names:
            row = np.array([[self._number(name, x[name]) for name in names]])
            self._begin(y)
            self._fit(row, np.array([y]), None, None, incremental=True)
            self._set_names(names)

    def _learn_fully(self, row: Array, target: Array) -> None:
        """As `partial_fit` on the full path, without scikit-learn's checks."""
        self._check()
        self._require(self.solver != "lbfgs", "solver 'lbfgs', which takes whole data", "another one")
        weights = self._checked_weights(None, row, target.astype(np.int64).ravel())
        loss = self.trainer_.loss
        self._fit_arrays(row, target, target, weights, None, loss, incremental=True, batch_size=1)
        self._note_row()

    # --- a sample
    def _reader(self) -> Reader:
        steps = OneRow.of(self)
        if steps.reader is None or steps.reader.labels is not getattr(self, "_labels", None):
            steps.reader = Reader(self)
        return steps.reader

    def _row_of(self, x: Mapping[Any, Any], learns: bool = False) -> Array:
        """The features as a row of the network's input; with `learns` new names become columns."""
        reader = self._reader()
        try:
            whole = isinstance(x, dict) and len(x) == len(reader.names)
            row = reader.row(reader.get(x)) if whole else None
        except (KeyError, TypeError):
            row = None
        if row is not None:
            return row
        self._require(isinstance(x, Mapping), f"x of type {type(x).__name__}", "a dict", TypeError)
        numbers = {name: self._number(name, x[name]) for name in x if learns or name in reader.known}
        if learns and not reader.known.issuperset(numbers):
            self._add_columns(_in_order(numbers.keys() - reader.known))
            reader = self._reader()
        return np.array([[numbers.get(name, 0.0) for name in reader.names]], reader.dtype)

    def _number(self, name: Any, value: Any) -> float:
        """A feature, or y, as a number that the network can take."""
        number: float | None = None
        try:
            if not isinstance(value, (str, bytes)):
                number = float(value)
        except TypeError:
            pass
        except OverflowError:
            number = math.inf
        kind = f"feature {name!r} of type {type(value).__name__}"
        self._require(number is not None, kind, "a number", TypeError)
        largest = float(np.finfo(self._dtype()).max)
        what = f"a finite number of at most {largest:.3g}"
        self._require(number is not None and abs(number) <= largest, f"feature {name!r} {value}", what)
        return number  # type: ignore[return-value]

    def _require(self, holds: bool, got: str, expected: str, kind: type[Exception] = ValueError) -> None:
        if not holds:
            raise kind(f"[{type(self).__name__}] got {got}; expected {expected}")

    def _feature_names(self) -> list[Any]:
        """In the order of the columns."""
        if self._names is not None:
            return self._names
        named = getattr(self, "feature_names_in_", None)
        return [*range(self.n_features_in_)] if named is None else named.tolist()

    def _set_names(self, names: list[Any]) -> None:
        self._names, self.n_features_in_ = names, len(names)
        if all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.array(names, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        OneRow.of(self).reader = None

    # --- growth
    def _add_columns(self, new: list[Any]) -> None:
        names, layer = self._feature_names(), self._linear()[0]
        if layer.in_features != len(names):
            self._require(False, f"the features {new}", f"those of the fit, {names[:9]}")
        self._replace([(layer, "weight", lambda a: np.pad(a, ((0, 0), (0, len(new)))))])
        layer.in_features += len(new)
        self._set_names([*names, *new])

    def _set_outputs(self, matrix: Array) -> None:
        """Outputs that are sums of those before: matrix (outputs, outputs before)."""
        layer = self._linear()[-1]

        def change(a: Array) -> Array:
            return matrix.astype(a.dtype) @ a

        names = ["weight"] if layer.bias is None else ["weight", "bias"]
        self._replace([(layer, name, change) for name in names])
        layer.out_features = self.n_outputs_ = len(matrix)

    def _replace(self, changes: list[tuple[Any, str, Callable[[Array], Array]]]) -> None:
        """Put changed parameters in the place of those of layers, and change the optimizer's state alike."""
        optimizer = self.trainer_.optimizer
        saved = optimizer.state_dict()
        places = {id(p): i for i, p in enumerate(parameters_of(optimizer))}
        for layer, name, change in changes:
            old = getattr(layer, name)
            new = nn.Parameter(np.ascontiguousarray(change(old.detach().numpy())))
            setattr(layer, name, new)
            for group in optimizer.param_groups:
                group["params"] = [new if p is old else p for p in group["params"]]
            state = saved["state"].get(places.get(id(old)), {})
            for key, value in state.items():
                if np.shape(value) == old.shape and old.ndim:
                    changed = change(np.asarray(value))
                    # a mean of squares stays one
                    state[key] = np.maximum(changed, 0) if (np.asarray(value) >= 0).all() else changed
        optimizer.load_state_dict(saved)
        self.trainer_.optimizer = copy.copy(optimizer)  # so that steps are made for the new parameters


class OnlineClassifier(Online):
    """`predict_one`, `predict_proba_one` and the labels of a classifier."""

    def predict_proba_one(self, x: Mapping[Any, Any]) -> dict[Any, float]:
        """The probability of each label; an empty dict before the first `learn_one` or `fit`."""
        if "trainer_" not in vars(self):
            return {}
        self._require(not self._labels.multilabel, "a fit with several labels a sample", "one label")
        p = self._probabilities(self._row_of(x))[0].tolist()
        total = sum(p)
        return {label: value / total for label, value in zip(self.classes_.tolist(), p, strict=True)}

    def predict_one(self, x: Mapping[Any, Any]) -> Any:
        """The most likely label; None before the first `learn_one` or `fit`."""
        p = self.predict_proba_one(x)
        return max(p, key=p.__getitem__) if p else None

    def _begin(self, y: Any) -> None:
        self._require_label(y)
        self._labels = _labels_of([y])

    def _require_label(self, y: Any) -> None:
        holds = y is not None and np.ndim(y) == 0 and y == y  # not NaN
        self._require(bool(holds), f"y {y!r}", "a label")

    def _target_of(self, y: Any) -> Array | None:
        """What the loss takes; None for a label that is new and can be added."""
        reader = self._reader()
        target = reader.targets.get(y)
        if target is None:
            if y not in self.classes_.tolist():
                self._classes_with(y)
                return None
            code = self.classes_.tolist().index(y)
            logistic = link_of(self.trainer_.loss) != "softmax"
            target = np.array([[code]], reader.dtype) if logistic else np.array([code])
            reader.targets[y] = target
        return target

    def _classes_with(self, y: Any) -> list[Any]:
        """The classes with a new one, in order.

        Raises ValueError, TypeError: it cannot be one.
        """
        self._require_label(y)
        before = self.classes_.tolist()
        third = len(before) == 2 and link_of(self.trainer_.loss) != "softmax"
        self._require(
            not third or self.loss == "log_loss", f"a third label {y!r} for loss {self.loss!r}", "two"
        )
        try:
            return sorted([*before, y])
        except TypeError:
            raise TypeError(
                f"[{type(self).__name__}] got the label {y!r} after {before[0]!r}; expected labels that can "
                "be sorted together"
            ) from None

    def _add_label(self, y: Any) -> None:
        """A further class; the probabilities of the others keep their ratios."""
        after, k = self._classes_with(y), len(self.classes_)
        at = after.index(y)
        if link_of(self.trainer_.loss) == "softmax":
            rows = np.eye(max(k, 2))  # where there was one class, the second output is of no label
            matrix = rows[[int(at == 0), int(at != 0)]] if k == 1 else np.insert(rows, at, 0.0, axis=0)
        elif k == 1:  # one output, of the second class
            matrix = np.array([[1.0 if at else -1.0]])
        else:
            matrix = np.insert(np.array([[0.0], [1.0]]), at, 0.0, axis=0)
        self._labels = _labels_of(after)
        self._set_outputs(matrix)
        if link_of(self.trainer_.loss) != "softmax" and k > 1:
            self.trainer_.loss, self.out_activation_ = nn.CrossEntropyLoss(), "softmax"


class OnlineRegressor(Online):
    """`predict_one` and the target of a regressor."""

    def predict_one(self, x: Mapping[Any, Any]) -> float:
        """The predicted value; 0.0 before the first `learn_one` or `fit`."""
        if "trainer_" not in vars(self):
            return 0.0
        self._require(self.n_outputs_ == 1, f"a fit of {self.n_outputs_} outputs", "one")
        return float((self._values(self._row_of(x)) + self._offset).item())

    def _begin(self, y: Any) -> None:
        self._number("y", y)

    def _target_of(self, y: Any) -> Array:
        self._require(self.n_outputs_ == 1, f"a fit of {self.n_outputs_} outputs", "one")
        target = values_of_row(self, [y])
        if target is not None:
            return target
        return self._target(np.array([self._number("y", y)]), self.trainer_.loss)


def _in_order(names: Iterable[Any]) -> list[Any]:
    """In an order that does not depend on that of a dict."""
    names = list(names)
    try:
        return sorted(names)
    except TypeError:  # of several types
        return sorted(names, key=lambda name: (type(name).__name__, repr(name)))


def _labels_of(classes: list[Any]) -> Labels:
    labels = Labels.__new__(Labels)
    labels.multilabel, labels.classes = False, np.array(classes)
    return labels
