"""float16: NumPy computes it, with the function's own formula, outside the tape."""

import numpy as np
import pytest
import ranvier as rv


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("atan2", np.arctan2),
        ("copysign", np.copysign),
        ("fmax", np.fmax),
        ("fmod", np.fmod),
        ("hypot", np.hypot),
        ("nextafter", np.nextafter),
        ("remainder", np.remainder),
        ("xlogy", lambda a, b: a * np.log(b)),
        ("pow", np.power),
        ("div", np.true_divide),
    ],
)
@pytest.mark.filterwarnings("error")
def test_halves_with_numbers_and_integers(name, function):
    halves = np.array([1.0, -1.0, -2.0, 0.5, 3.0], np.float16)
    whole = np.array([1, 2, 3, -4, 5])
    op = getattr(rv, name)
    with np.errstate(all="ignore"):
        expected = [
            function(halves, np.float16(2)),
            function(np.float16(2), halves),
            function(whole.astype(np.float16), halves),
        ]
    found = [op(rv.tensor(halves), 2), op(2, rv.tensor(halves)), op(rv.tensor(whole), rv.tensor(halves))]
    for y, z in zip(found, expected, strict=True):
        assert y.dtype == np.float16
        np.testing.assert_array_equal(y.numpy(), z)


HALVES = [
    lambda x: x**-1,
    lambda x: x**-3,
    lambda x: x**0.1,
    lambda x: x.div(3, rounding_mode="trunc"),
    lambda x: x.div(-0.1, rounding_mode="trunc"),
    lambda x: rv.addcmul(x, x, x, value=0.3),
    lambda x: rv.addcdiv(x, x, x.flip(0), value=0.3),
    lambda x: rv.lerp(x, x.flip(0), -3.0),
    lambda x: rv.ldexp(x, x.flip(0)),
    lambda x: rv.deg2rad(x),
    lambda x: rv.rad2deg(x),
    lambda x: rv.sinc(x),
    lambda x: rv.round(x, decimals=1),
    lambda x: rv.round(x, decimals=-1),
    lambda x: rv.erf(x),
]


@pytest.mark.parametrize("function", HALVES)
@pytest.mark.filterwarnings("error")
def test_all_halves_are_computed_in_float32(function):
    """All of them but those whose float32 result lies between two halves are those of float32, rounded."""
    x = rv.tensor(np.arange(0, 65536, 7, dtype=np.uint16).view(np.float16))
    y = function(x)
    assert y.dtype == np.float16
    with np.errstate(all="ignore"):
        expected = function(x.float()).numpy().astype(np.float16)
    np.testing.assert_array_equal(y.numpy(), expected)


def test_square_roots_of_halves_are_powers():
    x = rv.tensor([-np.inf, -0.0, 4.0], dtype=rv.float16)
    assert (x**0.5).tolist() == [np.inf, 0.0, 2.0]  # as in PyTorch, where those of float32 are roots


def test_results_of_float16_are_float16_and_rounded_once():
    x = rv.tensor([[0.1, 0.7, 0.3], [2.0, -1.0, 0.4]], dtype=rv.float16)
    for function in (rv.cov, rv.corrcoef):
        expected = function(x.float()).numpy().astype(np.float16)
        np.testing.assert_array_equal(function(x).numpy(), expected, strict=True)
    assert rv.cov(x, aweights=rv.ones(3)).dtype == rv.float32
    np.testing.assert_array_equal(
        x.clip(0.2, 0.5).numpy(), np.clip(x.numpy(), np.float16(0.2), 0.5), strict=True
    )
    edge = rv.tensor([-9.796875, -9.8046875], dtype=rv.float16)  # beside the edge -9.8
    assert rv.histc(edge, min=-10, max=10)[:2].tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [rv.float16, rv.int64, rv.int32])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_results_along_a_dimension_are_in_c_order_whatever_that_of_the_input(dtype, dim):
    x = rv.arange(24).reshape(2, 3, 4).permute(2, 0, 1).to(dtype)
    results = [
        *x.max(dim),
        *x.min(dim),
        x.amax(dim),
        x.sum(dim),
        *x.median(dim),
        *x.kthvalue(1, dim),
        *x.topk(2, dim),
    ]
    assert all(y.is_contiguous() for y in results)


WITHOUT_GRADIENTS = {
    "sum": rv.sum,
    "prod": rv.prod,
    "amax": rv.amax,
    "max": lambda x: rv.max(x, 0)[0],
    "sort": lambda x: rv.sort(x)[0],
    "topk": lambda x: rv.topk(x, 1)[0],
    "neg": lambda x: -x,
    "abs": rv.abs,
    "square": rv.square,
    "add": lambda x: x + 1,
    "mul": lambda x: 2 * x,
    "pow": lambda x: x**3,
    "maximum": lambda x: rv.maximum(x, x),
    "clip": lambda x: rv.clip(x, 0, 1),
    "where": lambda x: rv.where(rv.tensor([True, False]), x, x),
    "masked_fill": lambda x: rv.masked_fill(x, rv.tensor([True, False]), 0),
    "gather": lambda x: rv.gather(x, 0, rv.tensor([0])),
    "getitem": lambda x: x[[0, 1, 0]],
    "cat": lambda x: rv.cat([x, x]),
    "cumsum": lambda x: rv.cumsum(x, 0),
    "scatter": lambda x: rv.scatter(x, 0, rv.tensor([0]), x),
}


@pytest.mark.parametrize("name", WITHOUT_GRADIENTS)
def test_halves_do_not_lose_gradients(name: str) -> None:
    """NumPy computes them outside the tape: right without a gradient, refused with one."""
    x = rv.tensor([1.5, 0.5], dtype=rv.float16)
    assert WITHOUT_GRADIENTS[name](x).dtype == rv.float16
    for tracked in (x.clone().requires_grad_(), rv.tensor([1.5, 0.5]).requires_grad_().to(rv.float16)):
        with pytest.raises(TypeError, match=r"\[\w+\] got dtype float16 with requires_grad; .*use float\(\)"):
            WITHOUT_GRADIENTS[name](tracked)
        with rv.no_grad():
            assert WITHOUT_GRADIENTS[name](tracked).tolist() == WITHOUT_GRADIENTS[name](x).tolist()


def test_cumsum_of_a_half() -> None:
    assert rv.cumsum(rv.tensor(1.5, dtype=rv.float16), 0).item() == 1.5


def test_where_of_half_and_integer() -> None:
    y = rv.where(rv.tensor([True, False]), rv.tensor([1.5, 1], dtype=rv.float16), rv.tensor([2, 3]))
    assert y.dtype == rv.float16
    assert y.tolist() == [1.5, 3]


@pytest.mark.parametrize(
    "view", [lambda x: x.chunk(2)[0], lambda x: x[1:], lambda x: x.diagonal(), lambda x: x.select(0, 1)]
)
def test_gradients_of_views_of_halves(view):
    """Views have no arithmetic; their gradients are halves again."""
    x = rv.ones(3, 3).to(rv.float16).requires_grad_()
    y = view(x)
    y.backward(rv.ones(*y.shape).to(rv.float16))
    assert x.grad.dtype == np.float16
    assert x.grad.sum().item() == y.numel()


def test_the_median_of_halves_is_the_first_nan():
    x = rv.tensor([[np.nan, -np.inf], [2.0, 1.0]], dtype=rv.float16)
    values, indices = x.median(1)
    np.testing.assert_array_equal(values.numpy(), np.array([np.nan, 1.0], np.float16))
    assert indices.tolist() == [0, 1]
