"""Initialisers: moments and bounds, each within what its sample size allows."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn import init
from support.refused import refused

SHAPE = (64, 32, 3, 3)  # out, in, window
FAN_IN, FAN_OUT = 32 * 9, 64 * 9
N = math.prod(SHAPE)
SIGMAS = 5  # standard deviations of the estimate: a right initialiser fails once in a million seeds


def _assert_moments(values, mean, std, kurtosis):
    """Mean and variance are within SIGMAS standard errors of what they should be."""
    assert abs(values.mean() - mean) <= SIGMAS * std / math.sqrt(N)
    assert abs(values.var() / std**2 - 1) <= SIGMAS * math.sqrt((kurtosis - 1) / N)


@pytest.mark.parametrize(
    ("fill", "bound"),
    [
        (lambda t: init.uniform_(t, -2, 2), 2.0),
        (init.xavier_uniform_, math.sqrt(6 / (FAN_IN + FAN_OUT))),
        (lambda t: init.xavier_uniform_(t, gain=2), 2 * math.sqrt(6 / (FAN_IN + FAN_OUT))),
        (lambda t: init.kaiming_uniform_(t, nonlinearity="relu"), math.sqrt(6 / FAN_IN)),
        (init.lecun_uniform_, math.sqrt(3 / FAN_IN)),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), 1 / math.sqrt(FAN_IN)),
        (lambda t: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="relu"), math.sqrt(6 / FAN_OUT)),
    ],
)
def test_uniform(fill, bound):
    values = fill(rv.empty(*SHAPE)).numpy().astype(np.float64)
    assert abs(values).max() <= bound * (1 + np.finfo(np.float32).eps)
    assert abs(values).max() > 0.999 * bound
    _assert_moments(values, 0, bound / math.sqrt(3), kurtosis=9 / 5)


@pytest.mark.parametrize(
    ("fill", "mean", "std"),
    [
        (lambda t: init.normal_(t, 3, 0.5), 3.0, 0.5),
        (init.xavier_normal_, 0.0, math.sqrt(2 / (FAN_IN + FAN_OUT))),
        (init.lecun_normal_, 0.0, math.sqrt(1 / FAN_IN)),
        (lambda t: init.kaiming_normal_(t, nonlinearity="relu"), 0.0, math.sqrt(2 / FAN_IN)),
        (
            lambda t: init.kaiming_normal_(t, nonlinearity="tanh", mode="fan_out"),
            0.0,
            5 / 3 / math.sqrt(FAN_OUT),
        ),
    ],
)
def test_normal(fill, mean, std):
    _assert_moments(fill(rv.empty(*SHAPE)).numpy().astype(np.float64), mean, std, kurtosis=3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0.0, 2.0, -1.0, 1.5),
        (0.0, 1.0, 2.9, 3.1),
        (0.0, 1.0, 6.0, 7.0),
        (0.0, 1.0, -30.0, -5.0),
        (5.0, 0.1, 2.3, 2.7),
        (0.0, 1.0, 4.0, math.inf),
        (0.5, 1.0, -math.inf, 0.7),
    ],
)
def test_truncated_normal_follows_its_distribution(mean, std, a, b, dtype):
    n = 2000
    values = init.trunc_normal_(rv.empty(n, dtype=dtype), mean, std, a, b).numpy().astype(np.float64)
    assert values.min() >= a
    assert values.max() <= b
    sign = (
        -1 if a - mean + b - mean < 0 else 1
    )  # tails of the normal distribution do not cancel on their side
    z = np.sort(sign * (values - mean) / std)
    left, right = sorted((sign * (a - mean) / std, sign * (b - mean) / std))
    above = [math.erfc(v / math.sqrt(2)) for v in (left, right, *z)]
    shares = (above[0] - np.array(above[2:])) / (above[0] - above[1])
    # The greatest distance of n values from their distribution: above 1.95 / sqrt(n) once in 1,000 seeds.
    assert np.abs(shares - (np.arange(n) + 0.5) / n).max() < 1.95 / math.sqrt(n)


@pytest.mark.parametrize(
    "limits",
    [(0, 1, -40, -39), (0, 1, 1e8, 1e9), (0, 1e-320, 1, 2), (0, 1e300, -1, 1), (1, 0, 0, 2), (3, 1, 5, 5)],
)
def test_truncated_normal_ends_where_there_is_no_mass(limits):
    values = init.trunc_normal_(rv.empty(100), *limits).numpy()
    assert (values >= limits[2]).all()
    assert (values <= limits[3]).all()


@pytest.mark.parametrize(
    "limits", [(0, 1, 2, -2), (0, -1, -2, 2), (math.nan, 1, -2, 2), (0, 1, math.nan, 2), (5, 0, -1, 1)]
)
def test_truncated_normal_refuses_empty_ranges(limits):
    refused(ValueError, "[trunc_normal_] got mean", init.trunc_normal_, rv.empty(3), *limits)


def test_constants_and_the_seed():
    assert init.ones_(rv.empty(3)).tolist() == [1, 1, 1]
    assert init.zeros_(rv.empty(2)).tolist() == [0, 0]
    assert init.constant_(rv.empty(2), 0.5).tolist() == [0.5, 0.5]
    assert init.eye_(rv.empty(2, 2)).tolist() == [[1, 0], [0, 1]]
    rv.manual_seed(3)
    first = init.normal_(rv.empty(5)).tolist()
    rv.manual_seed(3)
    assert init.normal_(rv.empty(5)).tolist() == first


def test_it_fills_in_place_and_counts_the_change():
    parameter = rv.nn.Parameter(rv.empty(3))
    array = parameter.numpy(force=True)
    assert init.ones_(parameter) is parameter
    assert parameter._version == 1
    assert (array == 1).all()


@pytest.mark.parametrize(
    ("name", "param", "gain"),
    [
        ("linear", None, 1.0),
        ("conv2d", None, 1.0),
        ("sigmoid", None, 1.0),
        ("tanh", None, 5 / 3),
        ("relu", None, math.sqrt(2)),
        ("leaky_relu", None, math.sqrt(2 / (1 + 0.01**2))),
        ("leaky_relu", 0.2, math.sqrt(2 / 1.04)),
        ("selu", None, 0.75),
    ],
)
def test_gains(name, param, gain):
    assert init.calculate_gain(name, param) == pytest.approx(gain)


def test_wrong_calls():
    refused(ValueError, "[calculate_gain] got 'softsign'", init.calculate_gain, "softsign")
    refused(ValueError, "at least 2 dimensions", init.xavier_normal_, rv.empty(3))
    refused(ValueError, "expected 'fan_in' or 'fan_out'", init.kaiming_normal_, rv.empty(3, 3), mode="fan")
    refused(ValueError, "expected a <= b", init.uniform_, rv.empty(3), 1, 0)
    refused(ValueError, "got std -1", init.normal_, rv.empty(3), 0, -1)
    refused(ValueError, "2 dimensions", init.eye_, rv.empty(3))


def test_skipped_fills_nothing_and_draws_nothing():
    rv.manual_seed(0)
    expected = rv.rand(2).tolist()
    rv.manual_seed(0)
    tensor = rv.zeros(3, 3)
    with init.skipped():
        init.ones_(tensor)
        init.normal_(tensor)
        init.trunc_normal_(tensor)
        init.xavier_uniform_(tensor)
    assert tensor.tolist() == [[0.0] * 3] * 3
    assert rv.rand(2).tolist() == expected
    assert init.ones_(tensor).tolist() == [[1.0] * 3] * 3
