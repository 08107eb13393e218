"""The shapes of results as sizes (`sizes.py`): a rule for each kind of call.

A rule gets a call whose operands have `dims`, and returns the dims of each result. An axis for which a call
has no rule becomes an atom of its own: the file then asks the result for its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ranvier.onnx.registry import WRITERS
from ranvier.onnx.sizes import Size, exact_quotient, greatest, lower_bound, number, quotient, smallest, upper_bound
from ranvier.tape.calls import Call

Dim = Any  # an int or a Size
Dims = tuple[Dim, ...]
Rule = Callable[[Call], Sequence[Dims | None]]


def numbers(dims: Dims) -> tuple[int, ...]:
    """The shape in the present run."""
    return tuple(map(number, dims))


def is_fixed(dims: Dims) -> bool:
    return not any(isinstance(n, Size) for n in dims)


def same(a: Dim, b: Dim) -> bool:
    """True if two sizes are one number, or one polynomial."""
    if isinstance(a, Size) and isinstance(b, Size):
        return a.key == b.key
    return type(a) is type(b) and number(a) == number(b)


def equal(a: Dims, b: Dims) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


def count(dims: Sequence[Dim]) -> Dim:
    """The number of elements."""
    return math.prod(dims)


def completed(dims: Dims, target: tuple[Any, ...]) -> Dims:
    """The target of a reshape, of which one size may be -1."""
    made = [n if isinstance(n, Size) else int(n) for n in target]
    unknown = [i for i, n in enumerate(made) if not isinstance(n, Size) and n == -1]
    if unknown:
        rest = count([n for i, n in enumerate(made) if i not in unknown])
        total = count(dims)
        exact = None if is_fixed((total, rest)) else exact_quotient(total, rest)
        made[unknown[0]] = quotient(total, rest) if exact is None else exact
    return tuple(made)


def results(call: Call) -> list[Dims | None]:
    """The dims of the results of a call; None in place of an axis or of all dims for what no rule gives."""
    operands = [x.dims for x in call.inputs if x is not None]
    if all(map(is_fixed, operands)) and not any(map(_holds_size, call.settings.values())):
        return [value.array.shape for value in call.outputs]
    if not RULES:
        _fill()
    rule = RULES.get(call.kind)
    if rule:
        return list(rule(call))
    return [None] * len(call.outputs)


def _holds_size(setting: Any) -> bool:
    if isinstance(setting, slice):
        return any(isinstance(n, Size) for n in _parts(setting))
    if isinstance(setting, tuple):
        return any(map(_holds_size, setting))
    return isinstance(setting, Size)


# --- rules
def _first(call: Call) -> list[Dims | None]:
    return [call.inputs[0].dims] * len(call.outputs)


def broadcast(*shapes: Dims) -> Dims:
    """The dims of operands that broadcast; None for an axis of which two sizes differ."""
    ndim = max(map(len, shapes))
    aligned = [(1,) * (ndim - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(_of_axis(sizes) for sizes in zip(*aligned, strict=True))


def _of_axis(sizes: Sequence[Dim]) -> Dim:
    """The size of an axis of the result; None where two dynamic ones differ."""
    found: Dim = 1
    for n in sizes:
        if same(n, found) or same(n, 1):
            continue
        if same(found, 1):
            found = n
        elif isinstance(n, Size) and not isinstance(found, Size):
            continue  # n is 1 or the number `found`
        elif isinstance(found, Size) and not isinstance(n, Size):
            found = n
        else:
            return None
    return found


def _elementwise(call: Call) -> list[Dims | None]:
    return [broadcast(*(x.dims for x in call.inputs if x is not None))] * len(call.outputs)


def _reduced(call: Call) -> list[Dims | None]:
    settings = call.settings
    axes = settings.get("axes", settings.get("axis"))
    return [without(call.inputs[0].dims, axes, settings["keepdims"])] * len(call.outputs)


def without(dims: Dims, axes: Any, keep: bool) -> Dims:
    """The dims of a reduction over these axes."""
    ndim = len(dims)
    if axes is None:
        axes = range(ndim)
    if not isinstance(axes, (tuple, list, range)):
        axes = (axes,)
    gone = {axis % max(ndim, 1) for axis in axes}
    if keep:
        return tuple(1 if i in gone else n for i, n in enumerate(dims))
    return tuple(n for i, n in enumerate(dims) if i not in gone)


def _linear(call: Call) -> list[Dims | None]:
    return [(*call.inputs[0].dims[:-1], call.outputs[0].array.shape[-1])]


def _product(call: Call) -> list[Dims | None]:
    a, b = (x.dims for x in call.inputs[:2])
    if len(b) == 1:
        return [a[:-1]]
    if len(a) == 1:
        return [(*b[:-2], b[-1])]
    return [(*broadcast(a[:-2], b[:-2]), a[-2], b[-1])]


def _each(value: Any, axes: int) -> list[int]:
    if isinstance(value, (tuple, list)):
        sizes = [int(n) for n in value]
    else:
        sizes = [int(value)]
    if len(sizes) == 1:
        return sizes * axes
    return sizes


def _windows(n: Dim, kernel: int, stride: int, pad: int, dilation: int) -> Dim:
    return (n + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1


def _conv(call: Call) -> list[Dims | None]:
    axes = int(call.kind[-2])
    stride, padding, dilation, _ = call.settings["geometry"]
    lead = call.inputs[0].dims[: -axes - 1]
    sizes = call.inputs[0].dims[-axes:]
    channels, *kernel = call.inputs[1].array.shape
    kernel = kernel[-axes:]
    if padding == "same":
        return [(*lead, channels, *sizes)]
    pads = _each(0 if padding == "valid" else padding, axes)
    settings = zip(sizes, kernel, _each(stride, axes), pads, _each(dilation, axes), strict=True)
    return [(*lead, channels, *(_windows(*one) for one in settings))]


def _conv_transpose(call: Call) -> list[Dims | None]:
    axes = int(call.kind[-2])
    stride, padding, more, _, dilation = (_each(x, axes) for x in call.settings["geometry"])
    lead = call.inputs[0].dims[: -axes - 1]
    sizes = call.inputs[0].dims[-axes:]
    kernel = call.inputs[1].array.shape[-axes:]
    made = [
        (n - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + more[i] + 1
        for i, n in enumerate(sizes)
    ]
    return [(*lead, call.outputs[0].array.shape[-axes - 1], *made)]


def _pool(call: Call) -> list[Dims | None]:
    axes = int(call.kind[-2])
    kernel, stride, padding, *rest = call.settings["arguments"]
    is_max = call.kind.startswith("Max")
    dilation, ceil = (rest[0], rest[1]) if is_max else (1, rest[0])
    dims = call.inputs[0].dims
    made: list[Dim]
    if not ceil:
        shape = _each(kernel, axes)
        steps = shape if stride is None else _each(stride, axes)
        settings = zip(dims[-axes:], shape, steps, _each(padding, axes), _each(dilation, axes), strict=True)
        made = [_windows(*one) for one in settings]
    elif is_fixed(dims[-axes:]):
        made = list(call.outputs[0].array.shape[-axes:])
    else:
        made = [None] * axes
    return [(*dims[:-axes], *made)] * len(call.outputs)


def _adaptive(call: Call) -> list[Dims | None]:
    axes = int(call.kind[-2])
    return [(*call.inputs[0].dims[:-axes], *y.array.shape[-axes:]) for y in call.outputs]


def _interpolate(call: Call) -> list[Dims | None]:
    size, scale, *_ = call.settings["arguments"]
    dims = call.inputs[0].dims
    axes = len(dims) - 2
    if size is not None:
        sizes = size if isinstance(size, (tuple, list)) else [size] * axes
        return [(*dims[:2], *sizes)]
    if isinstance(scale, (tuple, list)):
        factors = scale
    else:
        factors = [scale] * axes
    sizes = [scaled(n, float(factor)) for n, factor in zip(dims[2:], factors, strict=True)]
    return [(*dims[:2], *sizes)]


def scaled(n: Dim, factor: float) -> Dim:
    """The size after a factor."""
    if factor.is_integer():
        return n * int(factor)
    return math.floor(n * factor)


def _permuted(call: Call) -> list[Dims | None]:
    dims = call.inputs[0].dims
    return [tuple(dims[d] for d in call.settings["dims"])]


def _joined(call: Call) -> list[Dims | None]:
    ndim = call.outputs[0].array.ndim
    parts = [x.dims for x in call.inputs if x.array.ndim == ndim]  # cat ignores vectors without elements
    at = call.settings["axis"] % ndim
    total = sum(part[at] for part in parts)
    others = [_of_equal([part[d] for part in parts]) for d in range(ndim)]
    return [tuple(total if d == at else n for d, n in enumerate(others))]


def _of_equal(sizes: list[Dim]) -> Dim:
    """The one of equal sizes that is known best."""
    return next((n for n in sizes if not isinstance(n, Size)), sizes[0])


def sliced(n: Dim, part: slice) -> Dim:
    """The number of elements that a slice takes of n; None where a bound may be of either sign."""
    step = 1 if part.step is None else part.step
    if isinstance(step, Size):
        return None
    if step < 0:
        if part.start is None and part.stop is None:
            return -(-n // -step)
        if isinstance(n, Size):
            return None
        present = slice(*map(number, _parts(part)))
        return len(range(*present.indices(n)))
    start = _bound(0 if part.start is None else part.start, n)
    stop = n if part.stop is None else _bound(part.stop, n)
    if start is None or stop is None:
        return None
    length = greatest(stop - start, 0)
    if step == 1:
        return length
    return -(-length // step)


def _parts(part: slice) -> tuple[Any, Any, Any]:
    return part.start, part.stop, part.step


_BEYOND = 2**40  # more elements than any axis has: files have such bounds for "to the end"


def _bound(at: Any, n: Dim) -> Dim:
    """A bound of a slice, counted from the front and within the axis; None where its sign is not known."""
    if not isinstance(at, Size):
        at = int(at)
    if not isinstance(at, Size) and abs(at) >= _BEYOND:
        if at > 0:
            return n
        return 0
    if lower_bound(at) >= 0:
        return smallest(at, n)
    if upper_bound(at) < 0:
        return greatest(at + n, 0)
    return None


def whole_key(key: Any, ndim: int) -> list[Any]:
    """The key of an index as a list: a part for each dimension of the operand, and None for each new axis."""
    key_of_axes = list(key) if isinstance(key, tuple) else [key]
    missing = ndim - sum(p is not None and p is not Ellipsis for p in key_of_axes)
    for at, part in enumerate(key_of_axes):
        if part is Ellipsis:
            return key_of_axes[:at] + [slice(None)] * missing + key_of_axes[at + 1 :]
    return key_of_axes + [slice(None)] * missing


def _picked(call: Call) -> list[Dims | None]:
    dims = call.inputs[0].dims
    made: list[Dim] = []
    axis = 0
    for part in whole_key(call.settings["key"], len(dims)):
        if part is None:
            made.append(1)
            continue
        if isinstance(part, slice):
            made.append(sliced(dims[axis], part))
        axis += 1
    return [tuple(made)]


def _taken(call: Call) -> list[Dims | None]:
    return [(*call.inputs[1].dims, *call.inputs[0].dims[1:])]


def _quantized_rows(call: Call) -> list[Dims | None]:
    return [(*call.inputs[2].dims, call.outputs[0].array.shape[-1])]


def _pick(call: Call) -> list[Dims | None]:
    axes = call.settings["axes"]
    dims = call.inputs[0].dims
    index = broadcast(*(x.dims for x in call.inputs[1:]))
    others = [n for d, n in enumerate(dims) if d not in axes]
    first = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    return [(*others[:first], *index, *others[first:])]


def _windowed(call: Call) -> list[Dims | None]:
    at, size, step = call.settings["place"]
    dims = list(call.inputs[0].dims)
    dims[at] = (dims[at] - size) // step + 1
    return [(*dims, size)]


def _padded(call: Call) -> list[Dims | None]:
    dims = list(call.inputs[0].dims)
    sizes = call.settings["sizes"]
    for i in range(len(sizes) // 2):
        at = len(dims) - 1 - i
        dims[at] = dims[at] + sizes[2 * i] + sizes[2 * i + 1]
    return [tuple(dims)]


def _expanded(call: Call) -> list[Dims | None]:
    dims = call.inputs[0].dims
    shape = call.outputs[0].array.shape
    lead = len(shape) - len(dims)
    return [tuple(n if i < lead else _kept(dims[i - lead], n) for i, n in enumerate(shape))]


def _kept(before: Dim, after: int) -> Dim:
    if number(before) == after:
        return before
    return after


def _sorted(call: Call) -> list[Dims | None]:
    dims = list(call.inputs[0].dims)
    at = call.settings["axis"]
    dims[at] = call.settings["last"] - call.settings["first"]
    return [tuple(dims)] * len(call.outputs)


def _recurrent(call: Call) -> list[Dims | None]:
    x = call.inputs[0].dims
    steps, *last = call.outputs
    made: list[Dims | None] = [(*x[:-1], steps.array.shape[-1])]
    return made + [(*x[1:-1], y.array.shape[-1]) for y in last]


def split_again(dims: Dims, shape: tuple[int, ...]) -> Dims:
    """The dims of a reshape that the library's own code has computed from numbers.

    Each group of axes with the same number of elements before and after is taken apart: an axis as long as
    one before it is that axis, and one further axis of a group has what is left.
    """
    made: list[Dim] = []
    before = after = 0
    while before < len(dims) or after < len(shape):
        first = before
        start = after
        left = 1
        right = 1
        while True:
            if before < len(dims) and (left <= right or after == len(shape)):
                left *= number(dims[before])
                before += 1
            elif after < len(shape):
                right *= shape[after]
                after += 1
            if (left == right and after > start) or (before == len(dims) and after == len(shape)):
                break
        made += _group(dims[first:before], shape[start:after])
    return tuple(made)


def _group(dims: Dims, shape: tuple[int, ...]) -> list[Dim]:
    rest = [n for n in dims if isinstance(n, Size)]
    made: list[Dim] = []
    for n in shape:
        equal_sizes = [at for at, size in enumerate(rest) if number(size) == n]
        made.append(rest.pop(equal_sizes[0]) if equal_sizes else n)
    if not rest:
        return made
    for at, n in enumerate(made):  # what is left of the product belongs to one axis
        others = count([*made[:at], *made[at + 1 :]])
        left = exact_quotient(count(dims), others)
        if left is None and not isinstance(n, Size):
            left = quotient(count(dims), others)
        if left is not None and number(left) == n:
            made[at] = left
            break
    return made


_FIRST = [
    "BatchNorm", "Cumprod", "Cumsum", "DropoutLayer", "Flip", "GroupNorm", "LayerNorm", "LogSoftmax",
    "MaskedFill", "Prelu", "Scatter", "ScatterReduce", "Softmax", "Triangle", "Trilu", "cumprod", "cumsum",
    "isin", "isfinite", "isinf", "isnan",
]  # fmt: skip
_REDUCED = [
    "Extreme", "ExtremeAlong", "Logsumexp", "Prod", "Sum", "Var", "all", "any", "argmax", "argmin", "max",
    "min", "prod", "sum",
]  # fmt: skip
_OTHERS = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AvgPool1d",
    "AvgPool2d", "Concatenate", "Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "Embedding",
    "Expand", "Gather", "Getitem", "GridSample", "Interpolate", "Linear", "Matmul", "MaxPool1d", "MaxPool2d",
    "Pad", "Permute", "Pick", "QuantizedLinear", "QuantizedRows", "Recurrent", "Reshape", "Sort", "TakeRows",
    "Unfold", "one_hot", "searchsorted", "sort",
]  # fmt: skip

RULES: dict[str, Rule] = {}
"""Kind of a call -> its rule."""


def _fill() -> None:
    """Enters the rules; all other kinds that are written are element-wise."""
    for axes in "12":
        RULES.update({f"Conv{axes}d": _conv, f"ConvTranspose{axes}d": _conv_transpose})
        RULES.update({f"MaxPool{axes}d": _pool, f"AvgPool{axes}d": _pool})
        RULES.update({f"AdaptiveAvgPool{axes}d": _adaptive, f"AdaptiveMaxPool{axes}d": _adaptive})
    RULES.update(dict.fromkeys(_FIRST, _first))
    RULES.update(dict.fromkeys(_REDUCED, _reduced))
    RULES.update(dict.fromkeys(("Embedding", "TakeRows"), _taken))
    RULES.update(dict.fromkeys(("Linear", "QuantizedLinear"), _linear))
    RULES.update(dict.fromkeys(("Sort", "sort"), _sorted))
    RULES.update(
        Concatenate=_joined,
        Expand=_expanded,
        Gather=lambda call: [call.inputs[1].dims],
        Getitem=_picked,
        GridSample=lambda call: [(*call.inputs[0].dims[:2], *call.inputs[1].dims[1:-1])],
        Interpolate=_interpolate,
        Matmul=_product,
        Pad=_padded,
        Permute=_permuted,
        Pick=_pick,
        QuantizedRows=_quantized_rows,
        Recurrent=_recurrent,
        Reshape=lambda call: [split_again(call.inputs[0].dims, call.outputs[0].array.shape)],
        Unfold=_windowed,
        one_hot=lambda call: [(*call.inputs[0].dims, call.settings["classes"])],
        searchsorted=lambda call: [call.inputs[1].dims],
    )
    for kind in WRITERS:
        if kind not in RULES and kind not in _OTHERS:
            RULES[kind] = _elementwise
