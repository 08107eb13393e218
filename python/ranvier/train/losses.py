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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor, wrap
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    import numpy.typing as npt

Loss: TypeAlias = Callable[[Any, Tensor], Tensor]
"""A loss of output and target: a module of the library, or a function or object of the program, which may
take other outputs than a Tensor."""

# the links and the classes of `nn` that have them
_LINKS = {
    "softmax": ("CrossEntropyLoss", "NLLLoss"),
    "sigmoid": ("BCEWithLogitsLoss",),
    "identity": ("BCELoss",),
}


def is_one_of(layer: object, *names: str) -> bool:
    """True for an object of one of these classes of `nn`, as `isinstance`, but without loading their
    modules."""
    for cls in type(layer).__mro__:
        if cls.__name__ in names and cls.__module__.startswith("ranvier.nn."):
            return True
    return False


def link_of(loss: Loss | None) -> str | None:
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
    for link, names in _LINKS.items():
        if is_one_of(loss, *names):
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
    threshold = 0.0 if link == "sigmoid" else 0.5
    return (output > threshold).astype(np.int64)


# Losses of one number for each target.
_ONE_TO_ONE = (
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss", "PoissonNLLLoss",
)  # fmt: skip


class EpochLoss:
    """The loss over an epoch from those of its batches: their mean, or their sum for a 'sum' loss.

    The penalty on the weights is averaged over the batches in any case.
    """

    def __init__(self, loss: Loss) -> None:
        self._summed = getattr(loss, "reduction", "mean") == "sum"
        self._total = 0.0  # the sum of the losses, of a mean each times its weight
        self._weight = 0.0  # the sum of the weights
        self._penalty = 0.0  # the sum of the penalties, each times the weight of its batch

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
            if self._summed:
                terms = values * 1.0
            else:
                terms = values * weights
            if isinstance(weights, int):
                # The sum of whole numbers is exact in any order.
                self._weight += float(weights * len(values))
            else:
                counted = weights > 0
                if not self._summed and not counted.all():
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
    total = weights.sum() or 1.0  # a batch of weights 0 has loss 0
    return wrap(weights), wrap(np.array(total))


def batch_loss(
    loss: Loss,
    output: Tensor | tuple[Tensor, ...],
    y: Tensor,
    weights: Tensor | bool,
    total: Tensor | bool,
) -> Tensor:
    """The loss of a batch; with weights `sum(w_i l_i) / sum(w_i)`, or `sum(w_i l_i)` for a 'sum' loss.

    weights, total: the weight of each sample (n,) and the sum of them, or False for both.
    """
    if isinstance(output, Tensor) and is_one_of(loss, *_ONE_TO_ONE):
        # (n,) and (n, 1) are the same: the pairs are clear
        shape = tuple(y.shape)
        expected = tuple(output.shape)
        if expected in ((*shape, 1), shape[:-1]) and y.numel() == output.numel():
            y = y.reshape(expected)
    if not (isinstance(weights, Tensor) and isinstance(total, Tensor)):
        value = loss(output, y)
        if isinstance(value, Tensor) and value.numel() == 1:
            return value
        what = f"type {type(value).__name__}"
        if isinstance(value, Tensor):
            what = f"shape {tuple(value.shape)}"
        raise ValueError(
            f"[Trainer] got a loss of {what} from {name_of(loss)}; expected a Tensor of one number: its "
            "mean, or reduction='mean'"
        )
    losses = unreduced(loss)(output, y)
    n = len(y)
    losses_per_sample = losses.numel() // n
    factors = weights
    if getattr(loss, "reduction", "mean") == "mean":
        factors = weights / (total * losses_per_sample)
    return (losses.reshape(n, -1) * factors.to(losses.dtype).reshape(n, 1)).sum()


def batch_weight(loss: Loss, y: Array, weights: Array | None) -> float:
    """The weight of a batch among others: the divisor in the mean of its losses."""
    counts = weights if weights is not None else mean_weights(loss, y)
    if counts is None:
        return float(len(y))
    return float(counts.sum())


def mean_weights(loss: Loss, y: Array) -> Array | None:
    """The weight (n) of each sample in the mean of a loss that weights or ignores classes.

    With several targets for a sample it is the sum of their weights. None if all weights are 1.
    """
    if not is_one_of(loss, "CrossEntropyLoss", "NLLLoss"):
        return None
    of_classes: Any = loss
    if of_classes.reduction != "mean" or y.dtype.kind not in "iu":
        return None
    weight = of_classes.weight
    ignored = y == of_classes.ignore_index
    if weight is None and y.ndim == 1 and not np.count_nonzero(ignored):
        return None
    if weight is None:
        counts = np.ones(y.shape)
    else:
        counts = weight.detach().numpy().take(y, mode="clip")
    return np.where(ignored, 0.0, counts).reshape(len(y), -1).sum(axis=1, dtype=np.float64)


def summed(loss: Loss) -> Loss:
    """A copy of a loss module whose reduction is 'sum'."""
    copied: Any = copy.copy(loss)
    copied.reduction = "sum"
    return copied


def unreduced(loss: Loss) -> Loss:
    """A copy of a loss module that gives one loss per sample (and output) instead of one number.

    Raises:
        ValueError: the loss is a function, or has no reduction to leave out.
    """
    if getattr(loss, "reduction", None) not in ("mean", "sum"):
        raise ValueError(
            f"[Trainer] sample_weight and class_weight need a loss with reduction='mean' or 'sum'; "
            f"got {name_of(loss)}"
        )
    copied: Any = copy.copy(loss)
    copied.reduction = "none"
    return copied


def name_of(thing: object) -> str:
    """The name of a function, or the class of an object."""
    return str(getattr(thing, "__name__", type(thing).__name__))
