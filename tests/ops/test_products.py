"""matmul, linear and einsum: arrays of NumPy, one output, lists, wrong equations."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, ops
from support.refused import refused


def test_numpy_on_either_side_keeps_the_tape():
    w = rv.ones(2, 2, requires_grad=True)
    x = np.ones((2, 2), np.float32)
    ((x @ w) + (w @ x)).sum().backward()
    assert w.grad.tolist() == [[4, 4], [4, 4]]


def test_wrong_shapes():
    with pytest.raises(ValueError, match=r"\[linear\] got x of shape \(2, 4\) and weight of shape \(5, 3\)"):
        ops.linear(rv.ones(2, 4), rv.ones(5, 3))
    with pytest.raises(ValueError, match=r'\[linear\] .* \(in layer "1"\)'):
        nn.Sequential(nn.Linear(4, 4), nn.Linear(3, 2))(rv.ones(2, 4))


def test_linear_with_a_weight_of_one_output():
    """A vector: the result has no dimension for the output."""
    x, weight = rv.ones(4, 3, requires_grad=True), rv.tensor([1.0, 2.0, 3.0], requires_grad=True)
    bias = rv.tensor(0.5, requires_grad=True)
    y = rv.nn.functional.linear(x, weight, bias)
    assert y.tolist() == [6.5] * 4
    (y * 2.0).sum().backward()
    assert x.grad.tolist() == [[2, 4, 6]] * 4
    assert (weight.grad.tolist(), bias.grad.item()) == ([8, 8, 8], 8)
    with pytest.raises(ValueError, match=r"\[linear\] got a of shape \(4, 3\) and b of shape \(2,\)"):
        rv.nn.functional.linear(x, rv.ones(2))


def test_integers_and_lists():
    a = rv.tensor([[1, 2], [3, 4]])
    assert rv.einsum("ij,jk->ik", [a, a]).tolist() == [[7, 10], [15, 22]]
    assert rv.einsum("i j -> j", a).tolist() == [4, 6]


def test_lists_in_place_of_an_equation():
    """Numbers 0 to 51 stand for the letters A to Z, a to z."""
    a, b = rv.randn(2, 3), rv.randn(2, 3)
    for lists, equation in (
        (([0, 1], [2, 1], [0, 2]), "ij,kj->ik"),
        (([51, 25], [51, 25]), "zZ,zZ"),
        (([..., 30], [30 - 4, 30], [..., 26]), "...j,ij->...i"),
        (((1, 0), (1, 2)), "ba,bc"),
    ):
        args = (a, lists[0], b, *lists[1:])
        np.testing.assert_array_equal(rv.einsum(*args).numpy(), rv.einsum(equation, a, b).numpy())
    assert rv.einsum(a, [1, 0]).shape == (3, 2)
    refused(ValueError, "[einsum] got indices [52, 0]; expected numbers from 0 to 51", rv.einsum, a, [52, 0])
    refused(TypeError, "[einsum] got indices of type Tensor; expected a list", rv.einsum, a, [0, 1], a)
    refused(ValueError, "got the result 'C'", rv.einsum, a, [0, 1], [2])


def test_wrong_equations():
    for equation, text in (
        ("ij,jk->iz", "got the result 'iz' in 'ij,jk->iz'; expected indices of the operands, each once"),
        ("ij->ij", "got 2 operands for 'ij->ij'; expected 1"),
        ("ijk,jk", "got 'ijk' for 2 dimensions in 'ijk,jk'; expected a letter for each, or '...'"),
        ("i1,jk", "got 'i1' for 2 dimensions"),
        ("ij,ji", "got sizes 2 and 4 for index 'i' of 'ij,ji'; expected equal sizes"),
        ("ii,jk", "got sizes 2 and 3 for index 'i' of"),
    ):
        refused(ValueError, f"[einsum] {text}", rv.einsum, equation, rv.zeros(2, 3), rv.zeros(3, 4))


def test_wrong_calls():
    refused(TypeError, "[einsum] got an equation of type int; expected a str", rv.einsum, 3, rv.zeros(2))
    with pytest.raises(ValueError, match=r"\[mm\] got shapes \(5, 2, 3\) and \(3, 4\); expected 2 and 2 dim"):
        rv.mm(rv.zeros(5, 2, 3), rv.zeros(3, 4))
    with pytest.raises(ValueError, match=r"\[bmm\] got shapes \(1, 2, 3\) and \(5, 3, 4\); expected as many"):
        rv.bmm(rv.zeros(1, 2, 3), rv.zeros(5, 3, 4))


@pytest.mark.parametrize(
    "shapes", [((1, 1), (1, 1)), ((3, 5), (7, 11)), ((20, 17), (3, 2)), ((0, 3), (2, 2))]
)
def test_kron_of_small_and_large_matrices(shapes, rng):
    """Larger products than of 1,024 elements are computed by rows."""
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    np.testing.assert_array_equal(rv.kron(rv.tensor(a), rv.tensor(b)).numpy(), np.kron(a, b))
    transposed = rv.kron(rv.tensor(a).T, rv.tensor(b).T)
    np.testing.assert_array_equal(transposed.numpy(), np.kron(a.T, b.T))


@pytest.mark.parametrize("dtype", [rv.float32, rv.float16, rv.int64, rv.int8, rv.bool])
def test_block_diag(dtype, rng):
    shapes = [(2, 3), (4,), (), (0, 2), (5, 1)]
    parts = [rng.integers(0, 2, shape) for shape in shapes]
    wanted = np.zeros((9, 11), int)
    row = column = 0
    for part in map(np.atleast_2d, parts):
        height, width = part.shape
        wanted[row : row + height, column : column + width] = part
        row += height
        column += width
    y = rv.block_diag(*(rv.tensor(part).to(dtype) for part in parts))
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.long().numpy(), wanted)
    turned = rv.block_diag(*(rv.tensor(part).to(dtype).T for part in parts if part.ndim == 2))
    np.testing.assert_array_equal(turned[:3, :2].long().numpy(), parts[0].T)
