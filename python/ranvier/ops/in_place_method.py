"""Makes the method in place of an op, such as ``x.add_(y)`` of ``add``, for `attach.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ranvier._core as _core
from ranvier.ops.elementwise.compute import FAILS_AT_ZERO
from ranvier.ops.elementwise.fused import FUSED, SCALED
from ranvier.ops.elementwise.op import DECLARATIONS
from ranvier.tape.inplace import assign, change_elements, check_leaf
from ranvier.tensors.memory import Array, is_batched
from ranvier.tensors.spellings import spelled
from ranvier.tensors.tensor import Tensor


def _puts(
    x: Array, dim: int, index: Array, src: Array, out: Array | None, *, slices: bool, add: bool
) -> Array:
    """x[.., index[.., j, ..], ..] = src[.., j, ..], or += with `add`. slices: the index has one dimension;
    else it has the shape of src. Returns NotImplemented for other shapes."""
    if slices:
        fits = index.ndim == 1
    else:
        fits = index.shape == src.shape and index.ndim == x.ndim
    if fits:
        return _core.scatter(x, index, src, dim, add, out, True)
    return NotImplemented


_PUT = {
    "scatter": partial(_puts, slices=False, add=False),
    "scatter_add": partial(_puts, slices=False, add=True),
    "index_add": partial(_puts, slices=True, add=True),
}


def _kernels(op: str) -> tuple[Any, Any, None, Any]:
    """The functions with which the core computes an op in place off the tape, for `_core._into`.

    They are: the kernel for floats, NumPy's function for integers, the function for other dtypes (always
    None), and the kernel for floats with settings such as ``alpha=2``. None: Python computes it.
    """
    if op in _PUT:
        return _PUT[op], None, None, None
    row = DECLARATIONS.get(op)
    of_floats = row.kernel if row else None
    of_integers = None if row is None or op in FAILS_AT_ZERO else row.loops()
    return FUSED.get(op, of_floats), of_integers, None, SCALED.get(op)


def method_of(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The method in place of an op: by ``x.add_(y)`` x gets the value of ``x.add(y)``, and on the tape its
    history."""
    with_spellings = spelled(function)

    def in_python(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        check_leaf(x, name)
        if is_batched(x._array) and function.__name__ in DECLARATIONS:
            return change_elements(x, name, computed, args, settings)
        call = partial(with_spellings, x, *args, **settings)
        # In a block of autocast, the operands of addmm and baddbmm are cast, but not those of addmm_ and
        # baddbmm_.
        is_cast = name in ("addmm_", "baddbmm_")
        if is_cast:
            result = _core._without_autocast(call)
        else:
            result = call()
        return assign(x, result, name)

    computed = _core._into(in_python, *_kernels(function.__name__), True)  # the name of `multiply` is mul

    # A function of Python around the op of the core, because it has a name, a signature and a docstring.
    def method(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        return computed(x, *args, **settings)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As :func:`ranvier.{name[:-1]}`, in place."
    method.__wrapped__ = function  # type: ignore[attr-defined]  # its signature
    return method
