"""Table B: one op, or a few of one family, under vmap.

Few and many slices, along the first and the last dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from benchmarks.transforms.rows import Array, Function, Inputs, Moment, Row, float32

SLICES = (64, 5_000)
DIMS = (0, -1)
DROPPED = 0.25
SIGMAS = 6  # a moment of random numbers may be so many standard deviations from its expectation

Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], Array]
"""Draws an array with these dimensions in front of its own."""


def normal(*shape: int) -> Draw:
    return lambda rng, front: float32(rng.standard_normal((*front, *shape)))


def positive(*shape: int) -> Draw:
    return lambda rng, front: float32(rng.uniform(0.5, 1.5, (*front, *shape)))


def ones(*shape: int) -> Draw:
    return lambda rng, front: np.ones((*front, *shape), np.float32)


def whole(below: int, *shape: int) -> Draw:
    return lambda rng, front: rng.integers(0, below, (*front, *shape))


def mask(*shape: int) -> Draw:
    return lambda rng, front: rng.random((*front, *shape)) < 0.5


def near_identity(size: int) -> Draw:
    """Matrices of small condition."""

    def draw(rng: np.random.Generator, front: tuple[int, ...]) -> Array:
        noise = rng.standard_normal((*front, size, size)) / size
        return float32(np.eye(size) + noise / 2)

    return draw


def with_eigenvalues(size: int) -> Draw:
    """Symmetric matrices with the eigenvalues 1, 2, ..., so that eigenvectors are well defined."""

    def draw(rng: np.random.Generator, front: tuple[int, ...]) -> Array:
        basis, _ = np.linalg.qr(rng.standard_normal((*front, size, size)))
        values = np.arange(1.0, size + 1)
        return float32((basis * values) @ np.swapaxes(basis, -1, -2))

    return draw


@dataclass(frozen=True)
class Family:
    """torch and jax get the library, the slices, and what all slices share."""

    name: str
    slices: tuple[Draw, ...]
    torch: Callable[..., Any]
    jax: Callable[..., Any]
    shared: tuple[Draw, ...] = ()
    terms: int = 16
    is_random: bool = False  # its moments are compared


def convolved(jax: Any, x: Any, filters: Any) -> Any:
    """A convolution of one sample, in one or two dimensions, with zeros around it."""
    strides = (1,) * (x.ndim - 1)
    return jax.lax.conv_general_dilated(x[None], filters, strides, "SAME")[0]


def pooled(x: Any) -> Any:
    """The blocks of 2x2: (channels, height / 2, 2, width / 2, 2)."""
    channels, height, width = x.shape
    return x.reshape(channels, height // 2, 2, width // 2, 2)


def normalized(jnp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    centred = x - x.mean(axes, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(axes, keepdims=True) + 1e-5)


def group_norm_of_jax(jax: Any, x: Any) -> Any:
    groups = x.reshape(2, -1)
    return normalized(jax.numpy, groups, (1,)).reshape(x.shape)


def attention_of_jax(jax: Any, q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return jax.nn.softmax(scores, -1) @ v


def lstm_gates(t: Any, x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any) -> Any:
    """A cell of an LSTM, as functions of the slices: the gates are input, forget, cell, output."""
    gates = (w @ x + u @ h + bias).chunk(4)
    cell = t.sigmoid(gates[1]) * c + t.sigmoid(gates[0]) * t.tanh(gates[2])
    return t.sigmoid(gates[3]) * t.tanh(cell), cell


def lstm_gates_of_jax(jax: Any, x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any) -> Any:
    jnp, sigmoid = jax.numpy, jax.nn.sigmoid
    gates = jnp.split(w @ x + u @ h + bias, 4)
    cell = sigmoid(gates[1]) * c + sigmoid(gates[0]) * jnp.tanh(gates[2])
    return sigmoid(gates[3]) * jnp.tanh(cell), cell


def spectrum(t: Any, x: Any) -> Any:
    """Real and imaginary parts in the last dimension, as ranvier has them."""
    found = t.fft.rfft(x)
    return found if found.ndim == x.ndim + 1 else t.view_as_real(found)


def spectrum_of_jax(jax: Any, x: Any) -> Any:
    found = jax.numpy.fft.rfft(x)
    return jax.numpy.stack([found.real, found.imag], -1)


def eigen(t: Any, x: Any) -> Any:
    """The vectors without their signs, which are arbitrary."""
    values, vectors = t.linalg.eigh(x)
    return values, vectors.abs()


def dropout_of_jax(jax: Any, x: Any, key: Any) -> Any:
    kept = jax.random.bernoulli(key, 1 - DROPPED, x.shape)
    return jax.numpy.where(kept, x / (1 - DROPPED), 0)


def elementwise_families() -> list[Family]:
    return [
        Family(
            "exp and tanh",
            (normal(16),),
            lambda t, x: t.tanh(t.exp(x)),
            lambda jax, x: jax.numpy.tanh(jax.numpy.exp(x)),
        ),
        Family("relu", (normal(16),), lambda t, x: t.relu(x), lambda jax, x: jax.nn.relu(x)),
        Family(
            "gelu",
            (normal(16),),
            lambda t, x: t.nn.functional.gelu(x),
            lambda jax, x: jax.nn.gelu(x, approximate=False),
        ),
        Family(
            "sum with a shared vector",
            (normal(16),),
            lambda t, x, y: x + y,
            lambda jax, x, y: x + y,
            shared=(normal(16),),
        ),
        Family(
            "quotient and power",
            (positive(16), positive(16)),
            lambda t, x, y: x**2 / y,
            lambda jax, x, y: x**2 / y,
        ),
        Family(
            "where",
            (mask(16), normal(16), normal(16)),
            lambda t, m, x, y: t.where(m, x, y),
            lambda jax, m, x, y: jax.numpy.where(m, x, y),
        ),
        Family(
            "masked_fill",
            (normal(16), mask(16)),
            lambda t, x, m: x.masked_fill(m, 0.5),
            lambda jax, x, m: jax.numpy.where(m, 0.5, x),
        ),
    ]


def reduction_families() -> list[Family]:
    return [
        Family("sum", (normal(4, 16),), lambda t, x: x.sum(-1), lambda jax, x: x.sum(-1)),
        Family(
            "mean and var",
            (normal(16),),
            lambda t, x: (x.mean(), x.var()),
            lambda jax, x: (x.mean(), x.var(ddof=1)),
        ),
        Family("amax", (normal(4, 16),), lambda t, x: x.amax(0), lambda jax, x: x.max(0)),
        Family("argmax", (normal(16),), lambda t, x: x.argmax(), lambda jax, x: x.argmax()),
        Family(
            "logsumexp",
            (normal(16),),
            lambda t, x: t.logsumexp(x, -1),
            lambda jax, x: jax.nn.logsumexp(x, -1),
        ),
        Family("softmax", (normal(16),), lambda t, x: t.softmax(x, -1), lambda jax, x: jax.nn.softmax(x, -1)),
        Family(
            "log_softmax",
            (normal(16),),
            lambda t, x: t.log_softmax(x, -1),
            lambda jax, x: jax.nn.log_softmax(x, -1),
        ),
        Family("cumsum", (normal(16),), lambda t, x: x.cumsum(0), lambda jax, x: x.cumsum(0)),
        Family(
            "sort",
            (normal(16),),
            lambda t, x: tuple(t.sort(x)),
            lambda jax, x: (jax.numpy.sort(x), jax.numpy.argsort(x)),
        ),
        Family(
            "topk",
            (normal(16),),
            lambda t, x: tuple(t.topk(x, 3)),
            lambda jax, x: tuple(jax.lax.top_k(x, 3)),
        ),
    ]


def shape_families() -> list[Family]:
    return [
        Family(
            "gather",
            (normal(16), whole(16, 4)),
            lambda t, x, i: x.gather(0, i),
            lambda jax, x, i: jax.numpy.take_along_axis(x, i, 0),
        ),
        Family(
            "index_select, shared index",
            (normal(16, 4),),
            lambda t, x, i: x.index_select(0, i),
            lambda jax, x, i: jax.numpy.take(x, i, 0),
            shared=(whole(16, 8),),
        ),
        Family(
            "cat",
            (normal(8), normal(8)),
            lambda t, x, y: t.cat([x, y]),
            lambda jax, x, y: jax.numpy.concatenate([x, y]),
        ),
        Family(
            "stack",
            (normal(8), normal(8)),
            lambda t, x, y: t.stack([x, y]),
            lambda jax, x, y: jax.numpy.stack([x, y]),
        ),
        Family(
            "transpose and reshape",
            (normal(4, 8),),
            lambda t, x: x.transpose(0, 1).reshape(-1),
            lambda jax, x: x.T.reshape(-1),
        ),
        Family(
            "embedding",
            (whole(50, 8),),
            lambda t, i, table: t.nn.functional.embedding(i, table),
            lambda jax, i, table: table[i],
            shared=(normal(50, 16),),
        ),
    ]


def product_families() -> list[Family]:
    return [
        Family(
            "matmul, shared factor",
            (normal(4, 8),),
            lambda t, x, w: x @ w,
            lambda jax, x, w: x @ w,
            shared=(normal(8, 8),),
        ),
        Family("matmul", (normal(8, 8), normal(8, 8)), lambda t, x, y: x @ y, lambda jax, x, y: x @ y),
        Family(
            "linear",
            (normal(16),),
            lambda t, x, w, b: t.nn.functional.linear(x, w, b),
            lambda jax, x, w, b: w @ x + b,
            shared=(normal(8, 16), normal(8)),
        ),
        Family(
            "einsum",
            (normal(4, 8), normal(8, 4)),
            lambda t, x, y: t.einsum("ij,jk->ik", x, y),
            lambda jax, x, y: jax.numpy.einsum("ij,jk->ik", x, y),
        ),
        Family(
            "outer",
            (normal(8), normal(8)),
            lambda t, x, y: t.outer(x, y),
            lambda jax, x, y: jax.numpy.outer(x, y),
        ),
        Family(
            "attention",
            (normal(2, 8, 8), normal(2, 8, 8), normal(2, 8, 8)),
            lambda t, q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v),
            attention_of_jax,
            terms=32,
        ),
        Family(
            "LSTM cell, shared weights",
            (normal(8), normal(8), normal(8)),
            lstm_gates,
            lstm_gates_of_jax,
            shared=(normal(32, 8), normal(32, 8), normal(32)),
            terms=32,
        ),
    ]


def layer_families() -> list[Family]:
    return [
        Family(
            "conv1d, shared filters",
            (normal(2, 16),),
            lambda t, x, w: t.nn.functional.conv1d(x, w, padding=1),
            convolved,
            shared=(normal(4, 2, 3),),
        ),
        Family(
            "conv2d, shared filters",
            (normal(2, 8, 8),),
            lambda t, x, w: t.nn.functional.conv2d(x, w, padding=1),
            convolved,
            shared=(normal(4, 2, 3, 3),),
            terms=32,
        ),
        Family(
            "conv2d, filters of each slice",
            (normal(2, 8, 8), normal(4, 2, 3, 3)),
            lambda t, x, w: t.nn.functional.conv2d(x, w, padding=1),
            convolved,
            terms=32,
        ),
        Family(
            "max_pool2d",
            (normal(2, 8, 8),),
            lambda t, x: t.nn.functional.max_pool2d(x, 2),
            lambda jax, x: pooled(x).max((2, 4)),
        ),
        Family(
            "avg_pool2d",
            (normal(2, 8, 8),),
            lambda t, x: t.nn.functional.avg_pool2d(x, 2),
            lambda jax, x: pooled(x).mean((2, 4)),
        ),
        Family(
            "layer_norm",
            (normal(4, 16),),
            lambda t, x: t.nn.functional.layer_norm(x, (16,)),
            lambda jax, x: normalized(jax.numpy, x, (1,)),
        ),
        Family(
            "group_norm",
            (normal(1, 4, 8),),
            lambda t, x: t.nn.functional.group_norm(x, 2),
            group_norm_of_jax,
        ),
        Family(
            "batch_norm, not training",
            (normal(4, 8),),
            lambda t, x, mean, var: t.nn.functional.batch_norm(x, mean, var),
            lambda jax, x, mean, var: (x - mean) / jax.numpy.sqrt(var + 1e-5),
            shared=(normal(8), positive(8)),
        ),
        Family(
            "cross_entropy",
            (normal(10), whole(10)),
            lambda t, x, y: t.nn.functional.cross_entropy(x, y),
            lambda jax, x, y: -jax.nn.log_softmax(x)[y],
        ),
        Family(
            "mse_loss",
            (normal(16), normal(16)),
            lambda t, x, y: t.nn.functional.mse_loss(x, y),
            lambda jax, x, y: ((x - y) ** 2).mean(),
        ),
        Family(
            "dropout, another mask for each slice",
            (ones(16),),
            lambda t, x: t.nn.functional.dropout(x, DROPPED),
            dropout_of_jax,
            is_random=True,
        ),
    ]


def matrix_families() -> list[Family]:
    return [
        Family(
            "cholesky",
            (with_eigenvalues(4),),
            lambda t, x: t.linalg.cholesky(x),
            lambda jax, x: jax.numpy.linalg.cholesky(x),
            terms=64,
        ),
        Family(
            "solve",
            (near_identity(4), normal(4)),
            lambda t, a, b: t.linalg.solve(a, b),
            lambda jax, a, b: jax.numpy.linalg.solve(a, b),
            terms=64,
        ),
        Family(
            "det",
            (near_identity(4),),
            lambda t, x: t.linalg.det(x),
            lambda jax, x: jax.numpy.linalg.det(x),
            terms=64,
        ),
        Family(
            "eigh",
            (with_eigenvalues(4),),
            eigen,
            lambda jax, x: (jax.numpy.linalg.eigh(x)[0], abs(jax.numpy.linalg.eigh(x)[1])),
            terms=256,
        ),
        Family("rfft", (normal(16),), spectrum, spectrum_of_jax),
    ]


def families() -> list[Family]:
    return [
        *elementwise_families(),
        *reduction_families(),
        *shape_families(),
        *product_families(),
        *layer_families(),
        *matrix_families(),
    ]


def dropout_moments(count: int, size: int) -> list[Moment]:
    """Of ones: the mean, the mean of squares, and the standard deviation of the means of slices."""
    kept = 1 - DROPPED
    spread = np.sqrt(kept * DROPPED) / kept  # of one value, which is 0 or 1 / kept
    mean = 1.0, SIGMAS * spread / np.sqrt(count * size)
    square = 1 / kept, SIGMAS * spread / kept / np.sqrt(count * size)
    of_slices = spread / np.sqrt(size)
    return [mean, square, (of_slices, SIGMAS * of_slices / np.sqrt(2 * count))]


def op_row(family: Family, count: int, dim: int) -> Row:
    """The row of a family for a number of slices along the first or the last dimension."""
    dims = (dim,) * len(family.slices) + (None,) * len(family.shared)

    def inputs() -> Inputs:
        rng = np.random.default_rng(0)
        sliced = [draw(rng, (count,)) for draw in family.slices]
        moved = [np.ascontiguousarray(np.moveaxis(array, 0, dim)) for array in sliced]
        return (*moved, *(draw(rng, ()) for draw in family.shared))

    def of_tensors(t: Any) -> Function:
        compute = family.torch

        def function(*tensors: Any) -> Any:
            return compute(t, *tensors)

        randomness = "different" if family.is_random else "error"
        return t.func.vmap(function, in_dims=dims, randomness=randomness)

    def of_jax(jax: Any) -> Function:
        function = partial(family.jax, jax)
        if not family.is_random:
            return jax.vmap(function, in_axes=dims)
        with_keys = jax.vmap(function, in_axes=(*dims, 0))
        key = jax.random.key(0)
        return lambda *arrays: with_keys(*arrays, jax.random.split(key, count))

    where = "first" if dim == 0 else "last"
    moments = None
    if family.is_random:
        size = inputs()[0].size // count  # type: ignore[union-attr]
        moments = dropout_moments(count, size)
    return Row(
        "B",
        f"{family.name}, {count} slices, {where} dimension",
        inputs,
        of_tensors,
        of_jax,
        terms=family.terms,
        moments=moments,
        quick=dim == 0,
    )


def op_rows() -> list[Row]:
    """Table B."""
    return [op_row(family, count, dim) for family in families() for count in SLICES for dim in DIMS]
