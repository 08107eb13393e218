"""Casts and copies of a Tensor: ``to``, ``float``, ``long``, ``clone`` ..."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ranvier.observe import refuse
from ranvier.tape.copy_functions import Cast, Clone
from ranvier.tape.function import by_kernel
from ranvier.tensors.data import TENSOR_TYPES, as_dtype, refuse_torch, sized_or_copied
from ranvier.tensors.deepcopy_pickle import memory_of, place_in_memory
from ranvier.tensors.devices import CPU, is_meta, on_device, require_cpu
from ranvier.tensors.dtypes import default, dtype as DType
from ranvier.tensors.errors import own_error, truth
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import CopyOfBytes, bools, cast, is_batched, read_only, require_numbers
from ranvier.tensors.storage import TypedStorage, UntypedStorage
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import DeviceLike, DtypeLike
from ranvier.tensors.views import share


def to(
    x: Tensor,
    *args: Any,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: str | None = None,
) -> Tensor:
    """The tensor in another dtype, or on another device. Casts between floats are differentiable.

    Accepts ``to(dtype)``, ``to("cpu")``, ``to("cpu", dtype)``, ``to(other_tensor)``, each followed by
    non_blocking, which has no effect, and copy, and all as keywords. memory_format: see :func:`contiguous`.
    Raises ValueError for another device, TypeError for more arguments.

    >>> import ranvier as rv
    >>> rv.tensor([1.7, -1.7]).to(rv.int64)
    tensor([ 1, -1])
    """
    if len(args) == 1 and dtype is device is memory_format is None and copy is False:
        like = args[0]
        if type(like) is DType or isinstance(like, np.dtype):
            return to_dtype("to", x, like)
        if like is CPU or (type(like) is str and like == "cpu"):
            return x
        if type(like) is Tensor:
            if like._array.dtype is x._array.dtype:
                return x
            return to_dtype("to", x, like._array.dtype)
    dtype, device, copy = parsed_to(args, dtype, device, copy)
    y = to_dtype("to", x, dtype, memory_format)
    if device is not None and device != "cpu":
        return _to(x, y, device, copy)
    if copy and y is x:
        return clone(y)
    return y


@own_error
def _to(x: Tensor, y: Tensor, device: DeviceLike | None, copy: bool) -> Tensor:
    """y, which is x in its new dtype, on a device."""
    if is_meta(device):
        return on_device(y._array, device)
    require_cpu(device)
    if copy and y is x:
        return clone(y)
    return y


def parsed_to(
    args: tuple[Any, ...], dtype: DtypeLike | None, device: DeviceLike | None, copy: bool
) -> tuple[Any, Any, bool]:
    """(dtype, device, copy) of the arguments of ``to``."""
    flags = [arg for arg in args if isinstance(arg, bool)]
    if len(flags) > 2:
        raise TypeError(f"[to] got {args}; expected a dtype, a device, non_blocking and copy")
    for arg in args:
        if type(arg) is DType:
            dtype = arg
        elif hasattr(arg, "_array"):
            dtype = arg._array.dtype
            device = arg.device
        elif isinstance(arg, str) and arg.partition(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta"):
            device = arg
        elif arg is not None and not isinstance(arg, bool):
            dtype = arg
    if type(copy) is not bool:
        copy = truth("to", "copy", copy)
    if len(flags) == 2:
        copy = flags[1]
    return dtype, device, copy


def to_dtype(name: str, x: Tensor, dtype: DtypeLike | None, memory_format: str | None = None) -> Tensor:
    """x in this dtype. name: of the op that was called with the dtype, for errors."""
    try:
        wanted = x._array.dtype if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):
        refuse_torch(name, "a dtype", dtype)
        raise DtypeError(
            f"[{name}] got {dtype!r}; expected a dtype that NumPy has, a device or a Tensor"
        ) from None
    if not wanted.isnative:
        wanted = wanted.newbyteorder("=")
    if wanted.kind not in "biuf":
        if wanted.kind == "c" and hasattr(x, "cfloat"):  # a satellite has added complex numbers
            if wanted.itemsize == 8:
                return x.cfloat()
            return x.cdouble()
        require_numbers(name, wanted)
    y = x
    if wanted != x._array.dtype:
        y = _converted(x, wanted)
    if memory_format is None:
        return y
    return _laid_out(name, y, memory_format)


@by_kernel(cast, Cast)
def _converted(x: Tensor, wanted: np.dtype[Any]) -> Tensor:
    return Cast(wanted).apply(x)


def _laid_out(name: str, x: Tensor, memory_format: str) -> Tensor:
    """The tensor in a memory format: itself if it has that format."""
    array = x._array
    if memory_format == "preserve_format":
        return x
    if memory_format == "contiguous_format":
        if array.flags.c_contiguous:
            return x
        return Clone("C").apply(x)
    if memory_format == "channels_last_3d" and array.ndim == 5:
        last: Tensor = x.movedim(1, -1)
        if last.is_contiguous():
            return x
        return Clone("C").apply(last).movedim(-1, 1)
    if memory_format != "channels_last" or array.ndim != 4:
        raise OpError(
            f"[{name}] got memory_format {memory_format!r} for {array.ndim} dimensions; expected "
            "contiguous_format, preserve_format, or channels_last for 4 dimensions, channels_last_3d for 5"
        )
    if array.transpose(0, 2, 3, 1).flags.c_contiguous:
        return x
    return Clone("channels_last").apply(x)


@partial(own_error, name="view")
def reinterpreted(x: Tensor, dtype: DtypeLike | None) -> Tensor:
    """The memory of x read as another dtype, without a gradient; a copy if bytes other than 0 and 1 become
    bools.

    >>> import ranvier as rv
    >>> reinterpreted(rv.tensor([1.0]), rv.int32)
    tensor([1065353216], dtype=torch.int32)
    """
    dtype = np.dtype(dtype)
    if dtype == x._array.dtype:
        return x.detach()
    require_numbers("view", dtype)
    refuse("Tensor.view(dtype) reads the memory as another dtype", "use Tensor.to(dtype), which casts")
    try:
        array = x._array.view(np.uint8 if dtype.kind == "b" else dtype)
        out = wrap(bools(array) if dtype.kind == "b" else array)
    except ValueError as error:
        raise OpError(
            f"[view] got {dtype} for x of {x._array.dtype} and shape {x._array.shape}; expected a dtype that "
            f"its memory can be read as: {error}"
        ) from None
    if np.may_share_memory(x._array, out._array):
        share(x, out)
    else:
        out._array = read_only(out._array, CopyOfBytes)
    return out


def clone(input: Tensor, *, memory_format: str | None = None) -> Tensor:
    """A copy in its own memory, on the tape; memory_format: see :func:`contiguous`.

    >>> import ranvier as rv
    >>> x = rv.ones(2)
    >>> rv.clone(x).zero_(), x
    (tensor([0., 0.]), tensor([1., 1.]))
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"[clone] got {type(input).__name__}; expected a Tensor")
    if memory_format is None:
        y = input
    else:
        y = _laid_out("clone", input, memory_format)
    if y is input:
        return Clone().apply(input)
    return y


def contiguous(x: Tensor, memory_format: str | None = None) -> Tensor:
    """The tensor in C order: itself if it is in that order.

    memory_format: ``ranvier.channels_last`` for images (N, C, H, W) whose channels are side by side in
    memory, ``channels_last_3d`` for volumes (N, C, D, H, W), ``contiguous_format`` for C order,
    ``preserve_format`` for the order that it has. Raises ValueError for another, and for other numbers of
    dimensions than 4 and 5.
    """
    if memory_format is None and x._array.flags.c_contiguous:
        return x
    return _laid_out("contiguous", x, memory_format or "contiguous_format")


def cast_to(name: str, dtype: DtypeLike) -> Callable[..., Tensor]:
    """Makes the method of Tensor that casts to a dtype, such as ``x.float()``."""
    kind = np.dtype(dtype)

    def method(x: Tensor, memory_format: str | None = None) -> Tensor:
        if memory_format is None and x._array.dtype is kind:
            return x
        return to_dtype(name, x, kind, memory_format)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The tensor in {np.dtype(dtype)}; memory_format: see :func:`contiguous`."
    return method


def cpu(x: Tensor) -> Tensor:
    """The tensor itself."""
    return x


def new(x: Tensor, *data: Any) -> Tensor:
    """A tensor in the same dtype: of the data, on the memory of a storage, or of zeros: ``x.new(2, 3)``."""
    if len(data) == 1 and isinstance(data[0], (TypedStorage, UntypedStorage)):
        return wrap(data[0]._array.view(x._array.dtype))
    return wrap(sized_or_copied("new", data, x._array.dtype))


def storage_offset(x: Tensor) -> int:
    """How many elements of the memory, from the beginning of the array that owns it, are before the first
    element. Within vmap: of the first slice."""
    if is_batched(x._array):
        return storage_offset(x._array.value)  # type: ignore[attr-defined]
    return place_in_memory(x._read("storage_offset()"))[1] // x._array.itemsize


def untyped_storage(x: Tensor) -> UntypedStorage:
    """All of the memory of which the tensor is a part, as an :class:`UntypedStorage`."""
    array = x._read("untyped_storage()")
    x._cell.unwatched = True  # whoever has the bytes may write to them
    return UntypedStorage(memory_of(array).array)


def storage(x: Tensor) -> TypedStorage:
    """All of the memory of which the tensor is a part, as elements of its dtype."""
    return TypedStorage(x.untyped_storage(), x.dtype)


def type_as(x: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of the other."""
    if not hasattr(other, "dtype"):
        raise TypeError(f"[type_as] got {type(other).__name__}; expected a Tensor")
    return to_dtype("type_as", x, other.dtype)


def type_(x: Tensor, dtype: DtypeLike | None = None, non_blocking: bool = False) -> Any:
    """The type's name, "torch.FloatTensor", or the tensor in that dtype: a dtype, a class such as
    ranvier.FloatTensor, the name of one, or Tensor, which is the default dtype."""
    if type(dtype) is DType:
        return to_dtype("type", x, dtype)
    if dtype is not None:
        return _type(x, dtype)
    names = (f"torch.{name}Tensor" for name, own in TENSOR_TYPES.items() if x._array.dtype == own)
    return next(names, str(x._array.dtype))


@own_error
def _type(x: Tensor, dtype: DtypeLike | None, non_blocking: bool = False) -> Tensor:
    return to_dtype("type", x, default.dtype if dtype is Tensor else as_dtype("type", dtype))


def cuda(x: Tensor, *args: Any, **settings: Any) -> Tensor:
    """Raises RuntimeError: this library computes on the CPU."""
    raise RuntimeError(
        "[cuda] expected .cpu(), or cuda.is_available() before: this library computes on the CPU"
    )


def pin_memory(x: Tensor, device: DeviceLike | None = None) -> Tensor:
    """The tensor itself: the memory of the CPU needs no pinning."""
    return x
