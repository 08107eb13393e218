"""float16 and bfloat16 (halves): where an op is more than the op on float32 rounded once, which
tests/properties/test_halves.py has for all ops. Here: numbers beyond their range, float32 beside them,
gradients, edges of vectors. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import math

import numpy as np
import pytest
import ranvier as rv
from properties.every import weights_for
from properties.test_halves import EPS, EVERY
from ranvier.nn import functional as F
from ranvier.ops.activation import piecewise, smooth  # noqa: F401  # fill the table
from ranvier.ops.activation.table import TABLE
from support.refused import refused

HALVES = (rv.float16, rv.bfloat16)


@pytest.mark.parametrize("own", HALVES, ids=str)
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.div(-0.1, rounding_mode="trunc"), lambda x: rv.addcdiv(x, x, x.flip(0), value=0.3),
        lambda x: x + 1e6, lambda x: x * 1e10, lambda x: x / 1e10, lambda x: 1e5 / x, lambda x: x < 1e6,
        lambda x: x.clone().add_(x, alpha=0.3), lambda x: x.clone().mul_(0.3),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_numbers_that_no_half_has(function, own, isa):
    x = rv.tensor(EVERY).view(own)
    found, exact = function(x), function(x.float())
    if exact.is_floating_point():
        found, exact = found.float(), exact.to(own).float()
    np.testing.assert_array_equal(found.numpy(), exact.numpy(), strict=True)


def test_square_roots_of_halves_are_powers():
    x = rv.tensor([-np.inf, -0.0, 4.0], dtype=rv.float16)
    assert (x**0.5).tolist() == [np.inf, 0.0, 2.0]  # as in PyTorch, where those of float32 are roots


def test_results_of_float16_are_float16_and_rounded_once():
    x = rv.tensor([[0.1, 0.7, 0.3], [2.0, -1.0, 0.4]], dtype=rv.float16)
    for function in (rv.cov, rv.corrcoef):
        expected = function(x.float()).numpy().astype(np.float16)
        np.testing.assert_array_equal(function(x).numpy(), expected, strict=True)
    assert rv.cov(x, aweights=rv.ones(3)).dtype == rv.float32
    assert rv.cov(x.int(), aweights=rv.ones(3, dtype=rv.bfloat16)).dtype == rv.bfloat16
    assert rv.block_diag(x, rv.ones(())).dtype == rv.float16
    np.testing.assert_array_equal(
        x.clip(0.2, 0.5).numpy(), np.clip(x.numpy(), np.float16(0.2), 0.5), strict=True
    )
    edge = rv.tensor([-9.796875, -9.8046875], dtype=rv.float16)  # beside the edge -9.8
    assert rv.histc(edge, min=-10, max=10)[:2].tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [rv.float16, rv.int64, rv.int32])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_results_along_a_dimension_are_in_c_order_whatever_that_of_the_input(dtype, dim):
    x = rv.arange(24).reshape(2, 3, 4).permute(2, 0, 1).to(dtype)
    results = (
        x.max(dim),
        x.min(dim),
        x.amax(dim),
        x.sum(dim),
        x.median(dim),
        x.kthvalue(1, dim),
        x.topk(2, dim),
    )
    for result in results:
        assert all(y.is_contiguous() for y in (result if isinstance(result, tuple) else [result]))


def test_halves_of_both_kinds_keep_their_range() -> None:
    large = rv.tensor([2.0**20, 2.0**100], dtype=rv.bfloat16)
    assert rv.isclose(large, large.clone()).all()
    assert rv.isin(large, rv.tensor([np.inf], dtype=rv.float16)).tolist() == [False, False]


def test_neighbours_of_bfloat16() -> None:
    """Those of float32 with numbers of 16 bits: 2^-7 of a power of two apart, 2^-133 about 0."""
    x = rv.tensor([1.0, 1.0, -1.0, 0.0, -0.0, 2.0, np.inf, -np.inf, np.nan, 3.0], dtype=rv.bfloat16)
    to = rv.tensor([2.0, 0.0, 0.0, 1.0, -1.0, 2.0, 0.0, 0.0, 0.0, np.nan], dtype=rv.bfloat16)
    y = rv.nextafter(x.requires_grad_(), to)
    most = (2 - 2.0**-7) * 2.0**127
    expected = [1 + 2**-7, 1 - 2**-8, -1 + 2**-8, 2**-133, -(2**-133), 2, most, -most, np.nan, np.nan]
    np.testing.assert_array_equal(y.detach().double().numpy(), expected)
    y.backward(rv.full((10,), 1e30, dtype=rv.bfloat16))
    assert x.grad[0].item() > 9e29


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_of_all_rows_of_halves(dtype):
    """They are joined."""
    x = rv.ones(2, 3, dtype=dtype, requires_grad=True)
    (x[0] * x[1]).sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (dtype, [[1] * 3] * 2)


def test_the_gradient_of_one_half_that_two_ops_read() -> None:
    """Its sum was a number of NumPy's, which no cast takes."""
    x = rv.ones(2, dtype=rv.float16).requires_grad_(True)
    y = x.sum()
    (y.relu() + y.square()).backward()
    assert (x.grad.dtype, x.grad.tolist()) == (np.float16, [5, 5])


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_kept_gradient_of_halves_is_added_to(dtype):
    y = rv.ones(2, dtype=dtype, requires_grad=True) * 2
    y.retain_grad()
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert (y.grad.dtype, y.grad.tolist()) == (dtype, [2, 2])


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x & x,
        lambda x: ~x,
        lambda x: x << 1,
        lambda x: F.embedding(x, x),
        lambda x: F.nll_loss(x, x[0]),
    ],
)
def test_errors_name_the_dtype_that_was_given(call):
    with pytest.raises(TypeError, match=r"got [^;]*float16[^;]*; expected [a-z ]*integer"):
        call(rv.ones(2, 2, dtype=rv.float16))


REDUCTIONS = [
    lambda x: x.sum(-1), lambda x: x.sum(), lambda x: x.sum(0), lambda x: x.mean(-1, keepdim=True),
    lambda x: x.mean(), lambda x: x.amax(-1), lambda x: x.amin(0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("count", [1, 2])
def test_reductions_at_the_edges_of_vectors(count, dtype, isa, threads, rng):
    threads(count)
    for n in (1, 15, 16, 17, 31, 33, 47, 63, 64, 65, 66, 79, 127, 129, 513, 1025, 4097):
        x = rv.tensor(rng.integers(-4, 5, (37, n + 3)).astype(np.float32)).to(dtype)  # sums are exact
        x[5, n // 2] = math.nan
        for part in (x, x[:, :n], x[::2, 3:], x[:, n:].contiguous(), x.t(), x[:5]):
            for reduce in REDUCTIONS:
                y, exact = reduce(part), reduce(part.float()).to(dtype)
                np.testing.assert_array_equal(y.float().numpy(), exact.float().numpy(), strict=True)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_recorded_step_has_the_bits_of_the_eager_one(dtype):
    weight, bias = rv.randn(33).to(dtype), rv.randn(33).to(dtype)

    def step(x):
        y = F.silu(x * weight + bias).clip(-2, 2)
        both = rv.cat([y.softmax(-1), F.rms_norm(y, (33,), weight, 1e-5)], -1)
        return both + y.sum() * y.any(-1, keepdim=True)

    compiled = rv.compile(step)
    for _ in range(4):
        x = rv.randn(5, 33).to(dtype)
        with rv.no_grad():
            np.testing.assert_array_equal(compiled(x).float().numpy(), step(x).float().numpy())


ACTIVATIONS = {row.layer: () for row in TABLE.values()} | {"GELU of tanh": ("tanh",)}


def second(module, x):
    """Values, gradients and second gradients."""
    y = module(x)
    (first,) = rv.autograd.grad(y, x, weights_for(y, 1), create_graph=True)
    if not first.requires_grad:
        return [y, first]
    settings = {"allow_unused": True, "materialize_grads": True}
    return [y, first, *rv.autograd.grad(first, x, weights_for(first, 2), **settings)]


@pytest.mark.parametrize("own", HALVES, ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_far_from_0(name, own):
    """Powers of a half in a formula may leave its range where the slope does not."""
    points = [0.0, 0.25, 1.0, 2.0, 5.0, 8.0, 12.0, 20.0, 60.0, 300.0]
    module = getattr(rv.nn, name.split()[0])(*ACTIVATIONS[name])
    found = []
    for dtype in (own, rv.float64):
        x = rv.tensor([*points, *[-x - 0.125 for x in points]]).to(dtype).requires_grad_()
        found.append(second(module, x))
    for y, z in zip(*found, strict=True):
        y, z = (t.double().numpy(force=True) for t in (y, z))
        np.testing.assert_allclose(y, z, 8 * EPS[own], EPS[own] / 8)


BESIDE = {  # a function that takes halves and float32, the shapes of the halves, the shapes of float32
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), [(2, 3, 4)], [(4,), (4,)]),
    "layer_norm, a weight": (lambda x, w: F.layer_norm(x, (4,), w), [(2, 3, 4)], [(4,)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3)], [(4,), (4,)]),
    "instance_norm": (lambda x, w, b: F.instance_norm(x, None, None, w, b), [(2, 4, 3)], [(4,), (4,)]),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [(2, 4, 3)], [(4,), (4,)]),
    "statistics": (
        lambda x, w, b: F.batch_norm(x, rv.zeros(4), rv.ones(4), w, b), [(2, 4, 3)], [(4,), (4,)],
    ),
    "rms_norm": (lambda x, w: F.rms_norm(x, (4,), w), [(2, 3, 4)], [(4,)]),
    "attention": (F.scaled_dot_product_attention, [(2, 3, 4)] * 3, [(3, 3)]),
    "packed attention": (
        lambda x, m: rv.nn.MultiheadAttention(4, 2, dtype=x.dtype)(x, x, x, None, False, m)[0],
        [(3, 2, 4)], [(3, 3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", BESIDE)
def test_float32_beside_halves(name, dtype):
    """The result has the dtype of the halves, each gradient that of its tensor; their values are those of the
    same call on float32 alone, rounded once."""
    function, *shapes = BESIDE[name]
    rng = np.random.default_rng(0)
    x, own = ([rv.tensor(rng.normal(size=s).astype(np.float32)) for s in part] for part in shapes)
    halves = [y.to(dtype).requires_grad_() for y in x]
    singles = [y.clone().requires_grad_() for y in own]
    exact = [y.clone().requires_grad_() for y in (*(y.float().detach() for y in halves), *own)]
    rv.manual_seed(0)
    y = function(*halves, *singles)
    y.sum().backward()
    assert y.dtype == dtype
    assert [a.grad.dtype for a in (*halves, *singles)] == [a.dtype for a in (*halves, *singles)]
    if name == "packed attention":  # several ops, each of which rounds
        return
    limit = 2 * rv.finfo(dtype).eps if name == "attention" else 0  # whose products may add in another order
    z = function(*exact)
    z.backward(rv.ones(*z.shape))
    pairs = [(y, z), *((a.grad, b.grad) for a, b in zip((*halves, *singles), exact, strict=True))]
    for a, b in pairs:
        np.testing.assert_allclose(a.tolist(), b.to(a.dtype).tolist(), limit, limit * b.abs().max().item())


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("loss", [F.soft_margin_loss, F.hinge_embedding_loss])
def test_losses_beside_targets_of_float32(loss, dtype):
    """They have the dtype of x, and are rounded once."""
    x = rv.tensor([0.3, -0.7, 1.2]).to(dtype).requires_grad_()
    z, target = x.detach().float().requires_grad_(), rv.tensor([1.0, -1.0, 1.0])
    y, exact = loss(x, target, reduction="none"), loss(z, target, reduction="none")
    y.sum().backward(), exact.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert y.tolist() == exact.to(dtype).tolist()
    assert x.grad.tolist() == z.grad.to(dtype).tolist()
    with rv.autocast("cpu"):
        assert loss(x, target).dtype == loss(z, target.to(dtype)).dtype == rv.float32


@pytest.mark.parametrize(
    ("dtype", "large"), [(rv.float16, 65520.0), (rv.bfloat16, 3.4e38), (rv.float32, 1e39)]
)
def test_numbers_that_a_dtype_cannot_hold(dtype, large):
    """They fill no tensor, as in PyTorch."""
    x, mask, at = rv.zeros(2, dtype=dtype), rv.tensor([True, False]), rv.tensor([0])
    for fill in (
        lambda number: rv.full((2,), number, dtype=dtype), lambda number: rv.full_like(x, number),
        lambda number: x.masked_fill(mask, number), lambda number: x.masked_fill_(mask, number),
        x.fill_, lambda number: x.index_fill(0, at, number),
    ):  # fmt: skip
        for number in (large, -large):
            refused(RuntimeError, "expected a number that", fill, number)
        assert fill(rv.finfo(dtype).max)[0] == rv.finfo(dtype).max
        assert fill(-np.inf)[0] == -np.inf
    refused(RuntimeError, "expected a number that", x.fill_, 10**40)


MOVERS = {  # others: tests/properties/test_halves.py, by values
    "cat along columns": lambda x: rv.cat([x, x[:, :3]], 1),
    "embedding": lambda x: F.embedding(rv.tensor([[4, 0], [1, 1]]), x),
    "gather": lambda x: x.gather(1, rv.tensor([[3, 3], [0, 6], [1, 2]])),
    "index by a mask": lambda x: x[x > 0],
    "rows of 6 bytes": lambda x: x[:, :3].contiguous()[rv.tensor([4, 0, -1])],
    "rows of 24 bytes": lambda x: rv.cat([x, x[:, :5]], 1)[rv.tensor([4, 0, -1])],
    "setitem": lambda x: _set(x),
}


def _set(x):
    y = x.clone()
    y[:, rv.tensor([1, 5])] = x[:, :2]
    y[1:3] = x[:2]
    return y


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", MOVERS)
def test_what_moves_halves_keeps_their_bits(name, dtype):
    """Also in a compiled step, and of subnormal numbers."""
    numbers = rv.randn(5, 7).to(dtype)
    numbers[0] = rv.arange(7).to(rv.int16).view(dtype)
    move, bits = MOVERS[name], lambda x: x.contiguous().view(rv.int16).tolist()
    exact = move(numbers.float())
    found = move(numbers)
    assert found.dtype == dtype
    assert bits(found) == bits(exact.to(dtype))
    if "mask" not in name:
        fast = rv.compile(move)
        assert all(bits(fast(numbers)) == bits(found) for _ in range(4))
