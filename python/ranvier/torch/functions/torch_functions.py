"""Functions of the module torch itself that are made of this library's functions.

They have PyTorch's names and parameters; `installation/paths.json` lists this file among those of `torch`.
"""

from __future__ import annotations

import builtins
import importlib
import math
import operator
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import ranvier as rv
from ranvier import Tensor
from ranvier.tape.function import in_dtypes
from ranvier.tensors.types import Axes, DeviceLike, DtypeLike, ShapeLike, TensorLike

_Value = TypeVar("_Value")

Message: TypeAlias = Callable[[], str] | str | None
"""What an error says: a text, a function that returns it, or None for PyTorch's usual text."""


def _assert(condition: object, message: str) -> None:
    """`assert`, as a call."""
    assert condition, message


def _assert_async(input: Tensor, assert_msg: str = "") -> None:
    """Raise RuntimeError if the one element is 0."""
    from ranvier.torch.functions.methods import is_nonzero

    if not is_nonzero(input):
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")


def _check_with(error_type: type[Exception], cond: object, message: Message = None) -> None:
    """Raise an error with the message if the condition is false."""
    if cond:
        return
    if message is None:
        raise error_type("Expected cond to be True, but got False.")
    if callable(message):
        raise error_type(message())
    raise error_type(message)


def _check_tensor_all_with(error_type: type[Exception], cond: Tensor, message: Message = None) -> None:
    _check_with(error_type, cond.all().item(), message)


def _check(cond: object, message: Message = None) -> None:
    _check_with(RuntimeError, cond, message)


def _check_index(cond: object, message: Message = None) -> None:
    _check_with(IndexError, cond, message)


def _check_value(cond: object, message: Message = None) -> None:
    _check_with(ValueError, cond, message)


def _check_type(cond: object, message: Message = None) -> None:
    _check_with(TypeError, cond, message)


def _check_not_implemented(cond: object, message: Message = None) -> None:
    _check_with(NotImplementedError, cond, message)


def _check_tensor_all(cond: Tensor, message: Message = None) -> None:
    _check_tensor_all_with(RuntimeError, cond, message)


def _check_is_size(i: int, message: Message = None, *, max: int | None = None) -> None:
    is_size = i >= 0 and (max is None or i <= max)
    _check(is_size, message)


def _shape_as_tensor(self: Tensor) -> Tensor:
    return rv.tensor(list(self.shape), dtype=rv.int64)


@in_dtypes()  # of several steps: halves are rounded once
def _softmax_backward_data(grad_output: Tensor, output: Tensor, dim: int, input_dtype: DtypeLike) -> Tensor:
    """The gradient of softmax, from its result."""
    product = grad_output * output
    return (product - output * product.sum(dim, keepdim=True)).to(input_dtype)


def typename(obj: object) -> str:
    """The name of the class of an object, or of a class or function: "torch.FloatTensor", "int"."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    named: Any = obj
    if not hasattr(obj, "__qualname__"):
        named = type(obj)
    if named.__module__ == "builtins":
        return str(named.__qualname__)
    return f"{named.__module__}.{named.__qualname__}"


def is_storage(obj: object) -> bool:
    return type(obj).__name__ in ("TypedStorage", "UntypedStorage")


def get_device_module(device: DeviceLike | None = None) -> ModuleType:
    """torch.cpu, or the module of another type of device."""
    device_type = rv.device(device or "cpu").type
    return importlib.import_module(f"torch.{device_type}")


def unravel_index(indices: Tensor, shape: ShapeLike) -> tuple[Tensor, ...]:
    """Flat indices as indices along each dimension of a shape.

    >>> import ranvier as rv
    >>> unravel_index(rv.tensor([5]), (2, 3))
    (tensor([1]), tensor([2]))
    """
    if isinstance(shape, int):
        shape = [shape]
    reversed_indices: list[Tensor] = []  # the last dimension first
    rest: Any = indices
    for size in reversed(shape):
        reversed_indices.append(rest % size)
        rest = rest // size
    return tuple(reversed(reversed_indices))


def range(start: float = 0, end: float | None = None, step: float = 1, **settings: Any) -> Tensor:
    """As arange, but with the end included, and in the default dtype."""
    if end is None:
        end = start
        start = 0
    settings.setdefault("dtype", rv.get_default_dtype())
    count = math.floor((end - start) / step) + 1
    return start + step * rv.arange(count, **settings)


@in_dtypes()
def chain_matmul(first: Tensor, *rest: Tensor) -> Tensor:
    """The product of matrices, multiplied from the last one on if this takes fewer operations."""
    if len(rest) > 1 and first.shape[0] > rest[-1].shape[-1]:
        return first @ chain_matmul(*rest)
    for x in rest:
        first = first @ x
    return first


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices, multiplied from the last one on if this takes fewer operations."""
    return chain_matmul(*tensors)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along a third dimension."""
    return rv.cat([_at_least_3d(x) for x in tensors], 2)


def _at_least_3d(x: Tensor) -> Tensor:
    if x.ndim > 2:
        return x
    return rv.atleast_2d(x).unsqueeze(-1)


def fill(input: Tensor, value: TensorLike) -> Tensor:
    return rv.full_like(input, value)


Spacing: TypeAlias = Tensor | float
"""The distance of adjacent points along a dimension, or a vector of their coordinates."""


@in_dtypes()
def gradient(
    input: Tensor,
    *,
    spacing: Spacing | Sequence[Spacing] | None = 1,
    dim: Axes = None,
    edge_order: int = 1,
) -> tuple[Tensor, ...]:
    """The derivatives of a function along dimensions, estimated from its values.

    spacing: the distance of the points, or their coordinates, for all dimensions or in a list for each.
    Inside, differences are of second order; at the two ends they are of order `edge_order`.

    >>> import ranvier as rv
    >>> gradient(rv.tensor([0.0, 1.0, 4.0]), spacing=0.5)
    (tensor([2., 4., 6.]),)
    """
    if dim is None:
        dims = list(builtin_range(input.ndim))
    elif isinstance(dim, int):
        dims = [dim]
    else:
        dims = list(dim)
    if spacing is None:
        spacing = 1
    if isinstance(spacing, (tuple, list)):
        spacings = list(spacing)
    else:
        spacings = [spacing] * len(dims)
    if len(spacings) != len(dims):
        raise RuntimeError(f"[gradient] got {len(spacings)} spacings; expected {len(dims)}, one for each dim")
    if edge_order not in (1, 2) or any(input.shape[d] <= edge_order for d in dims):
        text = f"[gradient] got edge_order {edge_order} for shape {tuple(input.shape)}"
        raise RuntimeError(f"{text}; expected 1 or 2, and more values than it along each dimension")
    if not input.is_floating_point():
        input = input.to(rv.get_default_dtype())
    derivatives = []
    for d, h in zip(dims, spacings, strict=True):
        x = input.movedim(d, -1)
        if isinstance(h, Tensor) and h.ndim == 1:
            derivative = _differentiate(x, h, edge_order)
        else:
            derivative = _differentiate_evenly(x, float(h), edge_order)
        derivatives.append(derivative.movedim(-1, d))
    return tuple(derivatives)


def _differentiate(x: Tensor, coordinates: Tensor, edge_order: int) -> Tensor:
    """`gradient` along the last dimension, of points at the coordinates, a vector.

    Between two points the slope is a difference quotient. At a point it is the mean of those at both sides,
    weighted so that it is exact for parabolas.
    """
    h = coordinates.diff().to(x.dtype)
    slopes = x.diff() / h
    inner = (h[:-1] * slopes[..., 1:] + h[1:] * slopes[..., :-1]) / (h[:-1] + h[1:])
    first = slopes[..., :1]
    last = slopes[..., -1:]
    if edge_order == 2:
        first = first + (first - slopes[..., 1:2]) * (h[0] / (h[0] + h[1]))
        last = last + (last - slopes[..., -2:-1]) * (h[-1] / (h[-1] + h[-2]))
    return rv.cat([first, inner, last], -1)


def _differentiate_evenly(x: Tensor, h: float, edge_order: int) -> Tensor:
    """`gradient` along the last dimension, of points at the distance h.

    Inside it is one difference, x[i + 1] - x[i - 1]: the mean of two differences would cancel where they are
    opposite.
    """
    inner = (x[..., 2:] - x[..., :-2]) / (2 * h)
    if edge_order == 1:
        first = (x[..., 1:2] - x[..., :1]) / h
        last = (x[..., -1:] - x[..., -2:-1]) / h
    else:
        first = (-1.5 * x[..., :1] + 2.0 * x[..., 1:2] - 0.5 * x[..., 2:3]) / h
        last = (0.5 * x[..., -3:-2] - 2.0 * x[..., -2:-1] + 1.5 * x[..., -1:]) / h
    return rv.cat([first, inner, last], -1)


# --- functions of sizes, which are plain numbers here
def sym_ite(b: object, t: _Value, f: _Value) -> _Value:
    if b:
        return t
    return f


def sym_max(a: float, b: float) -> float:
    if a >= b:
        return a
    return b


def sym_min(a: float, b: float) -> float:
    if a <= b:
        return a
    return b


def set_flush_denormal(mode: bool) -> bool:
    """Does nothing, and returns False: the mode of the processor is not changed."""
    return False


def get_deterministic_debug_mode() -> int:
    """2 where only deterministic algorithms are asked for, else 0."""
    if rv.are_deterministic_algorithms_enabled():
        return 2
    return 0


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """As use_deterministic_algorithms: "default", "warn" or "error", or 0, 1, 2."""
    rv.use_deterministic_algorithms(debug_mode not in (0, "default"))


builtin_range = builtins.range  # since `range` is PyTorch's function in this file
sym_float = float
sym_int = int
sym_not = operator.not_
sym_sqrt = math.sqrt
sym_sum = sum
legacy_contiguous_format = "torch.contiguous_format"
# Dtypes that can be named, but in which nothing can be computed.
_SIGNED_DTYPES = "int1 int2 int3 int4 int5 int6 int7"
_OTHER_DTYPES = """
    bit bits16 bits1x8 bits2x4 bits4x2 bits8 float4_e2m1fn_x2 quint2x4 quint4x2 uint1 uint2 uint3 uint4 uint5
    uint6 uint7
"""


def __getattr__(name: str) -> Any:
    """Dtypes and functions that are made at their first use, such as `int4` and `expand_copy`."""
    if name in _SIGNED_DTYPES.split():
        return globals().setdefault(name, rv.dtype._make(name, "i", 1))  # 1: bytes of an element
    if name in _OTHER_DTYPES.split():
        return globals().setdefault(name, rv.dtype._make(name, "u", 1))
    view_name = name.removesuffix("_copy")
    if view_name != name and hasattr(Tensor, view_name):
        return _copy_views(getattr(Tensor, view_name))
    raise AttributeError(f"module 'torch' has no attribute {name!r}")


def _copy_views(view: Callable[..., Any]) -> Callable[..., Any]:
    """The function `expand_copy` for the method `expand`, and others: it copies the views."""

    def copy(*args: Any, **settings: Any) -> Any:
        result = view(*args, **settings)
        if isinstance(result, Tensor):
            return result.clone()
        return tuple(x.clone() for x in result)

    return copy
