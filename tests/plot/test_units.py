"""Pictures of single parts: activations and losses."""

import numpy as np
from ranvier import nn, plot
from support.refused import refused


def curve(ax, name):
    (found,) = [line for line in ax.lines if line.get_label() == name]
    return found.get_data()


def test_activation(tmp_path):
    ax = plot.activation("sigmoid", -3, 3, path=tmp_path / "sigmoid.svg")
    assert "<svg" in (tmp_path / "sigmoid.svg").read_text()
    z, a = curve(ax, "f(z)")
    np.testing.assert_allclose(a, 1 / (1 + np.exp(-z)), rtol=1e-12)
    np.testing.assert_allclose(curve(ax, "f'(z)")[1], a * (1 - a), rtol=1e-9)
    assert ax.get_xlim() == (-3, 3)


def test_a_jump_of_the_derivative_is_a_gap():
    z, slope = curve(plot.activation("leaky_relu", negative_slope=0.25), "f'(z)")
    assert np.isnan(slope).sum() == 1
    np.testing.assert_array_equal(slope[z < -0.1], 0.25)
    np.testing.assert_array_equal(slope[z > 0.1], 1)


def test_a_function_of_the_user():
    def cube(t):
        return t**3

    ax = plot.activation(cube, -1, 1)
    assert ax.get_title() == "cube"
    np.testing.assert_allclose(curve(ax, "f'(z)")[1], 3 * curve(ax, "f(z)")[0] ** 2, atol=1e-12)


def test_activations():
    panels = plot.activations(["heaviside", "relu", "tanh", "gelu"])
    assert [panel.get_title() for panel in panels] == ["heaviside", "relu", "tanh", "gelu"]
    assert [panel.get_xlabel() != "" for panel in panels] == [False, True, True, True]
    refused(ValueError, "no functions", plot.activations, [])


def test_losses():
    regression, probability, score = plot.loss_functions()
    error, squared = curve(regression, "squared (MSE)")
    np.testing.assert_allclose(squared, error**2, atol=1e-12)
    p, loss = curve(probability, "cross-entropy, target 1: -ln p")
    np.testing.assert_allclose(loss, -np.log(p), rtol=1e-9)
    z, hinge = curve(score, "hinge: max(0, 1 - z)")
    np.testing.assert_allclose(hinge, np.maximum(0, 1 - z), atol=1e-12)
    (own,) = plot.loss_functions({"L1": nn.L1Loss()}, target=3.0, low=0, high=5)
    x, loss = curve(own, "L1")
    np.testing.assert_allclose(loss, abs(x - 3))


def test_wrong_calls():
    refused(ValueError, "[plot.activation] got activation 'softmax'", plot.activation, "softmax")
    refused(ValueError, "expected finite low < high", plot.activation, "relu", 1, 1)
    refused(ValueError, "got 0 losses", plot.loss_functions, {})
    refused(TypeError, "got losses of type list; expected name -> loss", plot.loss_functions, [nn.MSELoss()])
    refused(TypeError, "expected a matplotlib Axes", plot.activation, "relu", ax=3)
