"""Values worked out by hand in the lessons that the library is meant to accompany."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn


@pytest.mark.parametrize(
    ("inputs", "z", "percent"), [([0.8, 0.9], 0.98, 72.7), ([0.3, 0.5], 0.75, 67.9), ([0.9, 0.3], 0.21, 55.2)]
)
def test_neuron_with_sigmoid(inputs, z, percent):
    total = rv.tensor(inputs, dtype=rv.float64) @ np.array([-0.5, 1.2]) + 0.3
    assert total.item() == pytest.approx(z, abs=1e-12)
    assert 100 * rv.sigmoid(total).item() == pytest.approx(percent, abs=0.05)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sigmoid", {0.0: 0.5, 5.0: 0.993, -5.0: 0.007, 2.0: 0.881}),
        ("tanh", {0.0: 0.0, 2.0: 0.964, -2.0: -0.964}),
        ("relu", {5.0: 5.0, -3.0: 0.0, 0.0: 0.0}),
        ("leaky_relu", {-2.0: -0.02, 2.0: 2.0}),
    ],
)
def test_activations(name, values):
    found = getattr(rv, name)(rv.tensor(list(values)))
    np.testing.assert_allclose(found.numpy(), list(values.values()), atol=5e-4)


def test_slopes_of_activations():
    """The sigmoid is steepest at 0, with 1/4, tanh with 1: why signals fade after many of them."""

    def slope(f, values):
        x = rv.tensor(values, requires_grad=True)
        f(x).sum().backward()
        return x.grad.numpy()

    x = np.linspace(-6, 6, 121)
    assert slope(rv.sigmoid, x).max() == slope(rv.sigmoid, [0.0])[0] == 0.25
    assert slope(rv.tanh, x).max() == slope(rv.tanh, [0.0])[0] == 1
    assert slope(rv.relu, [-1.0, 2.0]).tolist() == [0, 1]
    np.testing.assert_allclose(slope(rv.leaky_relu, [-1.0, 2.0]), [0.01, 1])


@pytest.mark.parametrize(("p", "value"), [([0.9, 0.1, 0.8, 0.7], 0.19763), ([0.1, 0.9, 0.2, 0.3], 1.85465)])
def test_binary_cross_entropy(p, value):
    loss = nn.BCELoss()(rv.tensor(p), rv.tensor([1.0, 0.0, 1.0, 1.0]))
    assert loss.item() == pytest.approx(value, abs=5e-6)


def test_categorical_cross_entropy():
    p = rv.tensor([[0.8, 0.15, 0.05], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]])
    loss = nn.CrossEntropyLoss()(rv.log(p), rv.tensor([0, 1, 2]))
    assert loss.item() == pytest.approx(0.3635, abs=5e-5)


def test_backpropagation_by_hand():
    x, w, v = rv.tensor(2.0), rv.tensor(3.0, requires_grad=True), rv.tensor(0.5, requires_grad=True)
    output = v * rv.relu(w * x)
    loss = (output - 5) ** 2
    loss.backward()
    assert (output.item(), loss.item()) == (3, 4)
    assert (v.grad.item(), w.grad.item()) == (-24, -4)
    with rv.no_grad():
        assert (w - 0.1 * w.grad).item() == pytest.approx(3.4, abs=1e-6)
        assert (v - 0.1 * v.grad).item() == pytest.approx(2.9, abs=1e-6)


def test_regression_step():
    x, target = rv.tensor([1.0, 2.0, 3.0, 4.0]), rv.tensor([2.0, 4.0, 6.0, 8.0])
    w, b = rv.tensor(1.5, requires_grad=True), rv.tensor(0.5, requires_grad=True)
    loss = nn.MSELoss()(rv.relu(x * w + b), target)
    loss.backward()
    assert loss.item() == pytest.approx(0.875)
    assert (w.grad.item(), b.grad.item()) == (pytest.approx(-5), pytest.approx(-1.5))
    with rv.no_grad():
        assert (w - 0.1 * w.grad).item() == pytest.approx(2.0)
        assert (b - 0.1 * b.grad).item() == pytest.approx(0.65)


def test_edge_kernels():
    image = np.zeros((1, 1, 8, 8), np.float32)
    image[..., 4:] = 255
    vertical = np.array([[-1, 0, 1]] * 3, np.float32)[None, None]
    assert rv.kernels.conv2d(image, vertical).max() == 765
    assert (rv.kernels.conv2d(image, np.swapaxes(vertical, 2, 3).copy()) == 0).all()
