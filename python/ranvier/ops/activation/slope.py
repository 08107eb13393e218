"""The derivatives of activations, computed by their backward kernels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ranvier.autograd.creation import as_tensor
from ranvier.autograd.failures import DtypeError, OpError
from ranvier.autograd.grad import gradients
from ranvier.autograd.memory import filled_like
from ranvier.autograd.mode import enable_grad
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation import piecewise, smooth
from ranvier.ops.activation.piecewise import heaviside, prelu
from ranvier.ops.activation.softmax import log_softmax, softmax, softmin

ACTIVATIONS = tuple(sorted({*piecewise.__all__, *smooth.__all__, "linear"} - {"glu"}))
"""Activations that work element by element; "linear" is y = x."""
LINE_ACTIVATIONS = ("log_softmax", "softmax", "softmin")  # of a whole line: their derivative is a matrix


def derivative(function: str | Callable[..., Any], x: Any = None, **settings: Any) -> Any:
    """f'(x) of an activation, element by element; without x, f' as a function.

    This is the factor that backward multiplies the gradient with. At a corner, where f has no derivative:
    relu'(0) = 0, leaky_relu'(0) = negative_slope. heaviside' is 0 everywhere.

    Args:
        function: the name of an activation in ``nn.functional`` or "linear" (y = x), or any function of a
            Tensor that works element by element.
        x: float32 or float64, any shape: a Tensor, an array, a number or a list.
        settings: of the activation, such as negative_slope of leaky_relu or weight of prelu.

    Returns:
        A Tensor of x's shape and dtype. For softmax, log_softmax and softmin, each output depends on
        the whole line x (..., n). The result is then the Jacobian (..., n, n); row i has the derivatives of
        output i.

    Raises:
        ValueError: an unknown name, or a function with a result of another shape than x.
        TypeError: x of another dtype, or neither a name nor a function.

    >>> import ranvier as rv
    >>> rv.derivative("sigmoid", [0.0, 2.0])
    tensor([0.2500, 0.1050])
    >>> rv.derivative("leaky_relu", [-1.0, 3.0], negative_slope=0.5)
    tensor([0.5000, 1.0000])
    >>> slope = rv.derivative(lambda t: t**3)
    >>> slope(2.0)
    tensor(12.)
    >>> rv.derivative("softmax", [0.0, 0.0])
    tensor([[ 0.2500, -0.2500],
            [-0.2500,  0.2500]])
    """
    f = activation_named("derivative", function, LINE_ACTIVATIONS) if isinstance(function, str) else function
    if not callable(f):
        raise TypeError(f"[derivative] got {type(function).__name__}; expected a name or a function")
    if x is None:
        return functools.partial(derivative, function, **settings)
    array = as_tensor(x)._array
    if array.dtype not in (np.float32, np.float64):
        raise DtypeError(f"[derivative] got x of dtype {array.dtype}; expected float32 or float64")
    if function in LINE_ACTIVATIONS:
        return _jacobian(f, array, settings)
    leaf = wrap(array, requires_grad=True)
    with enable_grad():
        y = f(leaf, **settings)
    if not isinstance(y, Tensor) or tuple(y.shape) != array.shape:
        got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise OpError(
            f"[derivative] got a function that makes {got} of x of shape {array.shape}; expected one that "
            "works element by element"
        )
    return _slope(y, leaf, filled_like(1, array))


def _jacobian(f: Callable[..., Any], x: Any, settings: dict[str, Any]) -> Tensor:
    if x.ndim == 0:
        raise OpError("[derivative] got a single number; expected a line (..., n)")
    n = x.shape[-1]
    lines = wrap(np.repeat(x[..., None, :], n, axis=-2), requires_grad=True)  # line i for output i
    with enable_grad():
        y = f(lines, dim=-1, **settings)
    return _slope(y, lines, np.broadcast_to(np.eye(n, dtype=x.dtype), lines.shape).copy())


def _slope(y: Tensor, x: Tensor, dy: Any) -> Tensor:
    slope = gradients(y, x, dy, allow_unused=True)[0] if y.requires_grad else None
    return wrap(filled_like(0, x._array)) if slope is None else slope


def activation_named(who: str, name: str, more: Sequence[str] = ()) -> Callable[..., Any]:
    """The function of that name in ACTIVATIONS or `more`, else ValueError in the name of `who`."""
    if name not in {*ACTIVATIONS, *more}:
        names = ", ".join(sorted({*ACTIVATIONS, *more}))
        raise OpError(f"[{who}] got activation {name!r}; expected one of {names}")
    return _FUNCTIONS[name]


def _heaviside(x: Tensor, values: Any = 0.0) -> Tensor:
    """The threshold of a perceptron: 0 at 0."""
    return heaviside(x, values)


def _linear(x: Tensor) -> Tensor:
    return x.clone()


def _prelu(x: Tensor, weight: Any = 0.25) -> Tensor:
    """prelu; the slope may be a number."""
    if not isinstance(weight, Tensor):
        weight = wrap(np.atleast_1d(np.asarray(weight, x.dtype)))
    return prelu(x, weight)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(module, name) for module in (piecewise, smooth) for name in module.__all__},
    **{function.__name__: function for function in (log_softmax, softmax, softmin)},
    "heaviside": _heaviside,
    "linear": _linear,
    "prelu": _prelu,
}
