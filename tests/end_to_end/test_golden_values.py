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


def test_exam_neuron_with_threshold():
    total = rv.tensor([8.0, 75.0, 80.0], dtype=rv.float64) @ np.array([0.4, 0.01, 0.005]) - 2
    assert total.item() == pytest.approx(2.35, abs=1e-12)
    assert nn.Heaviside()(total).item() == 1


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


def test_softmax():
    y = rv.softmax(rv.tensor([2.0, 1.0, 0.1]), dim=0)
    np.testing.assert_allclose(y.numpy(), [0.659, 0.242, 0.099], atol=5e-4)


def test_mean_squared_error():
    loss = nn.MSELoss()(rv.tensor([2.5, 0.0, 2.0, 8.0]), rv.tensor([3.0, -0.5, 2.0, 7.0]))
    assert loss.item() == 0.375


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


def test_linear_layer_by_hand():
    layer = nn.Linear(2, 2)
    layer.load_state_dict({"weight": np.array([[0.5, -0.3], [0.2, 0.8]]), "bias": np.array([0.1, -0.2])})
    z = layer(rv.tensor([1.0, 2.0]))
    np.testing.assert_allclose(z.detach().numpy(), [0, 1.6], atol=1e-6)
    np.testing.assert_allclose(rv.relu(z).detach().numpy(), [0, 1.6], atol=1e-6)


@pytest.mark.parametrize("x", [-2.0, -1.0, 0.0, 1.0, 2.0])
def test_derivative_of_a_parabola(x):
    assert rv.grad(lambda t: t**2 + 3 * t + 2)(x) == 2 * x + 3


def descended(f, start, steps):
    w = rv.tensor(start, dtype=rv.float64, requires_grad=True)
    optimizer = rv.optim.SGD([w], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        f(w).backward()
        optimizer.step()
    return w


def test_descent_of_a_parabola():
    """f(w) = (w - 2)^2 + 1 from 5 with rate 0.1: 20 steps come within 0.035 of 2."""
    w = descended(lambda w: (w - 2) ** 2 + 1, 5.0, steps=20)
    assert w.item() == pytest.approx(2 + 3 * 0.8**20)


def test_descent_of_two_weights():
    """(w1 - 1)^2 + 2 (w2 + 0.5)^2 from (-2, 2), rate 0.1: a step shrinks the distance to 0.8 and to 0.6."""
    w = descended(lambda w: (w[0] - 1) ** 2 + 2 * (w[1] + 0.5) ** 2, [-2.0, 2.0], steps=50)
    np.testing.assert_allclose(w.detach(), [1 - 3 * 0.8**50, -0.5 + 2.5 * 0.6**50], rtol=1e-12)


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


@pytest.mark.parametrize(
    ("sizes", "count"), [([3, 4, 2], 26), ([784, 128, 64, 10], 109_386), ([10, 64, 32, 16, 2], 3_346)]
)
def test_parameter_counts(sizes, count):
    assert sum(p.numel() for p in rv.mlp(sizes).parameters()) == count


def test_shapes_through_the_cnn():
    layers = [
        (nn.Conv2d(1, 32, 3), (32, 26, 26)),
        (nn.MaxPool2d(2), (32, 13, 13)),
        (nn.Conv2d(32, 64, 3), (64, 11, 11)),
        (nn.MaxPool2d(2), (64, 5, 5)),
        (nn.Flatten(), (1600,)),
        (nn.Linear(1600, 128), (128,)),
        (nn.Linear(128, 10), (10,)),
    ]
    x = rv.zeros(2, 1, 28, 28)
    for layer, shape in layers:
        x = layer(x)
        assert x.shape == (2, *shape)


def test_edge_kernels():
    image = np.zeros((1, 1, 8, 8), np.float32)
    image[..., 4:] = 255
    vertical = np.array([[-1, 0, 1]] * 3, np.float32)[None, None]
    assert rv.kernels.conv2d(image, vertical).max() == 765
    assert (rv.kernels.conv2d(image, np.swapaxes(vertical, 2, 3).copy()) == 0).all()
