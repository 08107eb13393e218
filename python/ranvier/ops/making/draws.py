"""Random numbers of distributions, also in place.

They come from the library's stream (``rv.manual_seed``), or from the given generator.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import mode
from ranvier.ops.elementwise.dtypes import F32, F64, Array, as_tensor
from ranvier.ops.gradient_rules import without_derivative
from ranvier.ops.layout import zeros
from ranvier.ops.making import creation, philox, uniform
from ranvier.ops.making.philox import check_range
from ranvier.ops.making.random import (
    Generator,
    current,
    generator as numpy_generator,
    key_of,
    randint,
    state_of,
    using,
)
from ranvier.tape.function import Function, into
from ranvier.tape.higher_order import rule
from ranvier.tape.inplace import assign, check_leaf
from ranvier.tensors.batched import BatchedArray, batched, level_of, on_each_slice, value_at
from ranvier.tensors.devices import CPU, is_meta
from ranvier.tensors.dtypes import finfo
from ranvier.tensors.errors import number, own_error
from ranvier.tensors.failures import OpError, require_dtype
from ranvier.tensors.memory import filled_like
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import DeviceLike, DtypeLike, Shape, ShapeLike, TensorLike


def _drawing(generator: Generator | None) -> Any:
    """A block in which numbers are drawn from the generator, if one is given."""
    if generator is None:
        return contextlib.nullcontext()
    return using(generator)


def _float(name: str, x: Tensor) -> str:
    """Raises TypeError unless x has floats."""
    require_dtype(name, "x", x, "f", "floats")
    if x.dtype == np.float64:
        return "float64"
    return "float32"


class Drawn(Function):
    """Random numbers of a distribution. Its inputs are the parameters, whose gradients are 0, as in
    PyTorch."""

    def __init__(self, values: Array) -> None:
        self.values: Any = values

    def forward(self, *parameters: Array) -> Array:
        values = self.values
        self.values = None
        self.about = [(p.shape, p.dtype) for p in parameters]
        return values

    def backward(self, dy: Array) -> Any:
        gradients: list[Array | None] = []
        for (shape, dtype), needed in zip(self.about, self.needs, strict=True):
            gradient = None
            if needed:
                gradient = zeros(shape, dtype)
            gradients.append(gradient)
        return tuple(gradients)


@rule(Drawn)
def _constant(node: Drawn, dy: Tensor) -> tuple[Tensor | None, ...]:
    gradients: list[Tensor | None] = []
    for gradient in node.backward(dy._array):
        if gradient is None:
            gradients.append(None)
        else:
            gradients.append(wrap(gradient))
    return tuple(gradients)


def _drawn(values: Array, *parameters: Any) -> Tensor:
    """The values, which were drawn from a distribution with these parameters, as a Tensor."""
    if mode.enabled and any(isinstance(p, Tensor) and p._requires_grad for p in parameters):
        return Drawn(values).apply(*parameters)
    return wrap(values)


def _filled(
    name: str, x: Tensor, generator: Generator | None, draw: Callable[..., Any], *parameters: Any
) -> Tensor:
    """Fills x in place with the numbers that draw(x.shape) returns. parameters: Tensors, of their
    distribution."""
    with _drawing(generator):
        values = np.asanyarray(draw(x.shape))
    if any(p._requires_grad for p in parameters) and mode.enabled:
        check_leaf(x, name)
        return assign(x, _drawn(values.astype(x.dtype), *parameters, x), name)
    return _written(x, values, name)


@into(_core.write, takes=1)
def _written(x: Tensor, values: Array, name: str) -> Tensor:
    check_leaf(x, name)
    if values.dtype != x.dtype:
        values = values.astype(x.dtype)
    return assign(x, wrap(values), name)


def _by_core(name: str, normal: bool, x: Tensor, generator: Generator | None, a: Any, b: Any) -> Tensor:
    """Fills x in place: with normal numbers of mean a and standard deviation b, or uniform numbers in [a,
    b)."""
    _float(name, x)
    return _drawn_by_core(x, normal, float(a), float(b), state_of(name, generator), name, generator)


def drawn_by_key(
    x: Tensor, normal: bool, a: float, b: float, _: Any, name: str, generator: Generator | None
) -> Tensor:
    """As `_by_core`, in Python, for calls that the core does not answer; for all calls if seeds have to give
    PyTorch's numbers (torch/functions/twister.py)."""
    key = key_of(name, generator)
    kernel = "random_normal" if normal else "random_uniform"

    def draw(shape: Shape) -> Any:
        return philox.numbers(kernel, shape, x.dtype, a, b, key)

    return _filled(name, x, None, draw)


# takes=4: the kernel gets normal, a, b and the memory of the state, from which it takes the next key. So
# drawn_by_key, which draws its key itself, does not use the state.
_drawn_by_core = into(_core._fill_random, takes=4)(drawn_by_key)


def uniform_(x: Tensor, low: float = 0, to: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Fills x with uniform numbers in [low, to).

    >>> import ranvier as rv
    >>> rv.zeros(3).uniform_(1, 1).tolist()
    [1.0, 1.0, 1.0]
    """
    if not low <= to:
        raise OpError(f"[uniform_] got {low} to {to}; expected low <= to")
    return _by_core("uniform_", False, x, generator, low, to)


def normal_(x: Tensor, mean: float = 0, std: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Fills x with normal numbers of this mean and standard deviation.

    >>> import ranvier as rv
    >>> rv.zeros(2).normal_(3, 0).tolist()
    [3.0, 3.0]
    """
    number("normal_", "std", std, 0)
    return _by_core("normal_", True, x, generator, mean, std)


def exponential_(x: Tensor, lambd: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Fills x with numbers of density lambd exp(-lambd x), > 0."""
    lambd = number("exponential_", "lambd", lambd, 0, above=True)
    _float("exponential_", x)

    def draw(shape: ShapeLike) -> Any:
        return np.maximum(numpy_generator().exponential(1 / lambd, shape), finfo(x.dtype).tiny)

    return _filled("exponential_", x, generator, draw)


def cauchy_(x: Tensor, median: float = 0, sigma: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Fills x with numbers of Cauchy's distribution: median + sigma tan(pi (u - 1/2)), u uniform.

    >>> import ranvier as rv
    >>> rv.zeros(2).cauchy_().shape
    (2,)
    """
    median = number("cauchy_", "median", median)
    sigma = number("cauchy_", "sigma", sigma, 0, above=True)
    _float("cauchy_", x)

    def draw(shape: ShapeLike) -> Any:
        return numpy_generator().standard_cauchy(shape) * sigma + median

    return _filled("cauchy_", x, generator, draw)


def log_normal_(x: Tensor, mean: float = 1, std: float = 2, *, generator: Generator | None = None) -> Tensor:
    """Fills x with exp(n) of normal numbers n of this mean and standard deviation.

    >>> import ranvier as rv
    >>> rv.zeros(2).log_normal_(0, 1).shape
    (2,)
    """
    mean = number("log_normal_", "mean", mean)
    std = number("log_normal_", "std", std, 0, above=True)
    _float("log_normal_", x)

    def draw(shape: Shape) -> Any:
        return numpy_generator().lognormal(mean, std, shape)

    return _filled("log_normal_", x, generator, draw)


def geometric_(x: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fills x with the numbers of trials up to the first success, of probability p.

    >>> import ranvier as rv
    >>> rv.zeros(2).geometric_(0.999999).shape
    (2,)
    """
    p = number("geometric_", "p", p, 0, 1, above=True)

    def draw(shape: Shape) -> Any:
        return numpy_generator().geometric(p, shape)

    return _filled("geometric_", x, generator, draw)


def random_(
    x: Tensor, low: int | None = None, to: Any = ..., *, generator: Generator | None = None
) -> Tensor:
    """Fills x with whole numbers, low <= n < to; random_(n) means 0 <= k < n. Without a limit, or if `to` is
    None, the numbers go up to the largest that the dtype holds exactly.

    Raises ValueError for limits that are not in order, or that the dtype cannot hold.
    """
    if to is ...:  # one limit
        to = low
        low = 0
    low = low or 0
    kind = x.dtype
    whole = low == 0 and to is None
    if to is None and kind.kind == "f":
        to = round(2 / finfo(kind).eps) + 1  # all whole numbers up to 2 / eps are exact
    elif to is None and kind == np.bool_:
        to = 2
    elif to is None:
        to = int(np.iinfo(kind).max) + 1
    check_range("random_", low, to, kind)
    if not (whole and kind.kind == "i"):
        low, to = philox.held(low, to, kind)

    def draw(shape: Shape) -> Any:
        if whole and kind.kind == "i":
            return numpy_generator().integers(0, to, shape, kind)
        return randint(low, to, shape)._array

    return _filled("random_", x, generator, draw)


def _probabilities(name: str, p: Tensor) -> Array:
    """The array of a Tensor of probabilities. Raises ValueError unless all are in [0, 1]."""
    array = _parameters(name, p)
    floats = array if array.dtype in (F32, F64) else array.astype(F64)
    if not _core.inside(floats, 0.0, 1.0):
        raise OpError(f"[{name}] got probabilities outside [0, 1]; expected all of them inside")
    return array


def _parameters(name: str, x: Tensor) -> Array:
    """The array of parameters of a distribution, of which numbers are drawn. Within vmap it stands for all
    slices, as do the numbers."""
    if isinstance(x._array, BatchedArray):
        numpy_generator()  # raises where draws are refused
        return x._array
    return x._read(name)


def bernoulli(input: TensorLike, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability of each element of x (or p), else 0, in the shape and dtype of x.

    >>> import ranvier as rv
    >>> rv.bernoulli(rv.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    input = as_tensor("bernoulli", input)
    if p is None:
        limit = _probabilities("bernoulli", input)
    else:
        limit = np.full(input.shape, float(number("bernoulli", "p", p, 0, 1)))
    with _drawing(generator):
        draw = numpy_generator()
    out = filled_like(None, input._array)
    try:
        philox.bernoulli(draw, limit, out)
    except (TypeError, ValueError):  # the core cannot draw from this generator, or into this dtype
        dtype = F64 if limit.dtype == F64 else F32
        values = draw.random(input.shape, dtype)
        out = np.asanyarray(values < limit).astype(input.dtype)
    if p is None:
        return _drawn(out, input)
    return without_derivative("bernoulli", out, input)


def bernoulli_(x: Tensor, p: float | TensorLike = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fills x with 1 with probability p (a number, or a tensor that broadcasts), else with 0."""
    if type(p) is float and 0 <= p <= 1 and x._array.dtype.kind == "f":
        with _drawing(generator):
            draw = numpy_generator()
        return _ones_drawn(x, draw, p, generator)
    return _bernoulli(x, p, generator)


@into(philox.bernoulli, takes=2)
def _ones_drawn(x: Tensor, draw: Any, p: float, generator: Generator | None) -> Tensor:
    return _bernoulli(x, p, generator)


def _bernoulli(x: Tensor, p: Any, generator: Generator | None) -> Tensor:
    parameters = [p] if isinstance(p, Tensor) else []
    if type(p) is float:
        p = np.array(p)
    limit = _probabilities("bernoulli_", as_tensor("bernoulli_", p))
    dtype = F32 if uniform.wide and limit.dtype != F64 else F64

    def draw(shape: Shape) -> Any:
        return numpy_generator().random(shape, dtype) < limit

    return _filled("bernoulli_", x, generator, draw, *parameters)


def poisson(input: TensorLike, generator: Generator | None = None) -> Tensor:
    """Numbers of Poisson's distribution with the rate of each element of x, in its shape and dtype.

    >>> import ranvier as rv
    >>> rv.poisson(rv.zeros(2))
    tensor([0., 0.])
    """
    input = as_tensor("poisson", input)
    _float("poisson", input)
    rates = _parameters("poisson", input)
    if rates.size and not np.all(rates >= 0):
        raise OpError("[poisson] got a negative rate or NaN; expected rates >= 0")
    with _drawing(generator):
        return _drawn(np.asanyarray(numpy_generator().poisson(rates)).astype(input.dtype), input)


def binomial(count: TensorLike, prob: TensorLike, generator: Generator | None = None) -> Tensor:
    """The successes of each count of trials, of each probability; the shapes broadcast.

    >>> import ranvier as rv
    >>> rv.binomial(rv.tensor([2.0, 9.0]), rv.tensor([0.0, 1.0]))
    tensor([0., 9.])
    """
    count = as_tensor("binomial", count)
    prob = as_tensor("binomial", prob)
    _float("binomial", count)
    limits = _probabilities("binomial", prob)
    counts = _parameters("binomial", count)
    if counts.size and not np.all(counts >= 0):
        raise OpError("[binomial] got a negative count or NaN; expected counts >= 0")
    with _drawing(generator):
        drawn = numpy_generator().binomial(counts.astype(np.int64), limits)
    return without_derivative("binomial", np.asanyarray(drawn).astype(count.dtype), count, prob)


def multinomial(
    input: TensorLike, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices of a row drawn with probabilities in proportion to its elements: (n) or (m, n) ->
    (..., num_samples). Without replacement, elements of 0 follow where those > 0 are too few.

    Raises ValueError for negative, infinite or NaN elements, rows without a positive one, and without
    replacement for more samples than elements.

    >>> import ranvier as rv
    >>> rv.multinomial(rv.tensor([0.0, 1.0, 0.0]), 2, replacement=True)
    tensor([1, 1])
    """
    input = as_tensor("multinomial", input)
    require_dtype("multinomial", "x", input, "f", "floats")
    level = current().level_of_draws()
    if level is not None and level_of(input) is None:  # other numbers for each slice
        input = batched(value_at(input, level), level)
    if isinstance(input._array, BatchedArray):
        numpy_generator()  # raises where draws are refused

        def of_slice(row: Array) -> Array:
            return multinomial(wrap(row), num_samples, replacement, generator=generator)._array

        return wrap(on_each_slice("multinomial", of_slice, [input._array], {}))
    rows = input._read("multinomial")
    if input.ndim not in (1, 2) or num_samples < 1:
        raise OpError(
            f"[multinomial] got x of shape {input.shape} and {num_samples} samples; expected one or two "
            "dimensions and at least one sample"
        )
    if rows.dtype.itemsize < 4:
        rows = rows.astype(F32)
    # For PyTorch's numbers: it draws one sample by its other algorithm.
    if num_samples == 1 and uniform.wide:
        replacement = False
    with _drawing(generator):
        chosen = _core.draw_rows(np.atleast_2d(rows), num_samples, replacement, numpy_generator().random)
    if rows.ndim == 1:
        chosen = chosen[0]
    return wrap(chosen)


def normal(
    mean: float | Tensor = 0.0,
    std: float | Tensor = 1.0,
    size: ShapeLike | None = None,
    *,
    generator: Generator | None = None,
    dtype: DtypeLike | None = None,
    layout: Any = None,
    device: DeviceLike | None = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers: of `size` for a mean and std that are numbers, else in the shape that the tensors
    mean and std broadcast to.

    >>> import ranvier as rv
    >>> rv.normal(2.0, 0.0, (2,))
    tensor([2., 2.])
    """
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    on = device
    if not on:
        on = tensors[0].device if tensors else CPU
    shape = size
    if shape is None:
        shape = np.broadcast_shapes(*[x.shape for x in tensors])
    if is_meta(on):
        return creation.empty(shape, dtype=dtype, device=on, requires_grad=requires_grad)
    if not isinstance(std, Tensor):
        std = number("normal", "std", std, 0)
    else:
        spread = std if std.dtype.char in "fd" else std.float()
        if not _core.inside(spread._array, 0.0, math.inf):
            raise OpError("[normal] got std negative or NaN; expected numbers >= 0")
    if not isinstance(mean, Tensor):
        mean = number("normal", "mean", mean)
    with _drawing(generator):
        if size is None:
            dtype = dtype or _dtype_of_floats(tensors)
        y = creation.empty(shape, dtype=dtype, layout=layout, device=on, pin_memory=pin_memory)
        if isinstance(std, Tensor):
            y = normal_(y) * std + mean
        else:
            if isinstance(mean, Tensor):
                y = normal_(y, 0, std) + mean
            else:
                normal_(y, mean, std)
    if requires_grad:
        return y.detach().requires_grad_()
    return _drawn(y._array, mean, std)


def _dtype_of_floats(tensors: Sequence[Tensor]) -> np.dtype[Any] | None:
    """The dtype of the first Tensor that has floats."""
    for x in tensors:
        if x.dtype.kind == "f":
            return x.dtype
    return None


def randint_like(
    input: TensorLike,
    low: int = 0,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """As :func:`ranvier.randint`, in the shape and dtype of x.

    >>> import ranvier as rv
    >>> rv.randint_like(rv.zeros(2), 1)
    tensor([0., 0.])
    """
    input = as_tensor("randint_like", input)
    if high is None:
        high = low
        low = 0
    settings.update(dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)
    return randint(low, high, input.shape, generator=generator, **settings)


def _from(function: Any) -> Any:
    """The function with PyTorch's name `from` of its first limit, which no Python function can have."""

    @functools.wraps(function)
    def op(x: Tensor, *limits: Any, **settings: Any) -> Tensor:
        if "from" in settings:
            if limits or "low" in settings:
                raise TypeError(f"{function.__name__}() got multiple values for argument 'from'")
            limits = (settings.pop("from"),)
        return function(x, *limits, **settings)

    return op


uniform_, random_ = (_from(own_error(function)) for function in (uniform_, random_))
