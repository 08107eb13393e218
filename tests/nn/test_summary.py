"""summary: shapes, counts, what is shared or frozen, and a model left as it was."""

from itertools import pairwise

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused

CNN = (
    *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
    *(nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)),
)


def test_golden_cnn_shapes(capsys):
    summary = rv.summary(nn.Sequential(*CNN), (1, 28, 28))
    assert [layer.output_shape for layer in summary.layers] == [
        ("N", 32, 26, 26),
        ("N", 32, 26, 26),
        ("N", 32, 13, 13),
        ("N", 64, 11, 11),
        ("N", 64, 11, 11),
        ("N", 64, 5, 5),
        ("N", 1600),
        ("N", 128),
        ("N", 128),
        ("N", 10),
    ]
    assert [layer.parameters for layer in summary.layers] == [320, 0, 0, 18496, 0, 0, 0, 204928, 0, 1290]
    assert summary.total == summary.trainable == 225_034
    assert summary.nbytes == 4 * 225_034
    printed = capsys.readouterr().out
    assert printed == str(summary) + "\n"
    assert "0 Conv2d     (N, 32, 26, 26)         320" in printed
    assert "225,034 parameters (900.1 kB), 225,034 of them trainable" in printed
    assert repr(summary) == "<Summary of 10 layers, 225,034 parameters>"


@pytest.mark.parametrize(
    ("sizes", "total"), [((3, 4, 2), 26), ((784, 128, 64, 10), 109_386), ((10, 64, 32, 16, 2), 3_346)]
)
def test_golden_parameter_counts(sizes, total):
    layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
    assert rv.summary(nn.Sequential(*layers), sizes[:1]).total == total


def test_nested_shared_and_frozen():
    shared = nn.Linear(4, 4)
    inner = nn.Sequential(shared, nn.ReLU())
    model = nn.Sequential(inner, shared, nn.Linear(4, 1))
    for parameter in model[2].parameters():
        parameter.requires_grad = False
    summary = rv.summary(model, (4,))
    assert [(layer.kind, layer.parameters) for layer in summary.layers] == [
        ("Linear", 20),
        ("ReLU", 0),
        ("Linear", 0),
        ("Linear", 5),
    ]
    assert (summary.total, summary.trainable) == (25, 20)


def test_a_module_of_the_user_with_parameters_beside_parts():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(np.ones(3, np.float32))
            self.part = nn.Linear(3, 3)

        def forward(self, x):
            return self.part(x) * self.scale

    summary = rv.summary(Scaled(), 3)
    assert [(layer.kind, layer.parameters) for layer in summary.layers] == [("Linear", 12), ("Scaled", 3)]
    assert summary.total == 15


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).double()
    model[1].eval()
    summary = rv.summary(model, (2,))
    assert model[0].training
    assert not model[1].training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert summary.nbytes == 48
    assert len(rv.summary(model, (2,)).layers) == len(summary.layers)


def test_no_parameters():
    summary = rv.summary(nn.ReLU(), (5,))
    assert summary.layers[0].output_shape == ("N", 5)
    assert summary.total == 0


def test_errors():
    model = nn.Sequential(nn.Linear(3, 2))
    for shape in ((0,), (-3,), (2.5,), ("a",)):
        refused(ValueError, "[summary] got input_shape", rv.summary, model, shape)
    refused(ValueError, "linear", rv.summary, model, (4,))
    assert rv.summary(model, (3,)).total == 8
