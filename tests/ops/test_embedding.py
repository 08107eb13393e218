"""embedding: forward and backward against the reference."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import index as reference
from support.draws import any_shape
from support.op_case import WIDTHS, OpCase
from support.refused import refusals, refused
from support.tolerance import tolerance


class TestEmbedding(OpCase):
    op_name = "embedding"
    variants = ({"shape": (5,)}, {"shape": (3, 4)}, {"shape": (), "rows": 1})
    rows = 6
    padding = None
    by_frequency = False

    def inputs(self, rng, dtype):
        return self.sized(rng, dtype, 19)

    def resized(self):
        return WIDTHS

    def sized(self, rng, dtype, width):
        return rng.standard_normal((self.rows, width)).astype(dtype), rng.integers(0, self.rows, self.shape)

    def large_inputs(self, rng, dtype):
        return rng.standard_normal((500, 77)).astype(dtype), rng.integers(0, 500, (61, 67))

    def empty_inputs(self, dtype):
        return np.ones((self.rows, 3), dtype), np.zeros((2, 0), np.int64)

    def draw(self, rng, dtype):
        rows = int(rng.integers(1, 40))
        padding = None if rng.random() < 0.5 else int(rng.integers(-rows, rows))
        index = rng.integers(0, rows, any_shape(rng, most=3))
        index = index.astype(rng.choice(["int64", "int32"]))  # what torch takes
        width = int(rng.choice([1, 3, 8, 16, 17, 40]))
        settings = {"rows": rows, "padding": padding, "by_frequency": bool(rng.integers(2))}
        return settings, (rng.uniform(-2, 2, (rows, width)).astype(dtype), index)

    def reduction(self, weight, index):
        return index.size

    def op(self, weight, index):
        return ops.embedding(index, weight, self.padding, scale_grad_by_freq=self.by_frequency)

    def reference(self, weight, index):
        return reference.embedding(index, weight)

    def reference_backward(self, dy, weight, index):
        rows = weight.shape[0]
        return reference.embedding_backward(dy, index, rows, self.padding, self.by_frequency), None


class TestEmbeddingOtherGradients(TestEmbedding):
    """Settings that ask for something else than the derivative."""

    variants = (
        {"shape": (29,), "padding": 0},
        {"shape": (3, 4), "padding": 2},
        {"shape": (2, 3, 2), "padding": -1, "by_frequency": True},
    )
    test_reference_gradients = None


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64", "int64"])
def test_any_integer_dtype(dtype):
    weight = rv.tensor(np.arange(12.0).reshape(4, 3))
    index = np.array([[3, 0], [1, 1]], dtype)
    np.testing.assert_array_equal(ops.embedding(index, weight).numpy(), weight.numpy()[index.astype(int)])


def test_index_changed_before_backward():
    weight, index = rv.ones(3, 2, requires_grad=True), rv.tensor([0, 1])
    y = ops.embedding(index, weight).sum()
    index[0] = 2
    refused(RuntimeError, "modified by an inplace operation", y.backward)


def test_errors():
    weight = rv.ones(4, 2)
    wrong = refusals(ops.embedding)
    wrong(IndexError, "got index 4 for 4 embeddings; expected 0 to 3", np.array([0, 4]), weight)
    wrong(IndexError, "got index -1 for 4 embeddings; expected 0 to 3", np.array([[-1]]), weight)
    wrong(TypeError, "got index of dtype float32; expected an integer dtype", rv.ones(2), weight)
    wrong(ValueError, "got weight of shape (4,); expected 2 dimensions", np.array([0]), weight[:, 0])
    wrong(ValueError, "got padding_idx 4 for 4 embeddings; expected -4 to 3", np.array([0]), weight, 4)


@pytest.mark.parametrize("order", [1, 2, 3, np.inf])
@pytest.mark.parametrize("compiled", [False, True])
def test_max_norm_shortens_the_rows_that_are_used(order, compiled, rng):
    """In the weight itself, once however often the input has a row; no gradient passes through it."""
    start = rng.uniform(-3, 3, (5, 4))
    weight, index = rv.tensor(start, requires_grad=True), rv.tensor([[3, 1], [3, 4]])

    def step(x):
        y = rv.nn.functional.embedding(x, weight, max_norm=1.5, norm_type=order)
        y.sum().backward()
        return y.detach()

    given = index if order == 2 else index.to(np.uint8)  # in an index, PyTorch's uint8 is a mask
    y = (rv.compile(step) if compiled else step)(given)
    expected = start.copy()
    for row in (1, 3, 4):
        length = np.linalg.norm(start[row], order)
        expected[row] *= min(1.0, 1.5 / (length + 1e-7)) if length > 1.5 else 1.0
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=0, atol=tolerance("float64", 16, 3))
    np.testing.assert_array_equal(y.numpy(), weight.detach().numpy()[index.numpy()])
    assert weight.grad[:, 0].tolist() == [0, 1, 0, 2, 1]
    half, single = rv.tensor(start).half(), rv.tensor(start).half().float()
    for table in (half, single):  # rounded once
        rv.nn.functional.embedding(index, table, max_norm=1.5, norm_type=order)
    np.testing.assert_array_equal(half.numpy(), single.half().numpy())
    with pytest.raises(IndexError, match=r"\[embedding\] got index -1"):
        rv.nn.functional.embedding(rv.tensor([-1]), weight, max_norm=1.0)
