"""The fast path of estimators for few rows: `predict` and `partial_fit` replay recorded programs directly.

`partial_fit` takes it with one row, `predict` with at most FEW_ROWS rows (`row_output`). A call takes the
full path (checks by scikit-learn, conversions, the Trainer) until the Trainer has recorded a program for this
number of rows. From then on rows that are an array of the same dtype as in the fit are passed to that program
(`OneRow.output`, `OneRow.step`). In any other case these functions return None, and the caller takes the full
path, which has the conversions, the warnings and the errors: another type, shape or dtype, numbers that are
not finite, a setting that has changed, a program whose guards do not hold.
"""

from __future__ import annotations

from math import isfinite
from numbers import Real
from operator import is_, itemgetter
from typing import Any

import numpy as np

from ranvier._core import inside
from ranvier.autograd import no_grad
from ranvier.nn.modes import ShortCalls
from ranvier.ops.making import random
from ranvier.tensors.memory import Array
from ranvier.train import Trainer
from ranvier.train.callbacks.base import report
from ranvier.train.nonfinite import NonFinite
from ranvier.train.step import parameters_of

_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
FEW_ROWS = 16  # with more rows the fast path saves too small a share of the time
_LARGE = 3e38  # numbers up to this one are finite in float32
# The attributes of a Trainer on which its steps depend. The optimizer's settings are read by programs.
_SETTINGS = itemgetter(
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


def is_row(owner: Any, X: Any) -> bool:
    """True if X is one row of floats with as many columns as in the fit, and scikit-learn would not warn."""
    if type(X) is not np.ndarray or X.ndim < 2 or len(X) != 1 or X.dtype not in _FLOATS:
        return False
    own = vars(owner)
    known = "trainer_" in own and own.get("n_features_in_") == X.shape[1]
    return known and "feature_names_in_" not in own


def is_bounded(x: Array) -> bool:
    """True if all numbers are finite, in float32 too."""
    return inside(x, -_LARGE, _LARGE)


def row_output(owner: Any, x: Any) -> Array | None:
    """The output of an estimator's network for at most FEW_ROWS rows; None if the Trainer has to predict."""
    if type(x) is not np.ndarray or not 0 < len(x) <= FEW_ROWS:
        return None
    row = OneRow.of(owner)
    if row.takes(x):
        return row.output(x)
    return None


def label_of_row(owner: Any, y: Any, classes: Any) -> Array | None:
    """The label y of one row, as the loss of a classifier takes it; None if scikit-learn has to check it."""
    if "trainer_" not in vars(owner) or owner._labels.multilabel:
        return None
    known = owner.classes_
    if classes is not None and not (type(classes) is list and classes == known.tolist()):
        if type(classes) is not np.ndarray or classes.dtype != known.dtype:
            return None
        if not np.array_equal(classes, known):
            return None
    if type(y) is list and len(y) == 1 and type(y[0]) in (int, str):
        y = np.array(y)
    if type(y) is not np.ndarray or y.shape != (1,) or y.dtype.kind not in "iubU":
        return None
    if y.dtype.kind == known.dtype.kind:
        codes = known.searchsorted(y)
    else:
        codes = None
    if codes is None or known.take(codes, mode="clip")[0] != y[0]:
        return None
    if owner._is_logistic():
        return codes.reshape(1, 1).astype(owner._dtype())
    return codes


def values_of_row(owner: Any, y: Any) -> Array | None:
    """The target y of one row, as the loss of a regressor takes it; None if scikit-learn has to check it."""
    if type(y) is list and len(y) == 1 and type(y[0]) in (int, float):
        y = np.array(y)
    if type(y) is not np.ndarray or y.dtype.char not in "fdlqi" or not y.dtype.isnative:
        return None
    outputs = owner.n_outputs_ if "trainer_" in vars(owner) else 0
    if y.shape != ((1,) if outputs == 1 else (1, outputs)) or not is_bounded(y):
        return None
    if owner.loss == "poisson" and (y < 0).any():
        return None
    # In float64 a fit subtracts no mean from the targets (MLPRegressor._target), in float32 it subtracts
    # `_offset`.
    if owner._dtype() == "float64":
        return y.reshape(1, -1).astype(np.float64)
    target = y.reshape(1, -1) - owner._offset
    if is_bounded(target):
        return target.astype(np.float32)
    return None


class OneRow:
    """Replays the programs of an estimator's Trainer: its predictions and its training steps with one row."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.model = trainer.model
        # calls a function with the network in training or evaluation mode
        self._calls = ShortCalls(trainer.model)
        self._dtype = next((p.dtype for p in trainer.model.parameters()), _FLOATS[1])
        self._latest: dict[str, Any] = {}  # for "predict" and "fit": the program that ran last
        # At the last step on the full path: the Trainer's settings; the estimator's parameters, as a getter
        # of their values and these values. None if no step may be replayed.
        self._before: tuple[Any, Any, Any] | None = None

    @classmethod
    def of(cls, owner: Any) -> OneRow:
        """The OneRow of an estimator; a new one if its Trainer or network is not that of the old one."""
        trainer = owner.trainer_
        row = owner._one_row
        if row is None or row.trainer is not trainer or row.model is not trainer.model:
            row = owner._one_row = cls(trainer)
        return row

    def takes(self, x: Array) -> bool:
        """True if the rows have the network's dtype and are finite."""
        return x.dtype == self._dtype and is_bounded(x)

    def _replay(self, part: str, args: tuple[Any, ...]) -> Any:
        """The arrays of a program for `part` ("predict" or "fit") and these arguments; None if none fits."""
        latest = self._latest.get(part)
        if latest is not None and (results := _run(latest, args)) is not None:
            return results
        for program in self.trainer.programs(part):
            suits = [program.results.form, program.core.results] in _FORMS
            if suits and program is not latest and (results := _run(program, args)) is not None:
                self._latest[part] = program
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
    def note(self, owner: Any) -> None:
        """Called after a step with one row on the full path: the next steps may be replays."""
        trainer = self.trainer
        self._before = None
        self._latest.pop("fit", None)  # it may have been recorded with other settings
        # l1 is a setting of the Trainer that a user may have made a mapping, which may be changed in place:
        # `step` would not notice. (The estimator itself sets l2 to a number.)
        if trainer.accumulate == 1 and trainer.on_nonfinite == "raise" and isinstance(trainer.l1, Real):
            names = itemgetter(*owner._get_param_names())
            self._before = _SETTINGS(vars(trainer)), names, names(vars(owner))

    def is_as_before(self, owner: Any) -> bool:
        """True if the estimator's parameters are those that the last step on the full path checked."""
        if self._before is None:
            return False
        _, names, values = self._before
        return all(map(is_, names(vars(owner)), values)) and not owner.callbacks  # a list may have grown

    def step(self, owner: Any, x: Array, y: Array) -> tuple[float, float] | None:
        """Updates the network with one row (see `takes`); returns loss and penalty. None: no program fits."""
        trainer = self.trainer
        if self._before is None or trainer.metrics or trainer.classes_ is not None:
            return None
        if _SETTINGS(vars(trainer)) != self._before[0]:
            return None
        args = (x, y, *_PLAIN)
        arrays = self._replay_step(owner, args)
        if arrays is None:
            return None
        return arrays[0].item(), arrays[1].item() if len(arrays) > 1 else 0.0

    def _replay_step(self, owner: Any, args: tuple[Any, ...]) -> Any:
        """Replays a step with the random numbers of a fit on this row; without a replay none is drawn."""
        stream = owner._stream()
        drawn = stream.state[1]
        if owner.shuffle:
            stream.next_key()
        if owner.dropout:
            with random.using(stream):
                arrays = self._calls.run(True, self._replay, "fit", args)
        else:
            arrays = self._calls.run(True, self._replay, "fit", args)
        if arrays is None:
            stream.state[1] = drawn
        return arrays

    def record(self, x: Array, y: Array, loss: float, penalty: float, seconds: float) -> float:
        """Adds a step to the Trainer's counts and history, as a fit does; returns loss + penalty."""
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


def _run(program: Any, args: tuple[Any, ...]) -> Any:
    """The arrays of a program; None if its guards do not hold, or it has to be checked by an eager run."""
    arrays = program.call(args, {})
    if type(arrays) is tuple:
        return arrays
    return None
