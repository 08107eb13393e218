"""ONNX Runtime's side of the cases (forward only); its graphs are built with the onnx package."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def version() -> str:
    return str(onnxruntime.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return np.asarray(result)


def graph(
    node: str, arrays: dict[str, np.ndarray], constant: tuple[str, ...] = (), **attributes: Any
) -> Callable[[], Any]:
    """A call of one node on the arrays, in the order given; the constant ones may be packed beforehand."""
    kinds = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}
    kind = kinds[next(iter(arrays.values())).dtype]
    given = {name: a for name, a in arrays.items() if name not in constant}
    weights = [numpy_helper.from_array(arrays[name], name) for name in constant]
    inputs = [helper.make_tensor_value_info(name, kind, a.shape) for name, a in given.items()]
    output = helper.make_tensor_value_info("y", kind, None)
    nodes = [helper.make_node(node, list(arrays), ["y"], **attributes)]
    body = helper.make_graph(nodes, "case", inputs, [output], weights)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(os.environ["RANVIER_PEER_THREADS"])
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
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
