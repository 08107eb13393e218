"""Kernels read and write inside their arrays: each begins or ends at a page without access."""

import ctypes
import mmap
from typing import Any

import numpy as np
import pytest
from ranvier import kernels
from support.calls import KERNELS, WRITES
from support.grouped import grouped

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


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_every_width(dtype: str, at_end: bool, isa: str) -> None:
    rng = np.random.default_rng(0)
    for n in SIZES:
        for m, k in ((1, 40), (5, 7), (40, 33), (200, 16)):
            a, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n)))
            out = against_page(np.zeros((m, n), dtype), at_end)
            y = kernels.matmul(against_page(a, at_end), against_page(b, at_end), out=out)
            np.testing.assert_array_equal(y, kernels.matmul(a, b))
            transposed = against_page(np.ascontiguousarray(b.T), at_end).T
            np.testing.assert_allclose(kernels.matmul(a, transposed), y, rtol=0, atol=1e-4)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_pools_of_every_width(dtype: str, at_end: bool, channels_last: bool, isa: str) -> None:
    rng = np.random.default_rng(0)
    for width in SIZES:
        x = rng.standard_normal((1, width, 4, 3) if channels_last else (1, 2, 4, 2 * width)).astype(dtype)
        stored = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if channels_last else x
        beside = against_page(stored, at_end)
        beside = beside.transpose(0, 3, 1, 2) if channels_last else beside
        for pool in (kernels.max_pool2d, kernels.avg_pool2d):
            y, expected = (arrays_of(pool(z, 2, 2))[0] for z in (beside, x))
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lines_of_every_length(dtype: str, at_end: bool, isa: str) -> None:
    rng = np.random.default_rng(0)
    for n in SIZES:
        x = rng.uniform(0.1, 0.9, (3, n)).astype(dtype)
        for line in (x, np.ascontiguousarray(x.T).T):
            there = against_page(np.ascontiguousarray(line.T), at_end).T if n > 1 else against_page(x, at_end)
            for function in (kernels.softmax, kernels.log_softmax, kernels.cumsum):
                np.testing.assert_allclose(function(there, 1), function(line, 1), rtol=1e-5)
            for function in (kernels.exp, kernels.tanh, kernels.sqrt):
                out = against_page(np.zeros((3, n), dtype), at_end)
                np.testing.assert_array_equal(function(against_page(x, at_end), out=out), function(x))


@pytest.mark.parametrize("at_end", [True, False])
@grouped("channels", range(1, 13))
def test_convolutions_of_few_channels(channels: int, at_end: bool, isa: str) -> None:
    rng = np.random.default_rng(0)
    for width in (1, 2, 7, 16, 33):
        images = (
            rng.standard_normal(s).astype("float32") for s in ((2, 3, width, channels), (2, 3, width, 6))
        )
        x, dy = (against_page(a, at_end).transpose(0, 3, 1, 2) for a in images)
        w = against_page(rng.standard_normal((6, channels, 3, 3)).astype("float32"), at_end)
        out = against_page(np.zeros((2, 3, width, 6), "float32"), at_end).transpose(0, 3, 1, 2)
        kernels.conv2d(x, w, padding=1, out=out)
        kernels.conv2d_backward(dy, x, w, padding=1)
