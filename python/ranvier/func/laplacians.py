"""`laplacian`: value, gradient and Laplacian of a function at many points, in one pass forward."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ranvier.autograd.differentiated_call import DifferentiatedCall
from ranvier.autograd.trees import replace_values
from ranvier.func.forward import LaplacianRows
from ranvier.func.forward_call import push_through
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import Array, keep
from ranvier.tensors.tensor import Tensor, wrap


def laplacian(func: Callable[..., Any], weights: Sequence[float] | None = None) -> Callable[..., Any]:
    """A function of x that returns (value, gradient, Laplacian) of func at each point.

    x (..., d) are points, value (...) is what func returns for them: each element must depend on the point
    of its row alone, as in a network that is applied to a batch. gradient (d, ...): gradient[i] is the
    derivative by x[..., i], so that ``u_t, u_x = gradient``. Laplacian (...): the sum over i of
    weights[i] d^2 / dx_i^2, weights all 1 by default; (0, 1) gives u_xx of (t, x), (1, -1) the wave operator.
    Further arguments are passed on to func.

    Gradient and Laplacian go through the network together, as d + 1 rows for each point: y = s(z) has
    grad y = s'(z) grad z and lap y = s'(z) lap z + s''(z) |grad z|^2. The results are differentiable by the
    weights of func.

    Raises TypeError for arguments that are no floating Tensors, ValueError for x without a dimension, for
    weights of another number, and for results of another shape; NotImplementedError for ops without a forward
    rule (docs/physics.md).

    Source: Li et al., "A computational framework for neural network-based variational Monte Carlo with
    Forward Laplacian" (2024).

    >>> import ranvier as rv
    >>> u = lambda x: x[:, 0] ** 2 * x[:, 1]
    >>> rv.func.laplacian(u)(rv.tensor([[1.0, 2.0]]))
    (tensor([2.]), tensor([[4.],
            [1.]]), tensor([4.]))
    """

    @functools.wraps(func)
    def wrapper(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        with DifferentiatedCall("laplacian", x) as call:
            (x,) = call.xs
            weights_of_variables = _require_weights(weights, x)
            rows_of_x = _rows_of_points(x)
            call.run(func, (call.inputs, *args), kwargs)
            _require_value_for_each_point(call.ys, x)
            algebra = LaplacianRows(keep(weights_of_variables))
            rows = push_through(call, algebra, (), lambda: [rows_of_x])
            gradients = []
            laplacians = []
            for y, t in zip(call.ys, rows, strict=True):
                if t is None:
                    t = wrap(keep(np.zeros((x.shape[-1] + 1, *y.shape), y.dtype)))
                gradients.append(call.release(t[:-1]))
                laplacians.append(call.release(t[-1]))
            return (
                call.release_outputs(),
                replace_values(call.outputs, gradients),
                replace_values(call.outputs, laplacians),
            )

    return wrapper


def _require_weights(weights: Sequence[float] | None, x: Tensor) -> Array:
    """The weights of the second derivatives, one for each variable, in the dtype of x."""
    if x.ndim == 0:
        raise OpError("[laplacian] got x of shape (); expected (..., d), d variables")
    d = x.shape[-1]
    array = np.ones(d) if weights is None else np.asarray(weights)
    if array.shape != (d,) or array.dtype.kind not in "biuf":
        raise OpError(f"[laplacian] got weights {weights}; expected {d} numbers, one a variable")
    return array.astype(x.dtype)


def _rows_of_points(x: Tensor) -> Tensor:
    """The rows of x: row i is the derivative by variable i, 1 for that variable; the last row is the
    Laplacian, 0."""
    d = x.shape[-1]
    rows = np.zeros((d + 1, *x.shape), x.dtype)
    for i in range(d):
        rows[i, ..., i] = 1
    return wrap(keep(rows))


def _require_value_for_each_point(ys: Sequence[Tensor], x: Tensor) -> None:
    """Raises ValueError unless the results begin with the dimensions of the points."""
    if all(y.shape[: x.ndim - 1] == x.shape[:-1] for y in ys):
        return
    shapes = [tuple(y.shape) for y in ys]
    raise OpError(
        f"[laplacian] got results of shapes {shapes} for x of {tuple(x.shape)}; expected a "
        "value, or several, for each point"
    )
