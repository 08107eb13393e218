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
SIGMAS = 5  # of the estimate: a right initialiser fails once in a million seeds


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


def test_truncated_normal_stays_inside():
    values = init.trunc_normal_(rv.empty(*SHAPE), std=2.0, a=-1.0, b=1.5).numpy()
    assert values.min() >= -1.0
    assert values.max() <= 1.5


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
    refused(ValueError, "std = -1", init.normal_, rv.empty(3), 0, -1)
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
