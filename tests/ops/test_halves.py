"""float16 and bfloat16: every op computes it in float32 and rounds once, results and gradients."""

import numpy as np
import pytest
import ranvier as rv

OF_TWO = {
    "atan2": np.arctan2, "copysign": np.copysign, "fmax": np.fmax, "fmod": np.fmod, "hypot": np.hypot,
    "nextafter": np.nextafter, "remainder": np.remainder, "xlogy": lambda a, b: a * np.log(b),
    "pow": np.power, "div": np.true_divide,
}  # fmt: skip


@pytest.mark.parametrize(("name", "function"), OF_TWO.items(), ids=[*OF_TWO])
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
        np.testing.assert_array_equal(y.numpy(), z, strict=True)


OF_ONE = [
    lambda x: x**-1, lambda x: x**-3, lambda x: x**0.1, rv.deg2rad, rv.rad2deg, rv.sinc, rv.erf,
    lambda x: x.div(3, rounding_mode="trunc"), lambda x: x.div(-0.1, rounding_mode="trunc"),
    lambda x: rv.addcmul(x, x, x, value=0.3), lambda x: rv.addcdiv(x, x, x.flip(0), value=0.3),
    lambda x: rv.lerp(x, x.flip(0), -3.0), lambda x: rv.ldexp(x, x.flip(0)),
    lambda x: rv.round(x, decimals=1), lambda x: rv.round(x, decimals=-1),
]  # fmt: skip


@pytest.mark.parametrize("function", OF_ONE)
@pytest.mark.filterwarnings("error")
def test_all_halves_are_computed_in_float32(function):
    """A seventh of all."""
    x = rv.tensor(np.arange(0, 65536, 7, dtype=np.uint16).view(np.float16))
    with np.errstate(all="ignore"):
        expected = function(x.float()).numpy().astype(np.float16)
    np.testing.assert_array_equal(function(x).numpy(), expected, strict=True)


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
    assert all(
        y.is_contiguous() for result in results for y in (result if isinstance(result, tuple) else [result])
    )


def test_cumsum_of_a_half() -> None:
    assert rv.cumsum(rv.tensor(1.5, dtype=rv.float16), 0).item() == 1.5


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


def test_where_of_half_and_integer() -> None:
    y = rv.where(rv.tensor([True, False]), rv.tensor([1.5, 1], dtype=rv.float16), rv.tensor([2, 3]))
    assert y.dtype == rv.float16
    assert y.tolist() == [1.5, 3]


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
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


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16], ids=str)
def test_a_kept_gradient_of_halves_is_added_to(dtype):
    y = rv.ones(2, dtype=dtype, requires_grad=True) * 2
    y.retain_grad()
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert (y.grad.dtype, y.grad.tolist()) == (dtype, [2, 2])


def test_the_median_of_halves_is_the_first_nan():
    x = rv.tensor([[np.nan, -np.inf], [2.0, 1.0]], dtype=rv.float16)
    values, indices = x.median(1)
    np.testing.assert_array_equal(values.numpy(), np.array([np.nan, 1.0], np.float16))
    assert indices.tolist() == [0, 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x & x,
        lambda x: ~x,
        lambda x: x << 1,
        lambda x: rv.nn.functional.embedding(x, x),
        lambda x: rv.nn.functional.nll_loss(x, x[0]),
    ],
)
def test_errors_name_the_dtype_that_was_given(call):
    with pytest.raises(TypeError, match=r"got [^;]*float16[^;]*; expected [a-z ]*integer"):
        call(rv.ones(2, 2, dtype=rv.float16))


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w: rv.nn.functional.linear(x, rv.ones(3, 2)),
        lambda x, w: rv.nn.functional.linear(rv.ones(3, 2), x),
        lambda x, w: x @ rv.ones(2, 2),
        lambda x, w: rv.nn.functional.conv1d(x[None], rv.ones(1, 2, 1)),
        lambda x, w: rv.nn.functional.prelu(x, w),
        lambda x, w: rv.nn.functional.layer_norm(x, (2,), w.to(x.dtype), w),
        lambda x, w: rv.nn.functional.layer_norm(w[None], (2,), x[0], x[0]),
        lambda x, w: rv.nn.functional.grid_sample(x[None, None], rv.ones(1, 1, 1, 2), align_corners=False),
        lambda x, w: rv.nn.LSTM(2, 3)(x),
    ],
)
@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
def test_errors_name_both_dtypes_of_operands(call, dtype):
    name = str(dtype).split(".")[1]
    with pytest.raises(TypeError, match=r"got .*; expected (one|the same) dtype") as error:
        call(rv.ones(2, 2, dtype=dtype), rv.ones(2))
    assert name in str(error.value)
    assert "float32" in str(error.value)


def test_halves_of_two_dtypes_are_no_operands():
    with pytest.raises(TypeError, match="of dtype float16 and b of dtype bfloat16; expected the same dtype"):
        rv.ones(2, 2, dtype=rv.float16) @ rv.ones(2, 2, dtype=rv.bfloat16)


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
@pytest.mark.parametrize("interpolation", ["linear", "midpoint", "lower"])
@pytest.mark.parametrize("op", [rv.quantile, rv.nanquantile])
def test_quantiles_of_halves(op, interpolation, dtype):
    x = rv.tensor([[0.3, 1.7, 2.9, 4.1], [5.3, -1.1, 7.7, 0.9]]).to(dtype).requires_grad_()
    exact = x.detach().float().requires_grad_()
    for shares in (0.3, rv.tensor([0.1, 0.55])):
        y, z = (op(a, shares, 1, interpolation=interpolation) for a in (x, exact))
        y.sum().backward()
        z.sum().backward()
        assert (y.dtype, y.tolist()) == (dtype, z.to(dtype).tolist())
        assert x.grad.tolist() == exact.grad.to(dtype).tolist()
        x.grad = exact.grad = None
