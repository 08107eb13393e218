"""Functions of layers that few networks use: normalize, bilinear, embedding_bag and others."""

from __future__ import annotations

import math
from typing import Any

import ranvier._core as _core
from ranvier.observe import value_read
from ranvier.ops.activation.piecewise import hardtanh, leaky_relu, relu
from ranvier.ops.activation.smooth import celu, elu, selu
from ranvier.ops.activation.softmax import softmax
from ranvier.ops.elementwise.arithmetic import add, div, mul, neg, sub
from ranvier.ops.elementwise.choice import maximum, where
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.dtypes import as_tensor, floating, is_floating
from ranvier.ops.elementwise.functions import log, log1p, pow
from ranvier.ops.gradient_rules import replaced
from ranvier.ops.image.pooling import avg_pool2d, max_pool2d
from ranvier.ops.making import uniform
from ranvier.ops.matrix.einsum import einsum
from ranvier.ops.neural.distance import PairsOfRows
from ranvier.ops.neural.dropout import ChannelAlphaDropout, SignalDropout, dropped
from ranvier.ops.neural.embedding import Bag, padding_row, renormalise
from ranvier.ops.reduction.norms import norm
from ranvier.ops.reduction.reduce import amax
from ranvier.ops.shape.index import index_array
from ranvier.tape.function import by_kernel, in_dtypes, single, watched
from ranvier.tensors.dtypes import finfo
from ranvier.tensors.errors import number
from ranvier.tensors.failures import OpError, misfit, require_dtype
from ranvier.tensors.memory import HALVES
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import ArrayLike, Axes, DtypeLike, TensorLike


@in_dtypes()
def normalize(input: TensorLike, p: float = 2.0, dim: Axes = 1, eps: float = 1e-12) -> Tensor:
    """x divided by its p-norm along dim, at least eps.

    >>> import ranvier as rv
    >>> rv.nn.functional.normalize(rv.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    input = as_tensor("normalize", input)
    return div(input, maximum(norm(input, p, dim, True), eps))


def lp_pool2d(
    input: TensorLike, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """y[oh, ow] = (sum of x^norm_type over a window)^(1 / norm_type): (N, C, H, W).

    norm_type inf: the largest |x|. stride: kernel_size if it is None. ceil_mode: a last window that is only
    partly inside counts, as if its missing elements had the mean power. Where the sum is 0, the gradient is
    0, too.

    >>> import ranvier as rv
    >>> rv.nn.functional.lp_pool2d(rv.ones(1, 1, 4, 4), 2, 2)
    tensor([[[[2., 2.],
              [2., 2.]]]])
    """
    p = norm_type
    if isinstance(kernel_size, (tuple, list)):
        size = kernel_size
    else:
        size = (kernel_size, kernel_size)
    if isinstance(p, bool) or not isinstance(p, (int, float)) or p in (0, -math.inf) or p != p:
        raise OpError(f"[lp_pool2d] got norm_type {p!r}; expected a number other than 0 and -inf")
    if p == math.inf:
        return max_pool2d(abs(as_tensor("lp_pool2d", input)), size, stride, 0, 1, ceil_mode)
    means = avg_pool2d(pow(input, p), size, stride, 0, ceil_mode)
    is_zero = eq(means, 0)
    powers = pow(mul(where(is_zero, 1.0, means), math.prod(size)), 1 / p)
    return where(is_zero, 0.0 if p > 0 else math.inf, powers)


def threshold(input: TensorLike, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else the value.

    >>> import ranvier as rv
    >>> rv.nn.functional.threshold(rv.tensor([0.0, 2.0]), 1.0, -1.0)
    tensor([-1.,  2.])
    """
    x = as_tensor("threshold", input)
    require_dtype("threshold", "x", x, "iuf", "numbers")
    # Half floats are compared with the number, not with its rounded value.
    compared = single(x) if x._array.dtype in HALVES else x
    below = compared <= threshold
    y = where(below, value if is_floating(x) else int(value), x)
    return replaced("threshold", input, y, inplace)


def rrelu(
    input: TensorLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """x where x > 0, else a x: a is uniform in [lower, upper] while training, else their mean
    (Xu et al. 2015).

    >>> import ranvier as rv
    >>> rv.nn.functional.rrelu(rv.tensor([-6.0, 2.0]), 0.0, 1.0)
    tensor([-3.,  2.])
    """
    x = as_tensor("rrelu", input)
    require_dtype("rrelu", "x", x, "f", "floats")
    if not lower <= upper:
        raise OpError(f"[rrelu] got lower {lower} and upper {upper}; expected lower <= upper")
    if not training:
        return leaky_relu(x, (lower + upper) / 2, inplace if x is input else False)
    slope = (uniform.slopes(x) * (upper - lower) + lower).to(x.dtype)
    return replaced("rrelu", input, where(x > 0, x, mul(x, slope)), inplace)


def _in_place(function: Any, settings: str = "") -> Any:
    """The function with inplace=True, under its name and an underscore. settings: for the docstring's
    example."""

    def changed(input: TensorLike, *args: Any, **settings: Any) -> Any:
        return function(input, *args, **settings, inplace=True)

    changed.__name__ = changed.__qualname__ = name = f"{function.__name__}_"
    changed.__wrapped__ = function  # type: ignore[attr-defined]  # its signature
    changed.__doc__ = f"""As :func:`ranvier.nn.functional.{name[:-1]}`, in place.

    >>> import ranvier as rv
    >>> x = rv.ones(2)
    >>> rv.nn.functional.{name}(x{settings}) is x
    True
    """
    return changed


celu_, elu_, hardtanh_, leaky_relu_ = map(_in_place, (celu, elu, hardtanh, leaky_relu))
relu_, rrelu_, selu_, threshold_ = *map(_in_place, (relu, rrelu, selu)), _in_place(threshold, ", 0.0, 1.0")


@in_dtypes()
def bilinear(
    input1: TensorLike, input2: TensorLike, weight: TensorLike, bias: TensorLike | None = None
) -> Tensor:
    """y[.., o] = x1^T W[o] x2 + b[o]: x1 (..., i), x2 (..., j), W (o, i, j), b (o).

    >>> import ranvier as rv
    >>> rv.nn.functional.bilinear(rv.ones(2, 3), rv.ones(2, 4), rv.ones(5, 3, 4)).shape
    (2, 5)
    """
    input1, input2, weight = (as_tensor("bilinear", t) for t in (input1, input2, weight))
    fits = weight.ndim == 3 and input1.shape[:-1] == input2.shape[:-1]
    if not fits or input1.shape[-1] != weight.shape[1] or input2.shape[-1] != weight.shape[2]:
        raise OpError(
            f"[bilinear] got x1 of shape {input1.shape}, x2 of {input2.shape} and weight of {weight.shape}; "
            "expected (..., i), (..., j) and (o, i, j)"
        )
    y = _core._without_autocast(einsum, "...i,oij,...j->...o", input1, weight, input2)
    if bias is None:
        return y
    return add(y, bias)


def embedding_bag(
    input: TensorLike,
    weight: TensorLike,
    offsets: ArrayLike | None = None,
    max_norm: Any = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: TensorLike | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or greatest of the rows of each bag: indices (bags, k), or a vector cut at offsets.

    Rows padding_idx do not count; an empty bag gives 0. The gradient is dense; max_norm as in
    :func:`embedding`.

    >>> import ranvier as rv
    >>> rv.nn.functional.embedding_bag(rv.tensor([0, 1, 1]), rv.eye(2), rv.tensor([0, 1]), mode="sum")
    tensor([[1., 0.],
            [0., 2.]])
    """
    if offsets is not None:
        value_read("embedding_bag with offsets", offsets)
    if max_norm is not None:
        table = as_tensor("embedding_bag", weight)
        renormalise(table, wrap(index_array("embedding_bag", input)), max_norm, norm_type)
    if padding_idx is not None:
        rows = len(as_tensor("embedding_bag", weight))
        padding_idx = padding_row(padding_idx, rows, "embedding_bag")
    settings = mode, include_last_offset, padding_idx
    return _bags(input, weight, offsets, per_sample_weights, *settings, scale_grad_by_freq)


# takes=7: the kernel gets all arguments but the last, scale_grad_by_freq, which concerns backward only.
@by_kernel(_core.embedding_bag, takes=7)
def _bags(
    input: TensorLike,
    weight: TensorLike,
    offsets: ArrayLike | None,
    weights: TensorLike | None,
    *settings: Any,
) -> Tensor:
    index = index_array("embedding_bag", input)
    table = as_tensor("embedding_bag", weight)
    if offsets is None:
        starts = None
    else:
        starts = index_array("embedding_bag", offsets)
    if weights is None:
        scale = None
    else:
        scale = as_tensor("embedding_bag", weights)
    return watched(Bag(*settings).apply(table, scale, index, starts), input, offsets)


def pdist(input: TensorLike, p: float = 2.0) -> Tensor:
    """The p-norm between each two rows i < j of x (n, d): a vector of n (n - 1) / 2.

    >>> import ranvier as rv
    >>> rv.nn.functional.pdist(rv.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
    tensor([5.0000, 1.0000, 4.2426])
    """
    input = as_tensor("pdist", input)
    if input.ndim != 2:
        raise misfit("pdist", {"x": input.shape}, "(n, d)")
    return PairsOfRows(number("pdist", "p", p, 0)).apply(floating(input))


def dropout1d(input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes each channel of x (N, C, L) or (C, L) with probability p, divides the others by 1 - p; see
    :func:`ranvier.dropout`.

    >>> import ranvier as rv
    >>> rv.nn.functional.dropout1d(rv.ones(1, 2, 3), 1.0)
    tensor([[[0., 0., 0.],
             [0., 0., 0.]]])
    """
    input = as_tensor("dropout1d", input)
    if input.ndim not in (2, 3):
        raise misfit("dropout1d", {"x": input.shape}, "(N, C, L) or (C, L)")
    return dropped("dropout1d", input, p, training, inplace, SignalDropout)


def feature_alpha_dropout(
    input: TensorLike, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """:func:`ranvier.nn.functional.alpha_dropout` of whole channels: x (N, C, ...).

    >>> import ranvier as rv
    >>> rv.nn.functional.feature_alpha_dropout(rv.ones(1, 2, 3), 0.5).shape
    (1, 2, 3)
    """
    input = as_tensor("feature_alpha_dropout", input)
    if input.ndim < 2:
        raise misfit("feature_alpha_dropout", {"x": input.shape}, "(N, C, ...)")
    return dropped("feature_alpha_dropout", input, p, training, inplace, ChannelAlphaDropout)


@in_dtypes()
def softmin(
    input: TensorLike, dim: int | None = None, _stacklevel: int = 3, dtype: DtypeLike | None = None
) -> Tensor:
    """softmax(-x) along dim. _stacklevel has no effect.

    >>> import ranvier as rv
    >>> rv.nn.functional.softmin(rv.tensor([1.0, 1.0]), 0)
    tensor([0.5000, 0.5000])
    """
    return softmax(neg(as_tensor("softmin", input)), dim, dtype=dtype)


@in_dtypes()
def gumbel_softmax(
    logits: TensorLike, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """softmax((logits + g) / tau) of Gumbel noise g = -log(-log(u)): a soft sample of softmax(logits).

    hard: the sample itself, 1 at the greatest and else 0, with the gradient of the soft one. eps has no
    effect, as in PyTorch.

    Source: Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax" (2017).

    >>> import ranvier as rv
    >>> rv.nn.functional.gumbel_softmax(rv.zeros(3), hard=True).sum()
    tensor(1.)
    """
    number("gumbel_softmax", "tau", tau)
    logits = floating(as_tensor("gumbel_softmax", logits))
    u = uniform.uniform_of(logits.shape, logits.dtype)
    noise = -log((-log1p(-u)).to(logits.dtype) + finfo(logits.dtype).tiny)
    soft = softmax(div(add(logits, noise), tau), dim)
    if not hard:
        return soft
    one = eq(soft, amax(soft.detach(), dim, True)).to(soft.dtype)
    return add(sub(one, soft.detach()), soft)
