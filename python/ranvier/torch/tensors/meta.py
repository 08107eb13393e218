"""Tensors of the device "meta", which have a shape, strides and a dtype but no values; and meta Parameters.

Their arrays all lie in one region of addresses that reads as zeros and takes no memory. A function of meta
tensors is computed as usual, on these zeros, and its results become meta tensors. So shapes, dtypes, views
and gradients are those of ordinary tensors.

A function of torch asks the class of its arguments before it computes (`__torch_function__`); `Meta` is the
class that answers. `ranvier/tensors/devices.py` loads this file when a program names the device "meta".
"""

from __future__ import annotations

import builtins
import mmap
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, cast

import numpy as np

import ranvier as rv
from ranvier import Tensor
from ranvier.autograd import wrap
from ranvier.ops.making.convert import parsed_to
from ranvier.tensors.deepcopy_pickle import rebuild
from ranvier.tensors.memory import Array
from ranvier.tensors.storage import TypedStorage, UntypedStorage
from ranvier.tensors.types import DeviceLike, DtypeLike, Shape
from ranvier.torch.tensors.pairs import Complex
from ranvier.torch.torch_function.activation import activate
from ranvier.torch.torch_function.dispatch import BINDS

META = rv.device("meta")
_NO_DATA = "Cannot copy out of meta tensor; no data!"


class _Region(NamedTuple):
    """The addresses of meta tensors: a mapping of zeros without memory, its first address, its bytes."""

    mapping: mmap.mmap
    first: int
    size: int


@cache
def _region() -> _Region:
    """The region, made at its first use, when functions begin to ask their arguments' classes."""
    activate()
    _attach_layers()
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    for bits in range(42, 20, -2):  # 4 TiB, or as much as the process may map, down to 4 MiB
        try:
            mapping = mmap.mmap(-1, 2**bits, flags=flags)
        except (OSError, ValueError, OverflowError):  # a limit of the process
            continue
        first = np.frombuffer(mapping, np.uint8).ctypes.data
        return _Region(mapping, first, 2**bits)
    raise MemoryError("[meta] got no address space for tensors without memory")


def _attach_layers() -> None:
    """Makes `forward` of each layer ask its inputs' classes, as some layers call functions that do not.

    It comes after `activate`, which has loaded all modules of `ranvier.nn`.
    """
    for name, module in [*sys.modules.items()]:
        # containers only call other layers, which ask
        if not name.startswith("ranvier.nn.") or name == "ranvier.nn.container":
            continue
        for cls in _classes_of(module):
            forward = vars(cls).get("forward")
            if isinstance(forward, FunctionType):
                cls.forward = rv._core._public(
                    rv._core.PublicMethod, forward, None, name, f"{cls.__name__}.forward", "forward", BINDS
                )


def _classes_of(module: ModuleType) -> list[Any]:
    """The classes that a module defines."""
    values = [*vars(module).values()]
    return [x for x in values if isinstance(x, type) and x.__module__ == module.__name__]


def without_memory(
    shape: Shape, dtype: DtypeLike, strides: tuple[int, ...] | None = None, offset: int = 0
) -> Array:
    """An array of this shape in the region.

    strides: in bytes; None: those of an array in C order.
    offset: the bytes before its first element.

    An array that is larger than the region has strides of 0 instead.
    """
    dtype = np.dtype(dtype)
    region = _region()
    if strides is None:
        strides = _strides_in_order(shape, dtype.itemsize)
    last = sum(max(n - 1, 0) * step for n, step in zip(shape, strides, strict=True))
    end = offset + last + dtype.itemsize
    if end > region.size or min(strides, default=0) < 0:
        strides = (0,) * len(shape)
        offset = 0
    if not offset:
        return np.ndarray(shape, dtype, region.mapping, 0, strides)
    memory: Array = np.ndarray(end, np.uint8, region.mapping)  # `storage_offset` finds it
    return np.ndarray(shape, dtype, memory, offset, strides)


def _strides_in_order(shape: Shape, itemsize: int) -> tuple[int, ...]:
    """The strides in bytes of an array in C order, as NumPy has them: sizes of 0 count as 1."""
    strides: list[int] = []
    step = itemsize
    for n in reversed(shape):
        strides.insert(0, step)
        step *= max(n, 1)
    return tuple(strides)


def _in_region(array: Array) -> Array:
    """The array itself, if it lies in the region, else one like it that does."""
    region = _region()
    if region.first <= array.ctypes.data < region.first + region.size:
        return array
    return without_memory(array.shape, array.dtype, array.strides)


def meta(values: Array | Tensor) -> Any:
    """A meta tensor like an array, or a tensor that was just made, which becomes one."""
    if isinstance(values, np.ndarray):
        return _become_meta(wrap(values))
    return _become_meta(values)


def rebuilt(
    kind: type[Tensor],
    shape: Shape,
    strides: tuple[int, ...],
    dtype: DtypeLike,
    requires_grad: bool,
    attributes: dict[str, Any] | None = None,
    offset: int = 0,
) -> Any:
    """A meta tensor of a class, as pickles and files make it.

    strides, offset: in bytes; offset: those before its first element.
    """
    out = rebuild(class_of(cast(Any, kind)), without_memory(shape, dtype, strides, offset), requires_grad)
    out.__dict__.update(attributes or {})
    return out


def _become_meta(x: Any) -> Any:
    """A tensor that a function has made becomes a meta tensor, and is returned."""
    if not x.is_meta:
        x._array = _in_region(x._array)
        x.__class__ = class_of(x.__class__)
    return x


@cache
def class_of(kind: Any) -> Any:
    """The class of meta tensors that derives from Meta and from `kind` (Parameter, or a program's class)."""
    if kind is rv.Tensor:
        return Meta
    if issubclass(kind, Meta):
        return kind
    body = {"__slots__": (), "__doc__": kind.__doc__, "_kind": kind, "__module__": kind.__module__}
    made: Any = type(kind)(kind.__name__, (Meta, kind), body)
    made.__qualname__ = kind.__qualname__
    return made


def _refuse(error: type[Exception], text: str) -> Any:
    """A method that raises an error."""

    def method(self: Tensor, *args: Any, **settings: Any) -> Any:
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
    """A tensor without values.

    _kind: the class that programs see, Tensor or Parameter; files name it. _class, _of_array: for code that
    has a meta tensor and makes another, from a class (`nn/parameter.py`) or an array (`tape/context.py`).
    """

    __slots__ = ()
    _kind: Any = rv.Tensor
    is_meta = True
    is_cpu = False
    device = META
    _class = staticmethod(class_of)
    _of_array = staticmethod(meta)

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

    def type(self, dtype: DtypeLike | None = None, *args: Any, **settings: Any) -> Any:
        if dtype is None:
            return rv.empty(0, dtype=self.dtype, device="cpu").type().replace("torch.", "torch.meta.")
        return super().type(dtype, *args, **settings)  # type: ignore[misc]

    def untyped_storage(self) -> Any:
        size = 0
        if self.numel():
            last = sum((n - 1) * step for n, step in zip(self.shape, self.stride(), strict=True))
            size = (last + 1) * self.itemsize
        return NoStorage(without_memory((size,), np.uint8))

    def storage(self) -> Any:
        return TypedStorage(self.untyped_storage(), self.dtype)

    _typed_storage = storage

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)

    # --- copies
    def to(
        self,
        *args: Any,
        dtype: DtypeLike | None = None,
        device: DeviceLike | None = None,
        copy: bool = False,
        **settings: Any,
    ) -> Any:
        dtype, device, copy = parsed_to((*args, settings.pop("other", None)), dtype, device, copy)
        if device is not None and rv.device(device).type == "cpu":
            raise NotImplementedError(_NO_DATA)
        if dtype is None:
            dtype = self.dtype
        return super().to(dtype=dtype, copy=copy, **settings)

    def __deepcopy__(self, memo: dict[int, Any], with_grad: bool = False) -> Any:
        if self.grad_fn is not None:
            raise RuntimeError("[deepcopy] only leaves can be deep-copied; detach() or clone() the tensor")
        out = self.__copy__()
        memo[id(self)] = out
        return out

    def __copy__(self) -> Any:
        function, args = self.__reduce__()
        return function(*args)

    def __reduce__(self) -> Any:
        array = self._array
        attributes = dict(self.__dict__)
        return rebuilt, (
            self._kind, array.shape, array.strides, array.dtype, self._requires_grad, attributes,
        )  # fmt: skip

    def _reduce_ex(self, protocol: object) -> Any:
        return self.__reduce__()

    __reduce_ex__ = cast(Any, _reduce_ex)

    # --- functions
    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[builtins.type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = _name_of(func)
        tensors = [*_tensors_in((*args, *kwargs.values()))]
        if name in _NEEDS_VALUES or (name == "__getitem__" and any(map(_is_mask, tensors[1:]))):
            raise NotImplementedError(f"{name}: what it gives depends on values, which meta tensors lack")
        _require_one_device(func, name, tensors)
        if name in _CHANGES_VALUES and not _is_recorded(func, name, tensors):
            return tensors[0]
        before = rv._core._dispatch_state(1, None, None)[0]  # 1: functions within do not ask classes
        try:
            if name in _NEEDS_INVERSE:
                result = _call_with_ones(tensors, func, args, kwargs)
            else:
                result = func(*args, **kwargs)
        except (ValueError, ArithmeticError):  # perhaps since all values are 0
            result = _call_with_ones(tensors, func, args, kwargs)
        finally:
            rv._core._dispatch_state(before, None, None)
            in_place = name.endswith("_")
            if in_place and hasattr(mmap, "MADV_DONTNEED"):  # the system gets what was written in the region
                _region().mapping.madvise(mmap.MADV_DONTNEED)
        if kwargs.get("device") is not None:
            return result  # it is on the device that was asked for
        return _all_meta(result, tensors)


Meta.__name__ = "Tensor"
Meta.__qualname__ = "Tensor"
# Functions whose result, or its shape, depends on values; they are refused.
_VALUE_NAMES = """
    allclose argwhere bincount equal is_nonzero masked_select nonzero unique unique_consecutive
"""
_NEEDS_VALUES = frozenset(_VALUE_NAMES.split())
# Functions in place that change only values, so they do nothing for a meta tensor.
_FILL_NAMES = """
    bernoulli_ cauchy_ constant_ copy_ dirac_ exponential_ eye_ fill_ geometric_ kaiming_normal_
    kaiming_uniform_ log_normal_ normal_ ones_ orthogonal_ random_ sparse_ trunc_normal_ uniform_
    xavier_normal_ xavier_uniform_ zero_ zeros_
"""
_CHANGES_VALUES = frozenset(_FILL_NAMES.split())
# Functions that take tensors of different devices.
_MIXED_NAMES = "copy_ to type_as __getitem__ __setitem__ data grad is_same_size index_put_"
_TAKES_DEVICES = frozenset(_MIXED_NAMES.split())
# Functions whose gradients need inverses of what they save. Zeros have none, so `_call_with_ones` is used.
_INVERSE_NAMES = """
    cholesky linalg_cholesky logdet lu linalg_lu linalg_lu_factor qr linalg_qr slogdet linalg_slogdet
"""
_NEEDS_INVERSE = frozenset(_INVERSE_NAMES.split())


def _name_of(func: Callable[..., Any]) -> str:
    """The name of a function, or of the attribute that it reads or sets."""
    owner = getattr(func, "__self__", None)
    named = owner if isinstance(owner, rv._core.PublicAttribute) else func
    return str(getattr(named, "__name__", ""))


def _tensors_in(values: Iterable[Any], depth: int = 2) -> Iterator[Any]:
    """The tensors among values, and in as many levels of lists and tuples: 2, where the core looks, too."""
    for x in values:
        if isinstance(x, rv.Tensor):
            yield x
        elif depth and isinstance(x, (tuple, list)):
            yield from _tensors_in(x, depth - 1)


def _call_with_ones(
    tensors: list[Any], func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The result of a function on values other than 0: identity matrices, ones in vectors and integers."""
    saved = [(x, x._array) for x in tensors if x.is_meta and x._array.dtype.kind in "fiu"]
    try:
        for x, array in saved:
            if array.ndim > 1 and array.dtype.kind == "f":
                one = np.eye(*array.shape[-2:])
            else:
                one = np.ones(())
            x._array = np.broadcast_to(one, array.shape).astype(array.dtype, "C")
        return func(*args, **kwargs)
    finally:
        for x, array in saved:
            x._array = array


def _is_mask(key: Any) -> bool:
    return key.is_meta and key._array.dtype == np.bool_


def _has_device(x: Any) -> bool:
    """False for a tensor that counts as a number, which functions take beside tensors of any device."""
    return x.is_meta or x._array.ndim > 0


def _require_one_device(func: Callable[..., Any], name: str, tensors: list[Any]) -> None:
    """Raises an error for tensors on different devices, as PyTorch does."""
    first = tensors[0]
    if name not in _TAKES_DEVICES:
        first = next(filter(_has_device, tensors))
    others = [x for x in tensors if x.is_meta != first.is_meta and _has_device(x)]
    if name in ("copy_", "__setitem__", "index_put_") and not first.is_meta and tensors[-1].is_meta:
        raise NotImplementedError(_NO_DATA)
    if not others:
        return
    device = others[0].device
    if name == "data" and func.__name__ == "__set__":
        raise RuntimeError(
            f"[data] got a tensor of incompatible tensor type: {device}; expected {first.device}"
        )
    if name == "grad" and func.__name__ == "__set__":
        raise RuntimeError(f"[grad] got a tensor of another device: {device}; expected {first.device}")
    if name not in _TAKES_DEVICES:
        raise RuntimeError(
            f"[{name}] Tensor on device {device} is not on the expected device {first.device}!"
        )


def _is_recorded(func: Callable[..., Any], name: str, tensors: list[Any]) -> bool:
    """Whether a function that changes values has to run, so that the tape has it or raises an error."""
    changed, *others = tensors
    if name not in _TAKES_DEVICES:
        changed = next(filter(_has_device, tensors))
    if name == "copy_":
        np.broadcast_to(others[0]._array, changed._array.shape)  # raises an error for another shape
    has_gradient = (changed.is_leaf and changed._requires_grad) or any(x._requires_grad for x in others)
    # functions of nn.init, which are no methods, change values without gradients
    return has_gradient and rv.is_grad_enabled() and isinstance(func, rv._core.PublicMethod)


def _all_meta(result: Any, arguments: list[Any]) -> Any:
    """A result whose tensors are made meta tensors, except those that are arguments of the function."""
    if isinstance(result, rv.Tensor):
        if any(result is x for x in arguments):
            return result
        return _become_meta(result)
    if isinstance(result, Complex):
        _all_meta(result._pair, arguments)
    if isinstance(result, (tuple, list)) and type(result) is not rv.Size:
        made = [_all_meta(x, arguments) for x in result]
        make = getattr(type(result), "_make", type(result))  # of a NamedTuple
        return make(made)
    return result
