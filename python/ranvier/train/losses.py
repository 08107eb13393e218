"""Facts about a loss that a Trainer needs: the link to probabilities, the loss of a batch and of an epoch.

Links: how the output of a classification model becomes probabilities and labels.

    CrossEntropyLoss   softmax over axis 1     label: the class of the largest output
    NLLLoss            the same: softmax of log-probabilities gives the probabilities back
    BCEWithLogitsLoss  sigmoid                 label: probability > 0.5
    BCELoss            none: the output is a probability already
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier.nn as nn
import ranvier.ops as ops
from ranvier.autograd import Tensor, wrap
from ranvier.tensors.memory import Array

_LINKS: dict[str, tuple[type, ...]] = {
    "softmax": (nn.CrossEntropyLoss, nn.NLLLoss),
    "sigmoid": (nn.BCEWithLogitsLoss,),
    "identity": (nn.BCELoss,),
}


def link_of(loss: Any) -> str | None:
    """ "softmax", "sigmoid" or "identity" for a classification loss, None for any other.

    A user's loss declares it by an attribute `link` with one of these names.
    """
    declared: str | None = getattr(loss, "link", None)
    if declared is not None:
        if declared not in _LINKS:
            raise ValueError(
                f"[Trainer] got a loss with link {declared!r}; expected 'softmax', 'sigmoid' or 'identity'"
            )
        return declared
    for link, kinds in _LINKS.items():
        if isinstance(loss, kinds):
            return link
    return None


def probabilities(output: Array, link: str) -> Array:
    """The link applied to a model's output; same shape."""
    if link == "softmax":
        return np.asarray(ops.softmax(output, 1)._array)
    if link == "sigmoid":
        return np.asarray(ops.sigmoid(output)._array)
    return output


def labels(output: Array, link: str) -> npt.NDArray[np.int64]:
    """The most likely label, int64: (n, classes, ...) gives (n, ...); a binary output keeps its shape."""
    if link == "softmax":
        return output.argmax(axis=1)
    # sigmoid(z) > 0.5 exactly where z > 0
    return (output > (0.0 if link == "sigmoid" else 0.5)).astype(np.int64)


# Losses of one number for each target.
_ONE_TO_ONE = (
    nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss,
    nn.PoissonNLLLoss,
)  # fmt: skip


class EpochLoss:
    """The loss over an epoch from those of its batches: their mean, or their sum for a 'sum' loss.

    The penalty on the weights is averaged over the batches in any case.
    """

    def __init__(self, loss: Any) -> None:
        self._summed = getattr(loss, "reduction", "mean") == "sum"
        self._total = self._weight = self._penalty = 0.0

    def add(self, value: float, weight: float, penalty: float = 0.0) -> float:
        """Adds a batch: its loss and the weight of its samples. Returns the loss with the penalty."""
        if self._summed:
            self._total += value
        elif weight > 0:
            self._total += value * weight
        self._weight += weight
        self._penalty += penalty * weight
        return value + penalty

    def add_all(self, values: Array, weights: Array | int, penalties: Array | None) -> None:
        """The same, bit for bit, as `add` of each batch in turn; weights: one number if all are equal."""
        with np.errstate(all="ignore"):
            terms = values * (1.0 if self._summed else weights)
            if isinstance(weights, int):
                # The sum of whole numbers is exact in any order.
                self._weight += float(weights * len(values))
            else:
                if not self._summed and not (counted := weights > 0).all():
                    terms = terms[counted]  # 0 times a loss that is not finite would be NaN
                self._weight = _continued(self._weight, weights.astype(float))
            self._total = _continued(self._total, terms)
            if penalties is not None:
                self._penalty = _continued(self._penalty, penalties * weights)

    def value(self) -> float:
        if self._weight == 0:  # Every sample was left out.
            if self._summed:
                return self._total
            return math.nan
        total = self._total if self._summed else self._total / self._weight
        return total + self._penalty / self._weight

    def state(self) -> list[float]:
        return [self._total, self._weight, self._penalty]

    def load_state(self, state: list[float]) -> None:
        self._total, self._weight, self._penalty = state


def _continued(total: float, terms: Array) -> float:
    """total + the terms, added one after another as in a loop, not pairwise as np.sum; changes the terms."""
    if len(terms) == 0:
        return total
    terms[0] += total
    return float(np.add.accumulate(terms)[-1])


def weighting(weights: Array | None) -> tuple[Tensor | bool, Tensor | bool]:
    """The weights of a batch and their sum, as `batch_loss` takes them: False where there are none."""
    if weights is None:
        return False, False
    return wrap(weights), wrap(np.array(weights.sum() or 1.0))  # a batch of weights 0 has loss 0


def batch_loss(loss: Any, output: Any, y: Tensor, weights: Tensor | bool, total: Tensor | bool) -> Tensor:
    """The loss of a batch; with weights `sum(w_i l_i) / sum(w_i)`, or `sum(w_i l_i)` for a 'sum' loss."""
    if isinstance(loss, _ONE_TO_ONE) and isinstance(output, Tensor):
        # (n,) and (n, 1) are the same: the pairs are clear
        shape = tuple(y.shape)
        expected = tuple(output.shape)
        if expected in ((*shape, 1), shape[:-1]) and y.numel() == output.numel():
            y = y.reshape(expected)
    if not (isinstance(weights, Tensor) and isinstance(total, Tensor)):
        value = loss(output, y)
        if not isinstance(value, Tensor) or value.numel() != 1:
            is_tensor = isinstance(value, Tensor)
            if is_tensor:
                what = f"shape {tuple(value.shape)}"
            else:
                what = f"type {type(value).__name__}"
            raise ValueError(
                f"[Trainer] got a loss of {what} from {name_of(loss)}; expected a Tensor of one number: its "
                "mean, or reduction='mean'"
            )
        return value
    losses = unreduced(loss)(output, y)
    n = len(y)
    per_sample = losses.numel() // len(y)
    shares: Tensor = weights / (total * per_sample) if loss.reduction == "mean" else weights
    return (losses.reshape(n, -1) * shares.to(losses.dtype).reshape(n, 1)).sum()


def batch_weight(loss: Any, y: Array, weights: Array | None) -> float:
    """The weight of a batch among others: the divisor in the mean of its losses."""
    counts = weights if weights is not None else mean_weights(loss, y)
    return float(len(y) if counts is None else counts.sum())


def mean_weights(loss: Any, y: Array) -> Array | None:
    """The weight (n) of each sample in the mean of a loss that weights or ignores classes.

    With several targets for a sample it is the sum of their weights. None if all weights are 1.
    """
    kinds = nn.CrossEntropyLoss, nn.NLLLoss
    if not isinstance(loss, kinds) or loss.reduction != "mean" or y.dtype.kind not in "iu":
        return None
    weight = loss.weight
    ignored = y == loss.ignore_index
    if weight is None and y.ndim == 1 and not np.count_nonzero(ignored):
        return None
    if weight is None:
        counts = np.ones(y.shape)
    else:
        counts = weight.detach().numpy().take(y, mode="clip")
    return np.where(ignored, 0.0, counts).reshape(len(y), -1).sum(axis=1, dtype=np.float64)


def summed(loss: Any) -> Any:
    """A copy of a loss module whose reduction is 'sum'."""
    copied = copy.copy(loss)
    copied.reduction = "sum"
    return copied


def unreduced(loss: Any) -> Any:
    """A copy of a loss module that gives one loss per sample (and output) instead of one number.

    Raises:
        ValueError: the loss is a function, or has no reduction to leave out.
    """
    if getattr(loss, "reduction", None) not in ("mean", "sum"):
        raise ValueError(
            f"[Trainer] sample_weight and class_weight need a loss with reduction='mean' or 'sum'; "
            f"got {name_of(loss)}"
        )
    copied = copy.copy(loss)
    copied.reduction = "none"
    return copied


def name_of(thing: Any) -> str:
    """The name of a function, or the class of an object."""
    return str(getattr(thing, "__name__", type(thing).__name__))
