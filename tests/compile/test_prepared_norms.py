"""Batch norms in a layer's epilogue: a compiled prediction applies them before it stores."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core, nn
from support.predictions import draw, eager, fused, names, normed, predictions
from support.strict import strict

NORMED = {
    "conv2d": lambda: (normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), (2, 3, 9, 9)),
    "wide": lambda: (normed(nn.Conv2d(3, 70, 3), nn.BatchNorm2d(70)), (2, 3, 9, 9)),
    "large": lambda: (normed(nn.Conv2d(2, 64, 1), nn.BatchNorm2d(64)), (8, 2, 96, 96)),
    "no bias": lambda: (normed(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)), (2, 3, 9, 9)),
    "not affine": lambda: (normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False)), (2, 3, 9, 9)),
    "few outputs": lambda: (normed(nn.Conv2d(70, 2, 3), nn.BatchNorm2d(2)), (2, 70, 6, 6)),
    "depthwise": lambda: (normed(nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8)), (2, 8, 9, 9)),
    "depthwise, two vectors": lambda: (
        normed(nn.Conv2d(21, 21, 3, groups=21, bias=False), nn.BatchNorm2d(21)),
        (2, 21, 9, 9),
    ),
    "groups": lambda: (normed(nn.Conv2d(8, 4, 3, groups=2), nn.BatchNorm2d(4)), (2, 8, 9, 9)),
    "groups in a vector": lambda: (normed(nn.Conv2d(24, 24, 3, groups=8), nn.BatchNorm2d(24)), (2, 24, 9, 9)),
    "1x1": lambda: (normed(nn.Conv2d(5, 7, 1), nn.BatchNorm2d(7)), (3, 5, 4, 4)),
    "winograd": lambda: (normed(nn.Conv2d(32, 48, 3), nn.BatchNorm2d(48)), (4, 32, 16, 16)),
    "winograd, odd": lambda: (normed(nn.Conv2d(32, 50, 3, padding=1), nn.BatchNorm2d(50)), (4, 32, 15, 13)),
    "conv1d": lambda: (normed(nn.Conv1d(3, 8, 5), nn.BatchNorm1d(8)), (2, 3, 20)),
    "linear": lambda: (normed(nn.Linear(50, 20), nn.BatchNorm1d(20)), (16, 50)),
    "linear, many": lambda: (normed(nn.Linear(500, 70), nn.BatchNorm1d(70)), (70, 500)),
    "linear, few rows": lambda: (normed(nn.Linear(900, 1100), nn.BatchNorm1d(1100)), (3, 900)),
    "linear, one row": lambda: (normed(nn.Linear(50, 20, bias=False), nn.BatchNorm1d(20)), (1, 50)),
    "linear, tall": lambda: (normed(nn.Linear(300, 5), nn.BatchNorm1d(5)), (200, 300)),
}


AFTER = {
    "nothing": lambda dims: [],
    "relu": lambda dims: [nn.ReLU()],
    "tanh": lambda dims: [nn.Tanh()],
    "pool": lambda dims: [nn.MaxPool2d(2)] if dims == 4 else [nn.MaxPool1d(2)] if dims == 3 else [],
    "relu, pool": lambda dims: [nn.ReLU(), *AFTER["pool"](dims)],
    "pool by 3": lambda dims: [nn.MaxPool2d(3), nn.ReLU()] if dims == 4 else [nn.ReLU()],
}


# "large" is for results that are stored past the caches; a pooled convolution stores none
PAIRS = [
    (case, after, i + j)
    for i, case in enumerate(NORMED)
    for j, after in enumerate(AFTER)
    if case != "large" or "pool" not in after
]


@pytest.mark.parametrize(("case", "after", "number"), PAIRS)
def test_norms_join_the_layer_to_the_bit(case, after, number, isas):
    """At one of the levels, so that each case and each of AFTER is tested at every level."""
    levels = list(isas)
    _core.set_isa(levels[number % len(levels)])
    dtype = np.float64 if after in ("tanh", "pool by 3") else np.float32
    model, shape = NORMED[case]()
    model = nn.Sequential(*model, *AFTER[after](len(shape))).eval().to(dtype)
    x = draw(*shape, dtype=dtype)
    x.flat[:: 7 * shape[-1]] = 0
    fast, expected = strict(model), eager(model, x)
    for threads in (1, 2):
        rv.set_num_threads(threads)
        found = predictions(fast, x)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    assert "batch_norm_scale" in names(fast, True)
    assert "batch_norm_forward" in fused(fast)
    assert "batch_norm_forward" not in names(fast, False)


@pytest.mark.parametrize("case", ["conv2d", "depthwise", "few outputs", "winograd", "linear"])
@pytest.mark.parametrize("after", ["nothing", "relu", "relu, pool"])
def test_norms_of_values_that_are_not_finite(case, after):
    model, shape = NORMED[case]()
    model, x = nn.Sequential(*model, *AFTER[after](len(shape))).eval(), draw(*shape)
    x.flat[[3, 17, 40]] = np.inf, np.nan, -np.inf
    with rv.no_grad():
        model[1].running_var[0] = np.inf
        model[1].weight[1] = 0.0
        model[1].bias[1] = -0.0
    fast, expected = strict(model), eager(model, x)
    found = predictions(fast, x)
    np.testing.assert_array_equal(found, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))


def test_relu_and_pool_join_after_a_norm():
    model = normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    fast, x = strict(model), draw(2, 3, 10, 10)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, False) == ["conv2d_pool"]


def test_norms_stay_whose_input_is_read_elsewhere_or_that_measure_their_batch():
    conv, norm = nn.Conv2d(3, 8, 3).eval(), nn.BatchNorm2d(8).eval()

    class Twice(nn.Module):
        def forward(self, x):
            z = conv(x)
            return norm(z) + z

    for model in (Twice().eval(), nn.Sequential(conv, nn.BatchNorm2d(8, track_running_stats=False)).eval()):
        fast, x = strict(model), draw(2, 3, 9, 9)
        np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
        assert "batch_norm_forward" in names(fast, False)


def test_a_mean_far_larger_than_the_deviation():
    """The mean is 1e6 deviations away: w x + b' with folded weights would cancel out."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).eval()
    with rv.no_grad():
        model[0].bias.fill_(1000.0)
        model[1].running_mean.copy_(model[0].bias)
        model[1].running_var.fill_(1e-6)
        model[0].weight.mul_(1e-3)
    fast, x = strict(model), draw(2, 1, 8, 8)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, False) == ["conv2d_forward"]
