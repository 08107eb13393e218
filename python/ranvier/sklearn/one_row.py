"""One row at a time: replays of the Trainer's programs without what serves whole arrays.

A call takes the full path until the Trainer has a program for one row. From then on a row that is an array as
in the fit runs through the program alone. Whatever differs (another type, shape or dtype, numbers that are
not finite, a setting that has changed, a program whose guards do not hold) takes the full path, which has the
conversions, the warnings and the errors.
"""

from __future__ import annotations

from math import isfinite
from numbers import Real
from operator import is_, itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier._core import inside
from ranvier.autograd import no_grad
from ranvier.nn.modes import ShortCalls
from ranvier.ops.making import random
from ranvier.train import Trainer
from ranvier.train.nonfinite import NonFinite
from ranvier.train.step import parameters_of

Array = npt.NDArray[Any]
_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
FEW_ROWS = 16  # more take longer than what is left out for a row
_LARGE = 3e38  # finite in float32
# The attributes of a Trainer on which its steps depend. The optimizer's settings are read by programs.
_SETTINGS = itemgetter(
    "model", "loss", "optimizer", "l1", "l2", "accumulate", "clip_grad_norm", "clip_grad_value", "compile",
    "on_nonfinite", "distributed", "shards", "deterministic",
)  # fmt: skip
# The results of a program: places of arrays (the output; the loss, no output, the penalty), and how many.
_FORMS = [[0, 1], [(0, None, None), 1], [(0, None, 1), 2]]
# weights, total, share, scale, first, updates, measured of `Step._take` (train/step.py): a plain update.
_PLAIN = (False, False, False, False, True, True, False)


def is_row(owner: Any, X: Any) -> bool:
    """True if X is one row of floats with the columns of the fit, and there is nothing to warn of."""
    if type(X) is not np.ndarray or X.ndim < 2 or len(X) != 1 or X.dtype not in _FLOATS:
        return False
    own = vars(owner)
    known = "trainer_" in own and own.get("n_features_in_") == X.shape[1]
    return known and "feature_names_in_" not in own


def is_bounded(x: Array) -> bool:
    """True if all numbers are finite, in float32 too."""
    return inside(x, -_LARGE, _LARGE)


def row_output(owner: Any, x: Any) -> Array | None:
    """The output of an estimator's network for a row or a few; None: the Trainer has to predict."""
    if type(x) is not np.ndarray or not 0 < len(x) <= FEW_ROWS:
        return None
    row = OneRow.of(owner)
    return row.output(x) if row.takes(x) else None


def label_of_row(owner: Any, y: Any, classes: Any) -> Array | None:
    """The label of one row as the loss of a classifier takes it; None where scikit-learn has to check it."""
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
    codes = known.searchsorted(y) if y.dtype.kind == known.dtype.kind else None
    if codes is None or known.take(codes, mode="clip")[0] != y[0]:
        return None
    return codes.reshape(1, 1).astype(owner._dtype()) if owner._is_logistic() else codes


def values_of_row(owner: Any, y: Any) -> Array | None:
    """The values of one row as the loss of a regressor takes them; None where scikit-learn has to check."""
    if type(y) is list and len(y) == 1 and type(y[0]) in (int, float):
        y = np.array(y)
    if type(y) is not np.ndarray or y.dtype.char not in "fdlqi" or not y.dtype.isnative:
        return None
    outputs = owner.n_outputs_ if "trainer_" in vars(owner) else 0
    if y.shape != ((1,) if outputs == 1 else (1, outputs)) or not is_bounded(y):
        return None
    if owner.loss == "poisson" and (y < 0).any():
        return None
    if owner._dtype() == "float64":
        return y.reshape(1, -1).astype(np.float64)
    target = y.reshape(1, -1) - owner._offset
    return target.astype(np.float32) if is_bounded(target) else None


class OneRow:
    """The prediction and the step of one row by a Trainer, for an estimator."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.model = trainer, trainer.model
        self._calls = ShortCalls(trainer.model)
        self._dtype = next((p.dtype for p in trainer.model.parameters()), _FLOATS[1])
        self._latest: dict[str, Any] = {}  # the program that ran last, of each part
        # From the last step on the full path: the trainer's settings, names and values of the owner's.
        self._before: tuple[Any, Any, Any] | None = None

    @classmethod
    def of(cls, owner: Any) -> OneRow:
        """That of an estimator; a new one where its Trainer, or the network, is another."""
        trainer, row = owner.trainer_, owner._one_row
        if row is None or row.trainer is not trainer or row.model is not trainer.model:
            row = owner._one_row = cls(trainer)
        return row

    def takes(self, x: Array) -> bool:
        """True if the rows have the network's dtype, and are finite."""
        return x.dtype == self._dtype and is_bounded(x)

    def _replay(self, part: str, args: tuple[Any, ...]) -> Any:
        """The arrays that the program of "predict" or "fit" gives for these arguments; None: none fits."""
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
        """The network's output for rows, in evaluation mode; None where no program gives it."""
        if type(self.trainer) is not Trainer:
            return None
        with no_grad():
            arrays = self._calls.run(False, self._replay, "predict", (x,))
        return None if arrays is None else arrays[0]

    # --- steps
    def note(self, owner: Any) -> None:
        """The full path has made a step with one row: the next ones may replay it while the settings hold."""
        trainer, self._before = self.trainer, None
        self._latest.pop("fit", None)  # it may be of other settings
        if trainer.accumulate == 1 and trainer.on_nonfinite == "raise" and isinstance(trainer.l1, Real):
            names = itemgetter(*owner._get_param_names())
            self._before = _SETTINGS(vars(trainer)), names, names(vars(owner))

    def is_as_before(self, owner: Any) -> bool:
        """True if the estimator has the parameters that the last step on the full path checked."""
        if self._before is None:
            return False
        _, names, values = self._before
        return all(map(is_, names(vars(owner)), values)) and not owner.callbacks  # a list may have grown

    def step(self, owner: Any, x: Array, y: Array) -> tuple[float, float] | None:
        """An update with a row that this takes: loss and penalty; None where the full path has to make it."""
        trainer = self.trainer
        if self._before is None or trainer.metrics or trainer.classes_ is not None:
            return None
        if _SETTINGS(vars(trainer)) != self._before[0]:
            return None
        args = (x, y, *_PLAIN)
        arrays = self._drawing(owner, args)
        if arrays is None:
            return None
        return arrays[0].item(), arrays[1].item() if len(arrays) > 1 else 0.0

    def _drawing(self, owner: Any, args: tuple[Any, ...]) -> Any:
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
        """Note a step in the Trainer and its history as one of its fits does; the loss with the penalty."""
        trainer = self.trainer
        value = loss + penalty
        trainer.last_epoch, trainer.steps_per_epoch, trainer.resumed_from = trainer.epoch + 1, 1, None
        trainer.stop_training = trainer.interrupted = False
        if not isfinite(value):
            NonFinite(trainer).loss((x, y, None), loss, penalty)
        trainer.updates += 1
        trainer.history.append(loss=value)
        trainer.history.seconds[-1], trainer.history.samples[-1] = seconds, 1.0
        return value

    def require_finite(self) -> None:
        """Raise NonFiniteError if a parameter is not finite."""
        for p in parameters_of(self.trainer.optimizer):
            if not is_bounded(p._array):
                NonFinite(self.trainer).parameters()


def _run(program: Any, args: tuple[Any, ...]) -> Any:
    """The arrays that a program gives; None where it does not fit, or the full path has to compare it."""
    arrays = program.call(args, {})
    return arrays if type(arrays) is tuple else None
