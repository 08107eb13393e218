"""embedding: gradients beside the reference, of padding and by frequency; dtypes of indices; rows that
max_norm shortens, beside NumPy's norms; tangents (forward mode) beside the embedding of the tangent.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import index as reference
from support.refused import refused
from support.tolerance import tolerance


@pytest.mark.parametrize("by_frequency", [False, True])
@pytest.mark.parametrize("padding", [None, 0, 2, -1])
@pytest.mark.parametrize("shape", [(29,), (3, 4), (2, 3, 2)])
def test_gradients_that_are_no_derivatives(shape, padding, by_frequency, rng):
    """Rows of padding have none, others are divided by how often they were picked."""
    weight, index = rv.tensor(rng.standard_normal((6, 19)), requires_grad=True), rng.integers(0, 6, shape)
    y = ops.embedding(index, weight, padding, scale_grad_by_freq=by_frequency)
    dy = rng.standard_normal(y.shape)
    y.backward(rv.tensor(dy))
    expected = reference.embedding_backward(dy, index, 6, padding, by_frequency)
    np.testing.assert_allclose(weight.grad.numpy(), expected, rtol=0, atol=tolerance("float64", 29, 4))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64", "int64"])
def test_any_integer_dtype(dtype):
    """Indices of any integer dtype pick NumPy's rows."""
    weight = rv.tensor(np.arange(12.0).reshape(4, 3))
    index = np.array([[3, 0], [1, 1]], dtype)
    np.testing.assert_array_equal(ops.embedding(index, weight).numpy(), weight.numpy()[index.astype(int)])


def test_index_changed_before_backward():
    weight, index = rv.ones(3, 2, requires_grad=True), rv.tensor([0, 1])
    y = ops.embedding(index, weight).sum()
    index[0] = 2
    refused(RuntimeError, "modified by an inplace operation", y.backward)


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


@pytest.mark.parametrize(
    "settings", [{}, {"padding_idx": 1}, {"scale_grad_by_freq": True}, {"mode": "mean"}, {"mode": "sum"}]
)
def test_tangents_of_embeddings(settings):
    """padding_idx and scale_grad_by_freq, which act in backward alone, change no tangent of a row."""
    embed, w, i = rv.nn.functional.embedding, rv.arange(8.0).reshape(4, 2), rv.tensor([0, 1, 1, 2])
    if "mode" in settings:
        settings = {"scale_grad_by_freq": True, **settings}
        embed = lambda i, w, **more: rv.nn.functional.embedding_bag(i, w, rv.tensor([0, 1]), **more)  # noqa: E731
    f = lambda w: embed(i, w, **settings)  # noqa: E731
    v = rv.rand(4, 2)
    _, tangent = rv.func.jvp(f, (w,), (v,))
    np.testing.assert_allclose(tangent.numpy(), f(v).numpy(), rtol=1e-6)
    for g in (f, lambda w: f(w).sum()):
        jacobian = rv.func.jacfwd(g)(w)
        np.testing.assert_allclose((jacobian * v).sum((-2, -1)).numpy(), g(v).numpy(), rtol=1e-5)
    if settings.keys() & {"padding_idx", "scale_grad_by_freq"}:  # fmax has no forward rule
        for way in (lambda h: rv.func.jvp(h, (w,), (v,)), lambda h: rv.func.jacfwd(h)(w)):
            refused(NotImplementedError, "got fmax", way, lambda w: rv.fmax(f(w), rv.tensor(0.5)))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (4,), (2, 0, 3), (2, 3)])
def test_rows_of_a_table_of_integers(dtype, shape):
    table = np.arange(15).reshape(5, 3).astype(dtype)
    index = np.random.default_rng(0).integers(0, 5, shape)
    y = ops.embedding(rv.tensor(index), rv.tensor(table), padding_idx=1)
    assert (str(y.dtype), y.requires_grad) == (f"torch.{dtype}", False)
    np.testing.assert_array_equal(y.numpy(), table[index])


def test_wrong_indices_of_a_table_of_integers():
    table = rv.ones(5, 3, dtype=rv.int8)
    refused(IndexError, "[embedding] got index 0 to 5", ops.embedding, rv.tensor([[0, 5]]), table)
    refused(IndexError, "[embedding] got index -1", ops.embedding, rv.tensor([-1]), table)
    refused(TypeError, "[embedding] got index of dtype float32", ops.embedding, rv.tensor([0.0]), table)
    refused(TypeError, "[embedding] got weight", ops.embedding, rv.tensor([0]), table, max_norm=1.0)
