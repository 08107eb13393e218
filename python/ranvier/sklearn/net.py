"""NeuralNetClassifier and NeuralNetRegressor: any module as an estimator, with skorch's parameter names.

The parameters of module, criterion and optimizer have a prefix, as in `module__width=32`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import column_or_1d

import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.autograd import no_grad
from ranvier.nn.modes import evaluating
from ranvier.ops.making import random
from ranvier.sklearn.base import NetworkClassifier, NetworkEstimator, NetworkRegressor, Validation
from ranvier.sklearn.labels import Labels
from ranvier.sklearn.one_row import is_bounded, is_row
from ranvier.sklearn.parameters import check_integer, check_number, make_optimizer, make_random_state
from ranvier.sklearn.types import (
    Callbacks,
    Loss,
    MatrixLike,
    OptimizerLike,
    RandomState,
    TargetLike,
    WeightsLike,
)
from ranvier.sklearn.validation import check_labels, check_values, validate
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.memory import Array
from ranvier.tensors.types import Shape
from ranvier.train import Trainer
from ranvier.train.arrays import require_finite, to_array
from ranvier.train.losses import link_of

ModuleLike: TypeAlias = type[nn.Module] | Callable[..., nn.Module] | nn.Module
"""A class of modules, a function that makes one, or a module, which is copied."""

CriterionLike: TypeAlias = type[nn.Module] | Loss
"""A loss of `rv.nn`, an object or its class, or a function."""

# Settings of skorch, with the only values that are taken here.
_ONLY = {"verbose": 0, "device": "cpu", "warm_start": False, "compile": False}
_PREFIXES = ("module__", "criterion__", "optimizer__")


def _is_skorch_default(name: str, value: Any) -> bool:
    """True for a setting of skorch whose value says what is done here anyway; such settings are ignored."""
    return name in _ONLY and value == _ONLY[name]


def _check_prefixed(estimator: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of module, criterion and optimizer, without skorch's settings that are ignored.

    Raises TypeError: parameters without a prefix, or settings of skorch with another value.
    """
    prefixed = {}
    unknown = []
    for name, value in parameters.items():
        if name.startswith(_PREFIXES):
            prefixed[name] = value
        elif not _is_skorch_default(name, value):
            unknown.append(name)
    if unknown:
        raise TypeError(
            f"[{estimator}] got {', '.join(unknown)}; expected parameters such as module__width or "
            f"optimizer__momentum{_remedy(unknown)}"
        )
    return prefixed


def _remedy(unknown: list[str]) -> str:
    """The end of an error about unknown parameters: what a user of skorch may write instead."""
    remedies = [f"{name}={_ONLY[name]!r} only" for name in unknown if name in _ONLY]
    if "verbose" in unknown:
        remedies.append("callbacks=[rv.ProgressBar()] prints a line an epoch")
    if not remedies:
        return ""
    return f" ({'; '.join(remedies)})"


class _NeuralNet(NetworkEstimator):
    """The base class of the classifier and the regressor for networks of the user."""

    _default_criterion: type[nn.Module]

    def __init__(
        self,
        module: ModuleLike,
        criterion: CriterionLike | None = None,
        *,
        optimizer: OptimizerLike = optim.SGD,
        lr: float = 0.01,
        max_epochs: int = 10,
        batch_size: int = 128,
        train_split: float | None = 0.2,
        callbacks: Callbacks = None,
        random_state: RandomState = None,
        **module__parameters: Any,  # also criterion__..., optimizer__...; scikit-learn checks this name
    ) -> None:
        self.module = module
        self.criterion = criterion
        self.optimizer = optimizer
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.train_split = train_split
        self.callbacks = callbacks
        self.random_state = random_state
        self.__dict__.update(_check_prefixed(type(self).__name__, module__parameters))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters by name, those of the module, criterion and optimizer with their prefix.

        deep: has no effect, there are no estimators in this one; scikit-learn's clone() passes it.
        """
        parameters = {name: getattr(self, name) for name in self._get_param_names()}
        for name, value in vars(self).items():
            if name.startswith(_PREFIXES):
                parameters[name] = value
        return parameters

    def set_params(self, **parameters: Any) -> Any:
        """Set parameters by name; returns the estimator. Raises ValueError: no such parameter."""
        without_self = list(inspect.signature(type(self).__init__).parameters)[1:]
        for name, value in parameters.items():
            if _is_skorch_default(name, value):
                continue
            if name not in without_self and not name.startswith(_PREFIXES):
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}. Valid parameters are: "
                    f"{without_self}, and module__*, criterion__*, optimizer__*"
                )
            setattr(self, name, value)
        return self

    def _arguments(self, prefix: str) -> dict[str, Any]:
        """The parameters with a prefix, by their names without it."""
        attributes = vars(self).items()
        return {name.removeprefix(prefix): value for name, value in attributes if name.startswith(prefix)}

    def _start(self, n_features: int, n_outputs: int) -> None:
        """Make the module, the optimizer and the Trainer.

        n_features, n_outputs: arguments for the module, if it has parameters of these names.
        """
        estimator = type(self).__name__
        self._random_state = make_random_state(self)
        self._generator = None
        refuse_torch(estimator, "a module", self.module)
        sizes = {"n_features": n_features, "n_outputs": n_outputs}
        with random.using(self._stream()):
            self.module_ = _make(self.module, self._arguments("module__"), sizes)
        refuse_torch(estimator, "a module", self.module_)  # a function may have made one
        learning_rate = check_number(self, "lr", above=True)
        settings = {"lr": learning_rate, **self._arguments("optimizer__")}
        parameters = list(self.module_.parameters())
        self.optimizer_ = make_optimizer(self, self.optimizer, parameters, **settings)
        self.trainer_ = Trainer(self.module_, self.criterion_, self.optimizer_)

    def _make_criterion(self) -> Loss:
        criterion = self._default_criterion if self.criterion is None else self.criterion
        refuse_torch(type(self).__name__, "a criterion", criterion)
        return _make(criterion, self._arguments("criterion__"), {})

    def _output_shape(self, x: Array) -> Shape:
        """The shape of the module's output for one sample, found by a call with two."""
        with evaluating(self.module_), no_grad():
            return tuple(self.module_(x[:2]).shape[1:])

    def _validated(self, X: MatrixLike) -> Array:
        """X of a prediction, checked."""
        if is_row(X, self) and is_bounded(X):
            return np.ascontiguousarray(X, np.float32)
        return self._as_floats(validate(self, X, reset=False, allow_nd=True))

    def _as_floats(self, x: Array) -> Array:
        """x as float32; integers stay if the module has an Embedding."""
        if x.dtype.kind in "iu" and any(isinstance(m, nn.Embedding) for m in self.module_.modules()):
            return x
        if x.dtype.kind not in "fiub":
            x = to_array(type(self).__name__, "X", x)
        with np.errstate(over="ignore"):
            floats = np.ascontiguousarray(x, np.float32)
        require_finite(type(self).__name__, "X", floats, x)
        return floats

    def _fit_arrays(self, x: Array, y: Array, strata: Array | None, weights: Array | None) -> Any:
        """Divide arrays into a training and a validation part, and train; returns the estimator.

        strata: the class of each sample, where both parts shall have the same share of each; else None.
        """
        if self.batch_size == -1:
            batch_size = len(x)
        else:
            batch_size = check_integer(self, "batch_size")
        epochs = check_integer(self, "max_epochs")
        validation = None
        if self.train_split is not None and len(x) >= 10:
            train, held_out = self._split(len(x), strata)
            held_out_weights = None if weights is None else weights[held_out]
            validation = Validation(x[held_out], y[held_out], held_out_weights)
            weights = None if weights is None else weights[train]
            x = x[train]
            y = y[train]
        self._train(
            x,
            y,
            weights,
            epochs=epochs,
            batch_size=batch_size,
            validation=validation,
            callbacks=self.callbacks or (),
        )
        self.n_iter_ = self.history_.epochs
        return self

    def _split(self, n: int, strata: Array | None) -> tuple[Array, Array]:
        """The indices of the samples to train with, and of the share `train_split` that is held out."""
        share = check_number(self, "train_split", 0, 1, above=True)
        if strata is not None:
            _, counts = np.unique(strata, return_counts=True)
            if counts.min() < 2 or share * n < len(counts):  # a part would lack a class
                strata = None
        train, held_out = train_test_split(
            np.arange(n), test_size=share, stratify=strata, random_state=self._random_state
        )
        return train, held_out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _make(
    source: nn.Module | Callable[..., Any], arguments: Mapping[str, Any], sizes: Mapping[str, int]
) -> Any:
    """A module or a criterion: of a class or a function by a call, of a module by a copy.

    Args:
        source: the parameter `module` or `criterion`.
        arguments: of the call.
        sizes: further arguments, of which the source gets those that it has parameters for.
    """
    if isinstance(source, nn.Module):
        if arguments:
            raise ValueError(
                f"[NeuralNet] got {', '.join(arguments)} for a {type(source).__name__} that is made already; "
                "expected its class"
            )
        return copy.deepcopy(source)
    if not callable(source):
        raise TypeError(
            f"[NeuralNet] got a module or criterion of type {type(source).__name__}; expected a class, a "
            "function that makes a module, or a module"
        )
    taken = inspect.signature(source).parameters if sizes else {}
    used_sizes = {name: value for name, value in sizes.items() if name in taken}
    return source(**used_sizes | dict(arguments))


class NeuralNetClassifier(NetworkClassifier, _NeuralNet):
    """A classifier of any module, with the parameter names of skorch.

    Args:
        module: a class of modules, a function that makes one, or a module, of which a copy is trained. If it
            has parameters `n_features` or `n_outputs` that are not given, they get the number of columns of
            X and of outputs that the criterion needs. Its output are scores (n, classes), or for a criterion
            over logits, such as `nn.BCEWithLogitsLoss`, (n, 1) or (n,).
        criterion: a classification loss, an object or a class; None is `nn.CrossEntropyLoss`.
        optimizer: a class of `rv.optim`, its name, or a function of a list of parameters.
        lr, max_epochs, batch_size: batch_size -1 takes all samples at once.
        train_split: the share of samples that is held out for "val_loss" in `history_`, or None.
        callbacks: objects of `rv.Callback`; `rv.EarlyStopping()` watches the held out samples.
        random_state: a number for the same result each time, a RandomState, or None.
        module__*, criterion__*, optimizer__*: arguments of these parts, such as `module__width=32`.

    Attributes: module_, criterion_, optimizer_, trainer_, history_, classes_, n_features_in_, n_iter_.

    Raises ValueError: a module whose output does not fit the classes; TypeError: unknown parameters.

    >>> import ranvier as rv
    >>> from ranvier.sklearn import NeuralNetClassifier
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> def network(n_features, n_outputs, width=8):
    ...     return rv.mlp([n_features, width, n_outputs])
    >>> net = NeuralNetClassifier(network, optimizer=rv.optim.Adam, lr=0.05, max_epochs=20, batch_size=32,
    ...                           random_state=0)
    >>> search = GridSearchCV(net, {"module__width": [4, 16], "optimizer__weight_decay": [0.0]}, cv=3)
    >>> bool(search.fit(*load_iris(return_X_y=True)).best_score_ > 0.9)
    True
    """

    _default_criterion = nn.CrossEntropyLoss

    def fit(self, X: MatrixLike, y: TargetLike, sample_weight: WeightsLike = None) -> NeuralNetClassifier:
        """Train the network.

        Args:
            X: samples along axis 0.
            y: labels (n,), or zeros and ones (n, k) for a criterion over logits.
            sample_weight: (n,).

        Returns: the estimator.
        """
        samples, labels = validate(self, X, check_labels(self, y), allow_nd=True, multi_output=True)
        self._labels = Labels(labels)
        self.criterion_ = self._make_criterion()
        link = link_of(self.criterion_)
        if link is None:
            raise ValueError(
                f"[NeuralNetClassifier] got criterion {self.criterion!r}; expected a classification loss "
                "such as nn.CrossEntropyLoss"
            )
        self._start(samples.shape[1], n_outputs=self._count_outputs(link))
        x = self._as_floats(samples)
        codes = self._labels.encode(labels)
        weights = self._checked_weights(sample_weight, x)
        target = self._make_target(codes, self._output_shape(x), link)
        strata = None if self._labels.multilabel else codes
        return self._fit_arrays(x, target, strata, weights)

    def _count_outputs(self, link: str) -> int:
        """The outputs that a module needs: a score for each class, or one logit for two classes."""
        k = len(self.classes_)
        if link != "softmax" and not self._labels.multilabel and k <= 2:
            return 1
        return max(k, 2)

    def _make_target(self, codes: Array, output_shape: Shape, link: str) -> Array:
        """Encoded labels as the criterion takes them: class indices (n,), or numbers of the output's shape.

        Raises ValueError: a module whose output does not fit the classes.
        """
        k = len(self.classes_)
        multilabel = self._labels.multilabel
        if link == "softmax":
            if output_shape[:1] == (max(k, 2),) and not multilabel:
                return codes
        elif multilabel or k <= 2:
            one_logit = output_shape == (1,) and codes.ndim == 1
            if output_shape == codes.shape[1:] or one_logit:
                return codes.astype(np.float32).reshape(len(codes), *output_shape)
        raise ValueError(
            f"[NeuralNetClassifier] got a module with an output of shape {_with_samples(output_shape)} for "
            f"{k} classes and {type(self.criterion_).__name__}; expected a score for each class, or of one "
            "logit a label for a criterion over logits"
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        link = link_of(self._make_criterion())
        tags.classifier_tags.multi_label = link in ("sigmoid", "identity")
        tags.classifier_tags.multi_class = link == "softmax"
        return tags


class NeuralNetRegressor(NetworkRegressor, _NeuralNet):
    """A regressor of any module, with the parameter names of skorch.

    Args: see :class:`NeuralNetClassifier`. The criterion is a loss of values, `nn.MSELoss` where it is None;
        y (n,) also fits a module whose output is (n, 1).

    >>> import ranvier as rv
    >>> from ranvier.sklearn import NeuralNetRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(300, 5, random_state=0)
    >>> net = NeuralNetRegressor(rv.mlp([5, 32, 1]), optimizer=rv.optim.Adam, lr=0.02, max_epochs=60,
    ...                          batch_size=32, random_state=0)
    >>> net.fit(X, y / 100).score(X, y / 100) > 0.95
    True
    """

    _default_criterion = nn.MSELoss

    def fit(self, X: MatrixLike, y: TargetLike, sample_weight: WeightsLike = None) -> NeuralNetRegressor:
        """Train the network.

        Args:
            X: samples along axis 0.
            y: values (n,) or (n, outputs).
            sample_weight: (n,).

        Returns: the estimator.
        """
        samples, values = validate(
            self, X, check_values(self, y), allow_nd=True, multi_output=True, y_numeric=True
        )
        if values.ndim == 2 and values.shape[1] == 1:
            values = column_or_1d(values, warn=True)
        self.criterion_ = self._make_criterion()
        outputs = values.shape[1] if values.ndim > 1 else 1
        self._start(samples.shape[1], outputs)
        x = self._as_floats(samples)
        weights = self._checked_weights(sample_weight, x)
        output_shape = self._output_shape(x)
        target = self._centred(values, self.criterion_, first=True)
        one_value = {values.shape[1:], output_shape} <= {(), (1,)}  # (n,) fits (n, 1)
        if values.shape[1:] != output_shape and not one_value:
            raise ValueError(
                f"[NeuralNetRegressor] got y of shape {values.shape} and a module with an output of shape "
                f"{_with_samples(output_shape)}; expected equal shapes"
            )
        return self._fit_arrays(x, target.reshape(len(target), *output_shape), None, weights)


def _with_samples(shape: Shape) -> str:
    """The shape of an output as errors show it, with n samples along axis 0: "(n, 3)"."""
    return f"(n, {', '.join(map(str, shape))})"
