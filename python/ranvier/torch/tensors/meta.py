"""Tensors of the device "meta", which have a shape, strides and a dtype but no values; and meta Parameters.

Their arrays all lie in one region of addresses that reads as zeros and takes no memory. A function of meta
tensors is computed as usual, on these zeros, and its results become meta tensors. So shapes, dtypes, views
and gradients are those of ordinary tensors.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator
from functools import cache
from types import FunctionType
from typing import Any, cast

import numpy as np

import ranvier as rv
from ranvier.autograd import wrap
from ranvier.ops.making.convert import parsed_to
from ranvier.tensors.deepcopy_pickle import rebuild
from ranvier.tensors.memory import Array
from ranvier.tensors.storage import TypedStorage, UntypedStorage
from ranvier.torch.tensors.pairs import Complex
from ranvier.torch.torch_function.activation import activate

META = rv.device("meta")
_NO_DATA = "Cannot copy out of meta tensor; no data!"


@cache
def _region() -> tuple[Any, int, int]:
    """The region: a mapping of zeros without memory, its first address, and its size in bytes."""
    activate()
    _attach_layers()
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    for bits in range(42, 20, -2):
        try:
            region = mmap.mmap(-1, 2**bits, flags=flags)
        except (OSError, ValueError, OverflowError):  # a limit of the process
            continue
        return region, np.frombuffer(region, np.uint8).ctypes.data, 2**bits
    raise MemoryError("[meta] got no address space for tensors without memory")


def _attach_layers() -> None:
    """Makes `forward` of each layer ask its inputs' classes, as some layers call functions that do not."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("ranvier.nn.") and name != "ranvier.nn.container":
            for cls in [*vars(module).values()]:
                if (
                    isinstance(cls, type)
                    and cls.__module__ == name
                    and isinstance(forward := vars(cls).get("forward"), FunctionType)
                ):
                    about = name, f"{cls.__name__}.forward", "forward", 2  # 2: it binds as a method
                    cls.forward = rv._core._public(rv._core.PublicMethod, forward, None, *about)  # type: ignore


def without_memory(shape: Any, dtype: Any, strides: Any = None, offset: int = 0) -> Array:
    """An array of this shape in the region. offset: the bytes before its first element."""
    dtype = np.dtype(dtype)
    region = _region()
    if strides is None:
        steps = np.cumprod([dtype.itemsize, *(max(n, 1) for n in reversed(shape[1:]))], dtype=object)
        strides = tuple(int(step) for step in reversed(steps))[: len(shape)]
    last = sum(max(n - 1, 0) * step for n, step in zip(shape, strides, strict=True))
    if offset + last + dtype.itemsize > region[2] or min(strides, default=0) < 0:
        strides = (0,) * len(shape)
        offset = 0
    if not offset:
        return np.ndarray(shape, dtype, region[0], 0, strides)
    memory = np.ndarray(offset + last + dtype.itemsize, np.uint8, region[0])  # `storage_offset` finds it
    return np.ndarray(shape, dtype, memory, offset, strides)


def _within(array: Array) -> Array:
    """The array itself, if it lies in the region, else one like it that does."""
    _, first, size = _region()
    if first <= array.ctypes.data < first + size:
        return array
    return without_memory(array.shape, array.dtype, array.strides)


def meta(array: Array) -> Any:
    """A meta tensor like an array."""
    return _meta(array)


def rebuilt(
    kind: Any,
    shape: Any,
    strides: Any,
    dtype: Any,
    requires_grad: bool,
    attributes: Any = None,
    offset: int = 0,
) -> Any:
    """A meta tensor of a class, as pickles and files make it. offset: the bytes before its first element."""
    out = rebuild(class_of(kind), without_memory(shape, dtype, strides, offset), requires_grad)
    out.__dict__.update(attributes or {})
    return out


def _meta(x: Any) -> Any:
    """An array, or a tensor that a function has made, as a meta tensor."""
    if isinstance(x, np.ndarray):
        x = wrap(x)
    if not x.is_meta:
        x._array = _within(x._array)
        x.__class__ = class_of(x.__class__)
    return x


@cache
def class_of(kind: Any) -> Any:
    """The class of meta tensors that derives from Meta and from `kind` (Parameter, or a program's class)."""
    if kind is rv.Tensor or issubclass(kind, Meta):
        if kind is rv.Tensor:
            return Meta
        return kind
    body = {"__slots__": (), "__doc__": kind.__doc__, "_kind": kind, "__module__": kind.__module__}
    made: Any = type(kind)(kind.__name__, (Meta, kind), body)
    made.__qualname__ = kind.__qualname__
    return made


def _refuse(error: type[Exception], text: str) -> Any:
    def method(self: Any, *args: Any, **settings: Any) -> Any:
        raise error(text)

    return method


_ITEM = "Tensor.item() cannot be called on meta tensors"
_NUMPY = "can't convert meta device type tensor to numpy. Use Tensor.cpu() to copy the tensor first."


class NoStorage(UntypedStorage):
    """The memory of a meta tensor."""

    device = META

    def data_ptr(self) -> int:
        return 0


class Meta(rv.Tensor):
    """A tensor without values. _kind: the class that programs see, Tensor or Parameter."""

    __slots__ = ()
    _kind: Any = rv.Tensor
    is_meta = True
    is_cpu = False
    device = META
    _class = staticmethod(class_of)
    _of_array = staticmethod(lambda array: _meta(array))

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        return cls._kind(*args, **settings)  # type(parameter)(other): on the device of `other`

    # --- what needs values
    tolist = cpu = _refuse(NotImplementedError, _NO_DATA)
    numpy = __array__ = _refuse(TypeError, _NUMPY)
    __dlpack__ = __dlpack_device__ = _refuse(NotImplementedError, _NO_DATA)
    __float__ = __int__ = __index__ = __contains__ = _refuse(RuntimeError, _ITEM)

    def item(self) -> Any:
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        raise RuntimeError(_ITEM)

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError(f"Boolean value of Tensor with {self.numel()} values is ambiguous")
        raise RuntimeError(_ITEM)

    # --- what it is
    def data_ptr(self) -> int:
        return 0

    def type(self, dtype: Any = None, *args: Any, **settings: Any) -> Any:
        if dtype is None:
            return rv.empty(0, dtype=self.dtype, device="cpu").type().replace("torch.", "torch.meta.")
        return super().type(dtype, *args, **settings)  # type: ignore[misc]

    def untyped_storage(self) -> Any:
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride(), strict=True))
        return NoStorage(without_memory(((last + 1) * self.itemsize if self.numel() else 0,), np.uint8))

    def storage(self) -> Any:
        return TypedStorage(self.untyped_storage(), self.dtype)

    _typed_storage = storage

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)

    # --- copies
    def to(
        self, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **settings: Any
    ) -> Any:
        dtype, device, copy = parsed_to((*args, settings.pop("other", None)), dtype, device, copy)
        if device is not None and rv.device(device).type == "cpu":
            raise NotImplementedError(_NO_DATA)
        return super().to(dtype=self.dtype if dtype is None else dtype, copy=copy, **settings)

    def __deepcopy__(self, memo: dict[int, Any], with_grad: bool = False) -> Any:
        if self.grad_fn is not None:
            raise RuntimeError("[deepcopy] only leaves can be deep-copied; detach() or clone() the tensor")
        out = memo[id(self)] = self.__copy__()
        return out

    def __copy__(self) -> Any:
        function, args = self.__reduce__()
        return function(*args)

    def __reduce__(self) -> Any:
        array = self._array
        about = self._kind, array.shape, array.strides, array.dtype, self._requires_grad
        return rebuilt, (*about, dict(self.__dict__))

    __reduce_ex__ = cast(Any, lambda self, protocol: self.__reduce__())

    # --- functions
    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        owner = getattr(func, "__self__", None)
        name = getattr(owner if isinstance(owner, rv._core.PublicAttribute) else func, "__name__", "")
        tensors = [*_tensors((*args, *kwargs.values()))]
        if name in _UNKNOWN or (name == "__getitem__" and any(_is_mask(key) for key in tensors[1:])):
            raise NotImplementedError(f"{name}: what it gives depends on values, which meta tensors lack")
        if _refusal(func, name, tensors):
            return tensors[0]
        before = rv._core._dispatch_state(1, None, None)[0]
        try:
            if name in _SAVED:
                result = _of_ones(tensors, func, args, kwargs)
            else:
                result = func(*args, **kwargs)
        except (ValueError, ArithmeticError):  # perhaps since all values are 0
            result = _of_ones(tensors, func, args, kwargs)
        finally:
            rv._core._dispatch_state(before, None, None)
            in_place = name[-1:] == "_" or name in ("__set__", "__setitem__")
            if in_place and hasattr(mmap, "MADV_DONTNEED"):  # the system gets what was written in the region
                _region()[0].madvise(mmap.MADV_DONTNEED)
        if kwargs.get("device") is not None:
            return result
        return _all_meta(result, tensors)


# Functions whose result, or its shape, depends on values; they are refused.
_VALUES = """
    allclose argwhere bincount equal is_nonzero masked_select nonzero unique unique_consecutive
"""
# Functions in place that change only values, so they do nothing for a meta tensor.
_FILLS = """
    bernoulli_ cauchy_ constant_ copy_ dirac_ exponential_ eye_ fill_ geometric_ kaiming_normal_
    kaiming_uniform_ log_normal_ normal_ ones_ orthogonal_ random_ sparse_ trunc_normal_ uniform_
    xavier_normal_ xavier_uniform_ zero_ zeros_
"""
# Functions that take tensors of different devices.
_MIXES = "copy_ to type_as __getitem__ __setitem__ data grad is_same_size index_put_"
# Functions whose gradients need inverses of what they save; zeros have none, so `_of_ones` computes them.
_SAVE = "cholesky linalg_cholesky logdet lu linalg_lu linalg_lu_factor qr linalg_qr slogdet linalg_slogdet"
Meta.__name__ = Meta.__qualname__ = "Tensor"
_UNKNOWN, _IDLE, _MIXED, _SAVED = (frozenset(s.split()) for s in (_VALUES, _FILLS, _MIXES, _SAVE))


def _tensors(values: Any, depth: int = 2) -> Iterator[Any]:
    for x in values:
        if isinstance(x, rv.Tensor):
            yield x
        elif depth and isinstance(x, (tuple, list)):
            yield from _tensors(x, depth - 1)


def _of_ones(tensors: list[Any], func: Any, args: Any, kwargs: Any) -> Any:
    """The result of a function on values other than 0: identity matrices, ones in vectors and integers."""
    kept = [(x, x._array) for x in tensors if x.is_meta and x._array.dtype.kind in "fiu"]
    try:
        for x, array in kept:
            if array.ndim > 1 and array.dtype.kind == "f":
                one = np.eye(*array.shape[-2:])
            else:
                one = np.ones(())
            x._array = np.broadcast_to(one, array.shape).astype(array.dtype, "C")
        return func(*args, **kwargs)
    finally:
        for x, array in kept:
            x._array = array


def _is_mask(key: Any) -> bool:
    return key.is_meta and key._array.dtype == np.bool_


def _refusal(func: Any, name: str, tensors: list[Any]) -> bool:
    """Raises an error for tensors on different devices; returns True if there is nothing to compute."""
    first: Any = tensors[0]
    if name not in _MIXED:
        first = next(x for x in tensors if x.is_meta or x._array.ndim)
    others = [x for x in tensors if x.is_meta != first.is_meta and (x.is_meta or x._array.ndim)]
    if name in ("copy_", "__setitem__", "index_put_") and not first.is_meta and tensors[-1].is_meta:
        raise NotImplementedError(_NO_DATA)
    if name in ("data", "grad") and others and func.__name__ == "__set__":
        if name == "data":
            kind = "incompatible tensor type"
        else:
            kind = "another device"
        raise RuntimeError(f"[{name}] got a tensor of {kind}: {others[0].device}; expected {first.device}")
    if others and name not in _MIXED:
        raise RuntimeError(
            f"[{name}] Tensor on device {others[0].device} is not on the expected device {first.device}!"
        )
    if name not in _IDLE:
        return False
    if name == "copy_":
        np.broadcast_to(tensors[1]._array, first._array.shape)
    learns = (first.is_leaf and first._requires_grad) or any(x._requires_grad for x in tensors[1:])
    return not (learns and rv.is_grad_enabled() and isinstance(func, rv._core.PublicMethod))


def _all_meta(result: Any, given: list[Any]) -> Any:
    """A result whose tensors are made meta tensors, except those that the function was given."""
    if isinstance(result, rv.Tensor):
        if any(result is x for x in given):
            return result
        return _meta(result)
    if isinstance(result, Complex):
        _all_meta(result._pair, given)
    if isinstance(result, (tuple, list)) and type(result) is not rv.Size:
        return getattr(type(result), "_make", type(result))([_all_meta(x, given) for x in result])
    return result
