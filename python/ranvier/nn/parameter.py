"""Parameter and Buffer: Tensors that a Module registers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.tensors.data import array_of
from ranvier.tensors.deepcopy_pickle import deepcopied, rebuild
from ranvier.tensors.memory import require_numbers
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.views import FLAG, UNWATCHED, share

__all__ = ["Buffer", "Parameter", "UninitializedParameter"]


class Parameter(Tensor):
    """A Tensor that a Module registers when it is assigned to an attribute.

    >>> from ranvier import nn
    >>> import numpy as np
    >>> nn.Parameter(np.ones(2, np.float32))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    __slots__ = ()

    def __new__(cls, data: Any = (), requires_grad: bool = True) -> Parameter:
        # A satellite package may keep numbers in objects that are no Tensors: these make the parameter.
        if hasattr(data, "_as_parameter"):
            return data._as_parameter(cls, requires_grad)
        if getattr(data, "is_meta", False):
            cls = data._class(cls)
        array = np.asarray(array_of("Parameter", data))
        parameter = rebuild(cls, array, False)
        if isinstance(data, Tensor):
            share(data, parameter)  # They share memory, so they share the count of changes in place.
        else:  # The memory may belong to an array of the caller, and nothing counts its changes.
            parameter._cell[FLAG] |= UNWATCHED
        return parameter.requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict[int, Any], with_grad: bool = False) -> Any:
        return deepcopied(self, memo, with_grad)  # The copy of a network starts without gradients.


class Buffer(Tensor):
    """A Tensor that a Module registers as a buffer when it is assigned to an attribute.

    If `persistent` is True, `state_dict` includes it.

    >>> import ranvier as rv
    >>> rv.nn.Buffer(rv.ones(2))
    tensor([1., 1.])
    """

    persistent: bool = True

    def __new__(cls, data: Any = (), *, persistent: bool = True) -> Buffer:
        if getattr(data, "is_meta", False):
            cls = data._class(cls)
        array = np.asarray(array_of("Buffer", data))
        require_numbers("Buffer", array.dtype)
        buffer = rebuild(cls, array, getattr(data, "requires_grad", False))
        if isinstance(data, Tensor):
            share(data, buffer)
        else:
            buffer._cell[FLAG] |= UNWATCHED
        buffer.persistent = persistent
        return buffer


class UninitializedParameter(Parameter):
    """The parameter of a lazy layer before its first call. It has no elements, and `nn.init` refuses it."""

    __slots__ = ()


def is_lazy(param: Any) -> bool:
    """True if param is a parameter of a lazy layer before its first call."""
    return isinstance(param, UninitializedParameter)
