"""Neuron: its arithmetic, its boundary, and the neurons of a layer."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.ops.activation.slope import ACTIVATIONS
from support.refused import refused
from support.tolerance import tolerance


def test_one_input_and_many():
    rv.manual_seed(0)
    neuron = nn.Neuron(3, "tanh")
    x = rv.randn(5, 3)
    a = neuron(x)
    assert a.shape == (5,)
    assert neuron(x[2]).shape == ()
    weights, bias = neuron.weights.detach().numpy(), neuron.bias.item()
    z = x.numpy() @ weights + bias
    limit = tolerance("float32", 3, 4.0)
    np.testing.assert_allclose(neuron.z(x).detach().numpy(), z, rtol=0, atol=limit)
    np.testing.assert_allclose(a.detach().numpy(), np.tanh(z), rtol=0, atol=limit)
    assert {name: p.shape for name, p in neuron.named_parameters()} == {"weights": (3,), "bias": ()}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_by_name(activation):
    neuron = nn.Neuron.with_weights([2.0], -0.5, activation)
    y = neuron([[-1.0], [0.75]])
    expected = neuron.z([[-1.0], [0.75]]).detach()
    settings = {"prelu": (rv.tensor([0.25], dtype=rv.float64),), "heaviside": (0,)}.get(activation, ())
    if activation != "linear":
        expected = getattr(rv.ops, activation)(expected, *settings)
    assert y.tolist() == expected.tolist()


def test_explained():
    neuron = nn.Neuron.with_weights([0.4, 0.01, 0.005], -2, "heaviside")
    signal = neuron.explain([8, 75, 80])
    np.testing.assert_allclose(signal.products, [3.2, 0.75, 0.4])
    assert (signal.bias, signal.a) == (-2, 1)
    assert signal.z == pytest.approx(2.35)
    assert str(signal) == "z = 3.2 + 0.75 + 0.4 - 2 = 2.35; a = heaviside(z) = 1"


def test_it_learns():
    """A single sigmoid neuron learns OR."""
    rv.manual_seed(0)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([0, 1, 1, 1], np.float32)
    neuron = nn.Neuron(2)
    trainer = rv.Trainer(neuron, nn.BCELoss(), rv.optim.Adam(neuron.parameters(), lr=0.1))
    trainer.fit(x, y, epochs=100, batch_size=4)
    assert trainer.predict(x).tolist() == [0, 1, 1, 1]


def test_the_neurons_of_a_layer():
    rv.manual_seed(0)
    layer, x = nn.Linear(4, 3), rv.randn(6, 4)
    neurons = [nn.Neuron.of(layer, i, "relu") for i in range(3)]
    by_matrix = rv.relu(layer(x)).detach().numpy()
    one_by_one = np.stack([neuron(x).detach().numpy() for neuron in neurons], axis=1)
    np.testing.assert_allclose(one_by_one, by_matrix, rtol=0, atol=tolerance("float32", 4, 4.0))
    neurons[1](x).sum().backward()
    assert layer.weight.grad[0].tolist() == [0] * 4
    assert layer.weight.grad[1].tolist() != [0] * 4
    nn.init.ones_(layer.weight)  # what the layer learns shows in its neurons
    assert neurons[2].weights.tolist() == [1] * 4
    assert nn.Neuron.of(layer, -1).weights.tolist() == [1] * 4
    assert nn.Neuron.of(nn.Linear(2, 1, bias=False), 0).explain([1, 1]).bias == 0


@pytest.mark.parametrize(
    ("weights", "bias", "ends"),
    [
        ([1.0, 1.0], -1.5, [[1.5, 0.0], [0.0, 1.5]]),
        ([2.0, 0.0], -1.0, [[0.5, 0.0], [0.5, 2.0]]),
        ([0.0, -1.0], 1.0, [[0.0, 1.0], [2.0, 1.0]]),
        ([1.0, -1.0], 0.0, [[0.0, 0.0], [2.0, 2.0]]),
    ],
)
def test_boundary(weights, bias, ends):
    neuron = nn.Neuron.with_weights(weights, bias)
    line = neuron.boundary((0, 0), (2, 2))
    assert sorted(line.tolist()) == sorted(ends)
    np.testing.assert_allclose(neuron.z(line).detach().numpy(), 0, atol=1e-15)


@pytest.mark.parametrize(("weights", "bias"), [([1.0, 1.0], 5.0), ([1.0, 0.0], 5.0), ([0.0, 1.0], -3.0)])
def test_a_boundary_that_passes_by(weights, bias):
    assert nn.Neuron.with_weights(weights, bias).boundary((0, 0), (2, 2)).shape == (0, 2)


def test_wrong_calls():
    refused(ValueError, "[neuron] got 0 in_features", nn.Neuron, 0)
    refused(ValueError, "[neuron] got activation 'softmax'; expected one of celu", nn.Neuron, 2, "softmax")
    refused(ValueError, "[neuron] got x of shape (3,); expected (..., 2)", nn.Neuron(2), [1, 2, 3])
    refused(ValueError, "got weights of shape (1, 2)", nn.Neuron.with_weights, [[1, 2]])
    refused(ValueError, "expected two that are not both 0", nn.Neuron.with_weights([0, 0]).boundary)
    refused(ValueError, "expected two", nn.Neuron.with_weights([1, 2, 3]).boundary)
    refused(IndexError, "got neuron 3 of a layer of 3", nn.Neuron.of, nn.Linear(2, 3), 3)
    refused(TypeError, "got ReLU and index 0; expected a Linear", nn.Neuron.of, nn.ReLU(), 0)
    refused(ValueError, "expected two corners", nn.Neuron.with_weights([1, 2]).boundary, 0, 1)
    refused(ValueError, "got x of shape (1, 2)", nn.Neuron(2).explain, [[1, 2]])
