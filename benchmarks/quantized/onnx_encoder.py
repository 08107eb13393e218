"""The encoder as a graph of ONNX Runtime's operators for such models, which OpenVINO reads, too."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.quantized.encoder_problem import EPS, HEADS, LAYERS, WIDTH, given, parameters

MICROSOFT = "com.microsoft"


def layer_nodes(layer: int, y: str) -> list[Any]:
    at, x = f"layers.{layer}.", f"x{layer}"

    def node(kind: str, inputs: list[str], parameters: str, output: str, **attributes: Any) -> Any:
        names = [*inputs, *(at + name for name in parameters.split())]
        domain = "" if kind == "MatMul" else MICROSOFT
        return helper.make_node(kind, names, [output], domain=domain, **attributes)

    def joined(inputs: list[str], norm: str, bias: str, output: str) -> Any:
        parameters = f"{norm}.weight {norm}.bias {bias}"
        return node("SkipLayerNormalization", inputs, parameters, output, epsilon=EPS)

    a, b, c, d, e, f = (f"{at}{letter}" for letter in "abcdef")
    return [
        node("Attention", [x], "self_attn.in_proj_weight self_attn.in_proj_bias", a, num_heads=HEADS),
        node("MatMul", [a], "self_attn.out_proj.weight", b),
        joined([b, x], "norm1", "self_attn.out_proj.bias", c),
        node("MatMul", [c], "linear1.weight", d),
        node("BiasGelu", [d], "linear1.bias", e),
        node("MatMul", [e], "linear2.weight", f),
        joined([f, c], "norm2", "linear2.bias", y),
    ]


def graph() -> Any:
    nodes, values = [], []
    for layer in range(LAYERS):
        nodes += layer_nodes(layer, "y" if layer + 1 == LAYERS else f"x{layer + 1}")
        for name, a in parameters(layer).items():
            values.append(numpy_helper.from_array(np.ascontiguousarray(a.T), name))
    shape = ["batch", "length", WIDTH]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x0", "y"))
    body = helper.make_graph(nodes, "encoder", [x], [y], values)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=9)


def with_int8_weights(model: Any) -> Any:
    """Matrices become int8 with a scale for each column and a DequantizeLinear, which OpenVINO knows."""
    body = model.graph
    for value in [value for value in body.initializer if len(value.dims) == 2]:
        w = numpy_helper.to_array(value)
        scale = abs(w).max(0) / 127
        body.initializer.remove(value)
        body.initializer.append(
            numpy_helper.from_array(np.rint(w / scale).astype(np.int8), value.name + ".int8")
        )
        body.initializer.append(numpy_helper.from_array(scale, value.name + ".scale"))
        inputs = [value.name + ".int8", value.name + ".scale"]
        body.node.insert(0, helper.make_node("DequantizeLinear", inputs, [value.name], axis=1))
    return model


def onnxruntime(case: str) -> Callable[[], Any]:
    from benchmarks.quantized.onnx_graphs import bound, int8, session

    model = graph() if case.startswith("float32") else int8(graph())
    return bound(session(model), {"x0": given(case)})


def openvino(case: str) -> Callable[[], Any]:
    import openvino

    threads = int(os.environ["OMP_NUM_THREADS"])
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = graph()
    if not case.startswith("float32"):
        model, settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = with_int8_weights(model), 128
    core = openvino.Core()
    x = given(case)
    read = core.read_model(model.SerializeToString())
    read.reshape({"x0": x.shape})
    request = core.compile_model(read, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x))

    def run() -> Any:
        request.infer()
        return request.get_output_tensor().data

    return run
