"""Attaches the operators and methods to the class Tensor: the functions of this package whose first argument
is a tensor, by the tables in `table.py`, and methods from lower modules, by `_METHODS` here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.compare import eq, ne
from ranvier.ops.elementwise.compute import FAILS_AT_ZERO
from ranvier.ops.elementwise.fused import FUSED, SCALED
from ranvier.ops.elementwise.op import DECLARATIONS
from ranvier.ops.making import check, convert, creation, random
from ranvier.ops.shape import reshape as shapes
from ranvier.ops.shape.index import getitem
from ranvier.ops.shape.join import iterate
from ranvier.ops.shape.reshape import reshaped_in_place
from ranvier.ops.table import AT_IMPORT, NAME_THEMSELVES, OPERATORS, ROWS, method_names, module_of
from ranvier.tape import backpropagation, context as context, hooks, inplace, nodes as nodes, other_memory
from ranvier.tape.inplace import assign, check_leaf
from ranvier.tensors import data
from ranvier.tensors.deepcopy_pickle import make_subclass
from ranvier.tensors.errors import own_errors
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import Array
from ranvier.tensors.spellings import spelled
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike


class Later:
    """A descriptor for a method whose module is not loaded yet. The first use loads the module, and puts the
    method itself in this place in Tensor. Guards of compiled steps and the satellite `torch` recognize it by
    its class."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __get__(self, tensor: TensorLike, owner: Any) -> Any:
        method = _named_method(self.module, self.name)
        setattr(Tensor, self.name, method)
        if tensor is None:
            return method
        return method.__get__(tensor, owner)


def _method(home: str, name: str) -> Callable[..., Any]:
    """The method of this name, or operator, of a module."""
    module = module_of(home)
    if name.startswith("__"):
        return _operator(module, name.strip("_"))
    if not name.endswith("_") or hasattr(module, name):
        return getattr(module, name)
    function = getattr(module, name[:-1])
    if module is shapes:
        return reshaped_in_place(name, function)
    return _in_place(name, function)


def _named_method(home: str, name: str) -> Any:
    """As `_method`; a method that has no gate takes NumPy's names of arguments, too."""
    method = _method(home, name)
    if name.startswith("__"):
        return method
    return spelled(method, as_method=True)


def _operator(module: Any, word: str) -> Callable[..., Any]:
    """The method of an operator. word: its name without underscores, such as add, radd or iadd."""
    if word in OPERATORS:
        return getattr(module, OPERATORS[word])
    op = OPERATORS[word[1:]]
    if word[0] == "i":
        return getattr(Tensor, f"{op}_")
    return _reflected(getattr(module, op))


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


def _in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The method in place of an op: by ``x.add_(y)`` x gets the value of ``x.add(y)``, and on the tape its
    history."""

    with_spellings = spelled(function)

    def in_python(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        check_leaf(x, name)
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


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    """``other op self``, which Python calls on the right operand."""

    def method(self: Tensor, other: TensorLike) -> Any:
        try:
            return function(other, self)
        except TypeError:
            if isinstance(other, Sequence):  # [1] * n: Python then uses the sequence's operator
                return NotImplemented
            raise

    return method


def _equality(function: Callable[..., Any]) -> Callable[..., Any]:
    """The method for == or !=. For an operand that is no tensor, array or number (None, a string) it returns
    NotImplemented, so that Python compares by identity."""

    def method(self: Tensor, other: TensorLike) -> Any:
        if isinstance(other, (Tensor, np.ndarray, np.generic, int, float)):
            return function(self, other)
        return NotImplemented

    return method


def _where(self: Tensor, condition: TensorLike, other: TensorLike) -> Any:
    """self where the condition is true, else other."""
    return where(condition, self, other)


def _adjoint(x: Tensor) -> Tensor:
    """``x.H``"""
    if x.ndim not in (0, 2):
        raise OpError(f"[H] got shape {x.shape}; expected a matrix: mH transposes the last two dimensions")
    if x.ndim == 0:
        return x
    return x.mH


PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "T": lambda self: _core._reversed("T", self),
    "H": _adjoint,
    "mT": lambda self: _core._transpose("transpose", self, -2, -1),
    "mH": lambda self: _core._transpose("transpose", self, -2, -1),  # real numbers are their own conjugates
}

# Module -> its functions that become methods, although they are no ops of the table. Of modules with an empty
# text only the errors get names.
_METHODS = {
    backpropagation: "backward",
    check: "allclose conj equal is_inference isfinite isinf isnan to_dense",
    convert: "clone contiguous cpu cuda new pin_memory storage storage_offset to type_as untyped_storage",
    creation: "",
    hooks: "register_hook register_post_accumulate_grad_hook retain_grad",
    inplace: "copy_ fill_ zero_",
    other_memory: "resize_ resize_as_ set_",
    random: "",
}
# Methods whose name differs from that of the function.
_OTHER_NAMES: dict[str, Any] = {
    **dict.fromkeys(("conj_physical", "resolve_conj", "resolve_neg"), check.conj),
    **{name.lower(): convert.cast_to(name.lower(), kind) for name, kind in data.TENSOR_TYPES.items()},
    "__setitem__": inplace.setitem,
    "_make_subclass": staticmethod(make_subclass),
    "_typed_storage": convert.storage,
    "retains_grad": property(hooks.retains_grad),
    "type": convert.type_,
    "where": _where,
}

for _module, _words in _METHODS.items():
    own_errors(vars(_module), [*_words.split(), *getattr(_module, "__all__", ())], NAME_THEMSELVES)
    for _name in _words.split():
        setattr(Tensor, _name, spelled(getattr(_module, _name), as_method=True))
for _name, _function in _OTHER_NAMES.items():
    setattr(Tensor, _name, _function)
for _name, _getter in PROPERTIES.items():
    setattr(Tensor, _name, property(_getter))
for _place, _names in ROWS.items():
    _home = f"ranvier.ops.{_place}"
    for _name in method_names(_names):
        is_loaded = _place in AT_IMPORT
        if is_loaded:
            _value = _named_method(_home, _name)
        else:
            _value = Later(_home, _name)
        setattr(Tensor, _name, _value)
Tensor.__eq__, Tensor.__ne__ = _equality(eq), _equality(ne)  # type: ignore[method-assign]
Tensor.__getitem__, Tensor.__iter__ = getitem, iterate  # type: ignore[method-assign]
_core._set_contiguous(Tensor, f"contiguous($self, memory_format=None)\n--\n\n{convert.contiguous.__doc__}")
