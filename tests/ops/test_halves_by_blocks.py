"""Ops on float16 and bfloat16 by kernels that read 16 bits: the bits are those of float32 rounded once."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn import functional

HALVES = (rv.float16, rv.bfloat16)
SIZES = (0, 1, 7, 15, 16, 17, 63, 1023, 1024, 1025, 4099)

ONE = {
    **{op.__name__: op for op in (rv.neg, rv.exp, rv.abs, rv.sqrt, rv.rsqrt, rv.sigmoid, rv.tanh)},
    **{name: getattr(functional, name) for name in ("silu", "gelu", "relu", "leaky_relu", "softplus")},
    "add a number": lambda x: x + 0.1,
    "a number over": lambda x: 1e5 / x,
    "sub of a number": lambda x: 1.5 - x,
    "square": lambda x: x**2,
    "clip": lambda x: x.clip(-0.3, 0.7),
    "add a number beyond the range": lambda x: x + 1e6,
    "times a number beyond the range": lambda x: x * 1e10,
    "over a number beyond the range": lambda x: x / 1e10,
    "less than a number beyond the range": lambda x: x < 1e6,
    "compare": lambda x: x > 0.25,
    "equal": lambda x: x == x.flip(-1),
    "masked_fill": lambda x: x.masked_fill(x > 0, -math.inf),
    "where": lambda x: rv.where(x > 0, x, x.flip(-1)),
    "cat": lambda x: rv.cat([x, x.flip(-1)], -1),
    "stack": lambda x: rv.stack([x, x], 0),
    "contiguous": lambda x: x.contiguous(),
    "clone": lambda x: x.clone(),
    "add_": lambda x: x.clone().add_(x),
    "add_ scaled": lambda x: x.clone().add_(x, alpha=0.3),
    "mul_": lambda x: x.clone().mul_(0.3),
    "addcmul": lambda x: rv.addcmul(x, x, x, value=0.3),
}
REDUCED = {
    "sum": lambda x: x.sum(-1),
    "sum of all": lambda x: x.sum(),
    "sum across": lambda x: x.sum(0),
    "mean": lambda x: x.mean(-1, keepdim=True),
    "mean of all": lambda x: x.mean(),
    "amax": lambda x: x.amax(-1),
    "amin across": lambda x: x.amin(0),
    "softmax": lambda x: x.softmax(-1),
    "softmax across": lambda x: x.softmax(0),
    "log_softmax": lambda x: x.log_softmax(-1),
    "layer_norm": lambda x: functional.layer_norm(x, x.shape[-1:], x[0], x[-1]),
    "rms_norm": lambda x: functional.rms_norm(x, x.shape[-1:], x[0], 1e-5),
    "rms_norm without eps": lambda x: functional.rms_norm(x, x.shape[-1:]),
}
LAYOUTS = {
    "dense": lambda x: x,
    "strided": lambda x: rv.stack([x, x], -1)[..., 0],
    "transposed": lambda x: x.t().contiguous().t(),
    "reversed": lambda x: x.flip(-1).flip(-1),
    "expanded": lambda x: x[:1].expand(3, x.shape[1]),
}


def check(op, *halves):
    y, exact = op(*halves), op(*(x.float() for x in halves))
    exact = exact.to(halves[0].dtype) if exact.dtype == rv.float32 else exact
    assert y.dtype == exact.dtype
    np.testing.assert_array_equal(y.float().numpy(), exact.float().numpy(), strict=True)


def values(shape, dtype, rng, edges=True):
    x = rng.standard_normal(shape).astype(np.float32)
    if edges:
        x.reshape(-1)[::7] = np.resize(
            [np.nan, np.inf, -np.inf, -0.0, 1e-7, 6e-5, 7e4], x.reshape(-1)[::7].shape
        )
    return rv.tensor(x).to(dtype)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ONE)
def test_elements(name, dtype, isa, rng):
    for size in SIZES:
        check(ONE[name], values(size, dtype, rng))
    check(ONE[name], values((1,), dtype, rng)[0].reshape(1))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", [*ONE, *REDUCED])
def test_layouts(name, layout, dtype, rng):
    for shape in ((3, 5), (3, 1031)):
        x = values(shape, dtype, rng, edges=name in ONE)
        check({**ONE, **REDUCED}[name], LAYOUTS[layout](x))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", REDUCED)
def test_reductions(name, dtype, isa, rng):
    for shape in ((2, 1), (40, 17), (3, 4097), (5, 40000), (600, 40), (3, 700)):
        check(REDUCED[name], values(shape, dtype, rng, edges=False))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("count", [1, 2])
def test_reductions_at_the_edges_of_vectors(count, dtype, isa, threads, rng):
    threads(count)
    for n in (1, 15, 16, 17, 31, 33, 47, 63, 64, 65, 66, 79, 127, 129, 513, 1025, 4097):
        x = rv.tensor(rng.integers(-4, 5, (37, n + 3)).astype(np.float32)).to(dtype)  # sums are exact
        x[5, n // 2] = math.nan
        for part in (x, x[:, :n], x[::2, 3:], x[:, n:].contiguous(), x.t(), x[:5]):
            for name in ("sum", "sum of all", "sum across", "mean", "mean of all", "amax", "amin across"):
                check(REDUCED[name], part)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    "op",
    [rv.add, rv.sub, rv.mul, rv.div, rv.maximum, rv.minimum, rv.lt, rv.ne, rv.pow],
    ids=lambda op: op.__name__,
)
def test_pairs_broadcast(op, dtype, rng):
    shapes = ((4, 1, 6), (5, 1)), ((3, 2000), (2000,)), ((2000, 3), (2000, 1)), ((), (3,)), ((0, 3), (1, 3))
    for a, b in shapes:
        check(op, values(a, dtype, rng), values(b, dtype, rng))


@pytest.mark.parametrize("dtype", HALVES)
def test_same_bits_at_any_number_of_threads(dtype, threads, rng):
    x = values((301, 517), dtype, rng, edges=False)
    found = []
    for count in (1, 2, 3):
        threads(count)
        results = (
            x + x,
            functional.gelu(x),
            x.sum(),
            x.sum(0),
            x.softmax(-1),
            functional.layer_norm(x, (517,)),
        )
        found.append([y.float().numpy() for y in results])
    for other in found[1:]:
        for y, z in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(y, z)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    "op",
    [
        rv.add, rv.sub, rv.mul, rv.div, rv.maximum, lambda a, b: rv.where(a > 0, a, b),
        lambda a, b: functional.silu(a), lambda a, b: a.exp(), lambda a, b: a.softmax(-1),
        lambda a, b: a.mean(0), lambda a, b: functional.layer_norm(a, (33,), b),
        lambda a, b: rv.cat([a, a], 1),
    ],
)  # fmt: skip
def test_gradients_are_rounded_once(op, dtype, rng):
    """Of an operand that was repeated, too."""
    x, bias, above = (values(shape, dtype, rng, edges=False) for shape in ((7, 33), (33,), (7, 66)))
    grads = []
    for kind in (dtype, rv.float32):
        a, b = (leaf.detach().clone().to(kind).requires_grad_() for leaf in (x, bias))
        y = op(a, b)
        y.backward(above.reshape(-1)[: y.numel()].reshape(y.shape).to(kind))
        grads.append(
            [leaf.grad if leaf.grad is None else leaf.grad.to(dtype).float().numpy() for leaf in (a, b)]
        )
        assert a.grad.dtype == kind
    for got, exact in zip(*grads, strict=True):
        np.testing.assert_array_equal(got, exact)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_recorded_step_has_the_bits_of_the_eager_one(dtype, rng):
    weight, bias = values((33,), dtype, rng, edges=False), values((33,), dtype, rng, edges=False)

    def step(x):
        y = functional.silu(x * weight + bias).clip(-2, 2)
        both = rv.cat([y.softmax(-1), functional.rms_norm(y, (33,), weight, 1e-5)], -1)
        return both + y.sum() * y.any(-1, keepdim=True)

    compiled = rv.compile(step)
    for _ in range(4):
        x = values((5, 33), dtype, rng, edges=False)
        with rv.no_grad():
            np.testing.assert_array_equal(compiled(x).float().numpy(), step(x).float().numpy())
