"""mlp: its layers, starting values, and that it is a Sequential like any other."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


def kinds(model):
    return [type(layer).__name__ for layer in model]


def test_shapes():
    model = rv.mlp([784, 128, 64, 10])
    assert model(rv.zeros(5, 784)).shape == (5, 10)
    assert [tuple(p.shape) for p in model.parameters() if p.ndim == 2] == [(128, 784), (64, 128), (10, 64)]


def test_layers():
    assert kinds(rv.mlp([2, 1])) == ["Linear"]
    assert kinds(rv.mlp([2, 3, 1], "leaky_relu", output="sigmoid")) == [
        "Linear",
        "LeakyReLU",
        "Linear",
        "Sigmoid",
    ]
    model = rv.mlp([2, 3, 4, 1], ["tanh", "linear"], dropout=0.25, batch_norm=True)
    hidden = ["Linear", "BatchNorm1d", "{}", "Dropout"]
    assert kinds(model) == [k.format("Tanh") for k in hidden] + [k.format("Identity") for k in hidden] + [
        "Linear"
    ]
    assert model[0].bias is None
    assert model[8].bias is not None
    assert model[3].p == 0.25


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("he", math.sqrt(2 / 400)),
        ("he_uniform", math.sqrt(2 / 400)),
        ("xavier", math.sqrt(2 / 600)),
        ("glorot_uniform", math.sqrt(2 / 600)),
        ("lecun", math.sqrt(1 / 400)),
        ("lecun_uniform", math.sqrt(1 / 400)),
        ("normal", 0.01),
        ("default", math.sqrt(1 / 3 / 400)),
        (lambda w: nn.init.normal_(w, 0.0, 0.3), 0.3),
    ],
)
def test_starting_values(init, std):
    rv.manual_seed(0)
    layer = rv.mlp([400, 200], init=init)[0]
    weight = layer.weight.detach().numpy().astype(np.float64)
    # the deviation of n normal numbers is off by 1 / sqrt(2 n) of itself, here taken five times
    assert abs(weight.std() / std - 1) < 5 / math.sqrt(2 * weight.size)
    assert (layer.bias.detach().numpy() == 0).all() == (init != "default")


def test_zeros_and_ones():
    assert (rv.mlp([3, 2], init="zeros")[0].weight.detach().numpy() == 0).all()
    assert (rv.mlp([3, 2], init="ones")[0].weight.detach().numpy() == 1).all()


def test_dtype_and_output():
    model = rv.mlp([5, 7, 3], "gelu", dropout=0.2, batch_norm=True, output="softmax", dtype=rv.float64).eval()
    y = model(rv.rand(4, 5, dtype=rv.float64))
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.sum(-1).detach().numpy(), 1)


@pytest.mark.parametrize("seed", range(5))
def test_xor_2_4_1(seed):
    """Four tanh units learn XOR from almost any start (59 of 60 seeds); four ReLUs from every second."""
    rv.manual_seed(seed)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)
    model = rv.mlp([2, 4, 1], "tanh", init="xavier", output="sigmoid")
    trainer = rv.Trainer(model, nn.BCELoss(), rv.optim.Adam(model.parameters(), lr=0.1))
    history = trainer.fit(x, y, epochs=300, batch_size=4)
    assert trainer.predict(x).tolist() == y.tolist()
    assert history["loss"][-1] < 0.05


def test_wrong_calls():
    for sizes in ([3], [], [3, 0], [2.0, 1], [True, 2]):
        refused(ValueError, "[mlp] got sizes", rv.mlp, sizes)
    with pytest.raises(ValueError, match=r"\[activation\] got 'swash'"):
        rv.mlp([2, 2], activation="swash")  # no hidden layer, and an error all the same
    refused(ValueError, "[activation] got 'swash'", rv.mlp, [2, 3, 1], "swash")
    refused(ValueError, "[init] got 'her'; expected one of he, he_uniform", rv.mlp, [2, 3, 1], init="her")
    refused(ValueError, "[mlp] got 1 activations for 2 hidden layers", rv.mlp, [2, 3, 4, 1], ["relu"])
    refused(TypeError, "[mlp] got sizes 3; expected whole numbers", rv.mlp, 3)
    refused(TypeError, "[mlp] got activation None", rv.mlp, [2, 3, 1], None)
    refused(TypeError, "[init] got int; expected a name or a function", rv.mlp, [2, 3, 1], init=3)
    refused(ValueError, "dropout", rv.mlp, [2, 3, 1], dropout=1.5)
