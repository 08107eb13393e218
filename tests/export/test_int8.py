"""Predictions in int8: errors within what rounding to the scales allows, and the sizes."""

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from export.test_predictions import Of, numbers
from ranvier import nn
from support.c_files import COMPILERS, Compiled, needs_compiler

pytestmark = needs_compiler


def steps(low, high):
    """The scale of values from low to high."""
    return (max(high, 0.0) - min(low, 0.0)) / 255


def bound(layer, x):
    """How far a product may be from float32: by half a step of each factor in each term, and of the bias."""
    weight = layer.weight.detach().numpy().reshape(layer.weight.shape[0], -1).astype(np.float64)
    of_x, of_w = steps(x.min(), x.max()), np.abs(weight).max(1) / 127
    terms, largest = weight.shape[1], np.abs(x).max()
    return (
        np.abs(weight).sum(1) * of_x / 2 + terms * (largest + of_x / 2) * of_w / 2 + of_x * of_w / 2
    ).max()


def float_result(model, *inputs):
    with rv.no_grad():
        return model(*map(rv.tensor, inputs)).numpy()


PRODUCTS = {
    "linear": (nn.Linear(7, 5), (40, 7)),
    "linear without bias": (nn.Linear(1, 3, bias=False), (40, 1)),
    "linear of one output": (nn.Linear(33, 1), (40, 33)),
    "conv2d": (nn.Conv2d(3, 4, 3, padding=1), (6, 3, 5, 6)),
    "conv2d with stride": (
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(0, 2), dilation=(1, 2)),
        (6, 2, 7, 6),
    ),
    "conv2d with groups": (nn.Conv2d(4, 8, 3, groups=4, padding=2, bias=False), (6, 4, 4, 4)),
    "conv1d": (nn.Conv1d(2, 3, 4, padding=3), (6, 2, 9)),
}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_within_the_rounding_of_its_factors(tmp_path, name, compiler):
    layer, shape = PRODUCTS[name]
    for number, offset in enumerate(
        (0.0, 3.0, -3.0)
    ):  # zero within the range, at its lower and its upper end
        folder = tmp_path / str(number)
        folder.mkdir()
        x = numbers(*shape) + np.float32(offset)
        compiled = Compiled(folder, layer, np.zeros_like(x[:1]), compiler, calibration=x)
        for row in x[:4]:
            expected = float_result(layer, row[None])
            y = compiled.predict(row[None], shape=expected.shape)
            assert np.abs(y - expected).max() <= bound(layer, x)
        assert "int8" in compiled.text


def test_a_product_is_numpys_sum_of_integers(tmp_path):
    """The same integers, scaled by the same numbers."""
    layer, x = nn.Linear(9, 4), numbers(30, 9)
    compiled = Compiled(tmp_path, layer, x[:1], calibration=x)
    weight, bias = (p.detach().numpy().astype(np.float64) for p in (layer.weight, layer.bias))
    scale = steps(float(x.min()), float(x.max()))
    zero = round(-128 - min(float(x.min()), 0.0) / scale)
    q = np.clip(np.rint(x / scale) + zero, -128, 127)
    of_w = np.abs(weight).max(1, keepdims=True) / 127
    sums = (q - zero) @ np.rint(weight / of_w).T + np.rint(bias / (scale * of_w[:, 0]))
    expected = sums * (scale * of_w[:, 0])
    y = np.stack([compiled.predict(row[None], shape=(4,)) for row in x])
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


rv.manual_seed(0)  # else what other modules draw decides the first weights
NETWORKS = {
    "mlp": nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
    "folded norms": nn.Sequential(
        *(nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16, affine=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 10)),
    ),
    "layers in float32 between": nn.Sequential(
        *(
            nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(128, 16),
            nn.GELU(),
        ),
        *(nn.LayerNorm(16), nn.Linear(16, 10)),
    ),
    "a sum": Of(
        lambda a, b, c, x: c((a(x) + F.relu(b(F.relu(a(x))))).flatten(1)),
        *(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(256, 10)),
    ),
    "a value that two layers read": Of(
        lambda a, b, c, x: b(F.relu(a(x.flatten(1)))) + c(F.relu(a(x.flatten(1)))),
        *(nn.Linear(64, 32), nn.Linear(32, 10), nn.Linear(32, 10)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_decide_as_in_float32(tmp_path, name):
    """At most 1 % of the digits that a trained network has not seen get another class."""
    x, y = rv.data.datasets.load_digits()
    rv.manual_seed(1)
    model = NETWORKS[name]
    trainer = rv.Trainer(model, loss="cross_entropy", optimizer="adam", lr=3e-3)
    trainer.fit(x[:1200], y[:1200], epochs=8, batch_size=32, verbose=0)
    model.eval()
    compiled = Compiled(tmp_path, model, rv.zeros(1, 1, 8, 8), calibration=x[:200])
    of_c = np.stack([compiled.predict(row[None], shape=(10,)) for row in x[1200:]])
    expected = float_result(model, x[1200:])
    assert (of_c.argmax(1) != expected.argmax(1)).mean() <= 0.01
    assert np.abs(of_c - expected).mean() <= 0.05 * np.abs(expected).mean()
    assert ("batch_norm" in compiled.text, "scale_shift" in compiled.text) == (False, False)


def test_weights_take_a_quarter(tmp_path):
    model, x = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)), numbers(20, 64)
    plain = Compiled(tmp_path, model, x[:1]).report
    report = Compiled(tmp_path, model, x[:1], calibration=x, separate_weights=True).report
    assert report.weights == 64 * 128 + 128 * 10 + 8 * (
        128 + 10
    )  # bytes: weights; bias and factor of each output
    assert report.ram <= plain.ram / 2
    assert "int8_t net_w_0_weight_int8[8192]" in (tmp_path / "net_weights.c").read_text()


def test_values_beyond_the_calibration_saturate(tmp_path):
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data[...] = 1.0
    compiled = Compiled(tmp_path, layer, rv.zeros(1, 2), calibration=np.array([[1.0, 2.0]], np.float32))
    for value in (5.0, np.inf):
        y = compiled.predict(np.array([[value, 0.0]]), shape=(1,))
        np.testing.assert_allclose(y, 2.0, rtol=1e-6)
    for value in (-5.0, -np.inf, np.nan):
        np.testing.assert_allclose(compiled.predict(np.array([[value, 0.0]]), shape=(1,)), 0.0, atol=1e-6)


def test_constant_calibration(tmp_path):
    layer = nn.Linear(2, 3)
    compiled = Compiled(tmp_path, layer, rv.zeros(1, 2), calibration=np.zeros((4, 2), np.float32))
    y = compiled.predict(np.zeros((1, 2)), shape=(3,))
    half = steps(0, 1) * float(layer.weight.abs().max()) / 127 / 2  # a step of the bias, for inputs of 0 to 1
    np.testing.assert_allclose(y, layer.bias.detach().numpy(), rtol=1e-6, atol=half)


def test_a_bias_beside_small_weights_keeps_its_value(tmp_path):
    """Its integer fits in 32 bits, whatever the weights and the inputs are."""
    layer = nn.Linear(3, 2)
    layer.weight.data[...] = rv.tensor([[0.0, 0.0, 0.0], [1e-12, -1e-12, 0.0]])
    layer.bias.data[...] = rv.tensor([5.0, -7.0])
    x = numbers(10, 3) * np.float32(1e-3)
    compiled = Compiled(tmp_path, layer, x[:1], calibration=x)
    np.testing.assert_allclose(compiled.predict(x[:1], shape=(2,)), [5.0, -7.0], rtol=1e-6)


OF_COMPUTED = {  # functions of x and of parameters that z gives
    "weight": lambda a, b, n, x, z: n(F.linear(x, b(z).reshape(6, 4))),
    "bias": lambda a, b, n, x, z: n(F.linear(x, a.weight, b(z)[0, :6])),
    "gain": lambda a, b, n, x, z: norm_with(n, b(z)[0, :6], a(x)),
}


def norm_with(norm, gain, x):
    """gain comes first, so that the product stands directly before the norm."""
    return F.batch_norm(x, norm.running_mean, norm.running_var, gain, norm.bias, training=False)


@pytest.mark.parametrize("name", OF_COMPUTED)
def test_computed_parameters_are_not_folded(tmp_path, name):
    model = Of(OF_COMPUTED[name], nn.Linear(4, 6), nn.Linear(3, 24), nn.BatchNorm1d(6))
    model.layers[2].running_mean._array[...] = numbers(6)
    model.eval()
    x, z = numbers(40, 4), numbers(40, 3, seed=1)
    expected = float_result(model, x[:1], z[:1])
    for number, options in enumerate(({}, {"calibration": (x, z)})):
        folder = tmp_path / str(number)
        folder.mkdir()
        compiled = Compiled(folder, model, (np.zeros_like(x[:1]), np.zeros_like(z[:1])), **options)
        y = compiled.predict(x[:1], z[:1], shape=(1, 6))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=0.1 if options else 1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_weights_that_are_not_finite(tmp_path, name, value):
    model = nn.Sequential(nn.Linear(3, 2))
    getattr(model[0], name).data[0] = float(value)
    with pytest.raises(ValueError, match=r"0: Linear.*weights are not finite"):
        rv.export.c(model, tmp_path / "net.c", rv.zeros(1, 3), calibration=numbers(9, 3))


def test_indices_of_a_pool_are_refused(tmp_path):
    model = Of(
        lambda a, b, x: b(F.max_pool2d(a(x), 2, return_indices=True)[0].flatten(1)),
        *(nn.Conv2d(1, 2, 3), nn.Linear(8, 3)),
    )
    with pytest.raises(ValueError, match="return_indices is not supported"):
        rv.export.c(model, tmp_path / "net.c", rv.zeros(1, 1, 6, 6), calibration=numbers(9, 1, 6, 6))


def test_a_norm_without_running_statistics_is_refused(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False))
    with pytest.raises(ValueError, match="takes no running statistics: keep them"):
        rv.export.c(model, tmp_path / "net.c", rv.zeros(2, 3))


@pytest.mark.parametrize("size", [1e-41, 1e37])
def test_values_at_the_limits_of_float32(tmp_path, size):
    """No scale overflows: the results of 0 are the bias, of the largest values the product."""
    layer = nn.Linear(3, 2)
    x = numbers(9, 3) * np.float32(size)
    with np.errstate(all="raise", under="ignore"):
        compiled = Compiled(tmp_path, layer, x[:1], calibration=x)
    assert "INFINITY" not in compiled.text
    expected = float_result(layer, x[:1])
    np.testing.assert_allclose(compiled.predict(x[:1], shape=(1, 2)), expected, atol=0.02 * max(size, 0.3))


def test_several_inputs_and_batches(tmp_path):
    model = Of(lambda a, b, x, z: a(x) * b(z), nn.Linear(3, 4), nn.Linear(5, 4))
    x, z = numbers(20, 3), numbers(20, 5)
    compiled = Compiled(tmp_path, model, (x[:2], z[:2]), calibration=(x, z))
    with rv.no_grad():
        expected = model(rv.tensor(x[:2]), rv.tensor(z[:2])).numpy()
    np.testing.assert_allclose(compiled.predict(x[:2], z[:2], shape=(2, 4)), expected, atol=0.1)


@pytest.mark.parametrize(
    ("calibration", "match"),
    [
        (np.zeros((1, 3), np.float32), "got 1 rows of calibration; expected 2 or more"),
        (np.zeros((9, 4), np.float32), "rows like those of"),
        ((np.zeros((9, 3)), np.zeros((9, 3))), "as many inputs as the example"),
        (np.full((9, 3), np.nan, np.float32), "not finite"),
    ],
)
def test_wrong_calibration(tmp_path, calibration, match):
    with pytest.raises(ValueError, match=match):
        rv.export.c(nn.Linear(3, 2), tmp_path / "net.c", rv.zeros(2, 3), calibration=calibration)
    assert not list(tmp_path.iterdir())


def test_a_step_takes_no_calibration(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = rv.optim.SGD(model.parameters())

    def step(x, t):
        optimizer.zero_grad()
        F.mse_loss(model(x), t).backward()
        optimizer.step()

    example = (rv.zeros(2, 3), rv.zeros(2, 2))
    with pytest.raises(ValueError, match="expected it with a prediction"):
        rv.export.c(step, tmp_path / "net.c", example, calibration=example)


def test_int8_has_no_nan(tmp_path):
    """It is the smallest value of the calibration, as -infinity is, and the header says so."""
    model = nn.Linear(3, 2)
    rv.export.c(model, tmp_path / "net.c", rv.zeros(1, 3))
    assert "NaN" not in (tmp_path / "net.h").read_text()
    rows = np.random.default_rng(0).uniform(-1, 1, (64, 3)).astype(np.float32)
    compiled = Compiled(tmp_path, model, rv.zeros(1, 3), calibration=rows)
    answers = {
        compiled.predict(np.array([[0.5, bad, 0.25]], np.float32), shape=(1, 2)).tobytes()
        for bad in (np.nan, -np.inf, rows.min())
    }
    assert len(answers) == 1
    assert "NaN is the smallest" in (tmp_path / "net.h").read_text()
