"""Indices, masks, targets and weights that are changed in place between forward and backward.

The gradient is that of the values before the change, or the backward is refused: never one of the values
after it. tests/properties/test_changed.py says it of the inputs of all ops; here are the changes in place,
indexing, and what a loss takes beside its input, each side alone.
"""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F

INDEX, MASK, SOURCE = [2, 0], [True, False, True], [5.0, 6.0]
LOGITS, WEIGHTS = [[0.1, 0.2, 0.3], [1.0, -2.0, 3.0]], [2.0, 3.0, 4.0]
BITS, SIGNS, CLASSES, SHARES = [[1, 0, 1], [0, 1, 1]], [[1, -1, 1], [-1, 1, 1]], [1, 0], [[0.1, 0.2, 0.7]] * 2
BAG, BAG_STARTS = [0, 1, 2], [0, 1]


def written(change):
    """The result of a change in place of a copy, as the call of a case."""

    def of(x, *sides):
        y = x * 1.0
        change(y, *sides)
        return y

    return of


def set_item(x, index, source):
    x[index] = source


def set_columns(x, index, source):
    x[None][:, index] = source


LINE = [1.0, 2.0, 3.0]
CASES = {  # name: (call, x, sides)
    "x[index]": (lambda x, i: x[i], LINE, [INDEX]),
    "x[mask]": (lambda x, m: x[m], LINE, [MASK]),
    "x[:, index]": (lambda x, i: x[None][:, i], LINE, [INDEX]),
    "x[index] = source": (written(set_item), LINE, [INDEX, SOURCE]),
    "x[mask] = source": (written(set_item), LINE, [MASK, SOURCE]),
    "x[:, index] = source": (written(set_columns), LINE, [INDEX, SOURCE]),
    "index_copy_": (written(lambda x, i, s: x.index_copy_(0, i, s)), LINE, [INDEX, SOURCE]),
    "index_add_": (written(lambda x, i, s: x.index_add_(0, i, s)), LINE, [INDEX, SOURCE]),
    "index_fill_": (written(lambda x, i: x.index_fill_(0, i, 7.0)), LINE, [INDEX]),
    "index_put_": (written(lambda x, i, s: x.index_put_((i,), s)), LINE, [INDEX, SOURCE]),
    "put_": (written(lambda x, i, s: x.put_(i, s)), LINE, [INDEX, SOURCE]),
    "scatter_": (written(lambda x, i, s: x.scatter_(0, i, s)), LINE, [INDEX, SOURCE]),
    "scatter_add_": (written(lambda x, i, s: x.scatter_add_(0, i, s)), LINE, [INDEX, SOURCE]),
    "scatter_reduce_": (
        written(lambda x, i, s: x.scatter_reduce_(0, i, s, "mean")),
        LINE,
        [INDEX, SOURCE],
    ),
    "masked_fill_": (written(lambda x, m: x.masked_fill_(m, 7.0)), LINE, [MASK]),
    "masked_scatter_": (written(lambda x, m, s: x.masked_scatter_(m, s)), LINE, [MASK, SOURCE]),
    "addcmul_": (written(lambda x, a, b: x.addcmul_(a, b)), LINE, [LINE, WEIGHTS]),
    "mul_": (written(lambda x, a: x.mul_(a)), LINE, [WEIGHTS]),
    "div_": (written(lambda x, a: x.div_(a)), LINE, [WEIGHTS]),
    "repeat_interleave": (rv.repeat_interleave, LINE, [[1, 2, 1]]),
    "embedding_bag": (lambda x, i, o: F.embedding_bag(i, x, o, mode="sum"), [LINE] * 3, [BAG, BAG_STARTS]),
    "cross_entropy": (lambda x, t, w: F.cross_entropy(x, t, w), LOGITS, [CLASSES, WEIGHTS]),
    "cross_entropy of shares": (lambda x, t, w: F.cross_entropy(x, t, w), LOGITS, [SHARES, WEIGHTS]),
    "nll_loss": (lambda x, t, w: F.nll_loss(x, t, w), LOGITS, [CLASSES, WEIGHTS]),
    "bce_with_logits": (
        lambda x, t, w, p: F.binary_cross_entropy_with_logits(x, t.to(x.dtype), w, pos_weight=p),
        LOGITS,
        [BITS, WEIGHTS, WEIGHTS],
    ),
    "binary_cross_entropy": (
        lambda x, t, w: F.binary_cross_entropy(x.sigmoid(), t.to(x.dtype), w),
        LOGITS,
        [BITS, WEIGHTS],
    ),
    "multi_margin_loss": (lambda x, t, w: F.multi_margin_loss(x, t, weight=w), LOGITS, [CLASSES, WEIGHTS]),
    "multilabel_margin_loss": (F.multilabel_margin_loss, LOGITS, [[[1, 0, -1], [2, -1, 0]]]),
    "multilabel_soft_margin_loss": (F.multilabel_soft_margin_loss, LOGITS, [BITS, WEIGHTS]),
    "soft_margin_loss": (F.soft_margin_loss, LOGITS, [SIGNS]),
    "hinge_embedding_loss": (F.hinge_embedding_loss, LOGITS, [SIGNS]),
    "margin_ranking_loss": (F.margin_ranking_loss, LINE, [WEIGHTS, [1.0, -1.0, -1.0]]),
    "cosine_embedding_loss": (F.cosine_embedding_loss, LOGITS, [SHARES, [1, -1]]),
    "mse_loss": (F.mse_loss, LINE, [WEIGHTS]),
    "l1_loss": (F.l1_loss, LINE, [[2.0, 1.0, 5.0]]),
    "smooth_l1_loss": (F.smooth_l1_loss, LINE, [WEIGHTS]),
    "huber_loss": (F.huber_loss, LINE, [WEIGHTS]),
    "kl_div": (F.kl_div, LOGITS, [SHARES]),
    "poisson_nll_loss": (F.poisson_nll_loss, LINE, [WEIGHTS]),
    "gaussian_nll_loss": (F.gaussian_nll_loss, LINE, [[0.0, 1.0, 5.0], WEIGHTS]),
    "ctc_loss": (
        lambda x, t, n, m: F.ctc_loss(x.log_softmax(-1), t, n, m),
        [LOGITS, LOGITS, LOGITS],
        [[[1, 2], [2, 1]], [3, 2], [2, 1]],
    ),
}


def changed(x: rv.Tensor) -> rv.Tensor:
    """Other values that are as valid; of integers 0."""
    if x.dtype == rv.bool:
        return rv.logical_not(x)
    return rv.flip(x, range(x.ndim)) if x.is_floating_point() else x * 0


def gradient(y: rv.Tensor, x: rv.Tensor) -> np.ndarray:
    weights = 1.0 + rv.arange(y.numel()).reshape(y.shape)
    (found,) = rv.autograd.grad((y * weights).sum(), x)
    return found.double().numpy()


def is_refused(y: rv.Tensor, x: rv.Tensor) -> bool:
    """True if the backward raises the error of changes in place."""
    try:
        rv.autograd.grad(y.sum(), x, retain_graph=True)
    except RuntimeError as error:
        text = str(error)
        assert "modified by an inplace operation" in text
        return True
    return False


@pytest.mark.parametrize("dtype", [rv.float32, rv.float64, rv.bfloat16], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_side_changes_before_backward(name, dtype):
    call, values, sides = CASES[name]
    for which in range(len(sides)):
        found = []
        for changes in (False, True):
            x = rv.tensor(values, dtype=dtype).requires_grad_()
            tensors = []
            for side in map(rv.tensor, sides):
                tensors.append(side.to(dtype) if side.is_floating_point() else side)
            y = call(x, *tensors)
            if changes:
                tensors[which].copy_(changed(tensors[which]))
            if not (changes and is_refused(y, x)):
                found.append(gradient(y, x))
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])
