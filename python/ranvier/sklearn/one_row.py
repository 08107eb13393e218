"""The fast path of estimators for few rows: `predict` and `partial_fit` replay recorded programs directly.

A program is what `rv.compile` records of a step: kernel calls that are replayed in place of the Python code.
`partial_fit` takes the fast path with one row, `predict` with at most FEW_ROWS rows (`row_output`). A call
takes the full path (checks by scikit-learn, conversions, the Trainer) until the Trainer has recorded a
program for this number of rows. From then on rows that are an array of the same dtype as in the fit are
passed to that program (`OneRow.output`, `OneRow.step`). In any other case these functions return None, and
the caller takes the full path, which has the conversions, the warnings and the errors: another type, shape or
dtype, numbers that are not finite, a setting that has changed, a program whose guards do not hold.

Here the time of a call counts, some microseconds: types are compared with `type(x) is`, which is quicker than
isinstance and refuses subclasses, and attributes are read by `itemgetter` from `vars`. `owner` is an
estimator of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from numbers import Real
from operator import is_, itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from sklearn.base import BaseEstimator

from ranvier._core import inside
from ranvier.autograd import no_grad
from ranvier.nn.modes import ShortCalls
from ranvier.ops.making import random
from ranvier.tensors.memory import Array
from ranvier.train import Trainer
from ranvier.train.callbacks.base import report
from ranvier.train.nonfinite import NonFinite
from ranvier.train.step import parameters_of

if TYPE_CHECKING:
    from ranvier.compile import Program
    from ranvier.sklearn.types import MatrixLike

Arrays: TypeAlias = tuple[Array, ...]

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
FEW_ROWS = 16  # with more rows the fast path saves too small a share of the time
_LARGE = 3e38  # numbers up to this one are finite in float32
# The attributes of a Trainer on which its steps depend. The optimizer's settings are read by programs.
_trainer_settings = itemgetter(
    "model", "loss", "optimizer", "l1", "l2", "accumulate", "clip_grad_norm", "clip_grad_value", "compile",
    "on_nonfinite", "distributed", "shards", "deterministic",
)  # fmt: skip
# The results of the programs that are replayed here, as (form, number of arrays): the output of a
# prediction; the loss of a step; the loss and the penalty of a step. A form (compile/results.py) is what the
# recorded function returned, with the number of the array in place of each Tensor.
_FORMS = [[0, 1], [(0, None, None), 1], [(0, None, 1), 2]]
# The arguments weights, total, share, scale, first, updates, measured of `Step._take` (train/step.py) for a
# step with one batch, without sample weights.
_PLAIN = (False, False, False, False, True, True, False)


class _Before:
    """What held at the last step on the full path, and has to hold for a replay.

    parameters: reads the estimator's parameters from its vars.
    """

    def __init__(
        self,
        trainer_settings: tuple[Any, ...],
        parameters: Callable[[Mapping[str, Any]], tuple[Any, ...]],
        parameter_values: tuple[Any, ...],
    ) -> None:
        self.trainer_settings = trainer_settings
        self.parameters = parameters
        self.parameter_values = parameter_values


def is_row(X: MatrixLike, owner: BaseEstimator) -> TypeGuard[Array]:
    """True if X is one row of floats with as many columns as in the fit, and scikit-learn would not warn."""
    if type(X) is not np.ndarray or X.ndim < 2 or len(X) != 1 or X.dtype not in FLOATS:
        return False
    attributes = vars(owner)
    fitted = "trainer_" in attributes and attributes.get("n_features_in_") == X.shape[1]
    return fitted and "feature_names_in_" not in attributes


def is_bounded(x: Array) -> bool:
    """True if all numbers are finite, in float32 too."""
    return inside(x, -_LARGE, _LARGE)


def row_output(owner: BaseEstimator, x: Any) -> Array | None:
    """The output of an estimator's network for at most FEW_ROWS rows; None if the Trainer has to predict."""
    if type(x) is not np.ndarray or not 0 < len(x) <= FEW_ROWS:
        return None
    row = OneRow.for_estimator(owner)
    if row.takes(x):
        return row.output(x)
    return None


def label_of_row(owner: BaseEstimator, y: Any, classes: Any) -> Array | None:
    """The label y of one row, as the loss of a classifier takes it; None if scikit-learn has to check it.

    classes: the argument of `partial_fit`.
    """
    if "trainer_" not in vars(owner) or owner._labels.multilabel:
        return None
    if classes is not None and not _are_equal(classes, owner.classes_):
        return None
    if type(y) is list and len(y) == 1 and type(y[0]) in (int, str):
        y = np.array(y)
    if type(y) is not np.ndarray or y.shape != (1,) or y.dtype.kind not in "iubU":
        return None
    known = owner.classes_
    if y.dtype.kind != known.dtype.kind:
        return None
    codes = known.searchsorted(y)
    if known.take(codes, mode="clip")[0] != y[0]:  # not one of the classes
        return None
    if owner._is_logistic():
        return codes.reshape(1, 1).astype(owner._dtype())
    return codes


def _are_equal(classes: Any, known: Array) -> bool:
    """True if the classes are those of the fit, in the same order and dtype."""
    if type(classes) is list and classes == known.tolist():
        return True
    if type(classes) is not np.ndarray or classes.dtype != known.dtype:
        return False
    return np.array_equal(classes, known)


def values_of_row(owner: BaseEstimator, y: Any) -> Array | None:
    """The target y of one row, as the loss of a regressor takes it; None if scikit-learn has to check it."""
    if type(y) is list and len(y) == 1 and type(y[0]) in (int, float):
        y = np.array(y)
    if type(y) is not np.ndarray or y.dtype.char not in "fdlqi" or not y.dtype.isnative:
        return None
    outputs = owner.n_outputs_ if "trainer_" in vars(owner) else 0
    expected = (1,) if outputs == 1 else (1, outputs)
    if y.shape != expected or not is_bounded(y):
        return None
    if owner.loss == "poisson" and (y < 0).any():
        return None
    # In float64 a fit subtracts no mean from the targets (MLPRegressor._make_target), in float32 it subtracts
    # `_offset`.
    if owner._dtype() == "float64":
        return y.reshape(1, -1).astype(np.float64)
    target = y.reshape(1, -1) - owner._offset
    if is_bounded(target):
        return target.astype(np.float32)
    return None


class OneRow:
    """Replays the programs of an estimator's Trainer: its predictions and its training steps with one row."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.model = trainer.model
        # calls a function with the network in training or evaluation mode
        self._calls = ShortCalls(trainer.model)
        self._dtype = next((p.dtype for p in trainer.model.parameters()), FLOATS[1])
        self._latest: dict[str, Program] = {}  # for "predict" and "fit": the program that ran last
        self._before: _Before | None = None  # None: no step may be replayed

    @classmethod
    def for_estimator(cls, owner: BaseEstimator) -> OneRow:
        """The OneRow of an estimator; a new one if its Trainer or network is not that of the old one."""
        trainer = owner.trainer_
        row = owner._one_row
        if row is None or row.trainer is not trainer or row.model is not trainer.model:
            row = owner._one_row = cls(trainer)
        return row

    def takes(self, x: Array) -> bool:
        """True if the rows have the network's dtype and are finite."""
        return x.dtype == self._dtype and is_bounded(x)

    def _replay(self, method: str, args: tuple[Any, ...]) -> Arrays | None:
        """The arrays that a program gives for these arguments; None if no program fits.

        method: "predict" or "fit", the method of the Trainer that recorded the programs.
        """
        latest = self._latest.get(method)
        if latest is not None:
            results = _run(latest, args)
            if results is not None:
                return results
        for program in self.trainer.programs(method):
            if program is latest or [program.results.form, program.core.results] not in _FORMS:
                continue
            results = _run(program, args)
            if results is not None:
                self._latest[method] = program
                return results
        return None

    def output(self, x: Array) -> Array | None:
        """The network's output for rows, in evaluation mode; None if no program fits."""
        if type(self.trainer) is not Trainer:
            return None
        with no_grad():
            arrays = self._calls.run(False, self._replay, "predict", (x,))
        if arrays is None:
            return None
        return arrays[0]

    # --- steps
    def note(self, owner: BaseEstimator) -> None:
        """Called after a step with one row on the full path: the next steps may be replays."""
        trainer = self.trainer
        self._before = None
        self._latest.pop("fit", None)  # it may have been recorded with other settings
        # l1 is a setting of the Trainer that a user may have made a mapping, which may be changed in place:
        # `step` would not notice. (The estimator itself sets l2 to a number.)
        if trainer.accumulate == 1 and trainer.on_nonfinite == "raise" and isinstance(trainer.l1, Real):
            parameters = itemgetter(*owner._get_param_names())
            self._before = _Before(_trainer_settings(vars(trainer)), parameters, parameters(vars(owner)))

    def is_as_before(self, owner: BaseEstimator) -> bool:
        """True if the estimator's parameters are those that the last step on the full path checked."""
        before = self._before
        if before is None:
            return False
        # The same objects, not equal ones. `callbacks` may be the same list with a callback appended.
        same = all(map(is_, before.parameters(vars(owner)), before.parameter_values))
        return same and not owner.callbacks

    def step(self, owner: BaseEstimator, x: Array, y: Array) -> tuple[float, float] | None:
        """Updates the network with one row (see `takes`); returns loss and penalty. None: no program fits."""
        trainer = self.trainer
        if self._before is None or trainer.metrics or trainer.classes_ is not None:
            return None
        if _trainer_settings(vars(trainer)) != self._before.trainer_settings:
            return None
        arrays = self._replay_step(owner, (x, y, *_PLAIN))
        if arrays is None:
            return None
        penalty = arrays[1].item() if len(arrays) > 1 else 0.0
        return arrays[0].item(), penalty

    def _replay_step(self, owner: BaseEstimator, args: tuple[Any, ...]) -> Arrays | None:
        """Replays a step with the random numbers of a fit on this row; without a replay none is drawn."""
        stream = owner._stream()
        drawn = stream.state[1]  # how many numbers the stream has given
        if owner.shuffle:
            stream.next_key()  # a fit draws the order of its rows
        if owner.dropout:
            with random.using(stream):
                arrays = self._calls.run(True, self._replay, "fit", args)
        else:
            arrays = self._calls.run(True, self._replay, "fit", args)
        if arrays is None:
            stream.state[1] = drawn
        return arrays

    def record(self, x: Array, y: Array, loss: float, penalty: float, seconds: float) -> float:
        """Adds a step to the Trainer's counts and history, as a fit does; returns loss + penalty.

        Raises NonFiniteError: a loss that is not finite.
        """
        trainer = self.trainer
        value = loss + penalty
        report(trainer, last_epoch=trainer.epoch + 1, steps_per_epoch=1, resumed_from=None)
        report(trainer, stop_training=False, interrupted=False)
        if not isfinite(value):
            NonFinite(trainer).loss((x, y, None), loss, penalty)
        report(trainer, updates=trainer.updates + 1)
        trainer.history.append(loss=value)
        trainer.history.seconds[-1] = seconds
        trainer.history.samples[-1] = 1.0
        return value

    def require_finite(self) -> None:
        """Raises NonFiniteError if a parameter is not finite."""
        for p in parameters_of(self.trainer.optimizer):
            if not is_bounded(p._array):
                NonFinite(self.trainer).parameters()


def _run(program: Program, args: tuple[Any, ...]) -> Arrays | None:
    """The arrays of a program; None if its guards do not hold, or it has to be checked by an eager run."""
    arrays = program.call(args, {})
    if type(arrays) is tuple:
        return arrays
    return None
