"""NeuralNetClassifier and NeuralNetRegressor: any module as an estimator, with skorch's parameter names."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d

import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.autograd import no_grad
from ranvier.nn.modes import evaluating
from ranvier.ops.making import random
from ranvier.sklearn.base import Array, Labels, NetworkClassifier, NetworkEstimator, NetworkRegressor
from ranvier.sklearn.one_row import is_bounded, is_row
from ranvier.sklearn.validation import labels_of, make_optimizer, number, validated, values_of, whole
from ranvier.tensors.data import refuse_torch
from ranvier.train import Trainer
from ranvier.train.arrays import require_finite, to_array
from ranvier.train.losses import link_of

# Settings of skorch, with the only values that are taken here.
_ONLY = {"verbose": 0, "device": "cpu", "warm_start": False, "compile": False}
_PREFIXES = ("module__", "criterion__", "optimizer__")


def _checked(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of module, criterion and optimizer.

    Raises TypeError for others, except for skorch's settings with the value that applies here (`_ONLY`).
    """
    kept = {key: value for key, value in parameters.items() if key.startswith(_PREFIXES)}
    usual = [key for key in parameters if key in _ONLY and parameters[key] == _ONLY[key]]
    wrong = [key for key in parameters if key not in kept and key not in usual]
    if wrong:
        only = [f"{key}={_ONLY[key]!r} only" for key in wrong if key in _ONLY]
        only += ["callbacks=[rv.ProgressBar()] prints a line an epoch"] * ("verbose" in wrong)
        remedy = f" ({'; '.join(only)})" if only else ""
        raise TypeError(
            f"[{name}] got {', '.join(wrong)}; expected parameters such as module__width or "
            f"optimizer__momentum{remedy}"
        )
    return kept


class _NeuralNet(NetworkEstimator):
    """The base class of the classifier and the regressor for networks of the user."""

    _default_criterion: type

    def __init__(
        self,
        module: Any,
        criterion: Any = None,
        *,
        optimizer: Any = optim.SGD,
        lr: float = 0.01,
        max_epochs: int = 10,
        batch_size: int = 128,
        train_split: float | None = 0.2,
        callbacks: Any = None,
        random_state: Any = None,
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
        self.__dict__.update(_checked(type(self).__name__, module__parameters))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters by name, those of the module, criterion and optimizer with their prefix."""
        fixed = {name: getattr(self, name) for name in self._get_param_names()}
        return fixed | {name: value for name, value in vars(self).items() if name.startswith(_PREFIXES)}

    def set_params(self, **parameters: Any) -> Any:
        """Set parameters by name. Raises ValueError: no such parameter."""
        own = list(inspect.signature(type(self).__init__).parameters)[1:]
        parameters = {name: x for name, x in parameters.items() if not (name in _ONLY and x == _ONLY[name])}
        for name, value in parameters.items():
            if name not in own and not name.startswith(_PREFIXES):
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}. Valid parameters are: "
                    f"{own}, and module__*, criterion__*, optimizer__*"
                )
            setattr(self, name, value)
        return self

    def _of(self, prefix: str) -> dict[str, Any]:
        own = vars(self).items()
        return {name.removeprefix(prefix): value for name, value in own if name.startswith(prefix)}

    def _make(self, n_features: int, n_outputs: int) -> None:
        """Make the module, the optimizer and the Trainer.

        n_features, n_outputs: arguments for the module, if it has parameters of these names.
        """
        name = type(self).__name__
        self._random_state = check_random_state(self.random_state)
        self._generator = None
        refuse_torch(name, "a module", self.module)
        with random.using(self._stream()):
            sizes = {"n_features": n_features, "n_outputs": n_outputs}
            self.module_ = _made(self.module, self._of("module__"), sizes)
            refuse_torch(name, "a module", self.module_)  # from a function
        settings = {"lr": number(self, "lr", above=True), **self._of("optimizer__")}
        self.optimizer_ = make_optimizer(name, self.optimizer, list(self.module_.parameters()), **settings)
        self.trainer_ = Trainer(self.module_, self.criterion_, self.optimizer_)

    def _made_criterion(self) -> Any:
        if self.criterion is None:
            kind = self._default_criterion
        else:
            kind = self.criterion
        refuse_torch(type(self).__name__, "a criterion", kind)
        return _made(kind, self._of("criterion__"), {})

    def _shape(self, x: Array) -> tuple[int, ...]:
        """The shape of the module's output for a sample."""
        with evaluating(self.module_), no_grad():
            return tuple(self.module_(x[:2]).shape[1:])

    def _validated(self, X: Any) -> Array:
        if is_row(self, X) and is_bounded(X):
            return np.ascontiguousarray(X, np.float32)
        return self._as_floats(validated(self, X, reset=False, allow_nd=True))

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
        """Divide arrays into a training and a validation part, and train."""
        if self.batch_size == -1:
            batch_size = len(x)
        else:
            batch_size = whole(self, "batch_size")
        epochs = whole(self, "max_epochs")
        valid = None
        if self.train_split is not None and len(x) >= 10:
            share = number(self, "train_split", 0, 1, above=True)
            if strata is not None:
                counts = np.unique(strata, return_counts=True)[1]
                if not (counts.min() >= 2 and share * len(x) >= len(counts)):
                    strata = None
            index = np.arange(len(x))
            how = {"stratify": strata, "random_state": self._random_state}
            a, b = train_test_split(index, test_size=share, **how)
            valid = x[b], y[b], None if weights is None else weights[b]
            x = x[a]
            y = y[a]
            weights = None if weights is None else weights[a]
        fitting: dict[str, Any] = {"validation": valid, "callbacks": self.callbacks or ()}
        self._train(x, y, weights, epochs=epochs, batch_size=batch_size, **fitting)
        self.n_iter_ = self.history_.epochs
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _made(kind: Any, settings: dict[str, Any], sizes: dict[str, int]) -> Any:
    """The result of `kind`, a class or a function, called with the settings and the sizes that it takes.

    A module is copied.
    """
    if isinstance(kind, nn.Module):
        if settings:
            raise ValueError(
                f"[NeuralNet] got {', '.join(settings)} for a {type(kind).__name__} that is made already; "
                "expected its class"
            )
        return copy.deepcopy(kind)
    if not callable(kind):
        raise TypeError(
            f"[NeuralNet] got a module or criterion of type {type(kind).__name__}; expected a class, a "
            "function that makes a module, or a module"
        )
    taken = inspect.signature(kind).parameters if sizes else ()
    return kind(**{name: value for name, value in sizes.items() if name in taken} | settings)


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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> NeuralNetClassifier:
        """Train with samples X along axis 0, and labels y (n,), or zeros and ones (n, k) for logits."""
        X, y = validated(self, X, labels_of(self, y), allow_nd=True, multi_output=True)
        self._labels, self.criterion_ = Labels(y), self._made_criterion()
        link = link_of(self.criterion_)
        k = len(self.classes_)
        several = self._labels.multilabel
        if link is None:
            raise ValueError(
                f"[NeuralNetClassifier] got criterion {self.criterion!r}; expected a classification loss "
                "such as nn.CrossEntropyLoss"
            )
        self._make(X.shape[1], 1 if link != "softmax" and not several and k <= 2 else max(k, 2))
        x = self._as_floats(X)
        codes = self._labels.encode(y)
        weights = self._checked_weights(sample_weight, x)
        shape = self._shape(x)
        target = codes
        if link == "softmax":
            right = len(shape) >= 1 and shape[0] == max(k, 2) and not several
        else:
            right = shape == codes.shape[1:] or (shape == (1,) and codes.ndim == 1)
            right = right and (several or k <= 2)
            if right:
                target = codes.astype(np.float32).reshape(len(codes), *shape)
            else:
                target = codes
        if not right:
            raise ValueError(
                f"[NeuralNetClassifier] got a module with an output of shape (n, "
                f"{', '.join(map(str, shape))}) for {k} classes and {type(self.criterion_).__name__}; "
                "expected a score for each class, or of one logit a label for a criterion over logits"
            )
        return self._fit_arrays(x, target, None if several else codes, weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        link = link_of(self._made_criterion())
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> NeuralNetRegressor:
        """Train with samples X along axis 0, and values y (n,) or (n, outputs)."""
        how = {"allow_nd": True, "multi_output": True, "y_numeric": True}
        X, y = validated(self, X, values_of(self, y), **how)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self.criterion_ = self._made_criterion()
        self._make(X.shape[1], y.shape[1] if y.ndim > 1 else 1)
        x = self._as_floats(X)
        weights = self._checked_weights(sample_weight, x)
        shape = self._shape(x)
        target = self._centred(y, self.criterion_, True)
        if y.shape[1:] != shape and not {y.shape[1:], shape} <= {(), (1,)}:
            raise ValueError(
                f"[NeuralNetRegressor] got y of shape {y.shape} and a module with an output of shape (n, "
                f"{', '.join(map(str, shape))}); expected equal shapes"
            )
        return self._fit_arrays(x, target.reshape(len(target), *shape), None, weights)
