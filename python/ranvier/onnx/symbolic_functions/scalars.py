"""Handler of the ops on elements, for a size among their operands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.patching import Original, handles, has_size
from ranvier.onnx.sizes import Real, Size
from ranvier.onnx.symbolic_functions.common import as_number

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace

_METHODS = (
    "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__isub__", "__mul__", "__rmul__",
    "__imul__", "__truediv__", "__rtruediv__", "__itruediv__", "__floordiv__", "__rfloordiv__", "__mod__",
    "__rmod__", "__pow__", "__rpow__", "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__",
)  # fmt: skip
_FUNCTIONS = (
    "add", "add_", "sub", "sub_", "subtract", "mul", "mul_", "multiply", "div", "div_", "divide",
    "true_divide", "floor_divide", "remainder", "fmod", "pow", "maximum", "minimum", "lt", "le", "gt", "ge",
    "eq", "ne", "less", "less_equal", "greater", "greater_equal", "not_equal", "where", "clamp", "clip",
    "clamp_min", "clamp_max", "masked_fill", "bitwise_and", "bitwise_or", "lerp",
)  # fmt: skip


@handles(*_METHODS, *_FUNCTIONS)
def _with_number(trace: Trace, call: Original, *args: Any, **how: Any) -> Any:
    """An op on elements of which an operand is a size."""
    if not has_size((args, how)):
        return NotImplemented
    if has_size(how.get("alpha")) and len(args) == 2:
        factor = how.pop("alpha")
        x, other = args
        return call.function(x, other * factor, **how)
    float_dtype = _float_dtype((*args, *how.values()))
    dtype = float_dtype or np.dtype(rv.get_default_dtype())
    if float_dtype == np.float16 and not _changes_its_operand(call.name):  # in place, the dtype has to stay
        return _in_wider_floats(trace, call, args, how)

    def replaced(x: Any) -> Any:
        if isinstance(x, Size) and x.may_be_huge and float_dtype is not None:
            return as_number(trace, x * 1.0, dtype)  # a Real, which is written in float64
        if isinstance(x, (Size, Real)):
            return as_number(trace, x, dtype)
        return x

    operands = [replaced(x) for x in args]
    settings = {name: replaced(x) for name, x in how.items()}
    if call.name in ("clamp", "clip"):
        return _clamped(operands, settings)
    return call.function(*operands, **settings)


def _float_dtype(operands: tuple[Any, ...]) -> np.dtype[Any] | None:
    """The dtype of the first Tensor of floats; None without one."""
    for x in operands:
        if isinstance(x, Tensor) and x._array.dtype.kind == "f":
            return x._array.dtype
    return None


def _changes_its_operand(name: str) -> bool:
    return name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))


def _in_wider_floats(trace: Trace, call: Original, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """The op in float32, rounded to halves at the end."""
    wide = [_in_float32(x) for x in args]
    wide_settings = {name: _in_float32(x) for name, x in settings.items()}
    y = _with_number(trace, call, *wide, **wide_settings)
    if y.is_floating_point():
        return y.to(np.float16)
    return y


def _in_float32(x: Any) -> Any:
    """A tensor of halves, which may not hold a size, in float32; anything else as it is."""
    if isinstance(x, Tensor) and x._array.dtype == np.float16:
        return x.to(np.float32)
    return x


def _clamped(operands: list[Any], settings: dict[str, Any]) -> Any:
    """clamp(x, min, max) by maximum and minimum, whose limits may be tensors."""
    x, *limits = operands
    named = dict(zip(("min", "max"), limits, strict=False)) | settings
    for name, function in (("min", rv.maximum), ("max", rv.minimum)):
        limit = named.get(name)
        if limit is None:
            continue
        if not isinstance(limit, Tensor):
            limit = rv.tensor(limit)
        if x.is_floating_point():
            limit = limit.to(x.dtype)
        x = function(x, limit)
    return x
