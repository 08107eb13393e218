"""RNN, GRU and LSTM nodes with each setting, beside onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx.helper import make_node  # noqa: E402
from support.onnx_models import model_of  # noqa: E402
from support.onnx_networks import session  # noqa: E402
from support.refused import refused  # noqa: E402

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, INPUT, HIDDEN = 4, 3, 2, 3
GIVEN = ("lengths", "h0", "c0", "peepholes")
EACH = [  # settings of a node, and its inputs after the biases
    {"lengths": [2, 4, 0]},
    {"lengths": [4, 2, 1], "h0": 1, "c0": 1},
    {"clip": 0.3},
    {"activations": ["HardSigmoid", "Elu", "Tanh"]},
    {
        "activations": ["HardSigmoid", "LeakyRelu", "ThresholdedRelu"],
        "activation_alpha": [0.3, 0.2, 0.1],
        "activation_beta": [0.4],
    },
]
CASES = [(op, case) for op in GATES for case in EACH] + [
    ("GRU", {"linear_before_reset": 1, "clip": 0.2}),
    ("GRU", {"linear_before_reset": 1, "activations": ["HardSigmoid", "Tanh"]}),
    ("LSTM", {"peepholes": 1, "clip": 0.5, "lengths": [4, 2, 1], "c0": 1}),
    ("LSTM", {"input_forget": 1, "peepholes": 1}),
]


def node(op, direction, case):
    """The node as a model, and x."""
    draw, ways = np.random.default_rng(0), 2 if direction == "bidirectional" else 1
    settings = {name: value for name, value in case.items() if name not in GIVEN}
    if "activations" in settings:
        settings["activations"] = settings["activations"][: {"RNN": 1, "GRU": 2, "LSTM": 3}[op]] * ways
    for name in settings.keys() & {"activation_alpha", "activation_beta"}:
        settings[name] = settings[name] * ways
    state, gates = (ways, BATCH, HIDDEN), GATES[op] * HIDDEN
    shapes = {
        "w": (ways, gates, INPUT),
        "r": (ways, gates, HIDDEN),
        "b": (ways, 2 * gates),
        "h0": state,
        "c0": state,
        "peepholes": (ways, 3 * HIDDEN),
    }
    x, *arrays = (draw.normal(size=s).astype(np.float32) for s in [(STEPS, BATCH, INPUT), *shapes.values()])
    known = dict(zip(shapes, arrays, strict=True)) | {"lengths": np.array(case.get("lengths", []), np.int32)}
    given = ["w", "r", "b", *(name if name in case else "" for name in GIVEN[: 4 if op == "LSTM" else 2])]
    results = ["y", "h", "c"][: 3 if op == "LSTM" else 2]
    settings |= {"hidden_size": HIDDEN, "direction": direction}
    constants = {name: known[name] for name in given if name}
    nodes = [make_node(op, ["x", *given], results, **settings)]
    return model_of(nodes, constants, x.shape, results=results, opset=14), x


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "case"), CASES)
def test_a_node(op, case, direction, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    proto, x = node(op, direction, case)
    onnx.save(proto, tmp_path / "m.onnx")
    expected = session(tmp_path / "m.onnx")(x)
    for y, other in zip(rv.onnx.load(proto)(x), expected, strict=True):
        np.testing.assert_allclose(y.detach().numpy(), other, rtol=1e-5, atol=1e-6)


REFUSED = {
    "longer than x": (
        {"lengths": [5, 1, 1]},
        "got sequence_lens [5, 1, 1]; expected for each of 3 sequences",
    ),
    "negative": ({"lengths": [-1, 1, 1]}, "expected for each of 3 sequences a number of 0 to 4 steps"),
    "one too few": ({"lengths": [4, 4]}, "got sequence_lens [4, 4]"),
    "no such function": ({"activations": ["Affine", "Tanh", "Tanh"]}, "expected forward, reverse or bidir"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    case, message = REFUSED[name]
    proto, x = node("LSTM", "forward", case)
    refused(ValueError, message, rv.onnx.load(proto), x)


@pytest.mark.parametrize("op", GATES)
def test_states_of_another_batch(op):
    proto, x = node(op, "forward", {"h0": 1})
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "n"
    text = "got a first state of shape (1, 3, 3); expected (1, 1, 3)"
    refused(ValueError, text, rv.onnx.load(proto), x[:, :1])
