"""`jet`: derivatives of any order along a curve, by one pass of Taylor series through the function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ranvier.autograd.differentiated_call import DifferentiatedCall
from ranvier.autograd.trees import replace_values
from ranvier.func.forward import TaylorRows
from ranvier.func.forward_call import push_through
from ranvier.ops import stack, unbind
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import filled_like
from ranvier.tensors.tensor import Tensor, wrap

MAX_ORDER = 15  # the most derivatives of `jet`: kMaxJetOrder of the kernel (cpp/kernels/jet/jet.h)

_Derivatives: TypeAlias = Sequence[Tensor | float]
"""The derivatives x', x'' ... of one argument along the curve."""


def jet(func: Callable[..., Any], primals: tuple[Tensor, ...], series: tuple[_Derivatives, ...]) -> Any:
    """(y, [y', y'', ...]): the derivatives of func along a curve x(s) through the primals, as
    ``jax.experimental.jet`` gives them.

    primals: a tuple of Tensors x(0), the arguments of func. series: a tuple with a sequence [x', x'', ...]
    for each, of the same length from 1 to 15: derivatives by s at 0 (not divided by factorials), Tensors of
    the shape of x or numbers. So jet(f, (x,), ((1.0, 0.0, 0.0),)) gives f', f'' and f''' of a function of
    each element. y has the structure that func returns, and so has the second result, with a list for each
    Tensor.

    The function runs once, and all orders go along its tape together: a Linear is one product of
    (order * n) rows. The results are differentiable by weights and arguments.

    Raises TypeError for other arguments, ValueError for other lengths and shapes, NotImplementedError for
    ops without a forward rule (docs/physics.md).

    Source: Griewank and Walther, "Evaluating Derivatives" (2008), chapter 13.

    >>> import ranvier as rv
    >>> rv.func.jet(lambda x: x**3, (rv.tensor([2.0]),), ((1.0, 0.0, 0.0),))
    (tensor([8.]), [tensor([12.]), tensor([12.]), tensor([6.])])
    """
    order = _require_order(primals, series)
    with DifferentiatedCall("jet", primals) as call:
        coefficients = []  # for each input its Taylor coefficients of order 1, 2 ...
        for x, derivatives in zip(call.xs, series, strict=True):
            coefficients.append([_taylor_coefficient(x, value, k) for k, value in enumerate(derivatives, 1)])

        def rows_of_inputs() -> list[Tensor]:
            return [stack(of_input) for of_input in coefficients]

        call.run(func, call.inputs)
        flat = tuple(coefficient for of_input in coefficients for coefficient in of_input)
        rows = push_through(call, TaylorRows(order), flat, rows_of_inputs)
        derivatives_of_outputs = []
        for y, t in zip(call.ys, rows, strict=True):
            if t is None:
                of_output = [wrap(filled_like(0, y._array))] * order
            else:
                of_output = list(unbind(t))
            scaled = [_derivative(coefficient, k) for k, coefficient in enumerate(of_output, 1)]
            derivatives_of_outputs.append([call.release(derivative) for derivative in scaled])
        return call.release_outputs(), replace_values(call.outputs, derivatives_of_outputs)


def _require_order(primals: object, series: object) -> int:
    """The length of the sequences in `series`. Raises TypeError or ValueError for arguments of `jet` that do
    not fit."""
    if not (isinstance(primals, tuple) and isinstance(series, tuple) and primals):
        raise TypeError(
            f"[jet] got primals and series of types {type(primals).__name__} and {type(series).__name__}; "
            "expected tuples, with at least one primal"
        )
    lengths = [_length(derivatives) for derivatives in series]
    if len(series) != len(primals) or len(set(lengths)) != 1 or not 1 <= lengths[0] <= MAX_ORDER:
        raise OpError(
            f"[jet] got {len(primals)} primals and series of lengths {lengths}; expected for each a "
            f"list of as many derivatives, 1 to {MAX_ORDER}"
        )
    return lengths[0]


def _length(derivatives: object) -> int:
    """The length of a tuple or list; -1, which no sequence has, for other objects."""
    if isinstance(derivatives, (tuple, list)):
        return len(derivatives)
    return -1


def _taylor_coefficient(x: Tensor, value: Tensor | float, k: int) -> Tensor:
    """The Taylor coefficient of order k, value / k!, from the derivative `value` of order k of the curve
    x(s)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return wrap(filled_like(value / math.factorial(k), x._array))
    if not isinstance(value, Tensor):
        raise TypeError(f"[jet] got {type(value).__name__} in series; expected Tensors or numbers")
    if value.shape != x.shape or value.dtype != x.dtype:
        raise OpError(
            f"[jet] got a derivative of shape {tuple(value.shape)} and {value.dtype} of a primal of "
            f"{tuple(x.shape)} and {x.dtype}; expected the same"
        )
    if k == 1:
        return value
    return value / math.factorial(k)


def _derivative(coefficient: Tensor, k: int) -> Tensor:
    """The derivative of order k from the Taylor coefficient of this order."""
    if k == 1:
        return coefficient
    return coefficient * float(math.factorial(k))
