"""Every value and gradient of one batch, by hand and by finite differences."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.explore import gradients


def test_the_chain_rule_by_hand():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    model[0].weight.data.fill_(3.0)
    model[2].weight.data.fill_(0.5)
    found = gradients(model, nn.MSELoss(), [[2.0]], [[5.0]])
    assert list(found) == ["x", "0.weight", "0", "1", "2.weight", "2", "loss"]
    values = {name: float(row.value.item()) for name, row in found.items()}
    assert values == {"x": 2, "0.weight": 3, "0": 6, "1": 6, "2.weight": 0.5, "2": 3, "loss": 4}
    slopes = {name: float(row.gradient.item()) for name, row in found.items()}
    assert slopes == {"x": -6, "0.weight": -4, "0": -2, "1": -2, "2.weight": -24, "2": -4, "loss": 1}


def test_every_gradient_is_that_of_finite_differences(rng):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = rng.standard_normal((5, 3)), np.array([0, 1, 1, 0, 1])
    loss = nn.CrossEntropyLoss()
    found = gradients(model, loss, x, y)
    step = 1e-6
    for name, parameter in model.named_parameters():
        flat = parameter.detach().numpy().reshape(-1)
        for i in range(flat.size):
            kept, ends = flat[i], []
            for moved in (kept + step, kept - step):
                flat[i] = moved
                ends.append(loss(model(rv.tensor(x)), rv.tensor(y)).item())
            flat[i] = kept
            slope = (ends[0] - ends[1]) / (2 * step)
            assert found[name].gradient.reshape(-1)[i] == pytest.approx(slope, abs=1e-7)
    error = rv.softmax(found["2"].value, 1).numpy() - np.eye(2)[y]
    np.testing.assert_allclose(found["2"].gradient, error / 5, atol=1e-12)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    found = gradients(model, nn.CrossEntropyLoss(), np.ones((2, 3)), [0, 1])
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert (found["0"].value < 0).any()  # before the layer in place


def test_a_layer_called_twice_has_two_rows():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(rv.tanh(self.layer(x)))

    found = gradients(Twice(), nn.MSELoss(), np.ones((1, 2)), np.zeros((1, 2)))
    assert list(found) == ["x", "layer.weight", "layer.bias", "layer", "layer (2)", "loss"]
    assert not np.array_equal(found["layer"].gradient, found["layer (2)"].gradient)


def test_frozen_parts_have_no_gradient():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    found = gradients(model, nn.CrossEntropyLoss(), np.ones((2, 2)), [0, 1])
    assert found["0.weight"].gradient is None
    assert found["2.weight"].gradient is not None
    with pytest.raises(KeyError, match=r"no '5'; there are x, 0.weight"):
        found["5"]


def test_whole_numbers_for_an_embedding_and_a_single_layer():
    found = gradients(
        nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)), nn.CrossEntropyLoss(), [[1, 4]], [1]
    )
    assert found["x"].gradient is None
    assert found["0.weight"].gradient[[0, 2, 3]].any() == np.False_
    assert "Linear" in gradients(nn.Linear(2, 1), nn.MSELoss(), [[1.0, 2.0]], [[0.0]])


def test_the_table_has_a_line_for_each():
    found = gradients(nn.Sequential(nn.Linear(2, 1)), nn.MSELoss(), [[1.0, 2.0]], [[0.0]])
    lines = str(found).splitlines()
    assert len(lines) == 2 + len(found)
    assert lines[0].split() == ["name", "kind", "shape", "norm", "gradient's", "norm", "largest"]
    assert lines[3].split()[:4] == [
        "0.weight",
        "parameter",
        "1x2",
        f"{np.hypot(*found['0.weight'].value[0]):.3g}",
    ]
