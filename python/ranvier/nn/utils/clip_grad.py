"""Functions of all parameters together: they clip the gradients, or give the values as one vector.

Gradients of one dtype are clipped by one call of the core, so they are first divided into lists by their
dtypes (`_by_dtype`). Norms are float64 arrays of one element: a captured step computes with them, and so they
are not read as numbers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.ops as ops
from ranvier.grad_mode import no_grad
from ranvier.observe import value_read
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.dtypes import default
from ranvier.tensors.errors import number, ordered, truth
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import Array, cast, narrow, numbers, widened
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import bump


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales the gradients so that the norm of all of them together is at most max_norm; returns the norm
    before.

    g *= min(1, max_norm / (norm + 1e-6)), norm = (sum |g|^norm_type)^(1/norm_type). For norm_type = infinity
    the norm is the largest |g|, for -infinity the smallest; for 0 it is the number of gradients with an
    element that is not 0, as in PyTorch.
    The sum is computed in float64, in the same order at any number of threads. PyTorch's foreach is ignored.

    Raises ValueError for norm_type NaN, and for one below 0 with a gradient without elements; with
    error_if_nonfinite=True RuntimeError for a norm that is not finite.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013).

    >>> import ranvier as rv
    >>> p = rv.tensor([3.0, 4.0], requires_grad=True)
    >>> (p * p).backward(rv.tensor([1.0, 1.0]))
    >>> rv.nn.utils.clip_grad_norm_(p, 1.0)
    tensor(10.)
    """
    max_norm = number("clip_grad_norm_", "max_norm", max_norm, 0)
    by_dtype = _by_dtype(_gradients("clip_grad_norm_", parameters))
    norm = _norm("clip_grad_norm_", by_dtype, norm_type, error_if_nonfinite)
    _clip(by_dtype, max_norm, norm)
    return _as_tensor(norm, by_dtype)


clip_grad_norm = clip_grad_norm_  # PyTorch's older name


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors together, as in ``clip_grad_norm_``.

    >>> import ranvier as rv
    >>> rv.nn.utils.get_total_norm([rv.tensor([3.0]), rv.tensor([4.0])])
    tensor(5.)
    """
    if isinstance(tensors, Tensor):
        tensors = [tensors]
    else:
        tensors = ordered("get_total_norm", tensors, "tensors")
    by_dtype = _by_dtype(tensors)
    return _as_tensor(_norm("get_total_norm", by_dtype, norm_type, error_if_nonfinite), by_dtype)


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor | float,
    foreach: bool | None = None,
) -> None:
    """Scales the gradients by min(1, max_norm / (total_norm + 1e-6)): the second half of ``clip_grad_norm_``.

    >>> import ranvier as rv
    >>> p = rv.tensor([3.0, 4.0], requires_grad=True)
    >>> (p * p).backward(rv.tensor([1.0, 1.0]))
    >>> rv.nn.utils.clip_grads_with_norm_(p, 1.0, total_norm=2.0); p.grad
    tensor([3.0000, 4.0000])
    """
    max_norm = number("clip_grads_with_norm_", "max_norm", max_norm, 0)
    if isinstance(total_norm, Tensor):
        norm = cast(total_norm._array.reshape(1), np.dtype(np.float64))
    else:
        norm = numbers(float(total_norm))
    _clip(_by_dtype(_gradients("clip_grads_with_norm_", parameters)), max_norm, norm)


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Clamps every gradient element to [-clip_value, clip_value].

    >>> import ranvier as rv
    >>> p = rv.tensor([3.0, -4.0], requires_grad=True)
    >>> (p * p).backward(rv.tensor([1.0, 1.0]))
    >>> rv.nn.utils.clip_grad_value_(p, 1.0)
    >>> p.grad
    tensor([ 1., -1.])
    """
    clip_value = number("clip_grad_value_", "clip_value", clip_value, 0)
    _clip(_by_dtype(_gradients("clip_grad_value_", parameters)), clip_value, None)


def _gradients(name: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The gradients that are not None."""
    all_parameters: list[Any]
    if isinstance(parameters, Tensor):
        all_parameters = [parameters]
    else:
        all_parameters = ordered(name, parameters)
    for p in all_parameters:
        if not isinstance(p, Tensor):
            refuse_torch(name, "a parameter", p)
    gradients = []
    for p in all_parameters:
        try:
            gradient = p.grad  # `grad` is read first, because an export records this.
        except AttributeError:
            raise TypeError(f"[{name}] got parameters {all_parameters[:3]}; expected Tensors") from None
        if isinstance(gradient, Tensor):
            gradients.append(gradient)
        elif gradient is not None:
            # A satellite may keep numbers in objects that are no Tensors (`AS_PARAMETER` of nn/registry.py);
            # `_grad` is the Tensor that has the gradient.
            gradients.append(p._grad)
    return gradients


def _by_dtype(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Lists of the tensors of one dtype, which one call of the core takes."""
    groups: dict[np.dtype[Any], list[Tensor]] = {}
    for t in tensors:
        groups.setdefault(t._array.dtype, []).append(t)
    return list(groups.values())


def _norm(name: str, by_dtype: list[list[Tensor]], norm_type: float, error_if_nonfinite: bool) -> Array:
    """The norm of all tensors together, float64 (1,). name: that of the caller, for errors."""
    try:
        p = float(norm_type)  # norm_type may be the text "inf".
    except Exception:
        raise TypeError(f"[{name}] got norm_type {norm_type!r}; expected a number") from None
    if type(error_if_nonfinite) is not bool:
        error_if_nonfinite = truth(name, "error_if_nonfinite", error_if_nonfinite)
    if math.isnan(p):
        raise OpError(f"[{name}] got norm_type nan; expected a number")
    if p <= 0:
        norm = _norm_of_norms(name, by_dtype, p)
    else:
        norm = _norm_of_elements(by_dtype, p)
    if error_if_nonfinite:
        value_read("error_if_nonfinite")
        if not np.isfinite(norm[0]):
            raise RuntimeError(f"[{name}] got gradients of norm {norm[0]}; expected a finite norm")
    return norm


def _norm_of_elements(by_dtype: list[list[Tensor]], p: float) -> Array:
    """The p-norm, p > 0, of all elements together."""
    norms = []
    for tensors in by_dtype:
        arrays = [g._array for g in tensors]
        norms.append(_core.gradient_norm(widened(arrays), p))
    if not norms:
        return np.zeros(1)
    if len(norms) == 1:
        return norms[0]
    if math.isinf(p):
        return functools.reduce(_core.maximum, norms)
    powers = [_core.pow(n, p) for n in norms]
    return _core.pow(functools.reduce(_core.add, powers), 1 / p)


def _norm_of_norms(name: str, by_dtype: list[list[Tensor]], p: float) -> Array:
    """The p-norm, p <= 0, of the p-norms of the tensors: for p = 0 how many of them are not all 0."""
    tensors = list(chain.from_iterable(by_dtype))
    if not tensors:
        return np.zeros(1)
    if p < 0 and any(g.numel() == 0 for g in tensors):
        raise OpError(f"[{name}] got a gradient without elements; expected norm_type of at least 0")
    with no_grad():
        wide = [g.detach().to(np.float64) for g in tensors]
        norms = [ops.norm(g, p).reshape(1) for g in wide]
        return ops.norm(ops.cat(norms), p).reshape(1)._array


def _clip(by_dtype: list[list[Tensor]], limit: float, norm: Array | None) -> None:
    """Clips the gradients: so that `norm`, their norm, becomes at most `limit`; or, if norm is None, each
    element to [-limit, limit]."""
    for gradients in by_dtype:
        arrays = [g._array for g in gradients]
        wide = widened(arrays)  # Half floats become float32; others are the same arrays.
        _core.clip_gradients(wide, numbers(float(limit)), norm)
        narrow(arrays, wide)
        for g in gradients:
            bump(g)  # The tape counts changes in place.


def _as_tensor(norm: Array, by_dtype: list[list[Tensor]]) -> Tensor:
    """The norm, an array (1,), as a number in the dtype of the tensors; of several dtypes float64 if one of
    them is float64, else float32."""
    dtypes = [tensors[0]._array.dtype for tensors in by_dtype]
    if not dtypes:
        dtype = default.dtype
    elif len(dtypes) == 1:
        dtype = dtypes[0]
    elif np.dtype(np.float64) in dtypes:
        dtype = np.dtype(np.float64)
    else:
        dtype = np.dtype(np.float32)
    return wrap(cast(norm, dtype).reshape(()))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after another, in one dimension, with gradients.

    Raises ValueError if there is no parameter.

    >>> import ranvier as rv
    >>> rv.nn.utils.parameters_to_vector([rv.ones(2, 2), rv.zeros(1)])
    tensor([1., 1., 1., 1., 0.])
    """
    flat = [parameter.reshape(-1) for parameter in ordered("parameters_to_vector", parameters)]
    if not flat:
        raise ValueError("[parameters_to_vector] got no parameters; expected at least one")
    return ops.cat(flat)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copies a vector into the memory of the parameters, in their order.

    Raises ValueError unless the vector has as many elements as all parameters together.

    >>> import ranvier as rv
    >>> layer = rv.nn.Linear(2, 1)
    >>> rv.nn.utils.vector_to_parameters(rv.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.bias.item()
    3.0
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"[vector_to_parameters] got vec of type {type(vec).__name__}; expected a Tensor")
    targets = ordered("vector_to_parameters", parameters)
    wanted = sum(target.numel() for target in targets)
    if vec.ndim != 1 or vec.numel() != wanted:
        raise OpError(
            f"[vector_to_parameters] got a vector of shape {vec.shape}; expected ({wanted},), one number for "
            "each element of the parameters"
        )
    start = 0
    with no_grad():
        for target in targets:
            target.copy_(vec[start : start + target.numel()].reshape(target.shape))
            start += target.numel()
