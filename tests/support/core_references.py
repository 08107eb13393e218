"""A reference for each function of the core: what `translation` computes in its place, in float64.

``REFERENCES[name]`` takes the parameters of ``_core.name`` by name, but ``out``, and returns what that
returns; `Changed` also has what the function changes in place. Formulas come from ``reference``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ranvier import _core
from reference import activation, elementwise, embedding, index, jet, matmul, scan, softmax, sort

Array = np.ndarray[Any, Any]


@dataclass
class Changed:
    """A result, and the new values of parameters that are changed in place."""

    result: Any = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Reference:
    """terms: of (parameters, result): the longest sum that an element is; None where it is computed exactly.

    degree: of a product of inputs in a term.
    """

    function: Callable[..., Any]
    terms: Callable[..., int] | None = None
    degree: int = 1


REFERENCES: dict[str, Reference] = {}
# of one array; gates and slopes that are learned have two
ACTIVATIONS = [n for n in vars(activation) if hasattr(_core, f"{n}_backward") and n not in ("glu", "prelu")]


def add(names: str, function: Any, terms: Any = 4, degree: int = 1) -> None:
    """terms: a number, a function of the parameters, or None."""
    counted = (lambda c: terms) if isinstance(terms, int) else terms
    for name in names.split():
        assert name not in REFERENCES, name
        REFERENCES[name] = Reference(function, counted, degree)


def of_module(module: Any, names: str, more: int = 4) -> None:
    """Functions that the module has under the same name, with parameters in the same order."""
    for name in names.split():
        function = getattr(module, name)
        add(name, lambda _function=function, **c: _function(*c.values()), more)


# --- element by element: at most four roundings, of numbers no larger than inputs, outputs and 1
of_module(activation, " ".join(ACTIVATIONS))
of_module(activation, " ".join(f"{name}_backward" for name in ACTIVATIONS if name != "relu"))
add("relu_backward", lambda dy, y: np.where(y <= 0, 0, dy), None)  # of NaN too, which no product stops
of_module(elementwise, "neg exp expm1 log log1p sqrt abs sin cos sign square reciprocal clip")
of_module(elementwise, "add sub mul div pow maximum minimum where")
of_module(elementwise, "abs_backward sin_backward cos_backward square_backward log1p_backward")
add("round", lambda x: np.round(x), None)
add("erf", lambda x: activation.erf(x))
add("expm1_backward", lambda dy, saved: dy * (saved + 1))
add("sqrt_backward", lambda dy, saved: dy / (2 * saved))
add("reciprocal_backward", lambda dy, saved: -dy * saved**2)
add("clip_backward", lambda dy, x, low, high: dy * ((x >= low) & (x <= high)))
add("div_backward", lambda dy, y, b: -dy * y / b)
add("exponent_backward", lambda dy, a, y: dy * np.where(y == 0, 0, y * np.log(np.where(a > 0, a, 1))))
add("pow_backward", lambda dy, a, b: dy * np.where(b == 0, 0, b * np.power(a, np.where(b == 0, 1, b - 1))))
add("maximum_backward", lambda dy, a, b: np.where(a < b, 0, dy) * (1 - 0.5 * (a == b)))
add("minimum_backward", lambda dy, a, b: np.where(a > b, 0, dy) * (1 - 0.5 * (a == b)))
add("glu", lambda a, b: a * activation.sigmoid(b))
add("glu_backward", lambda dy, a, b: dy * a * activation.sigmoid(b) * activation.sigmoid(-b))
add("where_equal", lambda x, y, dy: np.where(x == y, dy, 0), None)
add("prelu", lambda x, weight: np.where(x > 0, x, weight * x))
add("prelu_backward", lambda dy, x, weight: np.where(x > 0, dy, weight * dy))
add("prelu_weight_backward", lambda dy, x: np.where(x > 0, 0, dy * x))
add("jet", jet.jet, lambda c: c["t"].shape[0] + 8, 3)
add("jet_backward", jet.jet_backward, lambda c: c["t"].shape[0] + 8, 4)
for _name, _function in (
    *(("eq", np.equal), ("ne", np.not_equal), ("lt", np.less)),
    *(("le", np.less_equal), ("gt", np.greater), ("ge", np.greater_equal)),
):
    add(_name, lambda a, b, _function=_function: _function(a, b), None)


# --- products and reductions


def of_activation(y: Array, name: str) -> Array:
    return y if name == "none" else getattr(activation, name)(y)


def _matmul(a: Array, b: Array, bias: Array | None, activation: str, saved: Array | None) -> Array:
    assert saved is None, "only programs have products with the backward of an activation"
    y = matmul.matmul(a, b)
    return of_activation(y if bias is None else y + bias, activation)


add("matmul", _matmul, lambda c: c["a"].shape[-1] + 1, 2)
add("softmax", softmax.softmax, lambda c: c["x"].shape[c["axis"]] + 4)
add("log_softmax", softmax.log_softmax, lambda c: c["x"].shape[c["axis"]] + 4)
add("softmax_backward", softmax.softmax_backward, lambda c: c["y"].shape[c["axis"]] + 4, 2)
add("log_softmax_backward", softmax.log_softmax_backward, lambda c: c["y"].shape[c["axis"]] + 4, 2)


def _axes(c: Any) -> Any:
    axis = c["axis"]
    return tuple(axis) if isinstance(axis, list) else axis


def _all(c: Any) -> int:
    return int(c["x"].size) + 4


def _reduced(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda **c: function(c["x"], axis=_axes(c), keepdims=c["keepdims"])


add("sum", _reduced(np.sum), _all)
add("mean", _reduced(np.mean), _all)
add("max", _reduced(np.max), None)
add("min", _reduced(np.min), None)
add("prod", _reduced(np.prod), _all)
add("sum_abs", _reduced(lambda x, **more: np.abs(x).sum(**more)), _all)
add("norm", _reduced(lambda x, **more: np.sqrt(np.square(x).sum(**more))), _all)
add("argmax", _reduced(np.argmax), None)
add("argmin", _reduced(np.argmin), None)


def _like(y: Array, x: Array, c: Any) -> Array:
    """y, of the shape of the result, to broadcast against x."""
    axis = range(x.ndim) if c["axis"] is None else np.atleast_1d(c["axis"])
    return y.reshape([1 if d in [a % x.ndim for a in axis] else n for d, n in enumerate(x.shape)])


def _var(root: bool) -> Callable[..., Array]:
    def function(**c: Any) -> Array:
        x = c["x"]
        squares = np.square(x - _like(c["mean"], x, c)).sum(axis=_axes(c), keepdims=c["keepdims"])
        count = x.size / max(squares.size, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = squares / max(count - c["correction"], 0)
        return np.sqrt(found) if root else found

    return function


add("var", _var(False), _all, 2)
add("std", _var(True), _all, 2)


def _counted(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    return lambda **c: function(c["x"], _like(c["y"], c["x"], c)).sum(axis=_axes(c), keepdims=c["keepdims"])


add("count_equal", _counted(lambda x, y: x == y), None)
add("sum_exp", _counted(lambda x, y: np.exp(x - np.where(np.isinf(y), 0, y))), _all)


def _expand(dy: Array, shape: Any, axes: Any, scale: float, channels_last: bool) -> Array:
    axis = range(len(shape)) if axes is None else np.atleast_1d(axes)
    at = [a % len(shape) for a in axis]
    return scale * np.broadcast_to(dy.reshape([1 if d in at else n for d, n in enumerate(shape)]), shape)


add("expand", _expand, 1)

# --- moves: exact
add("copy", lambda x, channels_last: x, None)
add("copy_like", lambda x, like: x, None)
add("full", lambda shape, dtype, value: np.full(shape, value, dtype), None)
add("fill", lambda y, value: Changed(None, {"y": np.full(y.shape, value, y.dtype)}), None)
add("cast", lambda x, dtype: x.astype(dtype), None)
add("concatenate", lambda arrays, axis: np.concatenate(arrays, axis), None)
add("embedding", embedding.embedding, None)
add("sort", lambda x, axis, descending, count: _sort(x, axis, descending, count), None)
add(
    "inside",
    lambda x, low, high, above=False: bool(np.all(((x > low) if above else (x >= low)) & (x <= high))),
    None,
)


def _sort(x: Array, axis: int, descending: bool, count: int | None) -> tuple[Array, ...]:
    kept = range(x.shape[axis] if count is None else count)
    return tuple(np.take(part, kept, axis) for part in sort.sort(x, axis, descending))


def _embedding_backward(
    dy: Array, index: Array, num_embeddings: int, padding_idx: int | None, scale_grad_by_freq: bool
) -> Array:
    return embedding.embedding_backward(dy, index, num_embeddings, padding_idx, scale_grad_by_freq)


add("embedding_backward", _embedding_backward, lambda c: c["index"].size + 1)


def _places(where: Array, shape: Any, axis: int, length: int) -> Array:
    """The index repeated to the shape, and counted from the start."""
    wide = [n if d != axis % len(shape) else where.shape[d] for d, n in enumerate(shape)]
    return np.broadcast_to(where, wide) % max(length, 1)


def _gather(x: Array, index: Array, axis: int, from_0: bool) -> Array:
    return np.take_along_axis(x, _places(index, x.shape, axis, x.shape[axis]), axis)


def _scatter(x: Array, index: Array, src: Array, axis: int, add: bool, from_0: bool) -> Array:
    places = _places(index, src.shape, axis, x.shape[axis])
    return (of_index.scatter_add if add else of_index.scatter)(x, places, src, axis % x.ndim)


def _scatter_add(dy: Array, index: Array, axis: int, length: int) -> Array:
    zeros = np.zeros([length if d == axis % dy.ndim else n for d, n in enumerate(dy.shape)])
    return of_index.scatter_add(zeros, _places(index, dy.shape, axis, length), dy, axis % dy.ndim)


def _scatter_backward(dy: Array, index: Array, axis: int) -> tuple[Array, Array]:
    places = _places(index, index.shape, axis, dy.shape[axis])
    return of_index.scatter_backward(dy, np.zeros(dy.shape), places, np.zeros(index.shape), axis % dy.ndim)


of_index = index
add("gather", _gather, None)
add("scatter", _scatter, lambda c: c["index"].size + 2)
add("scatter_add", _scatter_add, lambda c: c["index"].size + 2)
add("scatter_backward", _scatter_backward, None)


def _scanned(function: Callable[..., Array]) -> Callable[..., Array]:
    def scanned(x: Array, axis: int, reverse: bool) -> Array:
        return np.flip(function(np.flip(x, axis), axis), axis) if reverse else function(x, axis)

    return scanned


add("cumsum", _scanned(np.cumsum), lambda c: c["x"].shape[c["axis"]] + 1)
add("cumprod", _scanned(np.cumprod), lambda c: c["x"].shape[c["axis"]] + 1)


def _cumprod_backward(dy: Array, x: Array, axis: int) -> Array:
    if dy.shape != x.shape:  # the gradient of the last product
        last = np.zeros(x.shape)
        np.moveaxis(last, axis, 0)[-1] = np.moveaxis(dy, axis, 0)[0]
        dy = last
    return scan.cumprod_backward(dy, x, axis)


add("cumprod_backward", _cumprod_backward, lambda c: c["x"].shape[c["axis"]] ** 2 + 1)
