"""Gradient clipping, under PyTorch's path ``nn.utils``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ranvier import _core
from ranvier.autograd.inplace import bump
from ranvier.autograd.tensor import Tensor, wrap


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scales the gradients so that the norm of all of them together is at most max_norm; returns that norm.

    g *= min(1, max_norm / (norm + 1e-6)), norm = (sum |g|^norm_type)^(1/norm_type), for infinity the largest
    |g|.
    The sum is taken in double, in an order of its own: the same at any number of threads.

    Raises ValueError for a norm_type that is not above 0, RuntimeError for a norm that is not finite where
    error_if_nonfinite is True. Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent
    neural networks" (2013).

    >>> import ranvier as rv
    >>> p = rv.tensor([3.0, 4.0], requires_grad=True)
    >>> (p * p).backward(rv.tensor([1.0, 1.0]))
    >>> rv.nn.utils.clip_grad_norm_(p, 1.0)
    tensor(10.)
    """
    by_dtype = _gradients(parameters)
    norms = [_core.gradient_norm([g._array for g in part], float(norm_type)) for part in by_dtype]
    if len(norms) == 1:
        norm = norms[0]
    elif np.isinf(norm_type):
        norm = np.max(norms, axis=0, initial=0.0)
    else:
        norm = np.sum(np.power(norms, norm_type), axis=0) ** (1 / norm_type) if norms else np.zeros(1)
    if error_if_nonfinite and not np.isfinite(norm[0]):
        raise RuntimeError(f"[clip_grad_norm_] got gradients of norm {norm[0]}; expected a finite norm")
    limit = np.array([float(max_norm)])
    for part in by_dtype:
        _core.clip_gradients([g._array for g in part], limit, norm)
        for g in part:
            bump(g)
    dtype = by_dtype[0][0].dtype if by_dtype else np.float32
    return wrap(np.asarray(norm[0], dtype))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamps every gradient element to [-clip_value, clip_value].

    >>> import ranvier as rv
    >>> p = rv.tensor([3.0, -4.0], requires_grad=True)
    >>> (p * p).backward(rv.tensor([1.0, 1.0]))
    >>> rv.nn.utils.clip_grad_value_(p, 1.0)
    >>> p.grad
    tensor([ 1., -1.])
    """
    limit = np.array([float(clip_value)])
    for part in _gradients(parameters):
        _core.clip_gradients([g._array for g in part], limit, None)
        for g in part:
            bump(g)


def _gradients(parameters: Any) -> list[list[Tensor]]:
    """The gradients that there are, by dtype."""
    by_dtype: dict[Any, list[Tensor]] = {}
    for p in [parameters] if isinstance(parameters, Tensor) else parameters:
        if p.grad is not None:
            by_dtype.setdefault(p.grad.dtype, []).append(p.grad)
    return list(by_dtype.values())
