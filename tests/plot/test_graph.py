"""Computation graphs: the nodes, their values and gradients, their places; drawing changes nothing."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.plot.networks import layered
from ranvier.tape.trace import outputs_kept
from support.refused import refused


def boxes(ax):
    """name -> (shape, value, gradient), four texts to a box."""
    texts = [text.get_text() for text in ax.texts]
    return {texts[i]: tuple(texts[i + 1 : i + 4]) for i in range(0, len(texts), 4)}


@pytest.fixture
def leaves():
    return {
        name: rv.tensor(value, requires_grad=True) for name, value in (("w", 3.0), ("x", 2.0), ("b", 1.0))
    }


def test_values_and_gradients_of_every_node(leaves):
    w, x, b = leaves.values()
    ax = rv.plot.graph(lambda: (w * x + b) ** 2, leaves)
    assert boxes(ax) == {
        "w": ("scalar", "value 3", "grad 28"),
        "x": ("scalar", "value 2", "grad 42"),
        "mul": ("scalar", "value 6", "grad 14"),
        "b": ("scalar", "value 1", "grad 14"),
        "add": ("scalar", "value 7", "grad 14"),
        "square": ("scalar", "value 49", "grad 1"),
    }
    arrows = [patch for patch in ax.patches if type(patch).__name__ == "FancyArrowPatch"]
    assert len(arrows) == 5
    assert ax.get_title() == "Computation graph: 6 nodes"


def test_a_tensor_shows_what_the_program_holds_and_can_still_go_backward(leaves):
    w, x, b = leaves.values()
    z = w * x
    loss = rv.exp(z - b * 6)
    found = boxes(rv.plot.graph(loss, {"z": z}))
    assert found["z = mul"] == ("scalar", "value 6", "grad 1")
    assert found["sub"] == ("scalar", "value not kept", "grad 1")
    assert found["exp"] == ("scalar", "value 1", "grad 1")
    assert w.grad is None
    loss.backward()
    assert w.grad.item() == 2


def test_after_backward_the_leaves_keep_their_gradients(leaves):
    w, x, _ = leaves.values()
    loss = rv.exp(w * x)
    loss.backward()
    found = boxes(rv.plot.graph(loss, leaves))
    assert found["w"][2] == f"grad {2 * np.exp(6):.3g}"
    assert found["mul"] == ("", "value not kept", "no gradient kept")


def test_a_model_gives_its_names_and_large_arrays_their_range():
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    x = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    found = boxes(rv.plot.graph(lambda: nn.CrossEntropyLoss()(model(x), np.array([0, 1, 2, 0, 1])), model))
    assert list(found)[:3] == ["0.weight", "0.bias", "linear"]
    assert {"2.weight", "2.bias", "relu", "cross_entropy"} < set(found)
    w = model[0].weight.detach().numpy()
    assert found["0.weight"][:2] == ("8 × 2", f"value {w.min():.3g} … {w.max():.3g}")
    assert found["relu"][0] == "5 × 8"
    assert found["2.bias"][1].startswith("value [")


def test_several_outputs_are_separate_nodes():
    class Halves(rv.autograd.Function):
        def forward(self, x):
            return x[:1].copy(), x[1:].copy()

        def backward(self, first, second):
            parts = [np.zeros(1, np.float32) if part is None else part for part in (first, second)]
            return np.concatenate(parts)

    x = rv.tensor([1.0, 2.0], requires_grad=True)

    def loss():
        a, b = Halves().apply(x)
        return (a * b).sum()

    found = boxes(rv.plot.graph(loss))
    assert found["leaf"] == ("2", "value [1 2]", "grad [2 1]")
    assert found["output 0"] == ("1", "value [1]", "grad [2]")
    assert found["output 1"] == ("1", "value [2]", "grad [1]")


def test_a_node_stands_right_of_its_inputs_and_arrows_pass_between_boxes(leaves):
    w, x, b = leaves.values()

    def loss():
        h = rv.tanh(w * x)
        return (h * rv.sigmoid(h + b) + w).exp() * b

    ax = rv.plot.graph(loss, leaves)
    centres = [
        (p.get_x() + p.get_width() / 2, p.get_y() + p.get_height() / 2)
        for p in ax.patches
        if hasattr(p, "get_x")
    ]
    assert len(set(centres)) == len(centres) == 11  # no two in one place
    arrows = [p._path_original.vertices for p in ax.patches if type(p).__name__ == "FancyArrowPatch"]
    assert len(arrows) == 13
    assert all(points[0][0] < points[-1][0] for points in arrows)


def test_layers():
    places, arrows = layered({"a": [], "b": ["a"], "late": [], "c": ["b", "late", "a"]})
    assert {node: place[0] for node, place in places.items()} == {"a": 0, "b": 1, "late": 1, "c": 2}
    assert len({*places.values()}) == 4
    from_b, from_late, from_a = arrows[1:]
    assert (from_b[0], from_b[-1]) == (places["b"], places["c"])
    assert len(from_a) == 3  # by its own place in the column between
    assert from_a[1] not in places.values()
    assert (len(from_b), len(from_late)) == (2, 2)


def test_keeping_outputs_ends_with_the_block(leaves):
    with outputs_kept() as kept:
        y = leaves["w"] * 2
    leaves["w"] * 3
    assert list(kept) == [y.grad_fn]
    assert kept[y.grad_fn] is y


@pytest.mark.parametrize(
    ("loss", "error", "text"),
    [
        (lambda: 3.0, TypeError, "got float; expected a Tensor, or a function"),
        (7, TypeError, "got int; expected a Tensor"),
        (rv.tensor(1.0), ValueError, "expected one number that was computed"),
        (rv.tensor([1.0, 2.0], requires_grad=True) * 2, ValueError, "shape (2,) made by <Mul"),
    ],
)
def test_wrong_arguments(loss, error, text):
    refused(error, text, rv.plot.graph, loss)


def test_too_large_a_graph(leaves):
    with pytest.raises(ValueError, match="graph of 3 nodes; expected at most 2"):
        rv.plot.graph(lambda: leaves["w"] * leaves["x"], limit=2)
