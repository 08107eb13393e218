"""Products with matrices of 8 and 4 bits, beside sums of integers in NumPy; a test with `levels` runs at each
ISA level and, at x86-64-v4, with both instructions for bytes."""

import itertools

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
import reference.quantized as reference
from ranvier import kernels
from ranvier.ops.matrix.quantized_weight import quantized
from support.grouped import grouped
from support.refused import refused
from support.threads import same_bits

KINDS = ("int8", "q8_0", "q4_0")
OF_KIND = pytest.mark.parametrize("kind", KINDS)
SIZES = [
    (1, 1, 1),
    (1, 16, 32),
    (1, 17, 33),
    (2, 15, 4),
    (3, 33, 5),
    (5, 64, 64),
    (7, 70, 100),
    (13, 31, 545),
]
SIZES += [(50, 49, 96), (4, 16, 31), (6, 100, 128), (0, 5, 7), (3, 0, 7), (3, 5, 0), (1, 1, 0)]


@pytest.fixture
def levels(isas):
    def each():
        for level in isas:
            for products in ("words", "vnni", "tiles", "emulated"):
                if _core.set_byte_products(products):
                    yield level
        _core.set_byte_products("auto")

    return each


def drawn(rng, *shape, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def multiplied(x, w, bias=None):
    scale = None if w.scale is None else w.scale.numpy()
    return kernels.quantized_matmul(x, w.panels.numpy(), scale, bias, w.kind, *w.shape)


def check(y, x, integers, scale, kind, bias=None):
    """Within the roundings of float32: of each term, its scale and its sum, and of the bias."""
    expected, sizes = reference.product(x, integers, scale, kind)
    if bias is not None:
        expected, sizes = expected + bias, sizes + abs(bias)
    groups = 1 if kind == "int8" else -(-x.shape[1] // 32)
    assert (abs(y - expected) <= (groups + 4) * 2.0**-23 * sizes).all()


@OF_KIND
@grouped("size", SIZES)
def test_sizes(kind, size, levels, rng):
    m, n, k = size
    x, bias = drawn(rng, m, k, scale=3.0), drawn(rng, n)
    w = drawn(rng, n, k)
    weight, (integers, scale) = quantized(w, kind), reference.quantize(w, kind)
    assert weight.panels.numpy().tobytes() == reference.panels(integers, scale, kind).tobytes()
    np.testing.assert_array_equal(weight.dequantize().numpy(), reference.values(integers, scale, kind))
    bits = set()
    for level in levels():
        y = multiplied(x, weight, bias)
        check(y, x, integers, scale, kind, bias)
        rows = [multiplied(x[i : i + 1], weight, bias) for i in range(m)]
        np.testing.assert_array_equal(y, np.concatenate(rows) if rows else y)
        if level != "x86-64-v2":  # which rounds products before it adds them
            bits.add(y.tobytes())
    assert len(bits) == 1


@OF_KIND
def test_any_number_of_threads(kind, threads, rng):
    weight = quantized(drawn(rng, 1100, 300), kind)
    for m in (1, 3, 5, 200, 400):
        x = drawn(rng, m, 300)
        same_bits(threads, lambda x=x: multiplied(x, weight))


def test_pieces_of_a_long_row(levels, rng):
    """Sums of 32 bits would overflow: all codes are the greatest."""
    k = 2 * 32768 + 5
    x, w = np.full((2, k), 1.5, np.float32), np.full((3, k), -2.0, np.float32)
    x[1, ::2] = -1.5
    integers, scale = reference.quantize(w, "int8")
    for _ in levels():
        check(multiplied(x, quantized(w, "int8")), x, integers, scale, "int8")


@OF_KIND
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 1e-39])
def test_rows_that_integers_do_not_hold(kind, value, levels, rng):
    """A row with such a number gives what the matrix's values give in float32; others stay as they are."""
    x, weight = drawn(rng, 6, 70), quantized(drawn(rng, 600, 70), kind)
    alone = multiplied(x, weight)
    x[2, 33] = value
    if abs(value) < 1:
        x[2] = value
    for _ in levels():
        y = multiplied(x, weight)
        np.testing.assert_array_equal(np.delete(y, 2, 0).round(3), np.delete(alone, 2, 0).round(3))
        with np.errstate(all="ignore"):
            exact = (x[2].astype(np.float64) @ weight.dequantize().numpy().T.astype(np.float64)).astype("f4")
        near = 70 * 2.0**-149  # each product and each sum rounds a denormal by half of the least number
        if value == 3e38:
            near = 0.02 * abs(exact[np.isfinite(exact)]).max(initial=0)
        np.testing.assert_allclose(y[2], exact, rtol=1e-5, atol=near)


@OF_KIND
def test_rows_of_a_table(kind, levels, rng):
    weight = quantized(drawn(rng, 37, 45), kind)
    scale = None if weight.scale is None else weight.scale.numpy()
    values, index = weight.dequantize().numpy(), rng.integers(0, 37, (3, 4))
    arguments = weight.panels.numpy(), scale
    for _ in levels():
        got = kernels.quantized_rows(*arguments, index[:, ::2], kind, 37, 45)
        np.testing.assert_array_equal(got, values[index[:, ::2]])
    refused(IndexError, "expected 0 to 36", kernels.quantized_rows, *arguments, np.array([37]), kind, 37, 45)


def test_strided_inputs(rng):
    weight, x = quantized(drawn(rng, 20, 40), "int8"), drawn(rng, 3, 4, 80)
    expected = multiplied(np.ascontiguousarray(x[:, :, ::2]), weight)
    np.testing.assert_array_equal(multiplied(x[:, :, ::2], weight), expected)
    panels = np.asfortranarray(weight.panels.numpy())
    got = kernels.quantized_matmul(x[:, :, ::2], panels, weight.scale.numpy(), None, "int8", 20, 40)
    np.testing.assert_array_equal(got, expected)


def test_errors(rng):
    weight, x = quantized(drawn(rng, 20, 40), "int8"), drawn(rng, 3, 40)
    panels, scale = weight.panels.numpy(), weight.scale.numpy()
    call = kernels.quantized_matmul
    for text, arguments in {
        "got x of shape (3, 39); expected (.., 40)": (x[:, :39], panels, scale, None, "int8", 20, 40),
        "got panels of shape (1, 640); expected (2, 640)": (x, panels[:1], scale, None, "int8", 20, 40),
        "got kind 'int8' without scale": (x, panels, None, None, "int8", 20, 40),
        "got scale of shape (19,); expected (20,)": (x, panels, scale[:19], None, "int8", 20, 40),
        "got bias of shape (3,); expected (20,)": (x, panels, scale, scale[:3], "int8", 20, 40),
        "got kind 'int3'": (x, panels, scale, None, "int3", 20, 40),
    }.items():
        refused(ValueError, text, call, *arguments)
    refused(TypeError, "expected float32", call, x.astype(np.float64), panels, scale, None, "int8", 20, 40)


def test_weights_that_cannot_be_quantized():
    for kind, value in itertools.product(KINDS, (np.nan, np.inf)):
        refused(ValueError, "got a weight with NaN or infinity", quantized, np.array([[value]], "f4"), kind)
    refused(ValueError, "expected at most 65504", quantized, np.array([[1e6]], "f4"), "q4_0")
    np.testing.assert_array_equal(quantized(rv.zeros(3, 5), "q8_0").dequantize().numpy(), np.zeros((3, 5)))
