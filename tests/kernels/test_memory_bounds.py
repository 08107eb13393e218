"""Kernels read and write inside their arrays: each array begins or ends at a page of memory without access,
so that a touch of it ends the process. The results are those of the same call on other memory. KERNELS has a
right call of each public kernel, WRITES the places of the arrays that a call changes (support/calls.py). A
test with the fixture `isa` runs at each ISA level (instruction set).
"""

import ctypes
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ranvier import kernels
from support.calls import KERNELS, WRITES
from support.grouped import grouped  # parametrize, with many cases a test

Array = np.ndarray[Any, Any]
PAGE = mmap.PAGESIZE
protect = ctypes.CDLL(None, use_errno=True).mprotect
protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 49, 64, 65)


def against_page(x: Array, at_end: bool) -> Array:
    """A copy whose last byte (or first) is beside a page without access: a touch of it ends the process."""
    inside = -(-max(x.nbytes, 1) // PAGE) * PAGE
    memory = mmap.mmap(-1, inside + PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert protect(start + (inside if at_end else 0), PAGE, 0) == 0
    offset = inside - x.nbytes if at_end else PAGE
    copy = np.frombuffer(memory, x.dtype, x.size, offset).reshape(x.shape)
    copy[...] = x
    return copy


def moved(x: Any, at_end: bool) -> Any:
    return [against_page(a, at_end) for a in x] if isinstance(x, list) else against_page(x, at_end)


def arrays_of(result: Any) -> list[Array]:
    return (
        [a for part in result for a in arrays_of(part)] if isinstance(result, tuple) else [np.asarray(result)]
    )


@pytest.mark.parametrize("at_end", [True, False])
@grouped("name", sorted(KERNELS))
def test_every_kernel(name: str, at_end: bool) -> None:
    arrays, attributes = KERNELS[name]
    function = getattr(kernels, name)

    def call(move: Any) -> list[Array]:
        written = WRITES.get(("kernels", name), ())
        given = [move(np.copy(x) if i in written else x) for i, x in enumerate(arrays)]
        result = arrays_of(function(*given, **attributes))
        return [y.copy() for y in (*result, *(given[i] for i in written)) if y.dtype != object]

    for y, expected in zip(call(lambda x: moved(x, at_end)), call(lambda x: x), strict=True):
        np.testing.assert_allclose(y, expected, rtol=2e-6)  # dy in another layout, sometimes


def beside(x: Array, at_end: bool) -> Array:
    """x beside such a page, its axes in the same order in memory."""
    order = np.argsort([-step for step in x.strides], kind="stable")
    there = against_page(np.ascontiguousarray(x.transpose(order)), at_end)
    return there.transpose(np.argsort(order))


def of_width(n: int, dtype: str) -> Iterator[tuple[Any, ...]]:
    """Functions and their arrays, of which the last is written where the function says so."""
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Array:
        return rng.uniform(0.1, 0.9, shape).astype(dtype)

    for m, k in ((1, 40), (5, 7), (40, 33), (200, 16)):
        a, b, out = drawn(m, k), drawn(k, n), np.zeros((m, n), dtype)
        for right in (b, np.asfortranarray(b)):
            yield lambda a, b, out: kernels.matmul(a, b, out=out), a, right, out
    for images in (drawn(1, 2, 4, 2 * n), drawn(1, 4, 3, n).transpose(0, 3, 1, 2)):
        yield lambda x: kernels.max_pool2d(x, 2, 2)[0], images
        yield lambda x: kernels.avg_pool2d(x, 2, 2), images
    for lines in (drawn(3, n), np.asfortranarray(drawn(3, n))):
        for along in (kernels.softmax, kernels.log_softmax, kernels.cumsum):
            yield lambda x, along=along: along(x, 1), lines
    for each in (kernels.exp, kernels.tanh, kernels.sqrt):
        yield lambda x, out, each=each: each(x, out=out), drawn(3, n), np.zeros((3, n), dtype)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", SIZES)
def test_every_width(n: int, dtype: str, at_end: bool, isa: str) -> None:
    for function, *arrays in of_width(n, dtype):
        expected = function(*map(np.copy, arrays))
        np.testing.assert_array_equal(function(*(beside(x, at_end) for x in arrays)), expected)


@pytest.mark.parametrize("at_end", [True, False])
@grouped("channels", range(1, 13))
def test_convolutions_of_few_channels(channels: int, at_end: bool, isa: str) -> None:
    rng = np.random.default_rng(0)
    for width in (1, 2, 7, 16, 33):
        shapes = (2, 3, width, channels), (6, 3, 3, channels), (2, 3, width, 6), (2, 3, width, 6)
        arrays = [rng.standard_normal(shape).astype("float32").transpose(0, 3, 1, 2) for shape in shapes]
        arrays[1] = np.ascontiguousarray(arrays[1])
        x, w, dy, out = (beside(a, at_end) for a in arrays)
        kernels.conv2d(x, w, padding=1, out=out)
        kernels.conv2d_backward(dy, x, w, padding=1)
