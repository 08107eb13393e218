"""Functions of the module torch itself that are made of this library's functions."""

from __future__ import annotations

import importlib
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import ranvier as rv
from ranvier import Tensor
from ranvier.tape.function import in_dtypes
from ranvier.tensors.types import DeviceLike, ShapeLike, TensorLike

_TEXT = "Expected cond to be True, but got False."


def _assert(condition: Any, message: str) -> None:
    """`assert`, as a call."""
    assert condition, message


def _assert_async(input: Tensor, assert_msg: str = "") -> None:
    """Raises RuntimeError unless the one element is not 0."""
    from ranvier.torch.functions.methods import is_nonzero

    if not is_nonzero(input):
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")


def _check_with(error_type: type[Exception], cond: Any, message: Any = None) -> None:
    """Raises an error with `message()` unless the condition is true."""
    if cond:
        return
    if message is None:
        raise error_type(_TEXT)
    if callable(message):
        raise error_type(message())
    raise error_type(message)


def _check_tensor_all_with(error_type: type[Exception], cond: Tensor, message: Any = None) -> None:
    _check_with(error_type, cond.all().item(), message)


def _checker(error_type: type[Exception], check: Callable[..., None] = _check_with) -> Callable[..., None]:

    def checked(cond: Any, message: Any = None) -> None:
        check(error_type, cond, message)

    return checked


_check = _checker(RuntimeError)
_check_index = _checker(IndexError)
_check_value = _checker(ValueError)
_check_type = _checker(TypeError)
_check_not_implemented = _checker(NotImplementedError)
_check_tensor_all = _checker(RuntimeError, _check_tensor_all_with)


def _check_is_size(i: Any, message: Any = None, *, max: Any = None) -> None:
    _check(i >= 0 and (max is None or i <= max), message)


def _shape_as_tensor(self: Tensor) -> Tensor:
    return rv.tensor(list(self.shape), dtype=rv.int64)


@in_dtypes()
def _softmax_backward_data(grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any) -> Tensor:
    """The gradient of softmax, from its result."""
    product = grad_output * output
    return (product - output * product.sum(dim, keepdim=True)).to(input_dtype)


def typename(obj: Any) -> str:
    """The name of the class of an object, or of a class or function: "torch.FloatTensor", "int"."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    named: Any = obj
    if not hasattr(obj, "__qualname__"):
        named = type(obj)
    if named.__module__ == "builtins":
        return str(named.__qualname__)
    return f"{named.__module__}.{named.__qualname__}"


def is_storage(obj: Any) -> bool:
    return type(obj).__name__ in ("TypedStorage", "UntypedStorage")


def get_device_module(device: DeviceLike | None = None) -> Any:
    """torch.cpu, or the module of another kind of device."""
    return importlib.import_module(f"torch.{rv.device(device or 'cpu').type}")


def unravel_index(indices: Tensor, shape: ShapeLike) -> tuple[Tensor, ...]:
    """Flat indices as indices along each dimension of a shape.

    >>> import ranvier as rv
    >>> unravel_index(rv.tensor([5]), (2, 3))
    (tensor([1]), tensor([2]))
    """
    if isinstance(shape, int):
        shape = [shape]
    places: list[Tensor] = []
    rest: Any = indices
    for size in reversed(shape):
        places.append(rest % size)
        rest = rest // size
    return tuple(reversed(places))


def range(start: float = 0, end: float | None = None, step: float = 1, **settings: Any) -> Tensor:
    """As arange, but with the end included, and in the default dtype."""
    if end is None:
        end = start
        start = 0
    settings.setdefault("dtype", rv.get_default_dtype())
    return start + step * rv.arange(math.floor((end - start) / step) + 1, **settings)


@in_dtypes()
def chain_matmul(first: Tensor, *rest: Tensor) -> Tensor:
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
    return rv.cat([_of_three_dimensions(x) for x in tensors], 2)


def _of_three_dimensions(x: Tensor) -> Tensor:
    if x.ndim > 2:
        return x
    return rv.atleast_2d(x).unsqueeze(-1)


def fill(input: Tensor, value: TensorLike) -> Tensor:
    return rv.full_like(input, value)


@in_dtypes()
def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """The derivatives of a function along dimensions, estimated from its values.

    spacing: the distance of the points, or their coordinates, for all dimensions or each. Inside, differences
    are of second order; at the two ends they are of order `edge_order`.

    >>> import ranvier as rv
    >>> gradient(rv.tensor([0.0, 1.0, 4.0]), spacing=0.5)
    (tensor([2., 4., 6.]),)
    """
    if dim is None:
        every = list(builtin_range(input.ndim))
    elif isinstance(dim, int):
        every = [dim]
    else:
        every = list(dim)
    step = 1 if spacing is None else spacing
    if isinstance(step, (tuple, list)):
        points = list(step)
    else:
        points = [step] * len(every)
    if len(points) != len(every):
        raise RuntimeError(f"[gradient] got {len(points)} spacings; expected {len(every)}, one for each dim")
    if edge_order not in (1, 2) or any(input.shape[d] <= edge_order for d in every):
        text = f"[gradient] got edge_order {edge_order} for shape {tuple(input.shape)}"
        raise RuntimeError(f"{text}; expected 1 or 2, and more values than it along each dimension")
    if input.is_floating_point():
        x = input
    else:
        x = input.to(rv.get_default_dtype())
    slopes = []
    for d, h in zip(every, points, strict=True):
        along_last = _slopes(x.movedim(d, -1), h, edge_order)
        slopes.append(along_last.movedim(-1, d))
    return tuple(slopes)


def _slopes(x: Tensor, points: Any, order: int) -> Tensor:
    """`gradient` along the last dimension. points: the distance of the points, or their coordinates."""
    if not (isinstance(points, Tensor) and points.ndim == 1):
        return _even_slopes(x, float(points), order)
    h = points.diff().to(x.dtype)
    d = x.diff() / h
    inner = (h[:-1] * d[..., 1:] + h[1:] * d[..., :-1]) / (h[:-1] + h[1:])
    first = d[..., :1]
    last = d[..., -1:]
    if order == 2:
        first = first + (first - d[..., 1:2]) * (h[0] / (h[0] + h[1]))
        last = last + (last - d[..., -2:-1]) * (h[-1] / (h[-1] + h[-2]))
    return rv.cat([first, inner, last], -1)


def _even_slopes(x: Tensor, h: float, order: int) -> Tensor:
    """`gradient` along the last dimension, of points at the distance h.

    Inside it is one difference, x[i + 1] - x[i - 1]: the mean of two differences would cancel where they are
    opposite.
    """
    inner = (x[..., 2:] - x[..., :-2]) / (2 * h)
    if order == 1:
        first = (x[..., 1:2] - x[..., :1]) / h
        last = (x[..., -1:] - x[..., -2:-1]) / h
    else:
        first = (-1.5 * x[..., :1] + 2.0 * x[..., 1:2] - 0.5 * x[..., 2:3]) / h
        last = (0.5 * x[..., -3:-2] - 2.0 * x[..., -2:-1] + 1.5 * x[..., -1:]) / h
    return rv.cat([first, inner, last], -1)


def sym_ite(b: Any, t: Any, f: Any) -> Any:
    if b:
        return t
    return f


def sym_max(a: Any, b: Any) -> Any:
    if a >= b:
        return a
    return b


def sym_min(a: Any, b: Any) -> Any:
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


builtin_range = importlib.import_module("builtins").range
sym_float = float
sym_int = int
sym_not = operator.not_
sym_sqrt = math.sqrt
sym_sum = sum
legacy_contiguous_format = "torch.contiguous_format"
_DTYPES = "bit bits16 bits1x8 bits2x4 bits4x2 bits8 float4_e2m1fn_x2 quint2x4 quint4x2"
_DTYPES += "".join(f" int{n} uint{n}" for n in builtin_range(1, 8))


def __getattr__(name: str) -> Any:
    if name in _DTYPES.split():  # dtypes that can be named, but in which nothing can be computed
        kind = "i" if name[0] == "i" else "u"
        return globals().setdefault(name, rv.dtype._make(name, kind, 1))
    plain = name.removesuffix("_copy")
    if plain != name and hasattr(Tensor, plain):
        return _copying(getattr(Tensor, plain))
    raise AttributeError(f"module 'torch' has no attribute {name!r}")


def _copying(view: Callable[..., Any]) -> Callable[..., Any]:
    """Makes `expand_copy`, `split_copy` and others: they copy the views that `view` returns."""

    def call(*args: Any, **settings: Any) -> Any:
        result = view(*args, **settings)
        if isinstance(result, Tensor):
            return result.clone()
        return tuple(x.clone() for x in result)

    return call
