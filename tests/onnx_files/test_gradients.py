"""Gradients of the operators that are made of several operations, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx.helper import make_node  # noqa: E402
from support.onnx_models import model_of  # noqa: E402


def drawn(*shape):
    return np.random.default_rng(0).uniform(-0.9, 0.9, shape)


ROWS, IMAGES = (3, 4), (1, 4, 5, 5)
ALONE = """
    Acos Asin Atan Tan Sinh Cosh Asinh Atanh Erf Celu Selu Softplus HardSigmoid Shrink Swish Gelu Mish
    LpNormalization ReduceL1 ReduceL2 ReduceLogSumExp ReduceSumSquare ReduceProd
"""
CASES = {  # shape of x, inputs after x (floats: parameters), attributes
    **{op: (ROWS, (), {}) for op in ALONE.split()},
    "ThresholdedRelu": (ROWS, (), {"alpha": 0.2}),
    "PRelu": (ROWS, (drawn(4),), {}),
    "Acosh": (ROWS, (), {}),
    "CumSum": (ROWS, (np.int64(1),), {"exclusive": 1, "reverse": 1}),
    "Gemm": (ROWS, (drawn(4, 2), drawn(2)), {"alpha": 0.5, "beta": 2.0, "transA": 0}),
    "Softmax": (ROWS, (), {"axis": 0}),
    "TopK": (ROWS, (np.array([2]),), {}),
    "GatherND": (ROWS, (np.array([[0, 1], [2, -1]]),), {}),
    "ScatterND": (ROWS, (np.array([[1]]), drawn(1, 4)), {}),
    "ScatterElements": (ROWS, (np.array([[0, 1, 2, 0]]), drawn(1, 4)), {"reduction": "mul"}),
    "Slice": (ROWS, (np.array([-1]), np.array([-9]), np.array([1]), np.array([-2])), {}),
    "Pad": (ROWS, (np.array([1, 2, 0, 1]),), {"mode": "wrap"}),
    "ReverseSequence": (ROWS, (np.array([1, 3, 2, 2]),), {}),
    "LRN": (IMAGES, (), {"size": 3, "alpha": 0.5}),
    "MeanVarianceNormalization": (IMAGES, (), {}),
    "InstanceNormalization": (IMAGES, (drawn(4), drawn(4)), {}),
    "LayerNormalization": (IMAGES, (drawn(5, 5), drawn(5, 5)), {"axis": 2}),
    "RMSNormalization": (IMAGES, (drawn(5),), {}),
    "BatchNormalization": (IMAGES, (drawn(4), drawn(4), drawn(4), np.ones(4)), {}),
    "Resize": (IMAGES, ("", np.array([1, 1, 1.4, 0.6], np.float32)), {"mode": "cubic", "exclude_outside": 1}),
    "AveragePool": (IMAGES, (), {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "strides": [2, 1]}),
    "MaxPool": ((1, 2, 4, 4, 4), (), {"kernel_shape": [2, 2, 2], "strides": [2, 1, 2]}),
    "LpPool": (IMAGES, (), {"kernel_shape": [2, 2], "p": 3}),
    "Conv": (IMAGES, (drawn(2, 4, 2, 2), drawn(2)), {"pads": [1, 0, 0, 1]}),
    "ConvTranspose": (IMAGES, (drawn(4, 2, 2, 2), drawn(2)), {"output_shape": [11, 12], "strides": [2, 2]}),
    "DepthToSpace": (IMAGES, (), {"blocksize": 2}),
    "GRU": ((3, 2, 4), (drawn(1, 9, 4), drawn(1, 9, 3), drawn(1, 18)), {"hidden_size": 3}),
    "LSTM": (
        (3, 2, 4),
        (drawn(2, 12, 4), drawn(2, 12, 3), drawn(2, 24), np.array([3, 2], np.int32), "", "", drawn(2, 9)),
        {"hidden_size": 3, "direction": "bidirectional"},
    ),
}


@pytest.mark.parametrize("op", CASES)
def test_gradient(op):
    shape, more, settings = CASES[op]
    given = ["x", *("" if isinstance(value, str) else f"p{i}" for i, value in enumerate(more))]
    constants = {name: value for name, value in zip(given[1:], more, strict=True) if name}
    results = ["y"] + [f"y{i}" for i in range(len(onnx.defs.get_schema(op).outputs) - 1) if op == "TopK"]
    version = 23 if op == "RMSNormalization" else 24 if op == "Swish" else 20
    proto = model_of([make_node(op, given, results, **settings)], constants, shape, float, opset=version)
    module = rv.onnx.load(proto)
    start = drawn(*shape) + (2.0 if op == "Acosh" else 0.0)
    parameters = list(module.parameters())
    assert len(parameters) == sum(np.asarray(v).dtype == np.float64 and np.ndim(v) > 0 for v in more) - 2 * (
        op == "BatchNormalization"
    )
    names = [name for name, _ in module.named_parameters()]

    def computed(x, *tensors):
        vars(module).update(zip(names, tensors, strict=True))
        return module(x)

    assert rv.autograd.gradcheck(computed, (start, *[p.detach().numpy() for p in parameters]))
