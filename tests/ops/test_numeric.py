"""Ops that are loaded at their first use: values, gradients, compiled steps, integers."""

import math
import operator

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import gradcheck, gradgradcheck
from support.refused import refused

F = rv.nn.functional
DRAWS = np.random.default_rng(0)
INSIDE = DRAWS.uniform(0.1, 0.9, (2, 3)) * np.array([1.0, -1.0, 1.0])
ABOVE = DRAWS.uniform(1.2, 3.0, (2, 3))
MATRIX, OTHER = DRAWS.standard_normal((2, 3)), DRAWS.standard_normal((2, 3)) + 3.0
VECTOR = DRAWS.standard_normal(3)
IMAGE = DRAWS.standard_normal((1, 4, 4, 4))

# name: (argument, Python's function of one number)
ELEMENTARY = {
    "acos": (INSIDE, math.acos),
    "acosh": (ABOVE, math.acosh),
    "asin": (INSIDE, math.asin),
    "asinh": (MATRIX, math.asinh),
    "atan": (MATRIX, math.atan),
    "atanh": (INSIDE, math.atanh),
    "ceil": (MATRIX, math.ceil),
    "cosh": (MATRIX, math.cosh),
    "deg2rad": (MATRIX, math.radians),
    "erf": (MATRIX, math.erf),
    "erfc": (MATRIX, math.erfc),
    "exp2": (MATRIX, lambda x: 2.0**x),
    "floor": (MATRIX, math.floor),
    "frac": (MATRIX, lambda x: math.modf(x)[0]),
    "lgamma": (ABOVE, math.lgamma),
    "log10": (ABOVE, math.log10),
    "log2": (ABOVE, math.log2),
    "logit": (abs(INSIDE), lambda x: math.log(x / (1 - x))),
    "rad2deg": (MATRIX, math.degrees),
    "rsqrt": (ABOVE, lambda x: 1 / math.sqrt(x)),
    "sinc": (MATRIX, lambda x: math.sin(math.pi * x) / (math.pi * x)),
    "sinh": (MATRIX, math.sinh),
    "tan": (INSIDE, math.tan),
    "trunc": (MATRIX, math.trunc),
}
# name: Python's function of two numbers
PAIRS = {
    "atan2": math.atan2,
    "copysign": math.copysign,
    "floor_divide": lambda a, b: a // b,
    "fmax": max,
    "fmin": min,
    "fmod": math.fmod,
    "hypot": math.hypot,
    "logaddexp": lambda a, b: math.log(math.exp(a) + math.exp(b)),
    "remainder": lambda a, b: a % b,
    "rsub": lambda a, b: b - a,
    "true_divide": lambda a, b: a / b,
    "xlogy": lambda a, b: a * math.log(b),
}
# calls that have a gradient in every tensor they get
CALLS = {
    "addcdiv": lambda x, y: rv.addcdiv(x, x, y, value=0.5),
    "addcmul": lambda x, y: rv.addcmul(x, x, y, value=0.5),
    "addmm": lambda x, y: rv.addmm(y[:, :2], x, y.T, beta=0.5, alpha=2.0),
    "baddbmm": lambda x, y: rv.baddbmm(y[:, :2], x.reshape(1, 2, 3), y.reshape(1, 3, 2)),
    "bicubic": lambda x, y: F.grid_sample(
        rv.tensor(IMAGE), (x * 0.1 + y * 0.1).reshape(1, 1, 3, 2), "bicubic"
    ),
    "bilinear": lambda x, y: F.bilinear(x, y, rv.tensor(IMAGE[0, :, :3, :3])),
    "cdist": lambda x, y: rv.cdist(x, y),
    "cov": lambda x, y: rv.cov(x * y),
    "corrcoef": lambda x, y: rv.corrcoef(rv.cat([x, y])),
    "cross": lambda x, y: rv.cross(x, y),
    "cummax": lambda x, y: rv.cummax(x * y, 1).values,
    "cummin": lambda x, y: rv.cummin(x * y, 1).values,
    "cumulative_trapezoid": lambda x, y: rv.cumulative_trapezoid(x, y),
    "diag": lambda x, y: rv.diag(x @ y.T),
    "diag_embed": lambda x, y: rv.diag_embed(x * y, 1),
    "diff": lambda x, y: rv.diff(x * y, 2),
    "digamma": lambda x, y: rv.digamma(y) * x,
    "dist": lambda x, y: rv.dist(x, y, 3),
    **{
        f"embedding_bag, {mode}": lambda x, y, mode=mode: F.embedding_bag(
            rv.tensor([0, 1, 1, 0, 2]),
            rv.cat([x, y * 0.5, x * y]),
            rv.tensor([0, 2, 2]),
            mode=mode,
            padding_idx=2,
        )
        for mode in ("sum", "mean", "max")
    },
    "erfinv": lambda x, y: rv.erfinv(rv.tanh(x)) * y,
    "fold": lambda x, y: F.fold((x * y).reshape(1, 2, 3), (1, 4), (1, 2)),
    "grid_sample": lambda x, y: F.grid_sample(
        (x * y).reshape(1, 1, 2, 3), rv.tensor(IMAGE[:, 0, :, :2] / 5)[None]
    ),
    "index_copy": lambda x, y: rv.index_copy(x, 1, rv.tensor([2, 0]), y[:, :2]),
    "index_fill": lambda x, y: rv.index_fill(x * y, 1, rv.tensor([1]), 7.0),
    "index_put": lambda x, y: rv.index_put(x, (rv.tensor([0, 0]),), y, accumulate=True),
    "inner": lambda x, y: rv.inner(x, y),
    "kron": lambda x, y: rv.kron(x, y),
    "lerp": lambda x, y: rv.lerp(x, y, rv.tensor(VECTOR)),
    "local_response_norm": lambda x, y: F.local_response_norm((x * y).reshape(1, 3, 2), 2, alpha=1.0),
    "logcumsumexp": lambda x, y: rv.logcumsumexp(x * y, 1),
    "masked_scatter": lambda x, y: rv.masked_scatter(x, rv.tensor(MATRIX > 0), y),
    "nanmean": lambda x, y: rv.nanmean(x * y, 1),
    "nanquantile": lambda x, y: rv.nanquantile(x * y, 0.3, 1),
    "normalize": lambda x, y: F.normalize(x * y),
    "pdist": lambda x, y: F.pdist(rv.cat([x, y])),
    "pixel_shuffle": lambda x, y: F.pixel_shuffle((x * y)[:, :2].reshape(1, 4, 1, 1), 2),
    "put": lambda x, y: rv.put(x, rv.tensor([5, 0]), y[0, :2]),
    "quantile": lambda x, y: rv.quantile(x * y, rv.tensor([0.1, 0.6], dtype=rv.float64), 1),
    "renorm": lambda x, y: rv.renorm(x * y, 2, 0, 1.5),
    "rot90": lambda x, y: rv.rot90(x * y, 3),
    "scatter_reduce": lambda x, y: rv.scatter_reduce(x, 1, rv.tensor([[0, 0, 2]] * 2), y, "prod"),
    "take": lambda x, y: rv.take(x * y, rv.tensor([5, 0, 0])),
    "tensordot": lambda x, y: rv.tensordot(x, y, ([1], [1])),
    "trapezoid": lambda x, y: rv.trapezoid(x, y),
    "unfold": lambda x, y: F.unfold((x * y).reshape(1, 1, 2, 3), 2) + x.unfold(1, 2, 1).sum(),
}


@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary(name):
    x, function = ELEMENTARY[name]
    op = getattr(rv, name)
    wanted = np.vectorize(function, otypes=[float])(x)
    np.testing.assert_allclose(op(rv.tensor(x)).numpy(), wanted, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(op(rv.tensor(x).float()).numpy(), wanted, rtol=1e-5, atol=1e-6)
    t = rv.tensor(x, requires_grad=True)
    gradcheck(op, (t,))
    gradgradcheck(op, (t,))
    y = t.clone()
    getattr(y, f"{name}_")()
    np.testing.assert_array_equal(y.tolist(), op(t).tolist())


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name):
    a, op = MATRIX, getattr(rv, name)
    wanted = np.vectorize(PAIRS[name], otypes=[float])(a, OTHER)
    np.testing.assert_allclose(op(rv.tensor(a), rv.tensor(OTHER)).numpy(), wanted, rtol=1e-12, atol=1e-14)
    gradcheck(op, (rv.tensor(a, requires_grad=True), rv.tensor(OTHER, requires_grad=True)))
    gradgradcheck(op, (a, OTHER))
    np.testing.assert_array_equal(
        op(rv.tensor(a[:1]), rv.tensor(OTHER)).numpy(),
        op(rv.tensor(np.repeat(a[:1], 2, 0)), rv.tensor(OTHER)).numpy(),
    )


@pytest.mark.parametrize("name", CALLS)
def test_gradients(name):
    x, y = (rv.tensor(v, requires_grad=True) for v in (MATRIX, OTHER))
    gradcheck(CALLS[name], (x, y))
    gradgradcheck(CALLS[name], (x, y), entries=3)


REFERENCES = {
    "bincount": (lambda: rv.bincount(rv.tensor([1, 1, 3])), [0, 2, 0, 1]),
    "block_diag": (lambda: rv.block_diag(rv.ones(1, 2), rv.ones(1)), [[1, 1, 0], [0, 0, 1]]),
    "bucketize": (lambda: rv.bucketize(rv.tensor([1.0, 2.5]), rv.tensor([1.0, 2.0]), right=True), [1, 2]),
    "cdist": (lambda: rv.cdist(rv.tensor([[0.0, 0.0]]), rv.tensor([[3.0, 4.0]])), [[5]]),
    "cov": (lambda: rv.cov(rv.tensor(MATRIX)), np.cov(MATRIX)),
    "cross": (lambda: rv.cross(rv.tensor(MATRIX), rv.tensor(OTHER)), np.cross(MATRIX, OTHER)),
    "histc": (lambda: rv.histc(rv.tensor([0.0, 1.0, 1.0, 9.0]), 2, 0, 2), [1, 2]),
    "isin": (lambda: rv.isin(rv.tensor([1, 2]), rv.tensor([2])), [False, True]),
    "kron": (lambda: rv.kron(rv.tensor(MATRIX), rv.tensor(OTHER)), np.kron(MATRIX, OTHER)),
    "mode": (lambda: rv.mode(rv.tensor([2, 1, 1, 2])).values, 1),
    "nan_to_num": (lambda: rv.nan_to_num(rv.tensor([np.nan, np.inf]), 1.0, 2.0), [1, 2]),
    "nanmedian": (lambda: rv.nanmedian(rv.tensor([np.nan, 2.0, 1.0])), 1),
    "nansum": (lambda: rv.nansum(rv.tensor([[np.nan, 2.0]]), 1), [2]),
    "quantile": (lambda: rv.quantile(rv.tensor(MATRIX), 0.3, 1), np.quantile(MATRIX, 0.3, 1)),
    "searchsorted": (lambda: rv.searchsorted(rv.tensor([1, 2, 2]), rv.tensor([2, 0]), right=True), [3, 0]),
    "tril_indices": (lambda: rv.tril_indices(2, 3, 1), np.stack(np.tril_indices(2, 1, 3))),
    "unique": (lambda: rv.unique(rv.tensor([3, 1, 3])), [1, 3]),
    "unique_consecutive": (lambda: rv.unique_consecutive(rv.tensor([1, 1, 2, 1])), [1, 2, 1]),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_values(name):
    call, wanted = REFERENCES[name]
    np.testing.assert_allclose(call().numpy(), wanted, rtol=1e-12)


def test_fold_adds_what_unfold_reads():
    x = rv.tensor(IMAGE)
    windows = F.unfold(x, (2, 3), dilation=(2, 1), padding=1, stride=(1, 2))
    counts = F.fold(
        F.unfold(rv.ones(*IMAGE.shape, dtype=rv.float64), (2, 3), (2, 1), 1, (1, 2)),
        (4, 4),
        (2, 3),
        (2, 1),
        1,
        (1, 2),
    )
    back = F.fold(windows, (4, 4), (2, 3), (2, 1), 1, (1, 2))
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


def test_integers_and_bools():
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
    assert rv.logical_and(i > 0, rv.tensor([True, True])).tolist() == [False, True]
    assert rv.diff(rv.tensor([True, False])).tolist() == [True]
    refused(TypeError, "[bitwise_and] got dtypes float32, int64", rv.bitwise_and, rv.ones(2), 1)
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
    rv.manual_seed(0)
    counts = rv.bincount(rv.multinomial(rv.tensor([1.0, 3.0, 0.0]), 4000, replacement=True), minlength=3)
    assert counts[2] == 0
    assert abs(counts[1].item() / 4000 - 0.75) < 0.03
    assert sorted(rv.multinomial(rv.ones(2, 5), 5)[1].tolist()) == [0, 1, 2, 3, 4]
    assert [rv.multinomial(rv.zeros(0, 5), 2, again).shape for again in (True, False)] == [(0, 2)] * 2
    one_each = rv.multinomial(
        rv.tensor([[0.0, 5.0, 0.0], [2.0, 0.0, 6.0]]).repeat(2000, 1), 1, replacement=True
    )
    assert one_each.shape == (4000, 1)
    several = rv.multinomial(rv.tensor([[0.0, 5.0, 0.0], [2.0, 0.0, 6.0]]), 4000, replacement=True)
    assert {*several[0].tolist()} == {1}
    assert {*several[1].tolist()} == {0, 2}
    assert abs((several[1] == 2).float().mean().item() - 0.75) < 0.05
    assert set(one_each[::2].tolist()[0]) == {1}
    assert abs((one_each[1::2] == 2).float().mean().item() - 0.75) < 0.05
    x = rv.zeros(4000)
    assert abs(x.normal_(2.0, 3.0).std().item() - 3) < 0.2
    assert abs(x.exponential_(2.0).mean().item() - 0.5) < 0.05
    assert abs(x.cauchy_(3.0, 2.0).median().item() - 3) < 0.3
    assert abs(x.log_normal_(1.0, 0.5).log().mean().item() - 1) < 0.05
    assert abs(x.geometric_(0.25).mean().item() - 4) < 0.3
    assert x.min() == 1
    assert abs(rv.bernoulli(rv.full((4000,), 0.3)).mean().item() - 0.3) < 0.03
    assert abs(rv.binomial(rv.full((4000,), 9.0), rv.tensor(0.3)).mean().item() - 2.7) < 0.1
    refused(ValueError, "[binomial] got a negative count", rv.binomial, -rv.ones(1), rv.ones(1))
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


def test_apply_and_map():
    t, other = rv.arange(6).float().reshape(2, 3).t(), rv.tensor([4.0, 1.0])
    assert t.apply_(lambda v: v * v) is t
    assert t.map_(other, max).tolist() == [[4.0, 9.0], [4.0, 16.0], [4.0, 25.0]]
    assert rv.zeros(0).apply_(abs).shape == (0,)
    refused(RuntimeError, "[apply_]", rv.ones(2).requires_grad_().apply_, abs)
    refused(RuntimeError, "[map_]", rv.ones(2).map_, rv.ones(2).requires_grad_(), max)


def test_fill_diagonal_of_views_and_wrong_shapes():
    x = rv.zeros(3, 4)
    x.t()[1:].fill_diagonal_(2.0)
    assert x.tolist() == [[0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]]
    refused(ValueError, "[fill_diagonal_] got x of shape (3,)", rv.zeros(3).fill_diagonal_, 1.0)
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


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_integers_divided_by_zero_are_refused(name):
    with pytest.raises(ValueError, match=rf"\[{name}\] got integers divided by 0; expected other divisors"):
        getattr(rv, name)(rv.tensor([7]), rv.tensor([0]))


@pytest.mark.parametrize("form", [float, lambda weight: rv.full((2,), weight)], ids=["a number", "a tensor"])
def test_lerp_is_exact_at_both_ends(form):
    start, end = rv.tensor([1e10, 0.1]), rv.tensor([1.0, 0.7])
    np.testing.assert_array_equal(rv.lerp(start, end, form(1.0)).numpy(), end.numpy())
    np.testing.assert_array_equal(rv.lerp(start, end, form(0.0)).numpy(), start.numpy())


def test_eye_writes_to_out():
    x = rv.full((2, 3), 7.0)
    assert rv.eye(2, 3, out=x) is x
    assert x.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    refused(ValueError, "[eye] got out of shape (2, 3)", rv.eye, 3, out=x)
