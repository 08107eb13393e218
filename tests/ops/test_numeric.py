"""Rarer ops: pairs of which one undoes the other, integers, the statistics of draws, diagonals, a Cholesky
factor's system, lerp. Beside NumPy or values by hand.
"""

import math
import operator

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import gradcheck
from support.refused import refused

F = rv.nn.functional
DRAWS = np.random.default_rng(0)
MATRIX = DRAWS.standard_normal((2, 3))
IMAGE = DRAWS.standard_normal((1, 4, 4, 4))


def test_fold_adds_what_unfold_reads():
    """Each element as often as windows have it."""
    x, settings = (
        rv.tensor(IMAGE),
        {"kernel_size": (2, 3), "dilation": (2, 1), "padding": 1, "stride": (1, 2)},
    )
    back = F.fold(F.unfold(x, **settings), (4, 4), **settings)
    counts = F.fold(F.unfold(rv.ones_like(x), **settings), (4, 4), **settings)
    np.testing.assert_allclose(back.numpy(), IMAGE * counts.numpy(), rtol=1e-12)
    np.testing.assert_array_equal(F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2).numpy(), IMAGE)


def test_unpool_reverses_max_pool():
    x = rv.tensor(IMAGE)
    y, at = F.max_pool2d(x, 2, return_indices=True)
    z = F.max_unpool2d(y, at, 2)
    assert z.shape == x.shape
    np.testing.assert_array_equal(
        F.max_pool2d(rv.where(z != 0, z, rv.tensor(-9.0, dtype=z.dtype)), 2).numpy(), y.numpy()
    )


def test_integers():
    i = rv.tensor([-5, 5])
    assert (i // 3).tolist() == [-2, 1]
    assert (i % 3).tolist() == [1, 2]
    assert i.fmod(3).tolist() == [-2, 2]
    assert i.floor().dtype == rv.int64
    assert i.sinh().dtype == rv.float32
    assert (7 // i).tolist() == [-2, 1]
    assert (7 % i).tolist() == [-3, 2]
    assert (i << 1).tolist() == [-10, 10]
    assert (+i).tolist() == [-5, 5]
    i //= 2
    assert i.tolist() == [-3, 2]


@pytest.mark.parametrize("name", ["and", "or", "xor", "lshift", "rshift"])
def test_bitwise_assignments_change_the_tensor(name):
    x, other = np.array([6, 5]), np.array([3, 1])
    tensor = rv.tensor(x)
    view = tensor[:1]
    assert getattr(operator, f"i{name}")(tensor, rv.tensor(other)) is tensor
    expected = getattr(x, f"__{name}__")(other)
    assert (tensor.tolist(), view.tolist()) == (expected.tolist(), expected[:1].tolist())


def test_draws():
    """Shares and means of many draws near those of their distribution; weights of 0 are never drawn."""
    rv.manual_seed(0)
    counts = rv.bincount(rv.multinomial(rv.tensor([1.0, 3.0, 0.0]), 4000, replacement=True), minlength=3)
    assert counts[2] == 0
    assert abs(counts[1].item() / 4000 - 0.75) < 0.03
    assert sorted(rv.multinomial(rv.ones(2, 5), 5)[1].tolist()) == [0, 1, 2, 3, 4]
    assert [rv.multinomial(rv.zeros(0, 5), 2, again).shape for again in (True, False)] == [(0, 2)] * 2
    weights = rv.tensor([[0.0, 5.0, 0.0], [2.0, 0.0, 6.0]])
    several = rv.multinomial(weights, 4000, replacement=True)
    assert {*several[0].tolist()} == {1}
    assert {*several[1].tolist()} == {0, 2}
    assert abs((several[1] == 2).float().mean().item() - 0.75) < 0.05
    x = rv.zeros(4000)
    assert abs(x.normal_(2.0, 3.0).std().item() - 3) < 0.2
    assert abs(x.exponential_(2.0).mean().item() - 0.5) < 0.05
    assert abs(x.cauchy_(3.0, 2.0).median().item() - 3) < 0.3
    assert abs(x.log_normal_(1.0, 0.5).log().mean().item() - 1) < 0.05
    assert abs(x.geometric_(0.25).mean().item() - 4) < 0.3
    assert x.min() == 1
    assert abs(rv.binomial(rv.full((4000,), 9.0), rv.tensor(0.3)).mean().item() - 2.7) < 0.1
    assert set(rv.zeros(200).random_(3).tolist()) == {0, 1, 2}
    assert set(rv.zeros(200, dtype=rv.uint8).random_(253, None).tolist()) == {253, 254, 255}
    brain = rv.zeros(2000).bfloat16().random_()
    assert (brain.max().item(), brain.min().item() <= 3, brain.dtype) == (256, True, rv.bfloat16)
    g = rv.Generator().manual_seed(3)
    first = rv.normal(rv.zeros(3), 1.0, generator=g)
    assert first.tolist() == rv.normal(rv.zeros(3), 1.0, generator=rv.Generator().manual_seed(3)).tolist()


def test_dtypes_of_activations_that_are_formulas():
    assert F.threshold(rv.tensor([0.0, 2.0]).half(), 1.0, 0.5).tolist() == [0.5, 2.0]
    assert F.threshold(rv.tensor([0, 2]), 1, -1).tolist() == [-1, 2]
    refused(TypeError, "[threshold] got x of dtype bool", F.threshold, rv.tensor([True]), 0, 1)
    refused(TypeError, "[rrelu] got x of dtype int64", F.rrelu, rv.tensor([1]))


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (7, 2), (9, 2), (1, 4), (3, 3, 3), (0, 2)])
@pytest.mark.parametrize("wrap", [False, True])
def test_fill_diagonal(shape, wrap):
    x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    wanted = x.copy()
    np.fill_diagonal(wanted, -1, wrap)
    for dtype in (np.float32, np.float64, np.int64):
        t = rv.tensor(x.astype(dtype))
        assert t.fill_diagonal_(-1, wrap) is t
        np.testing.assert_array_equal(t.numpy(), wanted)
    t = rv.tensor(x, requires_grad=True)
    y = (t * 2).fill_diagonal_(3.0, wrap=wrap)
    y.sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), np.where(wanted == -1, 0, 2))
    refused(RuntimeError, "[fill_diagonal_]", t.fill_diagonal_, 1.0)


def test_fill_diagonal_of_views_and_wrong_shapes():
    x = rv.zeros(3, 4)
    x.t()[1:].fill_diagonal_(2.0)
    assert x.tolist() == [[0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]]
    refused(ValueError, "[fill_diagonal_] got x of shape (2, 2, 3)", rv.zeros(2, 2, 3).fill_diagonal_, 1.0)


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_solve(upper):
    A = np.stack([MATRIX[:, :2].T @ MATRIX[:, :2] + np.eye(2) * i for i in (1, 2, 3)])
    B = DRAWS.standard_normal((3, 2, 4))
    factor = np.linalg.cholesky(A)
    factor = np.swapaxes(factor, -1, -2) if upper else factor
    noise = factor + (np.tril if upper else np.triu)(np.ones((2, 2)), -1 if upper else 1)  # is not read
    b, f = rv.tensor(B, requires_grad=True), rv.tensor(noise, requires_grad=True)
    np.testing.assert_allclose(rv.cholesky_solve(b, f, upper).detach(), np.linalg.solve(A, B), rtol=1e-10)
    np.testing.assert_allclose(b.cholesky_solve(f, upper).detach(), np.linalg.solve(A, B), rtol=1e-10)
    half = rv.triu if upper else rv.tril
    gradcheck(lambda b, f: rv.cholesky_solve(b, half(f), upper), (b, f))
    refused(ValueError, "singular", rv.cholesky_solve, rv.ones(2, 1), rv.zeros(2, 2))
    refused(ValueError, "[cholesky_solve] got A of shape (2,)", rv.cholesky_solve, rv.ones(2), rv.eye(2))


@pytest.mark.parametrize("form", [float, lambda weight: rv.full((2,), weight)], ids=["a number", "a tensor"])
def test_lerp_is_exact_at_both_ends(form):
    start, end = rv.tensor([1e10, 0.1]), rv.tensor([1.0, 0.7])
    np.testing.assert_array_equal(rv.lerp(start, end, form(1.0)).numpy(), end.numpy())
    np.testing.assert_array_equal(rv.lerp(start, end, form(0.0)).numpy(), start.numpy())


@pytest.mark.parametrize("weight", [-3.0, -0.25, 0.25, 0.75])
def test_a_weight_of_lerp_in_a_tensor_gives_the_bits_of_a_number(weight):
    start, end = rv.rand(100), rv.rand(100)
    assert rv.lerp(start, end, weight).equal(rv.lerp(start, end, rv.full((100,), weight)))


def test_eye_writes_to_out():
    x = rv.full((2, 3), 7.0)
    assert rv.eye(2, 3, out=x) is x
    assert x.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    refused(ValueError, "[eye] got out of shape (2, 3)", rv.eye, 3, out=x)
