"""NeuralNetClassifier and NeuralNetRegressor: any module as an estimator, with skorch's names."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted

import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.autograd import no_grad, random
from ranvier.autograd.data import refuse_torch
from ranvier.nn.modes import evaluating
from ranvier.sklearn.base import Labels, NetworkClassifier, NetworkEstimator, NetworkRegressor
from ranvier.sklearn.inputs import labels_of, validated, values_of
from ranvier.sklearn.one_row import is_bounded, is_row
from ranvier.sklearn.settings import make_optimizer, number, whole
from ranvier.train import ProgressBar, Trainer
from ranvier.train.arrays import require_finite, to_array
from ranvier.train.losses import link_of

__all__ = ["NeuralNetClassifier", "NeuralNetRegressor"]

Array = npt.NDArray[Any]
_PREFIXES = ("module__", "criterion__", "optimizer__")


class _NeuralNet(NetworkEstimator):
    """What the classifier and the regressor have in common."""

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
        train_split: Any = 0.2,
        callbacks: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        random_state: Any = None,
        **parameters: Any,
    ) -> None:
        self.module, self.criterion, self.optimizer = module, criterion, optimizer
        self.lr, self.max_epochs, self.batch_size = lr, max_epochs, batch_size
        self.train_split, self.callbacks, self.warm_start = train_split, callbacks, warm_start
        self.verbose, self.random_state = verbose, random_state
        self.__dict__.update(parameters)

    # --- parameters

    def _prefixed(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name.startswith(_PREFIXES)}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters by name, those of the module, criterion and optimizer with their prefix."""
        fixed = {name: getattr(self, name) for name in self._get_param_names()}
        return {**fixed, **self._prefixed()}

    def set_params(self, **parameters: Any) -> Any:
        """Set parameters by name.

        Raises ValueError: no such parameter.
        """
        own = list(inspect.signature(type(self).__init__).parameters)[1:]
        for name, value in parameters.items():
            if name not in own and not name.startswith(_PREFIXES):
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}. Valid parameters are: "
                    f"{own}, and module__*, criterion__*, optimizer__*"
                )
            setattr(self, name, value)
        return self

    def _of(self, prefix: str) -> dict[str, Any]:
        return {
            name.removeprefix(prefix): value
            for name, value in self._prefixed().items()
            if name.startswith(prefix)
        }

    # --- parts

    def initialize(self, n_features: int | None = None, n_outputs: int | None = None) -> Any:
        """Make module, criterion, optimizer and Trainer anew; `fit` does it, except with warm_start.

        n_features, n_outputs: for parameters of the module that have these names.
        """
        own = self._get_param_names()
        wrong = [
            name
            for name in vars(self)
            if name not in own and not name.startswith((*_PREFIXES, "_")) and not name.endswith("_")
        ]
        if wrong:
            raise TypeError(
                f"[{type(self).__name__}] got {', '.join(wrong)}; expected parameters such as module__width "
                "or optimizer__momentum"
            )
        self._random_state, self._generator = check_random_state(self.random_state), None
        refuse_torch(type(self).__name__, "a module", self.module)
        self.criterion_ = self._made_criterion()
        with random.using(self._stream()):
            sizes = {"n_features": n_features, "n_outputs": n_outputs}
            self.module_ = _made(self.module, self._of("module__"), sizes)
            refuse_torch(type(self).__name__, "a module", self.module_)  # from a function
        settings = {"lr": self.lr, **self._of("optimizer__")}
        self.optimizer_ = make_optimizer(
            type(self).__name__, self.optimizer, list(self.module_.parameters()), **settings
        )
        self.trainer_ = Trainer(self.module_, self.criterion_, self.optimizer_)
        return self

    def _made_criterion(self) -> Any:
        kind = self._default_criterion if self.criterion is None else self.criterion
        refuse_torch(type(self).__name__, "a criterion", kind)
        return _made(kind, self._of("criterion__"))

    @property
    def initialized_(self) -> bool:
        return hasattr(self, "module_")

    def forward(self, X: Any) -> Array:
        """The output of the module, (n, ...), in evaluation mode."""
        check_is_fitted(self)
        return self._output(self._validated(X))

    def _output(self, x: Array) -> Array:
        with evaluating(self.module_), no_grad():
            outputs = [self.module_(x[i : i + 1024]) for i in range(0, len(x), 1024)]
        return np.concatenate([np.asarray(output) for output in outputs])

    def save_params(self, f_params: Any) -> None:
        """Write the module's parameters to a safetensors file."""
        from ranvier.serialization import save

        check_is_fitted(self)
        save(self.module_.state_dict(), f_params)

    def load_params(self, f_params: Any) -> None:
        """Read what `save_params` wrote into the module, which has to be initialised."""
        from ranvier.serialization import load

        check_is_fitted(self)
        self.module_.load_state_dict(load(f_params))

    # --- data

    def _validated(self, X: Any) -> Array:
        if is_row(self, X) and is_bounded(X):
            return np.ascontiguousarray(X, np.float32)
        return self._as_floats(validated(self, X, reset=False, allow_nd=True))

    def _as_floats(self, x: Array) -> Array:
        """Integers stay where a module looks rows up by them."""
        if x.dtype.kind in "iu" and any(isinstance(m, nn.Embedding) for m in self.module_.modules()):
            return x
        if x.dtype.kind not in "fiub":
            x = to_array(type(self).__name__, "X", x)
        with np.errstate(over="ignore"):
            floats = np.ascontiguousarray(x, np.float32)
        require_finite(type(self).__name__, "X", floats, x)
        return floats

    def _fit_arrays(
        self, x: Array, y: Array, strata: Array | None, weights: Array | None, epochs: int
    ) -> Any:
        number(self, "lr", above=True)
        if self.batch_size != -1:
            whole(self, "batch_size")
        valid = None
        if self.train_split is not None:
            x, y, weights, valid = self._split(x, y, strata, weights)
        batch_size = len(x) if self.batch_size == -1 else self.batch_size
        callbacks = [*([ProgressBar()] if self.verbose else []), *(self.callbacks or ())]
        how: dict[str, Any] = {"validation": valid, "callbacks": callbacks}
        self._train(x, y, weights, epochs=epochs, batch_size=batch_size, **how)
        return self

    def _split(self, x: Array, y: Array, strata: Array | None, weights: Array | None) -> Any:
        if isinstance(self.train_split, (tuple, list)):
            xv, yv, *wv = self.train_split
            return x, y, weights, (self._validated(xv), self._target(yv, self._shape(x)), *wv)
        number(self, "train_split", 0, 1, above=True)
        if len(x) < 10:
            return x, y, weights, None
        if strata is not None:
            counts = np.unique(strata, return_counts=True)[1]
            strata = strata if counts.min() >= 2 and self.train_split * len(x) >= len(counts) else None
        index = np.arange(len(x))
        a, b = train_test_split(
            index, test_size=self.train_split, stratify=strata, random_state=self._random_state
        )
        if weights is None:
            return x[a], y[a], None, (x[b], y[b], None)
        return x[a], y[a], weights[a], (x[b], y[b], weights[b])

    def _shape(self, x: Array) -> tuple[int, ...]:
        """The shape of the module's output for a few samples."""
        return self._output(x[:2]).shape

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _made(kind: Any, settings: dict[str, Any], sizes: Mapping[str, int | None] | None = None) -> Any:
    """An object of a class or from a function, with those `sizes` that it has parameters for."""
    if not callable(kind) or (isinstance(kind, nn.Module) and not isinstance(kind, type)):
        if not isinstance(kind, nn.Module):
            raise TypeError(
                f"[NeuralNet] got a module or criterion of type {type(kind).__name__}; expected a class, a "
                "function that makes a module, or a module"
            )
        if settings:
            raise ValueError(
                f"[NeuralNet] got {', '.join(settings)} for a {type(kind).__name__} that is made already; "
                "expected its class"
            )
        return copy.deepcopy(kind)
    if sizes:
        taken = inspect.signature(kind).parameters
        settings = {**{k: v for k, v in sizes.items() if k in taken and v is not None}, **settings}
    return kind(**settings)


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
        train_split: the share of samples that is held out for "val_loss" in `history_`; or validation data
            (X, y); or None.
        callbacks: objects of `rv.Callback`; `rv.EarlyStopping()` watches the held out samples.
        warm_start: `fit` continues with the module of the last `fit`.
        verbose: 1 prints a line for each epoch.
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
        """Train the module.

        Args:
            X: samples along axis 0, of any shape.
            y: labels (n,), or zeros and ones (n, k) for a criterion over logits.
            sample_weight: (n,).
        """
        first = not (self.warm_start and self.initialized_)
        return self._fit(X, y, sample_weight, first, whole(self, "max_epochs"))

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> NeuralNetClassifier:
        """`max_epochs` more epochs; `classes` are all classes, where the first y lacks some."""
        return self._fit(X, y, sample_weight, not self.initialized_, whole(self, "max_epochs"), classes)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, first: bool, epochs: int, classes: Any = None
    ) -> NeuralNetClassifier:
        y = labels_of(self, y)
        X, y = validated(self, X, y, reset=first, allow_nd=True, multi_output=True)
        if first:
            self._labels = Labels(y, classes)
            link = link_of(self._made_criterion())
            if link is None:
                raise ValueError(
                    f"[NeuralNetClassifier] got criterion {self.criterion!r}; expected a classification loss "
                    "such as nn.CrossEntropyLoss"
                )
            k = len(self.classes_)
            logistic = link != "softmax"
            self.initialize(
                X.shape[1], 1 if logistic and not self._labels.multilabel and k <= 2 else max(k, 2)
            )
        x = self._as_floats(X)
        codes = self._labels.encode(y)
        weights = self._checked_weights(sample_weight, x)
        target = self._target(y, self._shape(x))
        strata = None if self._labels.multilabel else codes
        self._fit_arrays(x, target, strata, weights, epochs)
        self.n_iter_ = self.history_.epochs
        return self

    def _target(self, y: Any, shape: tuple[int, ...]) -> Array:
        y = labels_of(self, y)
        codes = self._labels.encode(y)
        k = len(self.classes_)
        if link_of(self.criterion_) == "softmax":
            right = len(shape) >= 2 and shape[1] == max(k, 2) and not self._labels.multilabel
        else:
            right = shape[1:] == codes.shape[1:] or (shape[1:] == (1,) and codes.ndim == 1)
            right = right and (self._labels.multilabel or k <= 2)
            codes = codes.astype(np.float32).reshape(len(codes), *shape[1:]) if right else codes
        if not right:
            raise ValueError(
                f"[NeuralNetClassifier] got a module with an output of shape (n, "
                f"{', '.join(map(str, shape[1:]))}) for {k} classes and {type(self.criterion_).__name__}; "
                "expected a score for each class, or of one logit a label for a criterion over logits"
            )
        return codes

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
        """Train the module with y (n,) or (n, outputs)."""
        first = not (self.warm_start and self.initialized_)
        return self._fit(X, y, sample_weight, first, whole(self, "max_epochs"))

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> NeuralNetRegressor:
        """`max_epochs` more epochs."""
        return self._fit(X, y, sample_weight, not self.initialized_, whole(self, "max_epochs"))

    def _fit(self, X: Any, y: Any, sample_weight: Any, first: bool, epochs: int) -> NeuralNetRegressor:
        y = values_of(self, y)
        X, y = validated(self, X, y, reset=first, allow_nd=True, multi_output=True, y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if first:
            self.initialize(X.shape[1], y.shape[1] if y.ndim > 1 else 1)
        x = self._as_floats(X)
        weights = self._checked_weights(sample_weight, x)
        self._fit_arrays(x, self._target(y, self._shape(x), first), None, weights, epochs)
        self.n_iter_ = self.history_.epochs
        return self

    def _target(self, y: Any, shape: tuple[int, ...], first: bool = False) -> Array:
        y = self._centred(np.asarray(values_of(self, y)), self.criterion_, first)
        if y.shape[1:] != shape[1:] and not {y.shape[1:], shape[1:]} <= {(), (1,)}:
            raise ValueError(
                f"[NeuralNetRegressor] got y of shape {y.shape} and a module with an output of shape (n, "
                f"{', '.join(map(str, shape[1:]))}); expected equal shapes"
            )
        return y.reshape(len(y), *shape[1:])
