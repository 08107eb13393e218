"""Hints about data and model that train badly: at most one warning, at the first `fit`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier.nn as nn
from ranvier.autograd import borrowed, no_grad, random
from ranvier.nn.modes import evaluating
from ranvier.train.inputs import Prepared
from ranvier.train.links import link_of
from ranvier.train.protocol import Training
from ranvier.train.weighting import name_of

__all__ = ["HintWarning", "advise", "warning_once"]

Array = npt.NDArray[Any]
LARGE = 100.0  # values of features beyond which they count as not scaled
RARE = 0.02  # the share of a rare class
FEW = 100  # samples from which on a share tells something


class HintWarning(UserWarning):
    """A hint of `Trainer.fit` about data and model; `fit(verbose=0)` gives none.

    >>> import warnings
    >>> import ranvier as rv
    >>> with warnings.catch_warnings():
    ...     warnings.filterwarnings("ignore", category=rv.train.HintWarning)
    ...     _ = rv.Trainer(rv.nn.Linear(1, 2), "cross_entropy", "sgd").fit([[500.0]], [1], epochs=1)
    """


@contextlib.contextmanager
def warning_once(leads: bool) -> Iterator[None]:
    """Within the block, the library's own warnings appear on the leading process only."""
    if leads:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\[")  # how their texts begin
        yield


def advise(trainer: Training, data: Prepared, classes: Array | None = None, class_weight: Any = None) -> None:
    """Warn about what most likely goes wrong; all hints are one warning."""
    if trainer.on_nonfinite != "raise":
        return  # the data are to be taken as they are
    found = [
        _twice(trainer),
        _pairs(trainer, data),
        _labels(trainer, data, classes, class_weight),
        _scale(trainer.model, data.x),
    ]
    text = "; ".join(hint for hint in found if hint)
    if text:
        warnings.warn(f"[Trainer.fit] {text}", HintWarning, stacklevel=3)


def _leaves(model: Any) -> list[Any]:
    """The layers of a Sequential in the order of their calls; of other models nothing is known."""
    if isinstance(model, nn.Sequential):
        return [leaf for child in model for leaf in _leaves(child)]
    return [model]


def _twice(trainer: Training) -> str:
    """A softmax or sigmoid that both the model and the loss apply, or neither."""
    last = _leaves(trainer.model)[-1:]
    loss = trainer.loss
    softmax = (
        isinstance(loss, (nn.CrossEntropyLoss, nn.FocalLoss)) and isinstance(last[0], nn.Softmax)
        if last
        else 0
    )
    sigmoid = (
        isinstance(loss, (nn.BCEWithLogitsLoss, nn.SigmoidFocalLoss)) and isinstance(last[0], nn.Sigmoid)
        if last
        else 0
    )
    if last and isinstance(loss, (nn.NLLLoss, nn.KLDivLoss)) and isinstance(last[0], nn.Linear):
        return f"{type(loss).__name__} takes logarithms of probabilities: end the model with LogSoftmax"
    if not (softmax or sigmoid):
        return ""
    layer = type(last[0]).__name__
    return f"the model ends with {layer}, which {type(loss).__name__} applies again: leave the layer out"


def _pairs(trainer: Training, data: Prepared) -> str:
    """A loss of the user's own that broadcasts an output (n, 1) and targets (n,) to (n, n)."""
    x, y, loss = data.x[:4], data.y[:4], trainer.loss
    if y.ndim != 1 or len(y) < 2 or link_of(loss) or type(loss).__module__.startswith("ranvier."):
        return ""
    state = random.get_rng_state()
    try:
        with no_grad(), evaluating(trainer.model):
            output = trainer.model(borrowed(x))
            if tuple(output.shape) != (len(y), 1):
                return ""
            pairs, all_to_all = float(loss(output[:, 0], borrowed(y))), float(loss(output, borrowed(y)))
    except Exception:  # a loss that takes (n, 1) alone
        return ""
    finally:
        random.set_rng_state(state)
    if np.isclose(pairs, all_to_all, rtol=1e-3, equal_nan=True):
        return ""
    return (
        f"the model gives (n, 1) and y is (n,), which {name_of(loss)} seems to broadcast to (n, n): pass "
        "y[:, None]"
    )


def _labels(trainer: Training, data: Prepared, classes: Array | None, class_weight: Any) -> str:
    """One class alone, a rare class, fewer samples than two for each class."""
    link, y = link_of(trainer.loss), data.y
    one_each = y.size == len(y) and (y.dtype.kind in "iu" if link == "softmax" else link is not None)
    if not one_each:
        return ""
    found, counts = np.unique(y, return_counts=True)
    if len(found) > 1000 or found[0] < 0 or (found != np.rint(found)).any():
        return ""
    names = [str(int(c)) if classes is None else str(classes[int(c)]) for c in found]
    if len(found) == 1 and len(y) > 1:
        return f"all {len(y)} samples have the label {names[0]}: there is nothing to tell apart"
    if len(found) > 1 and len(y) < 2 * len(found):
        what = "labels" if classes is not None else "class indices (values need a loss such as MSELoss)"
        return f"{len(y)} samples are few for {len(found)} {what}: fewer than two for each"
    rare = int(counts.argmin())
    share = counts[rare] / len(y)
    if len(y) >= FEW and len(found) <= 20 and share <= RARE and class_weight is None and data.weights is None:
        return (
            f"label {names[rare]} is {100 * share:.2g} % of the samples, so accuracy says little: see "
            "class_weight='balanced' and metrics=['f1_macro']"
        )
    return ""


def _scale(model: Any, x: Array) -> str:
    """Features far from 1, unless the model begins with a norm."""
    if x.dtype.kind != "f" or x.size == 0:
        return ""
    first = _leaves(model)[:1]
    if first and "Norm" in type(first[0]).__name__:
        return ""
    largest = float(max(x.max(), -x.min()))
    if not LARGE < largest < np.inf:
        return ""
    how = "divide by 255" if x.ndim > 2 and largest <= 255 else "scale them by rv.data.Standardize"
    return f"x has values up to {largest:.4g}, and networks learn best from numbers near 1: {how}"
