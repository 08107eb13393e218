"""ONNX Runtime's side of the cases (forward only); its graphs are built with the onnx package."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.training.models import Predictions
from benchmarks.training.networks import NETWORKS, Network, conv_sizes

NODES = {
    "linear": "Gemm",
    "conv": "Conv",
    "relu": "Relu",
    "tanh": "Tanh",
    "pool": "MaxPool",
    "flatten": "Flatten",
}  # by the names of layers in networks.py


def version() -> str:
    return str(onnxruntime.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return np.asarray(result)


def _session(
    nodes: Sequence[Any], given: Mapping[str, np.ndarray], constant: Mapping[str, np.ndarray]
) -> onnxruntime.InferenceSession:
    """A session of nodes whose result is called y; the constant arrays may be packed beforehand."""
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}
    kind = kinds[next(iter(given.values())).dtype]
    weights = [numpy_helper.from_array(a, name) for name, a in constant.items()]
    inputs = [helper.make_tensor_value_info(name, kind, a.shape) for name, a in given.items()]
    output = helper.make_tensor_value_info("y", kind, None)
    body = helper.make_graph(nodes, "case", inputs, [output], weights)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(os.environ["RANVIER_PEER_THREADS"])
    return onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def graph(
    node: str, arrays: dict[str, np.ndarray], constant: tuple[str, ...] = (), **attributes: Any
) -> Callable[[], Any]:
    """A call of one node on the arrays, in the order given; the constant ones may be packed beforehand."""
    given = {name: a for name, a in arrays.items() if name not in constant}
    nodes = [helper.make_node(node, list(arrays), ["y"], **attributes)]
    session = _session(nodes, given, {name: arrays[name] for name in constant})
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(a) for name, a in given.items()}
    return lambda: session.run_with_ort_values(["y"], values)[0].numpy()


def matmul(a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    return graph("MatMul", {"a": a, "b": b})


def conv2d(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray, stride: int, padding: int, groups: int
) -> Callable[[], Any]:
    """As in a trained network: its weights do not change."""
    settings = {"strides": [stride] * 2, "pads": [padding] * 4, "group": groups}
    return graph("Conv", {"x": x, "w": w, "bias": bias}, ("w", "bias"), **settings)


def _nodes(network: Network) -> list[Any]:
    """The network's layers as nodes; layer i's result is called str(i), its parameters p0, p1, ..."""
    made, x, weights = [], "x", count()
    for i, layer in enumerate(network.layers):
        names, settings = [x], {}
        if layer[0] in ("linear", "conv"):
            names += [f"p{next(weights)}", f"p{next(weights)}"]
        if layer[0] == "linear":
            settings = {"transB": 1}
        elif layer[0] == "conv":
            settings = {"pads": [conv_sizes(layer)[3]] * 4}
        elif layer[0] == "pool":
            settings = {"kernel_shape": [2, 2], "strides": [2, 2]}
        x = "y" if i == len(network.layers) - 1 else str(i)
        made.append(helper.make_node(NODES[layer[0]], names, [x], **settings))
    return made


def inference(network: str, held: bool = False, **arrays: np.ndarray) -> Callable[[], Any]:
    """On NumPy arrays, or ``held``: on values that the library holds already."""
    batches = arrays.pop("x")
    weights = {name: a for name, a in arrays.items() if name != "y"}
    session = _session(_nodes(NETWORKS[network]), {"x": batches[0]}, weights)
    if not held:
        return Predictions(lambda x: session.run(["y"], {"x": x})[0], list(batches))
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(x) for x in batches]
    return Predictions(lambda x: session.run_with_ort_values(["y"], {"x": x})[0].numpy(), values)
