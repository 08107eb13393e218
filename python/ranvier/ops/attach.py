"""Attaches the operators and methods to the class Tensor: the functions of this package whose first argument
is a tensor, and methods from lower modules, by the tables in `table.py`. Each is loaded at its first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.table import METHODS, OPERATORS, ROWS, method_names, module_of
from ranvier.tensors.data import TENSOR_TYPES
from ranvier.tensors.deepcopy_pickle import make_subclass
from ranvier.tensors.failures import OpError
from ranvier.tensors.spellings import spelled
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike


class Later:
    """A descriptor for a method or property whose module is not loaded yet. The first use loads the module,
    and puts the method itself in this place in Tensor. Guards of compiled steps and the satellite `torch`
    recognize it by its class.

    found: the method, from the loaded module and the name; None: the function of this name, or operator.
    """

    def __init__(self, module: str, name: str, found: Callable[[Any, str], Any] | None = None) -> None:
        self.module = module
        self.name = name
        self.found = found or _named_method

    def __get__(self, tensor: TensorLike, owner: Any) -> Any:
        method = self.found(module_of(self.module), self.name)
        setattr(Tensor, self.name, method)
        if tensor is None:
            return method
        return method.__get__(tensor, owner)


def _method(module: Any, name: str) -> Callable[..., Any]:
    """The method of this name, or operator, of a module."""
    if name.startswith("__"):
        return _operator(module, name.strip("_"))
    if not name.endswith("_") or hasattr(module, name):
        return getattr(module, name)
    function = getattr(module, name[:-1])
    if hasattr(module, "reshaped_in_place"):
        return module.reshaped_in_place(name, function)
    in_place: Any = importlib.import_module("ranvier.ops.in_place_method")
    return in_place.method_of(name, function)


def _named_method(module: Any, name: str) -> Any:
    """As `_method`; a method that has no gate takes NumPy's names of arguments, too."""
    method = _method(module, name)
    if name.startswith("__"):
        return method
    return spelled(method, as_method=True)


def _operator(module: Any, word: str) -> Callable[..., Any]:
    """The method of an operator. word: its name without underscores, such as add, radd or iadd."""
    if word in ("eq", "ne"):
        return _equality(getattr(module, word))
    if word in OPERATORS:
        return getattr(module, OPERATORS[word])
    op = OPERATORS[word[1:]]
    if word[0] == "i":
        return getattr(Tensor, f"{op}_")
    return _reflected(getattr(module, op))


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


def _where(module: Any, name: str) -> Callable[..., Any]:
    """``x.where(condition, other)``, from the module of the function."""

    def where(self: Tensor, condition: TensorLike, other: TensorLike) -> Any:
        """self where the condition is true, else other."""
        return module.where(condition, self, other)

    return where


def _cast(module: Any, name: str) -> Callable[..., Any]:
    """``x.float()`` and the others, from the module of casts."""
    kinds = {word.lower(): kind for word, kind in TENSOR_TYPES.items()}
    method: Callable[..., Any] = module.cast_to(name, kinds[name])
    return method


def _of_name(function: str) -> Callable[[Any, str], Any]:
    """What finds a method under another name than its own: that of this function."""

    def found(module: Any, name: str) -> Any:
        return getattr(module, function)

    return found


def _contiguous(module: Any, name: str) -> Any:
    """The core's method, which answers the usual call and calls the function for others."""
    setattr(Tensor, name, spelled(module.contiguous, as_method=True))  # which the core reads
    _core._set_contiguous(Tensor, f"contiguous($self, memory_format=None)\n--\n\n{module.contiguous.__doc__}")
    return vars(Tensor)[name]


def _retains_grad(module: Any, name: str) -> property:
    return property(module.retains_grad)


def _adjoint(x: Tensor) -> Tensor:
    """``x.H``"""
    if x.ndim not in (0, 2):
        raise OpError(f"[H] got shape {x.shape}; expected a matrix: mH transposes the last two dimensions")
    if x.ndim == 0:
        return x
    return x.mH


def _reversed_dims(x: Tensor) -> Any:
    """``x.T``"""
    return _core._reversed("T", x)


def _matrix_transpose(x: Tensor) -> Any:
    """``x.mT``, and ``x.mH``, as real numbers are their own conjugates."""
    return _core._transpose("transpose", x, -2, -1)


_PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "T": _reversed_dims,
    "H": _adjoint,
    "mT": _matrix_transpose,
    "mH": _matrix_transpose,
}


def _attached(module: Any, name: str) -> Any:
    """A property that its module itself has put into Tensor when it was loaded."""
    return vars(Tensor)[name]


def _property(module: Any, name: str) -> property:
    """A property whose getter calls the core, which makes the nodes of a module's classes."""
    return property(_PROPERTIES[name])


for _place, _names in ROWS.items():
    for _name in method_names(_names):
        setattr(Tensor, _name, Later(f"ranvier.ops.{_place}", _name))
for _home, _words in METHODS.items():
    for _name in _words.split():
        setattr(Tensor, _name, Later(_home, _name))
for _name in _PROPERTIES:
    setattr(Tensor, _name, Later("ranvier.ops.shape.reshape", _name, _property))
for _name in ("conj_physical", "resolve_conj", "resolve_neg"):
    setattr(Tensor, _name, Later("ranvier.ops.making.check", _name, _of_name("conj")))
for _name in TENSOR_TYPES:
    setattr(Tensor, _name.lower(), Later("ranvier.ops.making.convert", _name.lower(), _cast))
# Other methods, with the module and what finds them there.
_OTHERS: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "__getitem__": ("ranvier.ops.shape.index", _of_name("getitem")),
    "__iter__": ("ranvier.ops.shape.join", _of_name("iterate")),
    "__setitem__": ("ranvier.tape.inplace", _of_name("setitem")),
    "grad_fn": ("ranvier.tape.nodes", _attached),
    "output_nr": ("ranvier.tape.nodes", _attached),
    "contiguous": ("ranvier.ops.making.convert", _contiguous),
    "_typed_storage": ("ranvier.ops.making.convert", _of_name("storage")),
    "retains_grad": ("ranvier.tape.hooks", _retains_grad),
    "type": ("ranvier.ops.making.convert", _of_name("type_")),
    "where": ("ranvier.ops.elementwise.choice", _where),
}
for _name, (_home, _found) in _OTHERS.items():
    setattr(Tensor, _name, Later(_home, _name, _found))
Tensor._make_subclass = staticmethod(make_subclass)  # type: ignore[attr-defined]
