"""Parameter and Buffer: Tensors that a Module registers.

A program may derive a class from Tensor. A parameter or buffer made of an object of such a class keeps the
class; it is marked by an attribute, ``_is_param`` or ``_is_buffer``, as in PyTorch.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ranvier.tensors.data import array_of
from ranvier.tensors.deepcopy_pickle import deepcopied, in_class_of, is_of_program, rebuild
from ranvier.tensors.memory import is_batched, require_numbers
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.views import share

__all__ = ["Buffer", "Parameter", "UninitializedParameter"]


class _Marked(type):
    """The class of Parameter and Buffer: ``isinstance`` is also true of Tensors with their mark."""

    def __instancecheck__(cls, x: Any) -> bool:
        if type.__instancecheck__(cls, x):
            return True
        mark = vars(cls).get("_mark")
        return mark is not None and isinstance(x, Tensor) and mark in getattr(x, "__dict__", ())


def _marked(data: Tensor, mark: str, requires_grad: bool) -> Any:
    """A leaf of the class of ``data``, on its memory, with the mark of a parameter or buffer."""
    new = in_class_of(rebuild(Tensor, data._array, False), data)
    share(data, new)
    vars(new)[mark] = True
    return new.requires_grad_(requires_grad)


def _is_derived(data: object) -> bool:
    """True for a Tensor whose class a program has derived from Tensor."""
    return isinstance(data, Tensor) and is_of_program(type(data))


class Parameter(Tensor, metaclass=_Marked):
    """A Tensor that a Module registers when it is assigned to an attribute.

    >>> from ranvier import nn
    >>> import numpy as np
    >>> nn.Parameter(np.ones(2, np.float32))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    __slots__ = ()
    _mark: ClassVar[str] = "_is_param"

    def __new__(cls, data: Any = (), requires_grad: bool = True) -> Parameter:
        # A satellite package may keep numbers in objects that are no Tensors: these make the parameter.
        if hasattr(data, "_as_parameter"):
            return data._as_parameter(cls, requires_grad)
        if getattr(data, "is_meta", False):  # A Tensor without memory has a class of its own for parameters.
            cls = data._class(cls)
        if _is_derived(data) and not issubclass(type(data), _UNMARKED):
            return _marked(data, "_is_param", requires_grad)
        if isinstance(data, Tensor) and is_batched(data._array):  # one parameter for each slice, within vmap
            leaf = data.detach()
            vars(leaf)[cls._mark] = True
            return leaf.requires_grad_(requires_grad)  # type: ignore[return-value]
        array = np.asarray(array_of("Parameter", data))
        parameter = rebuild(cls, array, False)
        if isinstance(data, Tensor):
            share(data, parameter)  # They share memory, so they share the count of changes in place.
        else:  # The memory may belong to an array of the caller, and nothing counts its changes.
            parameter._cell.unwatched = True
        return parameter.requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict[int, Any], with_grad: bool = False) -> Any:
        return deepcopied(self, memo, with_grad)  # The copy of a network starts without gradients.


class Buffer(Tensor, metaclass=_Marked):
    """A Tensor that a Module registers as a buffer when it is assigned to an attribute.

    If `persistent` is True, `state_dict` includes it.

    >>> import ranvier as rv
    >>> rv.nn.Buffer(rv.ones(2))
    tensor([1., 1.])
    """

    _mark: ClassVar[str] = "_is_buffer"
    persistent: bool = True

    def __new__(cls, data: Any = (), *, persistent: bool = True) -> Buffer:
        if getattr(data, "is_meta", False):  # A Tensor without memory has a class of its own for buffers.
            cls = data._class(cls)
        if _is_derived(data):
            buffer = _marked(data, "_is_buffer", data.requires_grad)
            buffer.persistent = persistent
            return buffer
        array = np.asarray(array_of("Buffer", data))
        require_numbers("Buffer", array.dtype)
        buffer = rebuild(cls, array, getattr(data, "requires_grad", False))
        if isinstance(data, Tensor):
            share(data, buffer)
        else:  # as in Parameter
            buffer._cell.unwatched = True
        buffer.persistent = persistent
        return buffer


# What is of these classes, or of a program's class of them, becomes a Parameter without a mark.
_UNMARKED = (Parameter, Buffer)


class UninitializedParameter(Parameter):
    """The parameter of a lazy layer before its first call. It has no elements, and `nn.init` refuses it."""

    __slots__ = ()


def is_lazy(param: object) -> bool:
    """True if param is a parameter of a lazy layer before its first call. Programs call it, as in PyTorch."""
    return isinstance(param, UninitializedParameter)
