"""What stands in the place of the library's functions while sizes are symbols (`symbols.py`).

Each function takes the trace, the original function, and the arguments of the original. It computes with the
numbers of the present run and records one call, whose settings and `dims` hold the sizes; or it is composed
of other public functions, which are recorded. NotImplemented: the original is called as it is.
"""

from __future__ import annotations

import math
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
import ranvier.onnx.dims as shapes
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dims, completed, count, is_fixed
from ranvier.onnx.sizes import Real, Size, greatest, number, smallest
from ranvier.onnx.symbols import OF_THE_LIBRARY, Original, from_library, handles, has_size
from ranvier.ops.neural.attention import seen_by

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace


def _listed(sizes: tuple[Any, ...], named: Any = None) -> tuple[Any, ...]:
    """The sizes in ``f(2, 3)``, ``f((2, 3))`` or ``f(size=(2, 3))``."""
    if named is not None:
        sizes = (named,)
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        return tuple(sizes[0])
    return sizes


def _axis(dim: int, ndim: int) -> int:
    return dim % max(ndim, 1)


def _is_dynamic(trace: Trace, x: Any) -> bool:
    return isinstance(x, Tensor) and not is_fixed(trace.dims(x))


# --- new tensors
def _made(
    trace: Trace, y: Any, kind: str, dims: Dims | None, operands: tuple[Any, ...] = (), **settings: Any
) -> Any:
    """y, recorded as the result of a call of this kind."""
    trace.made(kind, settings, operands, y, dims)
    return y


@handles("arange")
def _arange(trace: Trace, call: Original, start: Any = 0, end: Any = None, step: Any = 1, **how: Any) -> Any:
    if not has_size((start, end, step)):
        return NotImplemented
    y = call(start, end, step, **how)
    if end is None:
        end = start
        start = 0
    has_whole_step = isinstance(step, (int, Size))
    length = -((start - end) // step) if has_whole_step else None
    if length is None or isinstance(length, Real):  # fractions
        length = math.ceil((end - start) / step)
    return _made(trace, y, "Arange", (length,), start=start, step=step)


@handles("zeros", "ones", "empty")
def _sized(trace: Trace, call: Original, *size: Any, **how: Any) -> Any:
    dims = _listed(size, how.get("size"))
    if not has_size(dims):
        return NotImplemented
    value = 1 if call.name == "ones" else 0
    return _filled(trace, call(*size, **how), value, dims)


@handles("new_zeros", "new_ones", "new_empty")
def _new_sized(trace: Trace, call: Original, x: Any, *size: Any, **how: Any) -> Any:
    dims = _listed(size, how.get("size"))
    if not has_size(dims):
        return NotImplemented
    value = 1 if call.name == "new_ones" else 0
    return _filled(trace, call(x, *size, **how), value, dims)


@handles("full")
def _full(trace: Trace, call: Original, size: Any, fill_value: Any, **how: Any) -> Any:
    if not has_size((size, fill_value)):
        return NotImplemented
    dims = _listed((size,))
    return _filled(trace, call(size, fill_value, **how), fill_value, dims)


@handles("new_full")
def _new_full(trace: Trace, call: Original, x: Any, size: Any, fill_value: Any, **how: Any) -> Any:
    if not has_size((size, fill_value)):
        return NotImplemented
    return _filled(trace, call(x, size, fill_value, **how), fill_value, _listed((size,)))


@handles("zeros_like", "ones_like", "empty_like")
def _like(trace: Trace, call: Original, x: Any, **how: Any) -> Any:
    if not _is_dynamic(trace, x):
        return NotImplemented
    value = 1 if call.name == "ones_like" else 0
    return _filled(trace, call(x, **how), value, trace.dims(x))


@handles("full_like")
def _full_like(trace: Trace, call: Original, x: Any, fill_value: Any, **how: Any) -> Any:
    if not (_is_dynamic(trace, x) or has_size(fill_value)):
        return NotImplemented
    return _filled(trace, call(x, fill_value, **how), fill_value, trace.dims(x))


def _filled(trace: Trace, y: Tensor, value: Any, dims: Dims) -> Any:
    if isinstance(value, Tensor):
        return NotImplemented
    if type(value) is int and value == 0:  # the values of `empty` may be any: those of the file are zeros
        y._array[...] = 0
    return _made(trace, y, "Fill", dims, value=value)


@handles("eye")
def _eye(trace: Trace, call: Original, n: Any, m: Any = None, **how: Any) -> Any:
    if not has_size((n, m)):
        return NotImplemented
    return _made(trace, call(n, m, **how), "Eye", (n, n if m is None else m))


@handles("tensor", "as_tensor", "asarray")
def _tensor(trace: Trace, call: Original, data: Any, *args: Any, **how: Any) -> Any:
    if isinstance(data, np.ndarray) and data.dtype == object:
        data = data.tolist()
    if isinstance(data, (Size, Real)):
        return _made(trace, call(data, *args, **how), "SizeNumber", (), value=data)
    if not isinstance(data, (tuple, list)) or not has_size(data):
        return NotImplemented
    values = _numbers_of(data)
    if not all(isinstance(n, (int, float, Size, Real)) for n in values):
        return NotImplemented
    y = call(data, *args, **how)
    return _made(trace, y, "SizeVector", y._array.shape, values=values)


def _numbers_of(data: Any) -> tuple[Any, ...]:
    """The numbers in nested lists, in order."""
    if not isinstance(data, (tuple, list)):
        return (data,)
    return tuple(chain.from_iterable(map(_numbers_of, data)))


def as_number(trace: Trace, value: Any, dtype: Any) -> Tensor:
    """A size as a tensor of shape (), in int64; a number with a fraction in a dtype."""
    is_whole = not isinstance(value, Real)
    array = np.array(number(value), np.int64 if is_whole else dtype)
    y = call_on(trace, rv.as_tensor, array)
    return _made(trace, y, "SizeNumber", (), value=value)


_SCALARS = [
    "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__isub__", "__mul__", "__rmul__",
    "__imul__", "__truediv__", "__rtruediv__", "__itruediv__", "__floordiv__", "__rfloordiv__", "__mod__",
    "__rmod__", "__pow__", "__rpow__", "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "add",
    "add_", "sub", "sub_", "subtract", "mul", "mul_", "multiply", "div", "div_", "divide", "true_divide",
    "floor_divide", "remainder", "fmod", "pow", "maximum", "minimum", "lt", "le", "gt", "ge", "eq", "ne",
    "less", "less_equal", "greater", "greater_equal", "not_equal", "where", "clamp", "clip", "clamp_min",
    "clamp_max", "masked_fill", "bitwise_and", "bitwise_or", "lerp",
]  # fmt: skip


@handles(*_SCALARS)
def _with_number(trace: Trace, call: Original, *args: Any, **how: Any) -> Any:
    """An op on elements of which an operand is a size."""
    if not has_size((args, how)):
        return NotImplemented
    if has_size(how.get("alpha")) and len(args) == 2:
        factor = how.pop("alpha")
        x, other = args
        return call.function(x, other * factor, **how)
    tensors = [x for x in (*args, *how.values()) if isinstance(x, Tensor) and x._array.dtype != np.bool_]
    floats = [x._array.dtype for x in tensors if x._array.dtype.kind == "f"]
    dtype = floats[0] if floats else rv.get_default_dtype()

    def replaced(x: Any) -> Any:
        if isinstance(x, Size) and x.may_be_huge and floats:
            return as_number(trace, x * 1.0, dtype)
        if isinstance(x, (Size, Real)):
            return as_number(trace, x, dtype)
        return x

    if dtype == np.float16 and not _changes_its_operand(call.name):
        wide = [_in_float32(x) for x in args]
        wide_settings = {name: _in_float32(x) for name, x in how.items()}
        y = _with_number(trace, call, *wide, **wide_settings)
        if y.is_floating_point():
            return y.to(dtype)
        return y
    settings = {name: replaced(x) for name, x in how.items()}
    operands = [replaced(x) for x in args]
    if call.name in ("clamp", "clip"):
        return _clamped(operands, settings)
    return call.function(*operands, **settings)


def _changes_its_operand(name: str) -> bool:
    return name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))


def _in_float32(x: Any) -> Any:
    """A tensor of halves, which may not hold a size, in float32."""
    is_half = isinstance(x, Tensor) and x._array.dtype == np.float16
    if is_half:
        return x.to(np.float32)
    return x


def _clamped(operands: list[Any], settings: dict[str, Any]) -> Any:
    x, *limits = operands
    names = dict(zip(("min", "max"), limits, strict=False)) | settings
    for name, function in (("min", rv.maximum), ("max", rv.minimum)):
        limit = names.get(name)
        if limit is None:
            continue
        if not isinstance(limit, Tensor):
            limit = rv.tensor(limit)
        if x.is_floating_point():
            limit = limit.to(x.dtype)
        x = function(x, limit)
    return x


# --- shapes
@handles("reshape", "view")
def _reshape(trace: Trace, call: Original, x: Any, *sizes: Any, **how: Any) -> Any:
    if call.inside or not isinstance(x, Tensor):
        return NotImplemented
    target = _listed(sizes, how.get("shape", how.get("size")))
    if how.get("dtype") is not None or not all(isinstance(n, (int, np.integer, Size)) for n in target):
        return NotImplemented
    if not (_is_dynamic(trace, x) or has_size(target)):
        return NotImplemented
    return _reshaped(trace, call(x, *sizes, **how), x, completed(trace.dims(x), target))


def _reshaped(trace: Trace, y: Any, x: Any, dims: Dims) -> Any:
    if y is x or trace.find(y._array) is not None:  # the tensor itself: nothing to record
        return y
    trace.made("Reshape", {}, (x,), y, dims)
    return y


@handles("view_as", "reshape_as")
def _as_other(trace: Trace, call: Original, x: Any, other: Any) -> Any:
    if not (_is_dynamic(trace, x) or _is_dynamic(trace, other)):
        return NotImplemented
    return _reshaped(trace, call(x, other), x, trace.dims(other))


@handles("flatten")
def _flatten(trace: Trace, call: Original, x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if not _is_dynamic(trace, x):
        return NotImplemented
    dims = trace.dims(x)
    first = _axis(start_dim, len(dims))
    last = _axis(end_dim, len(dims))
    flat = count(dims[first : last + 1])
    return _reshaped(trace, call(x, start_dim, end_dim), x, (*dims[:first], flat, *dims[last + 1 :]))


@handles("ravel")
def _ravel(trace: Trace, call: Original, x: Any) -> Any:
    if _is_dynamic(trace, x):
        return rv.flatten(x)
    return NotImplemented


@handles("unflatten")
def _unflatten(trace: Trace, call: Original, x: Any, dim: int, sizes: Any) -> Any:
    if not has_size(sizes) and (call.inside or not _is_dynamic(trace, x)):
        return NotImplemented
    dims = trace.dims(x)
    at = _axis(dim, len(dims))
    parts = completed((dims[at],), _listed((sizes,)))
    return _reshaped(trace, call(x, dim, sizes), x, (*dims[:at], *parts, *dims[at + 1 :]))


@handles("unsqueeze")
def _unsqueeze(trace: Trace, call: Original, x: Any, dim: Any = None, *, axis: Any = None) -> Any:
    if not _is_dynamic(trace, x):
        return NotImplemented
    dims = list(trace.dims(x))
    at = dim if axis is None else axis
    dims.insert(_axis(at, len(dims) + 1), 1)
    return _reshaped(trace, call(x, at), x, tuple(dims))


@handles("squeeze")
def _squeeze(trace: Trace, call: Original, x: Any, dim: Any = None, *more: int, axis: Any = None) -> Any:
    if not _is_dynamic(trace, x):
        return NotImplemented
    dims = trace.dims(x)
    named = dim if axis is None else axis
    if named is None:
        chosen: tuple[int, ...] = tuple(range(len(dims)))
    else:
        chosen = (*_listed((named,)), *more)
    axes = [_axis(d, len(dims)) for d in chosen]
    gone = [at for at in axes if dims[at] == 1]
    if not gone:
        return x
    kept = tuple(n for at, n in enumerate(dims) if at not in gone)
    return _reshaped(trace, call(x, tuple(gone)), x, kept)


@handles("expand", "broadcast_to")
def _expand(trace: Trace, call: Original, x: Any, *sizes: Any, size: Any = None) -> Any:
    target = _listed(sizes, size)
    if call.inside or not (_is_dynamic(trace, x) or has_size(target)):
        return NotImplemented
    dims = trace.dims(x)
    lead = len(target) - len(dims)
    made = tuple(dims[i - lead] if _is_minus_one(n) else n for i, n in enumerate(target))
    return _expanded(trace, call(x, target), x, made)


def _is_minus_one(n: Any) -> bool:
    return not isinstance(n, Size) and n == -1


def _expanded(trace: Trace, y: Any, x: Any, dims: Dims) -> Any:
    if y is x or trace.find(y._array) is not None:
        return y
    trace.made("Expand", {}, (x,), y, dims)
    return y


@handles("expand_as")
def _expand_as(trace: Trace, call: Original, x: Any, other: Any) -> Any:
    if not (_is_dynamic(trace, x) or _is_dynamic(trace, other)):
        return NotImplemented
    return _expanded(trace, call(x, other), x, trace.dims(other))


@handles("broadcast_tensors")
def _broadcast_tensors(trace: Trace, call: Original, *tensors: Any) -> Any:
    if not any(_is_dynamic(trace, x) for x in tensors):
        return NotImplemented
    dims = shapes.broadcast(*map(trace.dims, tensors))
    if None in dims:
        return trace.refuse_call("got two dynamic axes; expected axes of one name")
    return tuple(_expanded(trace, rv.broadcast_to(x, dims), x, dims) for x in tensors)


@handles("meshgrid")
def _meshgrid(trace: Trace, call: Original, *tensors: Any, indexing: str = "ij") -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        listed = tensors[0]
    else:
        listed = tensors
    if not any(_is_dynamic(trace, x) for x in listed):
        return NotImplemented
    order = list(range(len(listed)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    target = tuple(trace.dims(listed[i])[0] for i in order)
    made = []
    for i, x in enumerate(listed):
        place: list[Any] = [1] * len(listed)
        place[order.index(i)] = trace.dims(x)[0]
        column = _reshaped(trace, call_on(trace, rv.reshape, x, place), x, tuple(place))
        made.append(rv.expand(column, target))
    return tuple(made)


def call_on(trace: Trace, function: Any, *args: Any, **how: Any) -> Any:
    """The result of a public function in the present run; nothing is recorded."""
    return Original("", getattr(function, "__wrapped__", function), False)(*args, **how)


@handles("repeat", "tile")
def _repeat(trace: Trace, call: Original, x: Any, *times: Any, **how: Any) -> Any:
    counts = _listed(times, next(iter(how.values()), None))
    if call.inside or not (_is_dynamic(trace, x) or has_size(counts)):
        return NotImplemented
    dims = trace.dims(x)
    counts = (1,) * (len(dims) - len(counts)) + counts
    wide = (1,) * (len(counts) - len(dims)) + dims
    made = tuple(n * k for n, k in zip(wide, counts, strict=True))
    return _made(trace, call(x, *times, **how), "Tile", made, (x,), counts=counts)


@handles("repeat_interleave")
def _interleaved(
    trace: Trace, call: Original, x: Any, repeats: Any = None, dim: Any = None, **how: Any
) -> Any:
    if not isinstance(repeats, (int, Size)) or how or call.inside:
        return NotImplemented
    if not (_is_dynamic(trace, x) or has_size(repeats)):
        return NotImplemented
    if dim is None:
        x = rv.flatten(x)
        dim = 0
    dims = trace.dims(x)
    at = _axis(dim, len(dims))
    parts = rv.unsqueeze(x, at + 1)
    wide = rv.expand(parts, (*dims[: at + 1], repeats, *dims[at + 1 :]))
    target = (*dims[:at], dims[at] * repeats, *dims[at + 1 :])
    return _reshaped(trace, call_on(trace, rv.reshape, wide, target), wide, target)


# --- parts
@handles("__getitem__")
def _getitem(trace: Trace, call: Original, x: Any, key: Any) -> Any:
    if not has_size(key):
        return NotImplemented
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, list) and has_size(part) for part in parts):
        return x[tuple(rv.tensor(part) if isinstance(part, list) else part for part in parts)]
    basic = (int, np.integer, Size, slice, type(None), type(Ellipsis))
    if all(isinstance(part, basic) for part in parts):
        return _sliced(trace, call, x, parts)
    # sizes first, then the tensors and lists of the key
    whole = shapes.whole_key(key, x.ndim)
    sized = tuple(part if has_size(part) else slice(None) for part in whole if part is not None)
    if any(isinstance(part, Size) for part in sized):
        return NotImplemented
    rest = tuple(slice(None) if has_size(part) else part for part in whole)
    return _sliced(trace, call, x, sized)[rest]


def _sliced(trace: Trace, call: Original, x: Any, key: tuple[Any, ...]) -> Any:
    return _made_view(trace, call(x, key), x, key)


def _made_view(trace: Trace, y: Any, x: Any, key: tuple[Any, ...]) -> Any:
    trace.made("Getitem", {"key": key}, (x,), y, None)
    return y


def _part(x: Any, dim: int, start: Any, stop: Any) -> Any:
    return x[(slice(None),) * _axis(dim, x.ndim) + (slice(start, stop),)]


@handles("diff")
def _diff(trace: Trace, call: Original, x: Any, n: int = 1, dim: int = -1, **how: Any) -> Any:
    if not _is_dynamic(trace, x) or x._array.dtype == np.bool_ or how.keys() - {"prepend", "append"}:
        return NotImplemented
    around = [how.get("prepend"), x, how.get("append")]
    if how:
        x = rv.cat([part for part in around if part is not None], dim)
    for _ in range(n):
        x = _part(x, dim, 1, None) - _part(x, dim, 0, -1)
    return x


@handles("narrow")
def _narrow(trace: Trace, call: Original, x: Any, dim: int, start: Any, length: Any) -> Any:
    if not has_size((start, length)) or isinstance(start, Tensor):
        return NotImplemented
    call(x, dim, start, length)  # checks the arguments
    return _part(x, dim, start, start + length)


@handles("select")
def _select(trace: Trace, call: Original, x: Any, dim: int, index: Any) -> Any:
    if not has_size(index):
        return NotImplemented
    return x[(slice(None),) * _axis(dim, x.ndim) + (index,)]


@handles("split")
def _split(trace: Trace, call: Original, x: Any, size: Any = None, dim: int = 0, **how: Any) -> Any:
    for name in ("split_size", "split_size_or_sections"):
        size = how.get(name, size)
    if call.inside or isinstance(size, Tensor) or not isinstance(x, Tensor):
        return NotImplemented
    n = trace.dims(x)[_axis(dim, x.ndim)]
    if not isinstance(n, Size) and not has_size(size):
        return NotImplemented
    if isinstance(size, (tuple, list)):
        if sum(size) != n:
            call(x, size, dim)  # raises its error
        bounds = [sum(size[:i]) for i in range(len(size) + 1)]
        return tuple(_part(x, dim, a, b) for a, b in pairwise(bounds))
    pieces = -(-n // size)
    if isinstance(pieces, Size):
        trace.refuse_number(pieces, "the number of pieces of split")
    return tuple(_part(x, dim, i * size, (i + 1) * size) for i in range(pieces))


@handles("chunk")
def _chunk(trace: Trace, call: Original, x: Any, chunks: int, dim: int = 0) -> Any:
    """Pieces of ceil(n / chunks). A small n has less of them; all sizes up to chunks^2 are compared."""
    n = trace.dims(x)[_axis(dim, x.ndim)]
    if not isinstance(n, Size) and not has_size(chunks):
        return NotImplemented
    if has_size(chunks):
        trace.refuse_number(chunks, "the number of chunks")
    pieces = call(x, chunks, dim)
    if len(pieces) != chunks:
        trace.refuse_call(f"gives {len(pieces)} of {chunks} pieces for this size; expected a larger example")
    trace.compares_up_to(chunks * chunks)
    size = -(-n // chunks)
    return tuple(_part(x, dim, i * size, (i + 1) * size) for i in range(chunks))


@handles("tensor_split")
def _tensor_split(trace: Trace, call: Original, x: Any, parts: Any = None, dim: int = 0, **how: Any) -> Any:
    n = trace.dims(x)[_axis(dim, x.ndim)]
    if how or not isinstance(n, Size):
        return NotImplemented
    if isinstance(parts, (tuple, list)):
        return tuple(_part(x, dim, a, b) for a, b in pairwise([0, *parts, n]))
    if not isinstance(parts, int) or has_size(parts):
        return NotImplemented
    size = n // parts
    longer = n % parts
    bounds = [i * size + smallest(i, longer) for i in range(parts + 1)]
    return tuple(_part(x, dim, a, b) for a, b in pairwise(bounds))


@handles("unbind")
def _unbind(trace: Trace, call: Original, x: Any, dim: int = 0, *, axis: Any = None) -> Any:
    n = trace.dims(x)[_axis(dim if axis is None else axis, x.ndim)]
    if isinstance(n, Size):
        trace.refuse_number(n, "the number of slices (unbind, or a loop over a tensor)")
    return NotImplemented


@handles("__iter__")
def _iterate(trace: Trace, call: Original, x: Any) -> Any:
    dims = trace.dims(x)
    if dims and isinstance(dims[0], Size):
        trace.refuse_number(dims[0], "the number of slices (unbind, or a loop over a tensor)")
    return NotImplemented


@handles("roll")
def _roll(trace: Trace, call: Original, x: Any, shifts: Any, dims: Any = None) -> Any:
    if not (_is_dynamic(trace, x) or has_size(shifts)):
        return NotImplemented
    if dims is None:
        return rv.roll(rv.flatten(x), shifts, 0).view_as(x)
    steps = _listed((shifts,))
    axes = _listed((dims,))
    for step, dim in zip(steps, axes, strict=True):
        n = trace.dims(x)[_axis(dim, x.ndim)]
        at = n - step % n
        x = rv.cat([_part(x, dim, at, None), _part(x, dim, None, at)], dim)
    return x


@handles("topk")
def _topk(trace: Trace, call: Original, x: Any, k: Any, *args: Any, **how: Any) -> Any:
    if not has_size(k):
        return NotImplemented
    with trace.replaced(last=k):
        return call.function(x, number(k), *args, **how)


@handles("sort", "argsort", "msort")
def _sort(trace: Trace, call: Original, x: Any, *args: Any, **how: Any) -> Any:
    if not _is_dynamic(trace, x):
        return NotImplemented
    with trace.replaced(last=None):
        return call.function(x, *args, **how)


@handles("tril", "triu")
def _triangle(trace: Trace, call: Original, x: Any, diagonal: Any = 0) -> Any:
    if not (_is_dynamic(trace, x) or has_size(diagonal)):
        return NotImplemented
    y = call(x, diagonal)
    return _made(trace, y, "Trilu", trace.dims(x), (x,), upper=call.name == "triu", k=diagonal)


@handles("diagonal")
def _diagonal(trace: Trace, call: Original, x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Every (columns + 1)-th element of each matrix in C order."""
    if not _is_dynamic(trace, x):
        return NotImplemented
    first = _axis(dim1, x.ndim)
    second = _axis(dim2, x.ndim)
    dims = trace.dims(x)
    rows = dims[first]
    columns = dims[second]
    length = greatest(smallest(rows + min(offset, 0), columns - max(offset, 0)), 0)
    others = [d for d in range(x.ndim) if d not in (first, second)]
    flat = rv.flatten(rv.permute(x, (*others, first, second)), -2)
    start = greatest(offset, -offset * columns)
    every = (..., slice(start, None, columns + 1))
    picked = call_on(trace, Tensor.__getitem__, flat, every)
    trace.made("Getitem", {"key": every}, (flat,), picked, None)
    y = call_on(trace, Tensor.__getitem__, picked, (..., slice(None, length)))
    lead = tuple(dims[d] for d in others)
    return _made(trace, y, "Getitem", (*lead, length), (picked,), key=(..., slice(None, length)))


@handles("linspace")
def _linspace(trace: Trace, call: Original, start: Any, end: Any, steps: Any, **how: Any) -> Any:
    """start + i (end - start) / (steps - 1) in float64; the last number is `end` itself."""
    if not has_size((start, end, steps)):
        return NotImplemented
    y = call(start, end, steps, **how)
    if y._array.dtype.kind != "f":
        return trace.refuse_call("got integers and the size of a dynamic axis; expected a dtype of floats")
    last = greatest(steps - 1, 1)
    at = rv.arange(steps)
    numbers = at.double() * ((end - start) / last) + start
    return rv.where(at == last, as_number(trace, end, np.float64), numbers).to(y.dtype)


@handles("pad")
def _pad(trace: Trace, call: Original, x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    is_whole = isinstance(x, Tensor) and x._array.dtype.kind in "iu" and mode == "constant"
    if not (has_size(pad) or (is_whole and _is_dynamic(trace, x))):
        return NotImplemented
    y = call(x, pad, mode, value)
    settings = {"sizes": tuple(pad), "mode": str(mode), "value": 0.0 if value is None else value}
    return _made(trace, y, "Pad", None, (x,), **settings)


@handles("interpolate")
def _interpolate(
    trace: Trace,
    call: Original,
    x: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: Any = None,
    recompute_scale_factor: Any = None,
    antialias: bool = False,
) -> Any:
    if antialias or not (_is_dynamic(trace, x) or has_size(size)):
        return NotImplemented
    axes = x.ndim - 2
    if size is None:
        if isinstance(scale_factor, (tuple, list)):
            factors = tuple(scale_factor)
        else:
            factors = (scale_factor,) * axes
        if recompute_scale_factor or mode == "area":
            size = tuple(shapes.scaled(n, f) for n, f in zip(trace.dims(x)[2:], factors, strict=True))
            return rv.interpolate(x, size, None, mode, align_corners)
        with trace.replaced(factors=factors):
            return call.function(x, None, scale_factor, mode, align_corners)
    if isinstance(size, (tuple, list)):
        sizes = tuple(size)
    else:
        sizes = (size,) * axes
    if mode == "area" and axes in (1, 2):
        if axes == 1:
            pool = rv.adaptive_avg_pool1d
        else:
            pool = rv.adaptive_avg_pool2d
        return pool(x, sizes)
    with trace.replaced(arguments=sizes):
        return call.function(x, tuple(map(number, sizes)), None, mode, align_corners)


@handles("one_hot")
def _one_hot(trace: Trace, call: Original, x: Any, num_classes: Any = -1) -> Any:
    if not has_size(num_classes):
        return NotImplemented
    dims = (*trace.dims(x), num_classes)
    return _made(trace, call(x, num_classes), "one_hot", dims, (x,), classes=num_classes)


def _seen_by(trace: Trace, call: Original, scores: Any) -> Any:
    rows, columns = trace.dims(scores)[-2:]
    if is_fixed((rows, columns)):
        return NotImplemented
    return rv.tril(rv.ones((rows, columns), dtype=np.bool_))


OF_THE_LIBRARY.append((seen_by, _seen_by))


# --- sizes that methods return
@handles("size")
def _size(trace: Trace, call: Original, x: Any, dim: Any = None) -> Any:
    if from_library(2):
        return NotImplemented
    dims = trace.dims(x)
    if dim is None:
        return rv.Size(dims)
    return dims[dim]


@handles("numel", "nelement")
def _numel(trace: Trace, call: Original, x: Any) -> Any:
    if from_library(2):
        return NotImplemented
    return count(trace.dims(x))


@handles("__len__")
def _length(trace: Trace, call: Original, x: Any) -> Any:
    dims = trace.dims(x)
    if dims and isinstance(dims[0], Size) and not from_library(2):
        trace.refuse_number(dims[0], "a length that Python takes as a plain number")
    return NotImplemented


@handles("stride")
def _stride(trace: Trace, call: Original, x: Any, dim: Any = None) -> Any:
    if _is_dynamic(trace, x) and not from_library(2):
        trace.refuse_number(count(trace.dims(x)), "a factor of a stride")
    return NotImplemented
