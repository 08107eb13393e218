"""dropout of elements, dropout2d of whole channels, and alpha_dropout, which keeps mean and variance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.activation.smooth import SELU_ALPHA, SELU_SCALE
from ranvier.ops.gradient_rules import diagonal, replaced
from ranvier.ops.layout import filled
from ranvier.ops.making.random import fresh_key
from ranvier.tape.function import Function, as_inputs
from ranvier.tensors.errors import flag
from ranvier.tensors.failures import OpError, misfit, require_dtype
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Array, TensorLike


class Dropout(Function):
    def __init__(self, p: float, key: np.ndarray[Any, Any]) -> None:
        self.p = p
        self.key = key

    def forward(self, x: Array, out: Array | None = None) -> Array:
        return _core.dropout(x, self.p, self.key, out)

    def backward(self, dy: Array) -> Any:
        return _core.dropout(dy, self.p, self.key, None)  # The mask is computed again from the key, not kept.


def probability(op: str, name: str, p: Any) -> Any:
    """p. Raises ValueError unless 0 <= p <= 1, TypeError if p is no number."""
    try:
        if 0 <= p <= 1:
            return p
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, TypeError) or getattr(p, "shape", ()) != ():
            raise TypeError(f"[{op}] got {name} {p!r}; expected a number") from None
        raise
    raise OpError(f"[{op}] got {name} {p}; expected a probability, 0 <= p <= 1")


def dropped(
    name: str,
    input: TensorLike,
    p: float,
    training: bool,
    inplace: bool,
    node: Callable[[float, Array], Function],
) -> Tensor:
    """The input after the Function node(p, key) if `training`, else the input; with inplace, it gets the
    values."""
    if type(p) is not float or not 0 <= p <= 1:
        probability(name, "p", p)
    if isinstance(input, Tensor):
        x = input
    else:
        x = as_inputs((input,), name)[0]
        inplace = False
    if training is not True and not flag(name, "training", training):
        return x
    if p == 0:
        return x
    return replaced(name, x, node(p, fresh_key()), inplace)


def dropout(input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes each element with probability p, divides the others by 1 - p; x itself if training is False.

    The mask depends only on the seed, the number of earlier draws and the element's place: it is the same for
    any number of threads and any memory layout. A dropped element is 0, also where x is Inf or NaN. inplace
    changes x and returns it; a leaf that requires gradients then raises RuntimeError, as in PyTorch.

    input: any float dtype and shape, else TypeError. p outside [0, 1] raises ValueError.
    Source: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (2014).

    >>> import ranvier as rv
    >>> x = rv.ones(1000)
    >>> sorted(set(rv.dropout(x, 0.5).numpy().tolist()))
    [0.0, 2.0]
    >>> rv.dropout(x, 0.5, training=False) is x
    True
    """
    return dropped("dropout", input, p, training, inplace, Dropout)


class ChannelDropout(Dropout):
    """y = x times a number for each channel (the first two dimensions): 0 or 1 / (1 - p)"""

    def forward(self, x: Array, out: Array | None = None) -> Array:
        require_dtype("dropout", "x", x, "f", "floats")
        lead = self._lead(x)
        shape = (*x.shape[:lead], *(1,) * (x.ndim - lead))
        self.scale = _core.dropout(filled(1.0, shape, x.dtype), self.p, self.key, None)
        return _core.mul(x, self.scale, out)

    def backward(self, dy: Array) -> Any:
        return _core.mul(dy, self.scale, None)

    def _lead(self, x: Array) -> int:
        """The number of dimensions before those of a channel's elements."""
        return 2


def dropout2d(input: TensorLike, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes each channel of x (N, C, H, W) with probability p, divides the others by 1 - p; see
    :func:`dropout`. As in PyTorch the first two dimensions are batch and channels, with any that follow.

    Raises ValueError for fewer dimensions.
    Source: Tompson et al., "Efficient Object Localization Using Convolutional Networks" (2015).

    >>> import ranvier as rv
    >>> y = rv.nn.functional.dropout2d(rv.ones(4, 8, 5, 5), 0.5)
    >>> bool((y.amax((2, 3)) == y.amin((2, 3))).all())
    True
    """
    x: Any = input
    if not isinstance(x, Tensor):
        x = as_inputs((x,), "dropout2d")[0]
    if x.ndim < 2:
        raise misfit("dropout2d", {"x": x.shape}, "2 dimensions or more: batch, channels ...")
    return dropped("dropout2d", x, p, training, inplace, ChannelDropout)


class SignalDropout(ChannelDropout):
    """As ChannelDropout, for x (N, C, L), or (C, L) without a batch."""

    def _lead(self, x: Array) -> int:
        return int(x.ndim) - 1


class AlphaDropout(Function):
    """y = a x + b, where a dropped x counts as the limit of selu at -inf; a and b are such that numbers of
    mean 0 and variance 1 keep both"""

    def __init__(self, p: float, key: np.ndarray[Any, Any]) -> None:
        low = -SELU_SCALE * SELU_ALPHA
        p = float(p)
        self.p = p
        self.key = key
        self.a = ((1 - p) * (1 + p * low * low)) ** -0.5 if p < 1 else 0.0
        self.b = -self.a * p * low
        self.dropped = self.a * low + self.b

    def forward(self, x: Array, out: Array | None = None) -> Array:
        scale = _core.dropout(filled(1.0, self._mask_shape(x), x.dtype), self.p, self.key, None)
        self.kept = np.broadcast_to(_core.gt(scale, 0.0, None), x.shape)
        y = _core.mul(x, self.a, out)
        return _core.where(self.kept, _core.add(y, self.b, y), self.dropped, y)

    def backward(self, dy: Array) -> Any:
        return _core.where(self.kept, _core.mul(dy, self.a, None), 0.0, None)

    def _mask_shape(self, x: Array) -> tuple[int, ...]:
        return tuple(x.shape)


class ChannelAlphaDropout(AlphaDropout):
    """AlphaDropout of whole channels, the first two dimensions."""

    def _mask_shape(self, x: Array) -> tuple[int, ...]:
        return *x.shape[:2], *(1,) * (x.ndim - 2)


diagonal(Dropout, ChannelDropout, SignalDropout, AlphaDropout, ChannelAlphaDropout)


def alpha_dropout(input: TensorLike, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for networks of :func:`selu`: sets elements to its lower limit instead of 0, then scales and
    shifts all so that numbers of mean 0 and variance 1 keep both. p, x and errors as in :func:`dropout`.

    Source: Klambauer et al., "Self-Normalizing Neural Networks" (2017).

    >>> import ranvier as rv
    >>> y = rv.nn.functional.alpha_dropout(rv.randn(100000), 0.2, training=True)
    >>> round(y.mean().item(), 1) == 0, round(y.std().item(), 1)
    (True, 1.0)
    """
    return dropped("alpha_dropout", input, p, training, inplace, AlphaDropout)
