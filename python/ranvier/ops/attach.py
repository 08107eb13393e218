"""Puts the operators and methods on Tensor: functions of this package whose first argument is the tensor."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.convert import from_bfloat16, reinterpreted
from ranvier.autograd.dtypes import dtype as DType
from ranvier.autograd.errors import renamed
from ranvier.autograd.failures import OpError
from ranvier.autograd.function import in_place
from ranvier.autograd.inplace import assign, check_leaf
from ranvier.autograd.mode import mode
from ranvier.autograd.tensor import Tensor
from ranvier.autograd.views import views_of
from ranvier.ops.elementwise.arithmetic import add, div, mul, neg, sub
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.compare import eq, ge, gt, le, lt, ne
from ranvier.ops.elementwise.functions import abs, pow
from ranvier.ops.elementwise.fused import FUSED
from ranvier.ops.elementwise.row import DIVIDES, ROWS, ufunc_of
from ranvier.ops.first_use import TENSOR_METHODS
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.rows import examples
from ranvier.ops.shape.index import getitem
from ranvier.ops.shape.join import iterate
from ranvier.ops.shape.reshape import reshape, squeeze, t, transpose, unsqueeze

MODULES = (  # those whose METHODS become methods of Tensor
    "activation.piecewise activation.smooth activation.softmax elementwise.arithmetic elementwise.compare "
    "elementwise.choice elementwise.functions matrix.matmul "
    "reduction.norms reduction.reduce shape.index shape.join shape.reshape"
)


# --- methods that are no functions, and new shapes in place


NEW_SHAPES = {
    "squeeze_": squeeze,
    "swapaxes_": transpose,
    "t_": t,
    "transpose_": transpose,
    "unsqueeze_": unsqueeze,
}


def view(x: Any, *sizes: Any, size: Any = None, dtype: Any = None) -> Tensor:
    """:func:`reshape`; where no view is possible the elements are copied. With a dtype: the same memory read
    as that dtype, without a gradient; the last dimension changes where the dtypes' sizes differ.

    >>> import ranvier as rv
    >>> rv.tensor([1.0]).view(rv.int32)
    tensor([1065353216], dtype=torch.int32)
    """
    if dtype is None and len(sizes) == 1 and type(sizes[0]) is not int:
        dtype = sizes[0] if isinstance(sizes[0], (np.dtype, type, DType)) else None
    if dtype is not None:
        try:
            kind = np.dtype(dtype)
            return from_bfloat16(x) if getattr(dtype, "name", "") == "bfloat16" else reinterpreted(x, kind)
        except Exception as error:
            raise renamed(error, "view") from None
    return _core._reshape("view", x, sizes if size is None else (size,))


def _as(function: Any, name: str, x: Any, other: Any) -> Tensor:
    if not isinstance(other, (Tensor, np.ndarray)):
        raise TypeError(f"[{name}] got {type(other).__name__}; expected a Tensor")
    return function(name, x, other.shape)


def view_as(x: Any, other: Any) -> Tensor:
    """x in the shape of other."""
    return _as(_core._reshape, "view_as", x, other)


reshape_as = view_as


def expand_as(x: Any, other: Any) -> Tensor:
    """x repeated to the shape of other."""
    return _as(_core._expand, "expand_as", x, other)


def reshaped_in_place(name: str, function: Any) -> Any:
    """``x.unsqueeze_(0)``: x itself gets the other shape, on the same memory, and its history the view."""

    def method(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        check_leaf(x, name)
        if x._grad_fn is not None and not mode.enabled:
            better = f"x = x.{name[:-1]}(...)"
            raise RuntimeError(f"[{name}] got a Tensor with a history under no_grad(); expected {better}")
        shape, views = x.shape, views_of(x)
        result = function(x, *args, **settings)
        if (result.shape, result.stride()) == (shape, x.stride()):
            return x
        x._array = result._array
        x._view = None if x._view is None else result._view
        if result._grad_fn is not None:  # hooks stay with the shape that they were given
            x._grad_fn = result._grad_fn
        if views:  # their chains of steps begin at x as it was: a step before them leads back to that shape
            before = function(x, *args, **settings) if function in (t, transpose) else reshape(x, shape)
            back = before._view[1][-1]  # type: ignore[index]
            for view in views:
                base, chain, why = view._view
                view._view = base, (back, *chain), why
        return x

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As :func:`ranvier.{name[:-1]}`, of the tensor itself."
    method.__wrapped__ = function  # type: ignore[attr-defined]
    return method


VIEWS: dict[str, Callable[..., Any]] = {
    "expand_as": expand_as,
    "reshape_as": reshape_as,
    "view": view,
    "view_as": view_as,
}

# --- methods of the modules


class Later:
    """A method whose module is loaded at its first use; then the method itself takes this place in Tensor."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module if module.startswith("ranvier.") else f"ranvier.ops.{module}", name

    def __get__(self, tensor: Any, owner: Any) -> Any:
        module, name = importlib.import_module(self.module), self.name
        if name.startswith("__"):  # an operator: a function, or the name of a method
            method = module.SYMBOLS[name]
            method = getattr(Tensor, method) if isinstance(method, str) else method
        elif name.endswith("_") and not hasattr(module, name):
            method = _in_place(module, name)
        else:
            method = getattr(module, name)
        setattr(Tensor, name, method)
        return method if tensor is None else method.__get__(tensor, owner)


def _methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in map(importlib.import_module, [f"ranvier.ops.{name}" for name in MODULES.split()]):
        for name in module.METHODS:
            yield name, getattr(module, name) if name[-1] != "_" else _in_place(module, name)


def _kernels(op: str) -> tuple[Any, Any]:
    """What writes the op in place off the tape: of floats, of integers."""
    row = ROWS.get(op)
    if row is None:
        return getattr(_core, op) if op in ("relu", "sigmoid", "tanh") else None, None
    return row.kernel, None if op in DIVIDES else ufunc_of(row)


def _in_place(module: Any, name: str) -> Callable[..., Tensor]:
    """``x.add_(y)``: x takes the result of ``x.add(y)``, and on the tape its history."""
    op = name[:-1]
    function = getattr(module, op)
    own = function.__name__  # multiply is mul
    (of_floats, of_integers), fused = _kernels(own), FUSED.get(own)

    def method(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        kernel = of_floats if (kind := x._array.dtype.kind) == "f" else of_integers if kind in "iu" else None
        if kernel is not None and not settings and in_place(kernel, x, x, *args):
            return x
        if (
            fused is not None
            and kind == "f"
            and (call := fused(x, *args, **settings))
            and in_place(call[0], x, *call[1:])
        ):
            return x
        check_leaf(x, name)
        return assign(x, function(x, *args, **settings), name)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As :func:`ranvier.{op}`, in place."
    method.__wrapped__ = function  # type: ignore[attr-defined]  # its signature
    return method


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    """``other op self``, which Python calls on the right operand."""

    def method(self: Tensor, other: Any) -> Any:
        return function(other, self)

    return method


def _equality(function: Callable[..., Any]) -> Callable[..., Any]:
    """Python itself compares a tensor with what is no tensor, array or number (None, a string)."""

    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, (Tensor, np.ndarray, np.generic, int, float)):
            return function(self, other)
        return NotImplemented

    return method


def _where(self: Tensor, condition: Any, other: Any) -> Any:
    """self where the condition is true, else other."""
    return where(condition, self, other)


METHODS: dict[str, Callable[..., Any]] = {
    **VIEWS,
    **dict(_methods()),
    **{name: reshaped_in_place(name, function) for name, function in NEW_SHAPES.items()},
    "where": _where,
}

OPERATORS: dict[str, Callable[..., Any]] = {
    **{f"__{op.__name__}__": op for op in (abs, add, ge, gt, le, lt, matmul, mul, neg, pow, sub)},
    "__truediv__": div,
    **{f"__r{op.__name__}__": _reflected(op) for op in (add, matmul, mul, pow, sub)},
    "__rtruediv__": _reflected(div),
    **{f"__i{op}__": METHODS[f"{op}_"] for op in ("add", "mul", "pow", "sub")},
    "__itruediv__": METHODS["div_"],
    "__eq__": _equality(eq),
    "__ne__": _equality(ne),
    "__getitem__": getitem,
    "__iter__": iterate,
}


def _adjoint(x: Tensor) -> Tensor:
    if x.ndim not in (0, 2):
        raise OpError(f"[H] got shape {x.shape}; expected a matrix: mH transposes the last two dimensions")
    return x if x.ndim == 0 else x.mH


PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "T": lambda self: _core._reversed("T", self),
    "H": _adjoint,
    "mT": lambda self: _core._transpose("transpose", self, -2, -1),
    "mH": lambda self: _core._transpose("transpose", self, -2, -1),  # real numbers are their own conjugates
}

for _module in (
    "check",
    "convert",
    "creation",
    "data",
    "devices",
    "dtypes",
    "gradients",
    "level",
    "mode",
    "random",
):  # below
    examples(vars(importlib.import_module(f"ranvier.autograd.{_module}")))
for _name, _getter in PROPERTIES.items():
    setattr(Tensor, _name, property(_getter))
for _name, _function in {**OPERATORS, **METHODS}.items():
    setattr(Tensor, _name, _function)
for _module, _names in TENSOR_METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, Later(_module, _name))
