"""What matmul does to a finished product: bias, activation, an activation's derivative."""

import numpy as np
import pytest
from ranvier import kernels
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout

# dots, whole rows of b, tiles of one panel and of some, ragged ones, transposed ones, some blocks of k, no k;
# few columns and products of many rows, and of more than are between two looks for a signal
SHAPES = [
    *((1, 70, 33), (3, 600, 90), (20, 0, 9), (6, 1000, 300), (32, 20, 32), (33, 65, 10), (17, 800, 129)),
    *((70, 3, 7), (131, 64, 10), (200, 9, 50), (2050, 2, 5)),
]


def drawn(rng, dtype, *shape):
    return rng.uniform(-2, 2, shape).astype(dtype)


def activations():
    """The names that matmul takes."""
    with pytest.raises(ValueError, match="expected one of") as error:
        kernels.matmul(np.ones((1, 1)), np.ones((1, 1)), None, "?")
    return [w.strip("'") for w in str(error.value).split("one of ")[1].split(", ")][1:]


ACTIVATIONS = activations()


def both(a, b, bias, activation, saved, out=None):
    """The one call and the two that it replaces."""
    one = kernels.matmul(a, b, bias, activation, out, saved)
    two = getattr(kernels, f"{activation}_backward")(kernels.matmul(a, b, bias), saved.copy())
    return one, two


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("activation", ACTIVATIONS)
def test_forward_and_backward_are_those_of_two_calls(activation, dtype, isa, rng, threads):
    for m, k, n in SHAPES:
        a, weight, bias = drawn(rng, dtype, m, k), drawn(rng, dtype, n, k), drawn(rng, dtype, 2 * n)[::2]
        saved = drawn(rng, dtype, m, n)
        for b, count in ((weight.T, 1), (np.ascontiguousarray(weight.T), 2)):
            threads(count)
            two = getattr(kernels, activation)(kernels.matmul(a, b, bias))
            np.testing.assert_array_equal(kernels.matmul(a, b, bias, activation), two)
            np.testing.assert_array_equal(*both(a, b, None, activation, saved))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [1, 3, 4, 7, 8, 9, 12, 15, 16, 17, 24, 31, 33, 63, 64, 65])
def test_columns_around_vectors(n, dtype, isa, rng):
    """Small products and tiles, of which the last vector overlaps, is masked, or has less than a vector."""
    for m, k in ((5, 70), (67, 20), (30, 400)):
        a, b, bias = drawn(rng, dtype, m, k), drawn(rng, dtype, k, n), drawn(rng, dtype, n)
        saved = drawn(rng, dtype, m, n)
        for x, y in ((a, b), (np.asfortranarray(a), np.asfortranarray(b))):
            sums = kernels.matmul(x, y)
            for out in (None, np.full((n, m), np.nan, dtype).T):  # transposed tiles
                np.testing.assert_array_equal(kernels.matmul(x, y, bias, "none", out), sums + bias)
                positive = np.maximum(sums + bias, 0)
                np.testing.assert_array_equal(kernels.matmul(x, y, bias, "relu", out), positive)
                chosen = np.where(saved > 0, sums + bias, 0)
                np.testing.assert_array_equal(kernels.matmul(x, y, bias, "relu", out, saved), chosen)


@pytest.mark.parametrize("layout", ["contiguous", *LAYOUTS])
@grouped("shape", SHAPES, ids=str)
def test_saved_in_any_layout(shape, layout, isa, rng, threads):
    m, k, n = shape
    a, b, bias = drawn(rng, "f4", m, k), drawn(rng, "f4", k, n), drawn(rng, "f4", n)
    saved = in_layout(drawn(rng, "f4", m, n), layout)
    for count in (1, 2, 3):
        threads(count)
        np.testing.assert_array_equal(*both(a, b, bias, "relu", saved))
        out = np.full((n, m), np.nan, np.float32).T  # transposed tiles
        np.testing.assert_array_equal(*both(a, b, None, "tanh", saved, out))
    repeated = np.broadcast_to(saved[:, :1], (m, n))
    np.testing.assert_array_equal(*both(a, b, None, "gelu", repeated))


@pytest.mark.parametrize("layout", ["contiguous", *LAYOUTS])
def test_batches(layout, isa, rng, threads):
    a, b = drawn(rng, "f4", 3, 1, 20, 30), drawn(rng, "f4", 2, 30, 40)
    saved = in_layout(drawn(rng, "f4", 3, 2, 20, 40), layout)
    for count in (1, 4):
        threads(count)
        np.testing.assert_array_equal(*both(a, b, None, "relu", saved))
    vector = in_layout(drawn(rng, "f4", 3, 2, 20), layout)
    np.testing.assert_array_equal(*both(np.repeat(a, 2, 1), b[0, :, 0], None, "relu", vector))
    np.testing.assert_array_equal(*both(a[0, 0, 0], b[0, :, 0], None, "relu", np.ones((), "f4")))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_fewer_products_than_threads(count, isa, rng, threads):
    """The whole team works on one product after the other, through one packed b."""
    a, b = drawn(rng, "f4", 2, 300, 200), drawn(rng, "f4", 2, 200, 300)
    threads(1)
    alone = kernels.matmul(a, b)
    threads(count)
    for _ in range(20):
        np.testing.assert_array_equal(kernels.matmul(a, b), alone)


def test_nan_and_inf_pass(isa):
    """relu's derivative is a choice, so what is not chosen does not spread: as in relu_backward."""
    a, b = np.float32([[np.inf], [1]]), np.float32([[1, -1, np.nan]])
    saved = np.float32([[0, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(*both(a, b, None, "relu", saved))
