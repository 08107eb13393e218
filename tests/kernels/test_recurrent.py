"""Kernels of recurrent layers beside the reference in NumPy, in float64: results and gradients at every level
and width, sequences of different lengths, both directions; the same bits of a sequence alone and on any
number of threads. `sizes` has for each step how many sequences still run.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from reference import recurrent as reference
from support.bfloat16 import bfloat16, medium, needs_bfloat16  # noqa: F401
from support.threads import same_bits
from support.tolerance import tolerance

CELLS = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
every_cell = pytest.mark.parametrize("cell", CELLS)


def draw(rng, cell, sizes, inputs, hidden, dtype="float64"):
    """x, h0, c0 and the weights, in the order of the kernel's arguments."""
    width = CELLS[cell] * hidden
    shapes = ((sum(sizes), inputs), (sizes[0], hidden), (sizes[0], hidden))
    states = [rng.uniform(-1, 1, shape) for shape in shapes]
    weights = [
        rng.uniform(-1, 1, shape) / np.sqrt(hidden)
        for shape in ((width, inputs), (width, hidden), (width,), (width,))
    ]
    return [a.astype(dtype) for a in (*states, *weights)]


def both(cell, arrays, dy, dh_n, dc_n, sizes, reverse=False):
    """Outputs and gradients of the core; c0 and dc_n are None where the cell has no c."""
    x, h0, c0, *weights = arrays
    has_c = cell == "lstm"
    y, h_n, c_n, *kept = _core.recurrent(cell, x, h0, c0 if has_c else None, *weights, sizes, reverse)
    gradients = _core.recurrent_backward(
        cell, dy, dh_n, dc_n if has_c else None, x, y, *kept, *weights[:2], sizes, reverse
    )
    return [y, h_n, c_n, *gradients]


def expected(cell, arrays, dy, dh_n, dc_n, sizes, reverse=False):
    x, h0, c0, *weights = (a.astype("float64") for a in arrays)
    y, h_n, c_n, saved = reference.recurrent(cell, x, h0, c0, *weights, sizes, reverse)
    given = (a.astype("float64") for a in (dy, dh_n, dc_n))
    gradients = reference.recurrent_backward(cell, *given, x, *weights[:2], saved, sizes, reverse)
    return [y, h_n, c_n, *gradients]


def agree(cell, sizes, inputs, hidden, dtype, rng, reverse=False):
    """Results and gradients within the roundings of the longest chain of sums, of the size of the largest
    number."""
    arrays = draw(rng, cell, sizes, inputs, hidden, dtype)
    shapes = ((sum(sizes), hidden), (sizes[0], hidden), (sizes[0], hidden))
    back = [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]
    sizes = np.array(sizes)
    got = both(cell, arrays, *back, sizes, reverse)
    want = expected(cell, arrays, *back, sizes, reverse)
    magnitude = max(np.abs(w).max() for w in want)
    reduction = len(sizes) * (inputs + 4 * hidden + sizes[0])
    assert [i for i, g in enumerate(got) if g is None] == ([] if cell == "lstm" else [2, 5])  # c_n, dc0
    for g, w in zip(got, want, strict=True):
        if g is not None:
            np.testing.assert_allclose(g, w, rtol=0, atol=tolerance(dtype, reduction, magnitude))


@every_cell
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_width(cell, dtype, isa, rng):
    """Units of 1 to 2 vectors and a bit, rows of no, one and several tiles."""
    for hidden, rows in ((1, 1), (2, 5), (3, 17), (7, 2), (8, 3), (15, 4), (16, 16), (17, 15), (33, 29)):
        agree(cell, [rows] * 3, 5, hidden, dtype, rng)


@every_cell
def test_long_products(cell, isa, rng):
    """More units than one chain of a product has."""
    agree(cell, [3, 3], 390, 97, "float32", rng)


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_lengths(cell, reverse, isa, rng):
    for sizes in ([5, 5, 3, 1], [1], [4, 3, 2, 1], [20, 1], [17, 16, 16, 2, 2]):
        agree(cell, sizes, 4, 6, "float64", rng, reverse)


@every_cell
@pytest.mark.parametrize("sizes", [(5, 9), (16, 16), (32, 64)])
def test_a_sequence_alone_and_among_others(cell, sizes, isa, rng):
    """Each sequence of a batch gives the bits it gives alone, if it has more than four steps.

    The products with the inputs of at most four rows are dot products, with sums in another order (matmul.h).
    """
    batches = np.array([4, 4, 2, 2, 2, 1])
    x, h0, c0, *weights = draw(rng, cell, batches, *sizes, "float32")
    c0 = c0 if cell == "lstm" else None
    for reverse in (False, True):
        y, h_n, *_ = _core.recurrent(cell, x, h0, c0, *weights, batches, reverse)
        rows = np.cumsum(batches)[:5] - batches[:5] + 1  # of the second sequence, which has five steps
        own = None if c0 is None else c0[1:2]
        z, last, *_ = _core.recurrent(cell, x[rows], h0[1:2], own, *weights, np.ones(5, int), reverse)
        np.testing.assert_array_equal(z, y[rows])
        np.testing.assert_array_equal(last, h_n[1:2])


@needs_bfloat16
@every_cell
def test_products_of_bfloat16(cell, medium, threads, rng):  # noqa: F811
    """All products (of inputs before the loop, of gradients after it) are those of rounded factors."""
    sizes, hidden, inputs = np.array([20, 18, 18, 15]), 64, 129
    rows, width = sizes.sum(), CELLS[cell] * 64
    x, *arrays = draw(rng, cell, sizes, inputs, hidden, "float32")
    shapes = (rows, hidden), (20, hidden), (20, hidden)
    dy, dh_n, dc_n = (rng.uniform(-1, 1, shape).astype("float32") for shape in shapes)
    rounded = lambda a: bfloat16(a).astype("float32")  # noqa: E731
    c0, dc_n = (arrays[1], dc_n) if cell == "lstm" else (None, None)

    def run(x, w_ih):
        y, h_n, _, *kept = _core.recurrent(cell, x, arrays[0], c0, w_ih, *arrays[3:], sizes)

        def back(x, w_ih):
            return _core.recurrent_backward(cell, dy, dh_n, dc_n, x, y, *kept, w_ih, arrays[3], sizes)

        return [y, h_n], back

    states, back = run(x, arrays[2])
    gradients = back(x, arrays[2])
    same_bits(threads, lambda: run(x, arrays[2])[1](x, arrays[2])[3], (1, 2, 3))
    with rv.config.float32_matmul_precision("highest"):
        for got, want in zip(states, run(rounded(x), rounded(arrays[2]))[0], strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=3e-6)
        exact = back(np.eye(rows, dtype="float32"), np.zeros((width, rows), "float32"))
        plain = back(x, arrays[2])
    dgates = bfloat16(exact[3].T)  # of which dw_ih is the product with the inputs
    for got, want in ((gradients[0], dgates @ bfloat16(arrays[2])), (gradients[3], dgates.T @ bfloat16(x))):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    assert np.abs(plain[3] - gradients[3]).max() > 1e-4
    for i in (1, 5, 6):
        np.testing.assert_array_equal(gradients[i], plain[i])


@every_cell
def test_what_is_absent_is_zero(cell, isa, rng):
    """States, biases and gradients that are not given; sizes that are all the same."""
    steps, batch, hidden = 3, 4, 5
    x, h0, c0, w_ih, w_hh, b_ih, _ = draw(rng, cell, [batch] * steps, 6, hidden)
    zeros = np.zeros_like(h0), np.zeros_like(c0) if cell == "lstm" else None, w_ih, w_hh
    no_bias = np.zeros_like(b_ih)
    want = _core.recurrent(cell, x, *zeros, no_bias, no_bias, np.full(steps, batch))
    got = _core.recurrent(cell, x.reshape(steps, batch, -1), None, None, w_ih, w_hh)
    np.testing.assert_array_equal(got[0].reshape(-1, hidden), want[0])
    dy = np.zeros_like(want[0])
    dh_n = rng.uniform(-1, 1, h0.shape)
    saved = (x, want[0], *want[3:], w_ih, w_hh, np.full(steps, batch))
    full = _core.recurrent_backward(cell, dy, dh_n, np.zeros_like(dh_n) if cell == "lstm" else None, *saved)
    some = _core.recurrent_backward(cell, None, dh_n, None, *saved)
    none = _core.recurrent_backward(cell, None, dh_n, None, *saved, False, False, False, False, False)
    for a, b in zip(full, some, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [g is None for g in none] == [True, False, cell != "lstm", True, True, True, True]


@every_cell
def test_any_number_of_threads(cell, threads, rng):
    sizes = np.array([40] * 6 + [23] * 3)
    arrays = draw(rng, cell, sizes, 30, 50, "float32")
    back = draw(rng, cell, sizes, 50, 50, "float32")[:3]
    same_bits(threads, lambda: both(cell, arrays, *back, sizes), (1, 2, 3, 5))


@every_cell
def test_strided_inputs(cell, rng):
    x, h0, c0, *weights = draw(rng, cell, [4] * 3, 6, 5)
    c0 = c0 if cell == "lstm" else None
    x = x.reshape(3, 4, 6)
    want = _core.recurrent(cell, x, h0, c0, *weights)
    swapped = np.ascontiguousarray(x.transpose(1, 0, 2)).transpose(1, 0, 2)
    weights = [np.asfortranarray(w) for w in weights]
    got = _core.recurrent(cell, swapped, h0[::-1].copy()[::-1], c0, *weights)
    for a, b in zip(want, got, strict=True):
        assert a is b is None or (a == b).all()


def test_saturated_gates(isa):
    """Infinite and huge inputs: the gates are 0 or 1, nothing is NaN; a NaN stays in its sequence."""
    x = np.array([[[1e30], [-1e30], [np.nan], [1.0]]], np.float32)
    one = np.ones((4, 1), np.float32)
    y = _core.recurrent("lstm", x, None, None, one, one)[0][0, :, 0]
    np.testing.assert_allclose(y, [np.tanh(1), 0, np.nan, y[3]], rtol=1e-6)
    assert 0 < y[3] < 1
    y = _core.recurrent("rnn_relu", x, None, None, one[:1], one[:1])[0][0, :, 0]
    np.testing.assert_array_equal(y, np.array([1e30, 0, np.nan, 1], np.float32))


def test_errors(rng):
    x, h0, c0, *weights = draw(rng, "lstm", [4] * 3, 6, 5)
    x, flat = x.reshape(3, 4, 6), x
    states, short = (h0, c0, *weights), [w[:5] for w in weights]
    grows = "expected numbers of at least 1 that never grow"
    wide, narrow, of_x = np.zeros((3, 4, 20)), np.zeros((3, 4, 20), "f4"), (None, weights[1])
    rest = (None, None, None, False, True, np.zeros((3, 128), np.uint8), np.zeros(20, "f4"))
    for text, *arguments in (
        ("cell 'elman'; expected 'lstm', 'gru', 'rnn_tanh' or 'rnn_relu'", "elman", x, *states),
        ("x of shape (12, 6); expected 3 dimensions (steps, batch, inputs)", "lstm", flat, *states),
        ("w_hh of shape (20, 5); expected (3 * hidden, hidden)", "gru", x, h0, None, *weights),
        ("w_ih of shape (20, 6); expected (20, 5)", "lstm", x[..., :5], *states),
        ("h0 of shape (3, 5); expected (4, 5)", "lstm", x, h0[:3], c0, *weights),
        ("x of 0 steps; expected at least 1", "lstm", x[:0], *states),
        (f"sizes with 5 after 4; {grows}", "lstm", flat, *states, np.array([4, 5, 3])),
        (f"sizes with 0 after 4; {grows}", "lstm", flat, *states, np.array([4, 4, 0])),
        ("sizes of 11 rows and x of 12; expected as many", "lstm", flat, *states, np.array([4, 4, 3])),
        ("one bias; expected b_ih and b_hh, or neither", "lstm", x, h0, c0, *weights[:3]),
        ("c0; expected None for this cell", "rnn_tanh", x, h0, c0, *short),
        ("x of shape (3, 4, 6); expected (.., 4 * hidden) without w_ih", "lstm", x, h0, c0, *of_x),
        ("b_ih without w_ih; expected None: x has it", "lstm", wide, h0, c0, *of_x, weights[2]),
        ("no w_hh; expected w_hh or panels", "lstm", wide, h0, c0, None, None),
        ("w_hh and panels; expected w_hh or panels", "lstm", wide, h0, c0, *of_x, *rest),
        ("x of dtype float64; expected float32 with panels", "lstm", wide, h0, c0, None, None, *rest),
        ("panels of shape (3, 128); expected (2, 128)", "lstm", narrow, None, None, None, None, *rest),
        (
            "x of dtype float64 and h0 of dtype float32; expected the same dtype",
            *("lstm", x, h0.astype("f4"), c0, *weights),
        ),
    ):
        with pytest.raises(TypeError if "dtype" in text else ValueError) as caught:
            _core.recurrent(*arguments)
        assert str(caught.value) == f"[recurrent] got {text}"
