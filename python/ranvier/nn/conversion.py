"""The methods of Module that give its parameters and buffers new memory: casts, layouts, `to_empty`.

Also the cast of NumPy arrays that a module is called with. `Conversions` is a base of Module (nn/module.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ranvier.grad_mode import no_grad
from ranvier.nn.parameter import Parameter
from ranvier.nn.registry import set_tensor
from ranvier.ops.making.creation import empty_like
from ranvier.tensors.data import as_dtype
from ranvier.tensors.memory import BF16, F16, F32, in_float, plain, require_numbers
from ranvier.tensors.tensor import Tensor, borrowed
from ranvier.tensors.types import DeviceLike, DtypeLike

Self = TypeVar("Self", bound="Conversions")
Conversion = Callable[[Tensor], Tensor]


def _named(method: str, function: Conversion) -> Conversion:
    """The function, with the name that PyTorch's function for this method has.

    A module's own ``_apply`` tells the methods apart by that name alone: metrics of torchmetrics keep their
    sums in float32 when a network is cast.
    """
    function.__qualname__ = f"Module.{method}.<locals>.{function.__name__}"
    return function


def _cast(method: str, dtype: np.dtype[Any]) -> Conversion:
    """The cast of tensors of floats to a dtype."""

    def convert(tensor: Tensor) -> Tensor:
        if tensor.dtype.kind == "f":
            return tensor.detach().to(dtype)
        return tensor

    return _named(method, convert)


class Conversions:
    """The base of Module that converts. ``_apply`` converts the tensors of the module, and a subclass may
    override it. ``_rv_cast`` converts arrays that the module is called with: ``Module.__call__`` calls it,
    and batch and instance norm override it (nn/norm.py)."""

    # The methods of Module that these methods call.
    children: Any
    modules: Any
    _rv_some_parameters: Any

    def to(self: Self, *args: Any, memory_format: Any = None, **kwargs: Any) -> Self:
        """Casts floating parameters and buffers, as :meth:`Tensor.to`. memory_format "channels_last" changes
        only tensors of 4 dimensions, "channels_last_3d" those of 5."""
        dimensions = {"channels_last": 4, "channels_last_3d": 5}.get(memory_format)

        def convert(tensor: Tensor) -> Tensor:
            if tensor.dtype.kind == "c":
                return tensor
            layout = memory_format
            if dimensions is not None and tensor.ndim != dimensions:
                layout = None
            new = tensor.detach().to(*args, memory_format=layout, **kwargs)
            if tensor.dtype.kind != "f":
                if new.is_meta == tensor.is_meta:
                    return tensor
                return new.to(tensor.dtype)
            if new.dtype.kind != "f":
                raise TypeError(f"[to] got {new.dtype}; expected a floating dtype, in which layers compute")
            return new

        try:
            return self._apply(_named("to", convert))
        except NotImplementedError as error:  # A tensor without values (on the device meta) raises this.
            raise NotImplementedError(
                f"{error} Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() when moving "
                "module from meta to a different device."
            ) from None

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replaces the memory of parameters, gradients and buffers by the memory of fn(tensor)."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        attributes = self.__dict__
        for name in (*attributes["_parameters"], *attributes["_buffers"]):
            tensor = attributes[name]
            if tensor is None:
                continue
            with no_grad():
                new = fn(tensor)
            if new.is_meta != tensor.is_meta:  # The module gets a new object, as in PyTorch.
                if isinstance(tensor, Parameter):
                    new = Parameter(new, tensor.requires_grad)
                set_tensor(attributes, name, new)
            elif new is not tensor:
                tensor._array = new._array
                if tensor.grad is not None:
                    tensor.grad = fn(tensor.grad)
        return self

    def to_empty(self: Self, *, device: DeviceLike | None, recurse: bool = True) -> Self:
        """Gives parameters and buffers new memory without values."""

        def convert(tensor: Tensor) -> Tensor:
            return empty_like(tensor, device=device)

        return self._apply(_named("to_empty", convert), recurse)

    def float(self: Self) -> Self:
        return self._apply(_cast("float", np.dtype(np.float32)))

    def double(self: Self) -> Self:
        return self._apply(_cast("double", np.dtype(np.float64)))

    def half(self: Self) -> Self:
        return self._apply(_cast("half", F16))

    def bfloat16(self: Self) -> Self:
        return self._apply(_cast("bfloat16", BF16))

    def type(self: Self, dst_type: DtypeLike) -> Self:
        """Casts all parameters and buffers to a dtype, also those of whole numbers, as in PyTorch.

        Raises TypeError for a parameter that requires gradients, if the dtype is not one of floats.
        """
        dtype = as_dtype("type", dst_type)
        if dtype.kind == "c":
            raise TypeError(f"[type] got {dtype}; expected one of real numbers, which layers have")

        def convert(tensor: Tensor) -> Tensor:
            if tensor.requires_grad and dtype.kind != "f":
                raise TypeError(
                    f"[type] got {dtype} for a parameter that requires gradients; expected a floating dtype"
                )
            return tensor.detach().to(dtype)

        return self._apply(_named("type", convert))

    def cpu(self: Self) -> Self:
        return self._apply(_named("cpu", lambda tensor: tensor.cpu()))

    def cuda(self: Self, device: DeviceLike | None = None) -> Self:
        """Raises RuntimeError: this library computes on the CPU."""
        raise RuntimeError("[cuda] expected .cpu(), or cuda.is_available() before: only the CPU computes")

    def _rv_cast(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments with arrays as Tensors.

        Floating arrays get the dtype of the first floating parameter, or without one that of the first
        floating Tensor argument. Arrays of Python objects are passed on to the user's own classes and refused
        by layers.
        """
        name = type(self).__name__
        is_layer = type(self).__module__.startswith("ranvier.")
        array_places = []
        for place, arg in enumerate(args):
            if isinstance(arg, np.ndarray) and (is_layer or not arg.dtype.hasobject):
                require_numbers(name, plain(name, arg).dtype)
                array_places.append(place)
        dtype = self._rv_float_dtype(args)
        cast = list(args)
        for place in array_places:
            cast[place] = borrowed(in_float(args[place], dtype))
        return tuple(cast)

    def _rv_float_dtype(self, args: tuple[Any, ...]) -> np.dtype[Any] | None:
        """The dtype in which the module computes with these arguments; None if nothing says it."""
        for tensor in itertools.chain(self._rv_some_parameters(), args):
            if isinstance(tensor, Tensor) and tensor.dtype.kind == "f":
                return tensor.dtype
        if any(hasattr(type(module), "quantized_weight") for module in self.modules()):
            return F32  # Layers of 8 and 4 bits have no parameters, and compute in float32.
        return None
