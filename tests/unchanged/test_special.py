"""Functions of torch.special beside values of 20 digits (mpmath, 50 digits), gradients beside differences."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.torch.functions import bessel, gamma_functions, methods, polynomials, special

# Name: (x, f(x)) ...
VALUES = {
    "erfcx": [
        (-3.0, 16205.988853999586625),
        (0.5, 0.61569034419292587487),
        (2.5, 0.21080636406114358065),
        (3.5, 0.1552936556088942974),
        (8.0, 0.069985166200880927723),
        (11.9, 0.047245232484087668552),
        (15.0, 0.037529606388505765746),
        (100.0, 0.0056416137829894329036),
    ],
    "log_ndtr": [
        (-40.0, -804.60844201375378817),
        (-5.0, -15.064998393988725736),
        (-1.0, -1.8410216450092635058),
        (0.25, -0.51298407540943043213),
        (3.0, -0.0013508099647481937988),
    ],
    "ndtr": [
        (-10.0, 7.619853024160526066e-24),
        (-1.0, 0.15865525393145705141),
        (0.5, 0.69146246127401310364),
    ],
    "ndtri": [
        (1e-300, -37.047096299361199237),
        (1e-20, -9.2623400897984075796),
        (1e-09, -5.9978070150076868614),
        (0.0001, -3.7190164854556805523),
        (0.05, -1.644853626951472688),
        (0.3, -0.52440051270804081597),
        (0.95, 1.6448536269514722843),
    ],
    "i0": [
        (0.5, 1.0634833707413235193),
        (5.0, 27.239871823604446895),
        (29.0, 292520631785.69086627),
        (31.0, 2089962966491.9037954),
        (80.0, 2.4751784043341704887e33),
    ],
    "i1": [
        (-2.0, -1.5906368546373290634),
        (0.001, 0.00050000006250000261458),
        (5.0, 24.335642142450527199),
        (29.0, 287432108126.25481211),
        (31.0, 2055972795294.5647312),
        (80.0, 2.459659579567540863e33),
    ],
    "i0e": [
        (0.5, 0.64503527044915006811),
        (20.0, 0.089780311884826021596),
        (100.0, 0.039944379299096682648),
    ],
    "i1e": [
        (0.5, 0.15642080318487169714),
        (20.0, 0.087506222183288665356),
        (100.0, 0.039744153025130252674),
    ],
    "modified_bessel_k0": [
        (0.01, 4.7212447301610949443),
        (0.9, 0.48673030816290050567),
        (1.1, 0.36560239154318583529),
        (10.0, 0.000017780062316167651811),
        (100.0, 4.6566282291759020189e-45),
    ],
    "modified_bessel_k1": [
        (0.01, 99.973894118296245561),
        (0.9, 0.7165335787760190463),
        (1.1, 0.50976002716702697519),
        (10.0, 0.000018648773453825584597),
        (100.0, 4.6798537356369092866e-45),
    ],
    "scaled_modified_bessel_k0": [
        (0.5, 1.52410938577390953),
        (2.0, 0.84156821507077141792),
        (500.0, 0.056035915417234515428),
    ],
    "scaled_modified_bessel_k1": [
        (0.5, 2.7310097082117857054),
        (2.0, 1.0334768470686885732),
        (500.0, 0.05609192337055556924),
    ],
    "bessel_j0": [
        (0.5, 0.93846980724081290423),
        (3.0, -0.26005195490193343762),
        (12.0, 0.047689310796833536624),
        (29.0, -0.14784876468298405046),
        (40.0, 0.0073668905842372895535),
    ],
    "bessel_j1": [
        (-1.0, -0.44005058574493351596),
        (3.0, 0.33905895852593645893),
        (12.0, -0.22344710449062761237),
        (29.0, 0.0069342045592652512482),
        (40.0, 0.12603831803758499921),
    ],
    "bessel_y0": [
        (0.5, -0.44451873350670655715),
        (3.0, 0.37685001001279038197),
        (12.0, -0.22523731263436143369),
        (29.0, 0.0094811597218333568693),
        (40.0, 0.12593641705826092925),
    ],
    "bessel_y1": [
        (0.5, -1.4714723926702430692),
        (3.0, 0.32467442479179997844),
        (12.0, -0.05709921826089652105),
        (29.0, 0.14803411911941651591),
        (40.0, -0.0057935058215496329412),
    ],
    "spherical_bessel_j0": [
        (0.001, 0.99999983333334166667),
        (2.0, 0.4546487134128408477),
    ],
    "airy_ai": [
        (-8.0, -0.052705050356386202622),
        (-2.5, -0.11232506769296608919),
        (-1.0, 0.5355608832923521188),
        (1.0, 0.13529241631288141552),
        (2.5, 0.015725923380470489995),
        (9.0, 2.4711684308724898433e-9),
    ],
    "polygamma2": [
        (0.25, -129.32773993753692033),
        (3.0, -0.1541138063191885708),
        (40.0, -0.00064082027183529858776),
    ],
    "polygamma4": [
        (0.25, -24584.375388637933734),
        (-0.5, -3.4742498266672251905),
        (40.0, -2.4633778392772126783e-6),
    ],
}
# Name: (a, b, f(a, b)) ...
PAIRS = {
    "zeta": [
        (1.5, 0.3, 8.2377616714597234206),
        (3.0, 1.0, 1.2020569031595942854),
        (20.0, 4.0, 9.2026746686902070646e-13),
        (2.0, -1.5, 9.3792466449891237539),
    ],
    "gammainc": [
        (0.5, 0.2, 0.47291074313446192633),
        (3.0, 8.0, 0.98624603225599701461),
        (20.0, 15.0, 0.1247812150325248227),
        (400.0, 420.0, 0.84144211059999313629),
    ],
    "gammaincc": [
        (0.01, 0.05, 0.024452116006979748001),
        (3.0, 8.0, 0.013753967744002985392),
        (20.0, 15.0, 0.8752187849674751773),
        (400.0, 420.0, 0.15855788940000686371),
    ],
    "chebyshev_polynomial_t": [
        (0.3, 5.0, 0.99887999999999999725),
        (1.5, 4.0, 23.5),
    ],
    "chebyshev_polynomial_u": [
        (0.3, 5.0, 1.0137600000000000149),
    ],
    "chebyshev_polynomial_v": [
        (0.3, 5.0, 0.96415999999999995417),
    ],
    "chebyshev_polynomial_w": [
        (0.3, 5.0, 1.0633600000000000757),
    ],
    "shifted_chebyshev_polynomial_t": [
        (0.8, 5.0, -0.075840000000000553513),
    ],
    "shifted_chebyshev_polynomial_u": [
        (0.8, 5.0, -0.82368000000000069491),
    ],
    "hermite_polynomial_h": [
        (0.3, 5.0, 31.757759999999999133),
    ],
    "hermite_polynomial_he": [
        (0.3, 5.0, 4.232429999999999863),
    ],
    "laguerre_polynomial_l": [
        (0.3, 5.0, -0.093332749999999973046),
    ],
    "legendre_polynomial_p": [
        (0.3, 5.0, 0.34538625000000000187),
    ],
}
WAVES = ("bessel", "airy", "spherical", "chebyshev", "legendre", "laguerre", "hermite", "shifted")


def function_of(name):
    if name.startswith("polygamma"):
        return lambda x: gamma_functions.polygamma(int(name[9:]), x)
    for module in (special, bessel, gamma_functions, polynomials):
        if hasattr(module, name):
            return getattr(module, name)
    raise KeyError(name)


def cases():
    for name, rows in [*VALUES.items(), *PAIRS.items()]:
        for *at, exact in rows:
            yield pytest.param(name, at, exact, id=f"{name}-{at}")


@pytest.mark.parametrize(("name", "at", "exact"), list(cases()))
def test_value(name, at, exact):
    """float64 within 16 ulp (of at least 1/4 for functions with zeros), float32 rounded once.

    Large results have the rounding of an exponent besides: 1/2 ulp times its size.
    """
    function = function_of(name)
    size = max(abs(exact), 0.25) if name.startswith(WAVES) else abs(exact)
    exponent = abs(math.log(abs(exact)))
    got = function(*(rv.tensor(x, dtype=rv.float64) for x in at)).item()
    assert abs(got - exact) <= (16 + exponent) * 2.0**-52 * size
    if all(float(np.float32(x)) == x for x in at) and 1e-37 < abs(exact) < 1e38:
        got = function(*(rv.tensor(x) for x in at)).item()
        assert abs(got - exact) <= 0.51 * np.spacing(np.float32(size)) * (1 + name.startswith("polygamma"))


@pytest.mark.parametrize(
    "name", ["i0", "i1", "i0e", "i1e", "erfcx", "ndtr", "log_ndtr", "ndtri", "polygamma2"]
)
def test_slopes(name):
    function = function_of(name)
    at = np.array([0.02, 0.3, 0.6, 0.9] if name in ("ndtri", "polygamma2") else [-2.5, -0.5, 0.3, 1.5, 6.0])
    x = rv.tensor(at).requires_grad_()
    (slope,) = rv.autograd.grad(function(x).sum(), x, create_graph=True)
    h = 1e-5
    above = function(rv.tensor(at + h))
    below = function(rv.tensor(at - h))
    np.testing.assert_allclose(slope.tolist(), (above - below).numpy() / (2 * h), rtol=1e-4, atol=1e-9)
    (second,) = rv.autograd.grad(slope.sum(), x)

    def slope_at(points):
        z = rv.tensor(points).requires_grad_()
        return rv.autograd.grad(function(z).sum(), z)[0].numpy()

    np.testing.assert_allclose(second.tolist(), (slope_at(at + h) - slope_at(at - h)) / (2 * h), rtol=1e-4)


@pytest.mark.parametrize(("name", "a"), [("zeta", 2.5), ("gammainc", 2.5), ("gammaincc", 0.5)])
def test_slopes_by_the_second_argument(name, a):
    function = function_of(name)
    at = np.array([0.3, 1.5, 6.0])
    x = rv.tensor(at).requires_grad_()
    first = rv.tensor(a, dtype=rv.float64)
    (slope,) = rv.autograd.grad(function(first, x).sum(), x)
    above = function(first, rv.tensor(at + 1e-5))
    below = function(first, rv.tensor(at - 1e-5))
    np.testing.assert_allclose(slope.tolist(), (above - below).numpy() / 2e-5, rtol=1e-6)
    first.requires_grad_()
    with pytest.raises(NotImplementedError, match=rf"\[{name}\] got a first argument that requires"):
        function(first, x).sum().backward()


def slopes(function, *at):
    xs = [rv.tensor(x, dtype=rv.float64).requires_grad_() for x in at]
    function(*xs).sum().backward()
    return [x.grad.tolist() for x in xs]


def test_slopes_where_terms_cancel_or_underflow():
    """Exact slopes, also of arguments whose value is 0 or subnormal."""
    (far,) = slopes(special.log_ndtr, [30.0, 0.5, -3.0])
    exact = [1.47364613487854751904949e-196, 0.509160433837033485827186, 3.28309865493043650692809]
    assert far == pytest.approx(exact, rel=2e-14, abs=0)
    (tiny,) = slopes(special.entr, [5e-324, 1e-310, 0.5])
    assert tiny == pytest.approx([-math.log(x) - 1 for x in (5e-324, 1e-310, 0.5)], rel=1e-15)
    of_factor, of_number = slopes(special.xlog1py, [0.0, 0.0, 2.0], [1.0, -1.0, 3.0])
    assert of_factor == pytest.approx([math.log(2), 0.0, math.log(4)], rel=1e-15)
    assert of_number[0] == 0.0
    assert of_number[2] == 0.5
    a, b = slopes(methods.logaddexp2, [700.5, 3.0, -650.25], [-1.25, 2.5, -651.0])
    assert a == pytest.approx([1.0, 0.585786437626904951198311, 0.627115119175410963524447], rel=5e-16)
    exact = [5.65197904227467812293559e-212, 0.414213562373095048801689, 0.372884880824589036475553]
    assert b == pytest.approx(exact, rel=5e-16, abs=0)
    assert slopes(methods.logaddexp2, [math.inf], [math.inf]) == [[0.5], [0.5]]


def test_incomplete_gamma_far_below_its_order():
    """x / a is used as it is: 1 + (x / a - 1) would have lost digits."""
    a, x = [60.0, 40.0, 70.0, 30.0], [0.013, 0.0007, 0.11, 0.0003]
    exact = [
        8.144661228841124463921e-196,
        7.797940931270142308705e-175,
        5.91539691128241226915e-168,
        7.759817031973679892157e-139,
    ]
    got = gamma_functions.gammainc(rv.tensor(a, dtype=rv.float64), rv.tensor(x, dtype=rv.float64))
    assert got.tolist() == pytest.approx(exact, rel=2e-13, abs=0)


def test_edges():
    inf = math.inf
    nan = math.nan
    edges = rv.tensor([-inf, -1.0, 0.0, inf, nan])

    def results(function):
        return function(edges).numpy()

    np.testing.assert_array_equal(results(bessel.i0)[[0, 2, 3, 4]], [inf, 1, inf, nan])
    np.testing.assert_array_equal(results(bessel.i1)[[0, 2, 3, 4]], [-inf, 0, inf, nan])
    np.testing.assert_array_equal(results(bessel.bessel_j0)[[0, 2, 3, 4]], [0, 1, 0, nan])
    np.testing.assert_array_equal(results(bessel.bessel_y0)[1:], [nan, -inf, 0, nan])
    np.testing.assert_array_equal(results(bessel.modified_bessel_k1)[1:], [nan, inf, 0, nan])
    np.testing.assert_array_equal(results(special.ndtri)[[0, 1, 2, 4]], [nan, nan, -inf, nan])
    np.testing.assert_array_equal(results(special.erfcx)[[0, 2, 3, 4]], [inf, 1, 0, nan])
    one = rv.ones(5)
    np.testing.assert_array_equal(gamma_functions.gammainc(one, edges).numpy()[1:], [nan, 0, 1, nan])
    np.testing.assert_array_equal(gamma_functions.zeta(rv.tensor(2.0), edges).numpy()[[1, 2]], [inf, inf])
    assert np.isnan(gamma_functions.zeta(rv.tensor(0.5), edges).numpy()).all()
    assert np.isposinf(gamma_functions.zeta(rv.tensor(1.0), edges).numpy()).all()
    assert polynomials.legendre_polynomial_p(rv.tensor([0.5]), -1).item() == 0
    far = rv.tensor([-30.0], requires_grad=True)
    special.erfcx(far).backward()
    assert far.grad.item() == -inf


def test_zeta_far_away_is_no_long_sum():
    """Orders and arguments of a million."""
    s = rv.tensor([1e6, 1e6, 2.0, 3.0, 2.0], dtype=rv.float64)
    q = rv.tensor([1e3, 0.5, -1e6 - 0.5, -1e6 - 0.5, 1e6], dtype=rv.float64)
    got = gamma_functions.zeta(s, q).tolist()
    assert got[:2] == [0.0, math.inf]
    # All terms of the half numbers but those beyond a million: pi^2, and 0 for odd orders.
    assert got[2:] == pytest.approx([math.pi**2 - 1e-6, 5e-13, 1e-6 + 5e-13], rel=1e-6, abs=1e-15)


def test_halves_are_rounded_once():
    x = rv.tensor([0.1, 0.7, 2.5], dtype=rv.bfloat16)
    for function in (bessel.i0, bessel.bessel_j1, special.entr, special.ndtr):
        assert function(x).tolist() == function(x.float()).bfloat16().tolist()


def test_integers_become_floats():
    assert bessel.i0(rv.tensor([1, 2])).dtype is rv.float32
    assert gamma_functions.polygamma(2, rv.tensor([1, 2])).dtype is rv.float32
    with pytest.raises(ValueError, match=r"\[polygamma\] got n -1; expected a whole number"):
        gamma_functions.polygamma(-1, rv.tensor([1.0]))
