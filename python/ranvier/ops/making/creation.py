"""Functions that make Tensors: from data (tensor, as_tensor, from_numpy), filled with a value (zeros, full,
eye ...), and ranges (arange, linspace). Names and dtypes are PyTorch's. None of them has a gradient.

They run often, so each has a short way for the usual call: a result on the CPU without requires_grad. Such a
call skips `_finish`. `contexts` (tensors/devices.py) has all devices that threads have chosen: if it is
empty, new Tensors are on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import observers
from ranvier.tape.inplace import written
from ranvier.tensors.data import (
    TENSOR_TYPES,
    Size as Size,
    array_of,
    given,
    layout,
    memory_format,
    new_array,
    shape_of,
    sized_or_copied,
)
from ranvier.tensors.devices import CPU, contexts, filled_on, get_default_device, on_device
from ranvier.tensors.dtypes import default
from ranvier.tensors.errors import count, flag, named, renamed
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import (
    fill_number,
    filled,
    filled_like,
    literal,
    native,
    native_in_place,
    number_in,
    require_numbers,
)
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Array, ArrayLike, DeviceLike, DtypeLike, Shape, ShapeLike, TensorLike

strided = layout("strided")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")

_NAMES = """
    BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor
    ShortTensor Size arange as_tensor asarray channels_last channels_last_3d contiguous_format empty
    empty_like eye from_numpy full full_like layout linspace memory_format ones ones_like preserve_format
    strided tensor zeros zeros_like
"""
__all__ = _NAMES.split()

_I64 = np.dtype(np.int64)
# Settings of PyTorch that have no effect here, with the values that are allowed; the last one is advised.
_HARMLESS = {"layout": (None, "strided"), "pin_memory": (False, None)}


def _check_settings(settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if name not in _HARMLESS and name != "memory_format":
            raise TypeError(f"[tensor] got an unexpected keyword {name!r}; expected dtype, device ...")
        if name == "memory_format" or (name == "pin_memory" and value is True):
            continue
        if value not in _HARMLESS[name]:
            raise OpError(f"[tensor] got {name} {value!r}; expected {_HARMLESS[name][1]!r}")


# dtypes in the machine's byte order, which need no check
_USUAL = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64))


def _finish(
    array: Array,
    requires_grad: bool,
    device: DeviceLike | None = None,
    settings: dict[str, Any] | None = None,
) -> Tensor:
    """The Tensor of a new array on a device. settings: memory_format, as of `Tensor.contiguous`; PyTorch's
    layout and pin_memory, which are checked and have no effect here."""
    if settings:
        _check_settings(settings)
    if contexts or (device is not None and device != "cpu"):
        out = on_device(array, device)
    else:
        out = wrap(array)
    if settings and settings.get("memory_format") is not None:
        out = out.contiguous(memory_format=settings["memory_format"])
    if requires_grad:
        return out.requires_grad_(flag("tensor", "requires_grad", requires_grad))
    return out


def tensor(
    data: ArrayLike,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """A new Tensor with a copy of the data; Python floats become float32, ints int64; arrays keep their
    dtype.

    Raises ValueError for ragged lists, RuntimeError for requires_grad with a dtype that is not floating.

    >>> import ranvier as rv
    >>> rv.tensor([1, 2]), rv.tensor([1.5]).dtype
    (tensor([1, 2]), torch.float32)
    """
    try:
        on_cpu = device is None and not contexts
        if on_cpu and type(data) is not list and isinstance(data, Tensor):
            device = data.device
            on_cpu = False
        array = new_array("tensor", data, dtype)
        if array.dtype not in _USUAL:
            require_numbers("tensor", array.dtype)
            array = native(array)
        if on_cpu and not (requires_grad or settings):
            return wrap(array)
        return _finish(array, requires_grad, device, settings)
    except Exception as error:
        raise renamed(error, "tensor", tensor, (data,), {"dtype": dtype, "device": device}) from None


def as_tensor(data: ArrayLike, dtype: DtypeLike | None = None, device: DeviceLike | None = None) -> Tensor:
    """The data as a Tensor, sharing memory where it can; a Tensor is returned as it is.

    >>> import numpy as np, ranvier as rv
    >>> rv.as_tensor(np.ones(2))
    tensor([1., 1.], dtype=torch.float64)
    """
    try:
        if contexts and device is None:
            device = get_default_device()
        if isinstance(data, Tensor):
            if dtype is device is None:
                return data
            return data.to(dtype=dtype, device=device)
        if observers:
            given(data)
        if dtype is None and device is None:
            out = _core._on_memory(data)
            if out is not None:
                return out
        if type(data) is np.ndarray and data.dtype.char == "?" and dtype in (None, np.bool_):
            data = native_in_place(data)
        array = new_array("as_tensor", data, dtype, copied=False)
        require_numbers("tensor", array.dtype)
        out = _finish(native(array), requires_grad=False, device=device)
        out._cell.unwatched = True
        return out
    except Exception as error:
        raise renamed(error, "as_tensor", as_tensor, (data,), {"dtype": dtype, "device": device}) from None


def asarray(
    obj: ArrayLike,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """:func:`as_tensor`; with copy=True always in memory of its own, with copy=False never (ValueError).

    >>> import ranvier as rv
    >>> rv.asarray([1.0, 2.0])
    tensor([1., 2.])
    """
    out = as_tensor(obj, dtype, device)
    if hasattr(obj, "dtype"):
        shares = np.may_share_memory(out._array, getattr(obj, "_array", obj))
    else:
        shares = False
    if copy is False and not shares:
        raise OpError("[asarray] got copy=False for data that has to be copied; expected copy=None")
    if copy and shares:
        out = out.detach().clone()
    if requires_grad:
        return out.requires_grad_(flag("tensor", "requires_grad", requires_grad))
    return out


def from_numpy(array: Array) -> Tensor:
    """A Tensor on the memory of a NumPy array: a change of one is a change of both.

    Raises TypeError for what is no array and for one in the other byte order, which the core does not read;
    ValueError for a view of more than 2**40 elements.

    >>> import numpy as np, ranvier as rv
    >>> rv.from_numpy(np.arange(3))
    tensor([0, 1, 2])
    """
    if observers:
        given(array)
    on_memory = _core._on_memory(array)  # None for what has to be checked or converted first
    if on_memory is not None:
        return on_memory
    if not isinstance(array, np.ndarray):
        raise TypeError(f"[from_numpy] got {type(array).__name__}; expected a NumPy array")
    try:
        out = as_tensor(array, device=CPU)
    except Exception as error:
        raise renamed(error, "from_numpy", from_numpy, (array,)) from None
    if out._array is not array and not array.dtype.isnative:
        raise DtypeError(
            f"[from_numpy] got an array of dtype {array.dtype.str}; expected this machine's byte order: "
            "use tensor(array), which copies it"
        )
    return out


class _TensorType(type):
    """A class such as FloatTensor: a call makes a Tensor; its instances are all Tensors of its dtype."""

    dtype: np.dtype[Any]

    def __call__(cls, *data: Any) -> Any:
        out = wrap(sized_or_copied(cls.__name__, data, cls.dtype, shared=True))
        if data and out._array is data[0]:
            out._cell.unwatched = True
        return out

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, Tensor) and x._array.dtype == cls.dtype


def _tensor_type(word: str) -> Any:
    """The class FloatTensor of the word Float."""
    name = f"{word}Tensor"
    dtype = np.dtype(TENSOR_TYPES[word])
    text = f"A Tensor of dtype {dtype}: of the data, or for ``{name}(2, 3)`` of zeros in that shape."
    return _TensorType(name, (), {"__doc__": text, "__module__": __name__, "dtype": dtype})


FloatTensor = _tensor_type("Float")
DoubleTensor = _tensor_type("Double")
HalfTensor = _tensor_type("Half")
BFloat16Tensor = _tensor_type("BFloat16")
ByteTensor = _tensor_type("Byte")
CharTensor = _tensor_type("Char")
ShortTensor = _tensor_type("Short")
IntTensor = _tensor_type("Int")
LongTensor = _tensor_type("Long")
BoolTensor = _tensor_type("Bool")


def _size(size: tuple[Any, ...], settings: dict[str, Any]) -> Shape:
    """The shape of ``zeros(2, 3)``, ``zeros((2, 3))`` or ``zeros(size=(2, 3))``."""
    if settings and not size and "size" in settings:
        size = (settings.pop("size"),)
    return shape_of(size, "tensor")


def _is_on_cpu(device: DeviceLike | None) -> bool:
    """True if a new Tensor is on the CPU. device: as the caller gave it."""
    if device is None:
        return not contexts
    return device == "cpu"


def _sized(name: str, value: int | None, about: str) -> Callable[..., Tensor]:
    """A function such as zeros: a new tensor of a size, filled with one value, or with None as memory is."""

    def op(
        *size: Any,
        dtype: DtypeLike | None = None,
        device: DeviceLike | None = None,
        requires_grad: bool = False,
        **settings: Any,
    ) -> Tensor:
        try:
            shape = _size(size, settings)
            of_dtype = np.dtype(dtype or default.dtype)
            if device is None and not (contexts or requires_grad or settings):  # the usual call
                return wrap(filled(value, shape, of_dtype))
            if _is_on_cpu(device):
                array = filled(value, shape, of_dtype)
            else:
                array = filled_on(device, value, shape, of_dtype)
            return _finish(array, requires_grad, device, settings)
        except Exception as error:
            raise renamed(error, name, op, size, {"dtype": dtype, "device": device}) from None

    return named(op, name, about)


_ABOUT_ZEROS = """zeros(2, 3) or zeros((2, 3)): the default dtype unless dtype says otherwise.

    >>> import ranvier as rv
    >>> rv.zeros(2)
    tensor([0., 0.])
    """
zeros = _sized("zeros", 0, _ABOUT_ZEROS)
ones = _sized("ones", 1, "As :func:`zeros`, filled with 1.")
empty = _sized("empty", None, "As :func:`zeros`, without setting the values.")


def full(
    size: ShapeLike,
    fill_value: TensorLike,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """A Tensor filled with one number, in the dtype of this kind of Python's numbers unless dtype is given.

    Raises ValueError for a number that the dtype cannot hold, such as 1e300 in float32, or nan in int64.

    >>> import ranvier as rv
    >>> rv.full((2,), 7)
    tensor([7, 7])
    """
    shape = shape_of((size,), "tensor")
    value: Any = fill_value
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is float or type(value) is int or type(value) is bool:
        if dtype:
            of_dtype = np.dtype(dtype)
        elif type(value) is float:
            of_dtype = np.dtype(default.dtype)
        else:
            of_dtype = np.dtype(type(value))
        # Numbers that need no check: any dtype of floats holds those up to the largest of float16.
        fits_floats = of_dtype.kind == "f" and -65504 <= value <= 65504
        fits_int64 = of_dtype is _I64 and type(value) is int and -(2**63) <= value < 2**63
        if not (fits_floats or fits_int64):
            value = fill_number("full", value, of_dtype)
        if device is None and not (contexts or requires_grad or settings):  # the usual call
            return wrap(filled(value, shape, of_dtype))
        if _is_on_cpu(device):
            array = filled(value, shape, of_dtype)
        else:
            array = filled_on(device, value, shape, of_dtype)
    else:
        value = array_of("full", value)
        of_dtype = np.dtype(dtype or value.dtype)
        if value.ndim == 0 and of_dtype.kind in "iu":
            value = number_in("full", wrap(value).item(), of_dtype)
        array = host(np.full, shape, value, of_dtype)
    return _finish(array, requires_grad, device, settings)


def _like(name: str, value: int | None, about: str) -> Callable[..., Tensor]:
    """A function such as zeros_like. value: as of `filled`."""

    def op(
        input: TensorLike,
        *,
        dtype: DtypeLike | None = None,
        device: DeviceLike | None = None,
        requires_grad: bool = False,
        **settings: Any,
    ) -> Tensor:
        if type(input) is Tensor:
            like = input._array
        else:
            like = array_of(name, input)
        array = filled_like(value, like, dtype)
        if device is None and not (requires_grad or settings):
            return wrap(array)
        return _finish(array, requires_grad, device or CPU, settings)

    return named(op, name, f"{about} in the shape, dtype and layout of x.")


zeros_like = _like("zeros_like", 0, "Zeros")
ones_like = _like("ones_like", 1, "Ones")
empty_like = _like("empty_like", None, "Any numbers")


def full_like(
    input: TensorLike,
    fill_value: TensorLike,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """One number in the shape, dtype and layout of x. Its range and errors are as in :func:`full`."""
    array = array_of("full_like", input)
    of_dtype = array.dtype
    if dtype is not None:
        of_dtype = np.dtype(dtype)
    value = fill_number("full_like", fill_value, of_dtype)
    return _finish(filled_like(value, array, dtype), requires_grad, device or CPU, settings)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Ones on the diagonal of an (n, m) matrix of zeros; ValueError for a negative size.

    out: a Tensor of this shape that takes the values."""
    if out is not None:
        return written("eye", out, eye(n, m, dtype=dtype or out.dtype))
    if n < 0 or (m is not None and m < 0):
        raise OpError(f"[eye] got sizes {n} and {m}; expected numbers of at least 0")
    if m is None:
        m = n
    of_dtype = np.dtype(dtype or default.dtype)
    array = filled(0, (n, m), of_dtype)
    if observers:
        array = literal(np.eye(n, m, dtype=of_dtype))
    else:
        # In memory the elements of the diagonal are m + 1 apart; those after row min(n, m) are none.
        array.reshape(-1)[: m * min(n, m) : m + 1] = 1
    return _finish(array, requires_grad, device, settings)


def _python_number(x: TensorLike) -> Any:
    """A Tensor or NumPy number as Python's; others as they are."""
    if hasattr(x, "item"):
        return x.item()
    return x


def arange(
    start: TensorLike = 0,
    end: TensorLike | None = None,
    step: TensorLike = 1,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """start, start + step, ... below end; int64 if all are ints (or tensors of one), else the default dtype.

    With a dtype of integers start, end and step lose their fractions first. Raises ValueError for a step of 0
    or of the wrong sign.

    >>> import ranvier as rv
    >>> rv.arange(3), rv.arange(0, 1, 0.5)
    (tensor([0, 1, 2]), tensor([0.0000, 0.5000]))
    """
    first: Any = start
    last: Any = end
    stride: Any = step
    if end is None:
        first = 0
        last = start
    if not (type(first) is type(last) is type(stride) is int):
        first = _python_number(first)
        last = _python_number(last)
        stride = _python_number(stride)
    all_ints = isinstance(first, int) and isinstance(last, int) and isinstance(stride, int)
    if not dtype:
        dtype = np.int64 if all_ints else default.dtype
    of_dtype = np.dtype(dtype)
    if of_dtype.kind in "iu" and not all_ints:
        if of_dtype.char != "l" and stride:  # Except for int64, PyTorch counts with the fractions.
            last = int(first) + int(stride) * math.ceil((last - first) / stride)
        first = int(first)
        last = int(last)
        stride = int(stride)
    rises = stride > 0 and last >= first
    falls = stride < 0 and last <= first
    if not (rises or falls):
        raise OpError(f"[arange] got {first} to {last} in steps of {stride}; expected a step towards the end")
    try:
        if of_dtype.char in "fdl" and not observers:
            count = math.ceil((last - first) / stride)
            rounded_step = (first + stride) - first  # the step as NumPy has it
            values = _core._progression(first, rounded_step, count, of_dtype)
        else:
            require_numbers("arange", of_dtype)
            values = literal(np.arange(first, last, stride).astype(of_dtype))
    except (ValueError, OverflowError, MemoryError) as error:
        raise OpError(
            f"[arange] got {first} to {last} in steps of {stride}; expected fewer numbers"
        ) from error
    return _finish(values, requires_grad, device, settings)


def linspace(
    start: float | Tensor,
    end: float | Tensor,
    steps: int,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """``steps`` numbers from start to end, both included, in the default dtype unless dtype says otherwise.

    With a dtype of integers start and end lose their fractions first, then the numbers between them. Raises
    ValueError for steps < 0, and for limits that the dtype cannot hold.
    """
    of_dtype = np.dtype(dtype or default.dtype)
    require_numbers("linspace", of_dtype)
    steps = count("linspace", "steps", steps, 0)
    first = float(start)
    last = float(end)
    step = (last - first) / max(steps - 1, 1)
    step_is_exact = math.isfinite(step) and (step or first == last)  # a step may overflow, or round to 0
    if of_dtype.char in "fd" and step_is_exact and not observers:
        values = _core._progression(first, step, steps, of_dtype, last)
        return _finish(values, requires_grad, device, settings)
    if of_dtype.kind in "iu":  # counted from both ends, as in PyTorch
        first = float(number_in("linspace", first, of_dtype))
        last = float(number_in("linspace", last, of_dtype))
        places = np.arange(steps)
        # in long doubles, so that a value is rounded once
        exact = np.longdouble((last - first) / max(steps - 1, 1))
        from_first = first + exact * places
        from_last = last - exact * (steps - 1 - places)
        values = np.where(places < steps // 2, from_first, from_last).astype(np.float64)
    else:
        with np.errstate(invalid="ignore"):  # between infinite limits
            values = np.linspace(first, last, steps)
    if steps == 1:
        values = np.array([first])
    return _finish(literal(values.astype(of_dtype)), requires_grad, device, settings)
