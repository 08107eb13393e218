"""Graphs for ONNX Runtime: products by constant matrices in each precision, and sessions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]


def session(model: Any) -> onnxruntime.InferenceSession:
    """A session of a file or a model in memory, on as many threads as the process was given."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    given = model if isinstance(model, str) else model.SerializeToString()
    return onnxruntime.InferenceSession(given, settings, providers=["CPUExecutionProvider"])


def bound(session: onnxruntime.InferenceSession, inputs: dict[str, Array]) -> Callable[[], Any]:
    """A call on inputs that the session holds; it returns the first result."""
    binding = session.io_binding()
    for name, x in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(x))
    for output in session.get_outputs():
        binding.bind_output(output.name)

    def run() -> Any:
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy()

    return run


def int8(model: Any) -> Any:
    """Weights of int8 by output channel; activations as int8 at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/int8.onnx"
        options = {"DefaultTensorType": TensorProto.FLOAT}  # of what its own operators give
        quantize_dynamic(model, path, per_channel=True, weight_type=QuantType.QInt8, extra_options=options)
        return onnx.load(path)


def int4(model: Any) -> Any:
    """Weights in groups of 32; accuracy_level 4: products of int8."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    return quantizer.model.model


def separated(model: Any) -> Any:
    """The model with constants of its own for each node, so that no node finds them in a cache.

    Their elements are turned: ONNX Runtime keeps packed constants of equal bytes once. The first node's stay.
    """
    constants = {constant.name: constant for constant in model.graph.initializer}
    used = set()
    for number, node in enumerate(model.graph.node):
        for place, name in enumerate(node.input):
            if name in used:
                node.input[place] = f"{name}_{number}"
                turned = np.roll(numpy_helper.to_array(constants[name]), 64 * number)
                model.graph.initializer.append(numpy_helper.from_array(turned, node.input[place]))
            elif name in constants:
                used.add(name)
    return model


def products(weights: Sequence[tuple[Array, Array, int]], precision: str) -> Callable[[], Any]:
    """Of matrices (n, k), rows (1, k) and counts: so many products of each, each from memory of its own."""
    nodes, inputs, outputs, constants, rows = [], [], [], [], {}
    for number, (w, given, copies) in enumerate(weights):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(w.T), f"w{number}"))
        for copy in range(copies):
            x, y = f"x{number}_{copy}", f"y{number}_{copy}"
            nodes.append(helper.make_node("MatMul", [x, f"w{number}"], [y]))
            inputs.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, w.shape[1]]))
            outputs.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, [1, w.shape[0]]))
            rows[x] = given
    graph = helper.make_graph(nodes, "products", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    changed = {"float32": lambda model: model, "int8": int8, "int4": int4}[precision](model)
    return bound(session(separated(changed)), rows)
