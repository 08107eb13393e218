"""Functions of float64 beside exact values, and sums whose error would grow with their length.

Errors are in units in the last place (ulp) of the result. The exact values have 24 digits, computed with 300
bits (MPFR), at arguments where short formulas have their largest errors; sums are computed in longer floats.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn import functional

# Name: (x, f(x)) ...
VALUES = {
    "erfc": [
        (25.273470553121022, "8.78117995764321386194289e-280"),
        (12.224578757638245, "5.77618613444142453866607e-67"),
        (14.382949233153987, "5.62819615787961831342375e-92"),
        (23.427564033228283, "1.04339376551202390237829e-240"),
    ],
    "sigmoid": [
        (-10.689945258611328, "2.27722462977850005373661e-05"),
        (-12.638269495768922, "3.24539742857115277428198e-06"),
        (-19.762876948663138, "2.61271232226921442129932e-09"),
        (-14.741550657361973, "3.96119044485326354012747e-07"),
    ],
    "tanh": [
        (0.24341035631563504, "0.238714376032012715092462"),
        (-1.3854473643791303, "-0.882165230723452580370317"),
        (-0.3914940051199713, "-0.372647481968196341452915"),
        (1.365546136233402, "0.877673176424203317591896"),
    ],
    "silu": [
        (0.05669849544152888, "0.0291527123358564452904035"),
        (-6.067394913875023, "-0.0140268757078028527665881"),
        (-6.8574213658372205, "-0.00720384074357543667423698"),
    ],
    "selu": [
        (-0.7994027917709381, "-0.967662470735499742595171"),
        (-0.76340618822357, "-0.938691121249842908048604"),
        (-0.7897515522434632, "-0.95999684326935710159604"),
        (-0.7670055256174291, "-0.941635146447109125829242"),
    ],
    "lgamma": [
        (3.11259303261878, "0.799513708338048575433184"),
        (3.277805115591166, "0.964218108452507398587952"),
        (3.233710517034763, "0.919283503321303539782089"),
        (3.129070321038897, "0.815486990115315507576172"),
    ],
}
BOUNDS = {"erfc": 2, "sigmoid": 1.4, "tanh": 1.25, "silu": 2, "selu": 2, "lgamma": 2}


def units(got, exact):
    """The largest error in ulp, that is, in the distance of neighbours of `exact` in float64."""
    exact = np.asarray(exact, np.longdouble)
    spacing = np.spacing(np.abs(exact.astype(np.float64)))
    error = np.abs(got.detach().numpy().astype(np.longdouble) - exact)
    return float((error / spacing).max())


def relative(got, exact):
    """The largest error relative to `exact`, in units of eps."""
    error = np.abs(got.detach().numpy().astype(np.longdouble) - exact)
    return float((error / np.abs(exact)).max()) / 2.0**-52


def rms(got, exact):
    """The root of the mean square of the errors, relative to that of `exact`, in units of eps."""
    exact = np.asarray(exact, np.longdouble)
    error = got.detach().numpy().astype(np.longdouble) - exact
    return float(np.sqrt(np.mean(error**2) / np.mean(exact**2))) / 2.0**-52


def leaf(array):
    return rv.from_numpy(np.array(array, np.float64)).requires_grad_()


@pytest.mark.parametrize("name", VALUES)
def test_values(name):
    x, exact = zip(*VALUES[name], strict=True)
    function = getattr(functional, name, None) or getattr(rv, name)
    got = function(rv.tensor(list(x), dtype=rv.float64))
    assert units(got, [np.longdouble(text) for text in exact]) < BOUNDS[name]


def test_lgamma_near_its_zeros_below_0():
    """The terms of the reflection formula cancel there: the error is small beside them."""
    points = [
        (-5.998719396557011, "0.0835735260575382589884164"),
        (-5.008224745407451, "-0.000811043411250127039017327"),
        (-4.034695095650255, "0.132696214006925421298363"),
        (-3.119228132408508, "0.206691077051118573559774"),
        (-3.150539236568134, "-0.0529348415050693048799108"),
    ]
    x, exact = zip(*points, strict=True)
    got = rv.lgamma(rv.tensor(list(x), dtype=rv.float64)).numpy()
    assert np.abs(got - np.array([np.longdouble(text) for text in exact])).max() < 2.0**-53


@pytest.mark.parametrize("width", [2, 3, 5, 8, 17, 32, 40, 64, 100])
@pytest.mark.parametrize("rows", [100, 1000, 20000])
def test_sums_of_columns(rows, width):
    """A chain of 1,000 terms has an error of 6 ulp."""
    data = np.random.default_rng(rows).uniform(0.5, 1.5, size=(rows, width))
    wide, x = data.astype(np.longdouble), rv.from_numpy(data)
    assert relative(x.sum(0), wide.sum(0)) < 1.8
    assert relative(x.mean(0), wide.sum(0) / rows) < 2
    assert relative(x.norm(dim=0), np.sqrt((wide**2).sum(0))) < 1.8
    assert relative(x.logsumexp(0), np.log(np.exp(wide).sum(0))) < 1.5


def test_norms_of_long_lines():
    """The chunks of 200,000 elements are joined without a chain of roundings."""
    rng = np.random.default_rng(4)
    data, dy = rng.uniform(0.5, 1.5, size=(2, 200000)), rng.uniform(0.5, 1.5, size=(2, 200000))
    wide, w = data.astype(np.longdouble), dy.astype(np.longdouble)
    x = leaf(data)
    y = functional.rms_norm(x, (200000,), eps=0.0)
    size = np.sqrt((wide**2).mean(1, keepdims=True))
    assert units(y, wide / size) < 4
    y.backward(rv.from_numpy(dy))
    exact = w / size - wide * (w * wide).mean(1, keepdims=True) / size**3
    assert rms(x.grad, exact) < 6
    x = leaf(data)
    y = functional.layer_norm(x, (200000,), eps=0.0)
    away = wide - wide.mean(1, keepdims=True)
    assert rms(y, away / np.sqrt((away**2).mean(1, keepdims=True))) < 3


def test_softmax_of_one_sure_class():
    """Its slope is a difference of nearly equal numbers, which shows each rounding of the softmax."""
    rng = np.random.default_rng(5)
    data, dy = rng.normal(size=(200, 64)), rng.uniform(0.5, 1.5, size=(200, 64))
    data[:, 7] += 20
    x = leaf(data)
    x.softmax(1).backward(rv.from_numpy(dy))
    e, w = np.exp(data.astype(np.longdouble)), dy.astype(np.longdouble)
    p = e / e.sum(1, keepdims=True)
    exact = p * (w - (w * p).sum(1, keepdims=True))
    error = (x.grad.numpy() - exact)[:, 7]
    assert np.sqrt(np.mean(error**2)) < 3 * 2.0**-53


def test_slope_of_binary_cross_entropy_by_the_target():
    """log(1 - x) - log(x), also where the loss limits the logarithms."""
    x = np.array([1e-300, 1e-50, 1e-20, 0.3, 0.9])
    target = leaf(np.full(5, 0.4))
    functional.binary_cross_entropy(rv.from_numpy(x), target, reduction="sum").backward()
    wide = x.astype(np.longdouble)
    assert units(target.grad, np.log1p(-wide) - np.log(wide)) < 3


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_means_of_losses_of_columns(name):
    """2,000 short runs of memory, each with a total of its own."""
    rng = np.random.default_rng(6)
    a, b = rng.uniform(1.5, 2.5, size=(2000, 4)), rng.uniform(0, 0.4, size=(2000, 4))
    wide = a.astype(np.longdouble) - b
    exact = {"mse_loss": wide**2, "l1_loss": wide}.get(name, wide - 0.5)
    whole_a, whole_b = (rv.from_numpy(x).T[:3] for x in (a, b))
    got = getattr(functional, name)(whole_a, whole_b, reduction="sum")
    assert relative(got, exact[:, :3].sum()) < 1
