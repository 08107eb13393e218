"""Methods of PyTorch's Tensor that are made of this library's methods; most are functions of torch, too.

`installation/paths.json` lists them. A method x_ writes the result of x to its tensor.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

import ranvier as rv
from ranvier import Tensor
from ranvier.ops.elementwise.op import Elementwise
from ranvier.ops.namespaces import Operations, Value
from ranvier.tape.function import Dtypes, in_dtypes
from ranvier.tensors.memory import Array
from ranvier.tensors.types import DtypeLike, ShapeLike, TensorLike
from ranvier.torch.functions import bessel, gamma_functions
from ranvier.torch.functions.composed import empty_strided

Frexp = namedtuple("Frexp", "mantissa exponent")


def _scaled(term: Tensor, input: Tensor, beta: float, alpha: float) -> Tensor:
    """beta input + alpha term.

    With beta = 0 input is ignored, so it may hold infinities. Integers have integer factors.
    """
    if not (term.is_floating_point() or input.is_floating_point()):
        beta = int(beta)
        alpha = int(alpha)
    if alpha != 1:
        term = alpha * term
    if beta == 0:
        return term.expand(*rv.broadcast_shapes(term.shape, input.shape))
    return beta * input + term


@in_dtypes(Dtypes(autocast="lower"))
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha (the sum of the products of two batches of matrices)."""
    return _scaled(batch1.bmm(batch2).sum(0), input, beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat vec."""
    return _scaled(mat.mv(vec), input, beta, alpha)


@in_dtypes()
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha vec1 vec2^T.

    >>> import ranvier as rv
    >>> addr(rv.zeros(1, 2), rv.ones(1), rv.tensor([1.0, 2.0]), alpha=2)
    tensor([[2., 4.]])
    """
    product = rv.outer(vec1, vec2)
    if input.dtype == product.dtype == rv.bool:  # the sum of bools is "or"
        return input * bool(beta) | product * bool(alpha)
    return _scaled(product, input, beta, alpha)


def adjoint(input: Tensor) -> Tensor:
    """Matrices transposed."""
    return input.mT


def as_strided_scatter(
    input: Tensor, src: Tensor, size: ShapeLike, stride: ShapeLike, storage_offset: int = 0
) -> Tensor:
    """A copy with `src` at the places that as_strided shows."""
    out = input.clone()
    out.as_strided(size, stride, storage_offset or 0).copy_(src)
    return out


def part(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """The slice start:end:step of a dimension."""
    dim = range(input.ndim)[dim]  # counted from 0; IndexError for other dimensions
    return input[(slice(None),) * dim + (slice(start, end, step),)]


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy with `src` at the places of a slice."""
    out = input.clone()
    part(out, dim, start, end, step).copy_(src)
    return out


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy with `src` at the places that diagonal shows."""
    out = input.clone()
    out.diagonal(offset, dim1, dim2).copy_(src)
    return out


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy with `src` at the places that select shows."""
    out = input.clone()
    out.select(dim, index).copy_(src)
    return out


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements on a diagonal."""
    return input.flatten().diag(offset)


def dim_order(input: Tensor, **settings: Any) -> tuple[int, ...]:
    """The dimensions, from that of the largest stride on."""

    def falling_stride(dim: int) -> int:
        return -input.stride(dim)

    return tuple(sorted(range(input.ndim), key=falling_stride))


Sections: TypeAlias = int | Sequence[int] | Tensor
"""How many equal parts, or the places at which they begin."""


def _split(input: Tensor, sections: Sections, dim: int, least_ndim: int) -> tuple[Tensor, ...]:
    """Parts along a dimension, as tensor_split; equal ones for a number."""
    if input.ndim < least_ndim:
        raise RuntimeError(f"[split] got shape {tuple(input.shape)}; expected more dimensions")
    if isinstance(sections, int) and input.shape[dim] % sections:
        raise RuntimeError(f"[split] got shape {tuple(input.shape)}; expected {sections} equal parts")
    return input.tensor_split(sections, dim)


def hsplit(input: Tensor, indices_or_sections: Sections) -> tuple[Tensor, ...]:
    """Parts along the second dimension, or along that of a vector."""
    dim = 0 if input.ndim == 1 else 1
    return _split(input, indices_or_sections, dim, least_ndim=1)


def vsplit(input: Tensor, indices_or_sections: Sections) -> tuple[Tensor, ...]:
    """Parts along the first dimension."""
    return _split(input, indices_or_sections, dim=0, least_ndim=2)


def dsplit(input: Tensor, indices_or_sections: Sections) -> tuple[Tensor, ...]:
    """Parts along the third dimension."""
    return _split(input, indices_or_sections, dim=2, least_ndim=3)


def float_power(input: TensorLike, exponent: TensorLike) -> Tensor:
    """input ** exponent in float64."""
    return rv.pow(_in_float64(input), _in_float64(exponent))


def _in_float64(x: TensorLike) -> TensorLike:
    if isinstance(x, Tensor):
        return x.double()
    return x


def frexp(input: Tensor) -> Frexp:
    """Numbers of [0.5, 1) and exponents of 2 whose products are the input's."""
    if not input.is_floating_point():
        raise RuntimeError(f"[frexp] got {input.dtype}; expected a floating-point tensor")
    _, exponents = np.frexp(input._array)
    exponent = rv.from_numpy(np.array(exponents))
    # In two steps, because 2 ** -exponent of the least numbers is infinite.
    half = exponent // 2
    mantissa = rv.ldexp(rv.ldexp(input, -half), half - exponent)
    return Frexp(mantissa, exponent)


def _as_array(x: TensorLike) -> Array:
    if isinstance(x, Tensor):
        return x._array
    return np.asarray(x)


def gcd(input: TensorLike, other: TensorLike) -> Tensor:
    """The greatest common divisors of integers, element by element."""
    values = np.gcd(_as_array(input), _as_array(other))
    return rv.from_numpy(np.array(values, rv.result_type(input, other)))


def lcm(input: TensorLike, other: TensorLike) -> Tensor:
    """The least common multiples of integers, element by element."""
    values = np.lcm(_as_array(input), _as_array(other))
    return rv.from_numpy(np.array(values, rv.result_type(input, other)))


def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Reduces the slices of source along dim into those of a copy of input that index names.

    reduce: "prod", "mean", "amax" or "amin".
    """
    shape = [1] * source.ndim  # the index along dim, the same for all other dimensions
    if source.ndim:
        shape[dim] = -1
    whole_index = index.reshape(shape).expand(source.shape)
    return input.scatter_reduce(dim, whole_index, source, reduce, include_self=include_self)


def is_nonzero(input: Tensor) -> bool:
    """True if the one element is not 0."""
    if input.numel() != 1:
        raise RuntimeError(f"[is_nonzero] got {input.numel()} elements; expected 1")
    return bool(input.item() != 0)


def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """True if both have the same elements of the same memory."""
    same_memory = input.data_ptr() == tensor.data_ptr()
    return same_memory and input.size() == tensor.size() and input.stride() == tensor.stride()


def isreal(input: Tensor) -> Tensor:
    if input.is_complex():
        return input.imag == 0
    return rv.ones_like(input, dtype=rv.bool)


def _slope_of_first_power(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    """dy 2^a / (2^a + 2^b); half of dy for equal infinities."""
    difference = f.where(a == b, 0.0, b - a)
    return dy / (f.exp2(difference) + 1)


def _slope_of_second_power(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return _slope_of_first_power(f, dy, b, a)


_logaddexp2_op = Elementwise(
    numpy=np.logaddexp2, gradient=(_slope_of_first_power, _slope_of_second_power)
).op("logaddexp2")


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2^a + 2^b) without overflow."""
    return _logaddexp2_op(input, other)


def is_neg(input: Tensor) -> bool:
    """False: no tensor is the negative view of another."""
    return False


def conj_physical_(input: Tensor) -> Any:
    """The tensor itself: its numbers are real."""
    return input


def msort(input: Tensor) -> Tensor:
    """Sorted along the first dimension."""
    return input.sort(0)[0]


def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    return input.narrow(dim, start, length).clone()


def new_empty_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], dtype: DtypeLike | None = None, **settings: Any
) -> Tensor:
    return empty_strided(size, stride, dtype=dtype or input.dtype)


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The places of elements that are not 0 as `size` rows; rows that are left have fill_value."""
    rows = input.nonzero()[:size]
    return rv.cat([rows, rv.full((size - len(rows), input.ndim), fill_value, dtype=rv.int64)])


def record_stream(input: Tensor, stream: object) -> None:
    """Does nothing: there are no streams."""


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> Any:
    return input.split(list(split_sizes), dim)


def sum_to_size(input: Tensor, *size: ShapeLike) -> Tensor:
    """Summed over the dimensions that a broadcast from `size` repeats.

    >>> import ranvier as rv
    >>> sum_to_size(rv.ones(2, 3), 1, 3)
    tensor([[2., 2., 2.]])
    """
    shape: Any = size
    if len(size) == 1 and not isinstance(size[0], int):
        shape = tuple(size[0])
    added = input.ndim - len(shape)  # the dimensions that a broadcast puts before those of `size`
    if added < 0 or any(n not in (1, m) for n, m in zip(shape, input.shape[added:], strict=True)):
        raise RuntimeError(f"[sum_to_size] got {shape}; expected a size that {tuple(input.shape)} repeats")
    repeated = list(range(added))
    for d in range(added, input.ndim):
        if shape[d - added] == 1 and input.shape[d] != 1:
            repeated.append(d)
    if repeated:
        input = input.sum(repeated, keepdim=True)
    return input.reshape(shape)


def vdot(input: Tensor, other: Tensor) -> Tensor:
    return input.dot(other)


def _in_place(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The method x_ for a method x."""

    def call(input: Tensor, *args: Any, **settings: Any) -> Tensor:
        out = method(input, *args, **settings)
        if method is float_power and input.dtype != out.dtype:
            raise RuntimeError(f"[float_power_] got {input.dtype}; expected float64")
        if out.shape != input.shape:
            raise RuntimeError(f"[{method.__name__}_] got {tuple(input.shape)}; expected {tuple(out.shape)}")
        return input.copy_(out)

    call.__doc__ = "The tensor itself, with these values."
    return call


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    return rv.nn.functional.hardshrink(input, lambd)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    return rv.nn.functional.prelu(input, weight)


def i0(input: Tensor) -> Tensor:
    return bessel.i0(input)


def igamma(input: Tensor, other: Tensor) -> Tensor:
    return gamma_functions.gammainc(input, other)


def igammac(input: Tensor, other: Tensor) -> Tensor:
    return gamma_functions.gammaincc(input, other)


def polygamma(input: Tensor, n: int) -> Tensor:
    return gamma_functions.polygamma(n, input)


_methods: Any = Tensor  # some of the methods are added when the program runs
const_data_ptr = _methods.data_ptr
unsafe_chunk = _methods.chunk
swapdims_ = _methods.transpose_
unsafe_split = unsafe_split_with_sizes = _methods.split
eq_ = _in_place(_methods.eq)
ne_ = _in_place(_methods.ne)
lt_ = _in_place(_methods.lt)
le_ = _in_place(_methods.le)
gt_ = _in_place(_methods.gt)
ge_ = _in_place(_methods.ge)
addbmm_ = _in_place(addbmm)
addmv_ = _in_place(addmv)
addr_ = _in_place(addr)
gcd_ = _in_place(gcd)
lcm_ = _in_place(lcm)
heaviside_ = _in_place(_methods.heaviside)
float_power_ = _in_place(float_power)
index_reduce_ = _in_place(index_reduce)
i0_ = _in_place(i0)
polygamma_ = _in_place(polygamma)
igamma_ = _in_place(igamma)
igammac_ = _in_place(igammac)
