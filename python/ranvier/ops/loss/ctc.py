"""ctc_loss: the loss of a sequence of labels without an alignment to the steps, as for speech and
handwriting. The core's kernel `ctc_loss` computes it and its gradient at once, and forward saves the
gradient.

Shapes: t steps, n samples, c classes; the longest target has s labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.loss.base import reduced
from ranvier.ops.shape.index import index_array
from ranvier.tape.function import Dtypes, Function, in_dtypes
from ranvier.tensors.errors import whole
from ranvier.tensors.failures import OpError, misfit, require_dtype
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import DtypeLike, TensorLike


class CTC(Function):
    """-log of the probability of all paths that give the target.

    dx = exp(x) - (the share of the paths that have the class at the step). The kernel of forward computes dx,
    too, if it is needed.

    Inputs: x (t, n, c); labels, rows (n, s) of `_rows`; lengths and sizes (n), those of the inputs and of the
    targets. blank is one of the classes (`_rows` checks it).
    """

    def __init__(self, blank: int, zero_infinity: bool) -> None:
        self.blank = blank
        # the gradient of a sample whose loss is infinite
        self.at_infinity = 0.0 if zero_infinity else math.nan

    def forward(self, x: Array, labels: Array, lengths: Array, sizes: Array) -> Array:
        # exp keeps the memory order of x, but the kernel takes a C-contiguous dx.
        if x.flags.c_contiguous or not self.needs[0]:
            dense = x
        else:
            dense = _core.copy(x, False)
        self.dx: Any = None
        if self.needs[0]:
            self.dx = _core.exp(dense, None)  # the kernel subtracts the shares from it, in place
        return _core.ctc_loss(x, labels, lengths, sizes, self.blank, self.at_infinity, self.dx)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return _core.mul(self.dx, dy[:, None], None), None, None, None


def _rows(shape: tuple[int, ...], labels: Array, lengths: Array, sizes: Array, blank: int) -> Array:
    """The targets as rows, filled up with 0: (n, longest target). Raises ValueError for lengths and labels
    that do not fit x.

    shape: of x, (t, n, c). labels: (n, s), or the labels of all samples one after another. lengths: of the
        inputs.
    sizes: the lengths of the targets.
    """
    steps, batch, classes = shape
    if not (lengths.shape == sizes.shape == (batch,)):
        raise OpError(
            f"[ctc_loss] got log_probs of shape {shape} and {lengths.size} and {sizes.size} lengths; "
            "expected (t, n, c) and n lengths"
        )
    if lengths.size and (lengths.min() < 0 or lengths.max() > steps):
        raise OpError(
            f"[ctc_loss] got input_lengths from {lengths.min()} to {lengths.max()}; expected 0 to {steps}"
        )
    if labels.ndim == 2:
        fits = labels.shape[0] == sizes.size and sizes.max(initial=0) <= labels.shape[1]
    else:
        fits = labels.ndim == 1 and sizes.sum() <= labels.size
    if not fits or sizes.min(initial=0) < 0:
        raise OpError(
            f"[ctc_loss] got targets of shape {labels.shape} and target_lengths {sizes.tolist()}; expected a "
            "row for each sample, or the labels of all samples one after another"
        )
    if labels.ndim == 2:  # the shape does not depend on values, so that recorded steps can repeat this
        longest = labels.shape[1]
    else:
        longest = sizes.max(initial=0)
    rows = np.zeros((sizes.size, longest), np.int64)
    used = np.arange(longest) < sizes[:, None]
    if labels.ndim == 2:
        rows[used] = labels[used]
    else:
        rows[used] = labels[: sizes.sum()]
    least = rows.min(initial=0)
    greatest = rows.max(initial=0)
    if not 0 <= blank < classes or least < 0 or greatest >= classes:
        raise OpError(f"[ctc_loss] got a label or blank outside 0 ... {classes - 1}; expected one inside")
    return rows


@in_dtypes(Dtypes(halves="own", autocast="float32"))
def ctc_loss(
    log_probs: TensorLike,
    targets: TensorLike,
    input_lengths: TensorLike | Sequence[int],
    target_lengths: TensorLike | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification: -log of the probability of all alignments of each target.

    log_probs: (t, n, c), or (t, c) for one sample, from log_softmax. targets: labels (n, s), or the labels of
    all samples one after another. input_lengths, target_lengths: n whole numbers each. 'mean' divides each
    loss by the length of its target first. If a target does not fit into its input, the loss is inf and its
    gradient NaN; with zero_infinity both are 0. The gradient of log_probs is, as in PyTorch, exp(log_probs)
    less the share of the alignments that have the class at the step; the first term makes no difference
    behind log_softmax, whose backward removes it. Raises ValueError for lengths and labels that do not fit.

    Source: Graves et al., "Connectionist temporal classification" (2006).

    >>> import ranvier as rv
    >>> log_probs = rv.full((2, 1, 2), 0.5).log()
    >>> rv.nn.functional.ctc_loss(log_probs, rv.tensor([[1]]), rv.tensor([2]), rv.tensor([1]))
    tensor(0.2877)
    """
    x = as_tensor("ctc_loss", log_probs)
    require_dtype("ctc_loss", "log_probs", x, "f", "floats")
    if x.ndim not in (2, 3):
        raise misfit("ctc_loss", {"log_probs": x.shape}, "(t, n, c) or (t, c)")
    if isinstance(targets, Tensor) and targets.dtype.kind in "bf":
        targets = targets.long()  # As in PyTorch, which takes targets of floats, but not lengths of floats.
    labels = index_array("ctc_loss", targets)
    lengths = _lengths(input_lengths)
    sizes = _lengths(target_lengths)
    single = x.ndim == 2
    if single:
        x = x.unsqueeze(1)
        lengths = lengths.reshape(-1)
        sizes = sizes.reshape(-1)
        labels = labels.reshape(1, -1)
    blank = whole("ctc_loss", "blank", blank)
    rows = host(_rows, tuple(x.shape), labels, lengths, sizes, blank)
    loss = CTC(blank, bool(zero_infinity)).apply(x, rows, lengths, sizes)
    if zero_infinity:
        loss = where(loss == math.inf, 0.0, loss)
    if single:
        loss = loss[0]
    if reduction == "mean":
        loss = loss / wrap(host(_divisors, sizes, x.dtype, single))
    return reduced("ctc_loss", loss, reduction)


def _lengths(lengths: TensorLike | Sequence[int]) -> Array:
    """The lengths of all samples, or of one, as an array."""
    if isinstance(lengths, int):
        return index_array("ctc_loss", [lengths])
    return index_array("ctc_loss", lengths)


def _divisors(sizes: Array, dtype: DtypeLike, single: bool) -> Array:
    """The lengths of the targets, at least 1, by which 'mean' divides the losses."""
    divisors = np.maximum(sizes, 1).astype(dtype)
    if single:
        return divisors.reshape(())
    return divisors
