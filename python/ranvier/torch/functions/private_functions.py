"""Private functions of PyTorch that libraries call: of autograd.functional, optim.lbfgs, nn.grad and others.

They have PyTorch's names and parameters. `installation/paths.json` says which path of torch each one has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

import ranvier as rv
import ranvier.nn.functional as F
from ranvier import Tensor
from ranvier.optim.lbfgs import Point, cubic_minimum, strong_wolfe
from ranvier.tensors.types import ShapeLike

Dims: TypeAlias = int | tuple[Any, ...] | None
"""Which dimension is the batch: a number for all arguments, or a tuple for each; None: none is."""

HAS_NUMPY = True
TEXTS = re.compile("[SaUO]")  # NumPy's letters of dtypes (text, objects) whose arrays cannot be batches


def generate_state(base_seed: int, worker_id: int) -> list[int]:
    """Four numbers of 32 bits that seed NumPy in a DataLoader's worker, as PyTorch's `_generate_state`.

    >>> generate_state(5, 1)
    [3025039489, 3528014902, 3507927383, 2601490367]
    """
    entropy = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return [int(number) for number in np.random.SeedSequence(entropy).generate_state(4)]


def _vmap(
    func: Callable[..., Any], in_dims: Dims = 0, out_dims: Dims = 0, allow_none_pass_through: bool = False
) -> Callable[..., Any]:
    return rv.func.vmap(func, in_dims, out_dims)


def _construct_standard_basis_for(
    tensors: Sequence[Tensor], tensor_numels: Sequence[int]
) -> tuple[Tensor, ...]:
    """The identity matrix of all elements together, cut by columns into a part for each tensor, in its dtype.

    >>> _construct_standard_basis_for((rv.ones(1), rv.ones(1)), (1, 1))
    (tensor([[1.],
            [0.]]), tensor([[0.],
            [1.]]))
    """
    columns = rv.eye(sum(tensor_numels)).split(list(tensor_numels), 1)
    return tuple(basis.to(x.dtype) for basis, x in zip(columns, tensors, strict=True))


def _as_tuple(inputs: Any, arg_name: str = "", fn_name: str = "") -> tuple[bool, tuple[Any, ...]]:
    """Whether inputs are several values, and the values as a tuple."""
    if isinstance(inputs, (tuple, list)):
        return True, tuple(inputs)
    return False, (inputs,)


def _tuple_postprocess(results: Any, to_unpack: bool | tuple[bool, bool]) -> Any:
    """Remove from results the tuples that `_as_tuple` has made of inputs, or of outputs and inputs.

    to_unpack: whether inputs were several values; for results with a row for each output a pair, whether
    outputs and whether inputs were.
    """
    if isinstance(to_unpack, tuple):
        has_several, has_several_inner = to_unpack
    else:
        has_several = to_unpack
        has_several_inner = True
    if not has_several_inner:
        results = tuple(row[0] for row in results)
    if has_several:
        return results
    return results[0]


def _grad_postprocess(inputs: Any, create_graph: bool) -> Any:
    """Results, which are detached unless create_graph is True."""
    if isinstance(inputs, tuple):
        return tuple(_grad_postprocess(x, create_graph) for x in inputs)
    if create_graph:
        return inputs
    return inputs.detach()


def _cubic_interpolate(
    x1: float,
    f1: float,
    g1: float,
    x2: float,
    f2: float,
    g2: float,
    bounds: tuple[float, float] | None = None,
) -> float:
    """The minimum of the cubic polynomial with the values f and slopes g at x1 and x2."""
    return cubic_minimum(Point(x1, f1, None, g1), Point(x2, f2, None, g2), bounds)


def _strong_wolfe(
    obj_func: Callable[[Tensor, float, Tensor], tuple[Tensor | float, Tensor]],
    x: Tensor,
    t: float,
    d: Tensor,
    f: float,
    g: Tensor,
    gtd: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    max_ls: int = 25,
) -> tuple[float, Any, float, int]:
    """(f, g, t, number of evaluations) at a good step; obj_func(x, t, d) gives f and g."""

    def evaluate(t: float) -> Point:
        value, gradient = obj_func(x, t, d)
        return Point(t, float(value), gradient, float(gradient.dot(d)))

    start = Point(0.0, float(f), g, float(gtd))
    size = float(d.abs().max())
    point, count = strong_wolfe(evaluate, start, float(t), size, tolerance_change, max_ls, c1, c2)
    return point.f, point.g, point.t, count


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    **settings: Any,
) -> bool:
    """:func:`ranvier.autograd.gradcheck` with PyTorch's step and tolerances."""
    return rv.autograd.gradcheck(func, inputs, eps=eps, atol=atol, rtol=rtol, **settings)


def _input_gradient(convolution: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function of torch.nn.grad that gives the gradient of a convolution's input."""

    def gradient(
        input_size: ShapeLike, weight: Tensor, grad_output: Tensor, *settings: Any, **named: Any
    ) -> Tensor:
        input = rv.zeros(input_size, dtype=weight.dtype).requires_grad_()
        with rv.enable_grad():
            y = convolution(input, weight, None, *settings, **named)
        return rv.autograd.grad(y, input, grad_output)[0]

    return gradient


def _weight_gradient(convolution: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function of torch.nn.grad that gives the gradient of a convolution's weight."""

    def gradient(
        input: Tensor, weight_size: ShapeLike, grad_output: Tensor, *settings: Any, **named: Any
    ) -> Tensor:
        weight = rv.zeros(weight_size, dtype=input.dtype).requires_grad_()
        with rv.enable_grad():
            y = convolution(input, weight, None, *settings, **named)
        return rv.autograd.grad(y, weight, grad_output)[0]

    return gradient


conv1d_input = _input_gradient(F.conv1d)
conv1d_weight = _weight_gradient(F.conv1d)
conv2d_input = _input_gradient(F.conv2d)
conv2d_weight = _weight_gradient(F.conv2d)


def upsample_nearest(
    input: Tensor, size: ShapeLike | None = None, scale_factor: float | Sequence[float] | None = None
) -> Any:
    return F.interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(
    input: Tensor, size: ShapeLike | None = None, scale_factor: float | Sequence[float] | None = None
) -> Any:
    return F.interpolate(input, size, scale_factor, "bilinear", align_corners=True)


def reduction(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> str:
    """The ``reduction`` that a loss's old arguments mean: "mean", "sum" or "none"."""
    if reduce is False:
        return "none"
    if size_average is False:
        return "sum"
    return "mean"
