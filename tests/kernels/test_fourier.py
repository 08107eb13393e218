"""`_core.fourier`, the kernel of Fourier transforms, beside numpy.fft in float64. Complex numbers are pairs
in a last dimension of 2. The tolerance is that of log2(n) sums of terms of the results' size, 4 sqrt(n) for
normal numbers. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import numpy as np
import pytest
from ranvier import _core
from support.grouped import grouped  # parametrize, with many cases a test
from support.tolerance import tolerance

SIZES = [n for n in range(1, 130) if pow(210, 14, n) == 0] + [343, 400, 1000, 1024, 2048]
KINDS = ["fft", "ifft", "rfft", "irfft"]


def points(kind, n):
    """How many x has, and whether they are pairs."""
    return (n // 2 + 1 if kind == "irfft" else n), kind != "rfft"


def expected(x, kind, n, scale=1.0, edge=1.0, window=None):
    """NumPy's transform. edge: a factor of the first and the last frequency of real transforms; window: a
    factor of each real point."""
    x, window = np.asarray(x, float), np.ones(n) if window is None else np.asarray(window, float)
    x = x * window[: x.shape[-1]] if kind == "rfft" else x[..., 0] + 1j * x[..., 1]
    edges = [0, *[n // 2] * (n % 2 == 0)]
    if kind == "irfft":
        x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n // 2 + 1 - x.shape[-1])])
        x[..., edges] *= edge
    y = scale * getattr(np.fft, kind)(x, n, norm="forward" if kind[0] == "i" else None)
    if kind == "rfft":
        y[..., edges] *= edge
    return y * window if kind == "irfft" else np.stack([y.real, y.imag], -1)


def check(x, kind, n, **settings):
    y = _core.fourier(x, kind, n, **settings)
    assert y.dtype == x.dtype
    size = settings.get("scale", 1.0) * 4 * np.sqrt(n)  # the size of results from normal numbers
    np.testing.assert_allclose(
        y, expected(x, kind, n, **settings), rtol=0, atol=tolerance(x.dtype, int(np.log2(n)) + 1, size)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", SIZES)
def test_sizes(n, dtype, isa, rng):
    """All sizes with the primes 2, 3, 5 and 7; fewer points than n, which zeros follow."""
    for kind in KINDS:
        m, pairs = points(kind, n)
        for rows in (1, 5, 17):
            check(rng.standard_normal((rows, m, 2) if pairs else (rows, m)).astype(dtype), kind, n)
        x = rng.standard_normal((3, m // 2 + 1, 2) if pairs else (3, m // 2 + 1)).astype(dtype)  # and zeros
        given = {"scale": 0.5, "edge": 2.0} if kind[-4:] == "rfft" else {"scale": 0.5}
        check(x, kind, n, **given)
        if kind[-4:] == "rfft":
            check(x, kind, n, window=np.repeat(rng.standard_normal(n).astype(dtype), 2)[::2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layouts(kind, dtype, isa, rng):
    """Columns, frames that overlap, rows that are repeated or backwards, parts of pairs apart."""
    n = 12
    m, pairs = points(kind, n)
    last = (2,) if pairs else ()
    columns = np.moveaxis(rng.standard_normal((2, m, 37, *last)).astype(dtype), 1, 2)
    signal = rng.standard_normal((50, *last)).astype(dtype)
    frames = np.lib.stride_tricks.sliding_window_view(signal, m, 0)
    frames = np.moveaxis(frames, 1, 2) if pairs else frames
    window = rng.standard_normal(n).astype(dtype) if kind[-4:] == "rfft" else None
    layouts = [columns, columns[:, ::2], columns[:, ::-1], columns[:, :, ::-1], frames[::3], columns[0, 0]]
    layouts += [
        np.broadcast_to(columns[:1, :1], columns.shape),
        np.broadcast_to(columns[..., :1], columns.shape),
    ]
    layouts += [np.broadcast_to(columns[:, :, :1], columns.shape), columns[:, :0], columns[:, :, :0]]
    for x in layouts:
        check(x, kind, n, **({} if window is None else {"window": window}))


@pytest.mark.parametrize("kind", KINDS)
def test_bits_of_rows_do_not_depend_on_others(kind, threads, rng):
    """A row has the same bits beside a row of NaN, on any team, alone, and stored as a column."""
    m, pairs = points(kind, 200)
    x = rng.standard_normal((301, m, 2) if pairs else (301, m)).astype("f")
    threads(1)
    y = _core.fourier(x, kind, 200)
    x[7] = np.nan
    for count in (2, 4):
        threads(count)
        other = _core.fourier(x, kind, 200)
        np.testing.assert_array_equal(np.delete(other, 7, 0), np.delete(y, 7, 0))
        assert np.isnan(other[7]).mean() > 0.9
    for part in (slice(40, 41), slice(3, 7), slice(300, 270, -1)):
        np.testing.assert_array_equal(_core.fourier(x[part], kind, 200), other[part])
    turned = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, 1)), 1, 0)  # columns
    np.testing.assert_array_equal(_core.fourier(turned, kind, 200), other)
