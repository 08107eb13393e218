"""The encoder as a graph of ONNX Runtime's operators for such models, which OpenVINO reads, too."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.quantized.encoder import EPS, HEADS, INNER, LAYERS, WIDTH, given
from benchmarks.training.decoder import numbers

Array = np.ndarray[Any, Any]
MICROSOFT = "com.microsoft"


def constants(layer: int) -> dict[str, Array]:
    """Matrices as (k, n), those of queries, keys and values beside each other, and the vectors."""

    def value(name: str, *shape: int) -> Array:
        return numbers(f"{layer}.{name}", shape)

    found = {}
    inputs = ("query", "key", "value")
    matrices = [value(f"{name}.weight", WIDTH, WIDTH).T for name in inputs]
    found["qkv.weight"] = np.concatenate(matrices, 1)
    found["qkv.bias"] = np.concatenate([value(f"{name}.bias", WIDTH) for name in inputs])
    for name, k, n in (("out", WIDTH, WIDTH), ("up", WIDTH, INNER), ("down", INNER, WIDTH)):
        found[f"{name}.weight"] = np.ascontiguousarray(value(f"{name}.weight", n, k).T)
        found[f"{name}.bias"] = value(f"{name}.bias", n)
    for name in ("first", "second"):
        for part in ("weight", "bias"):
            found[f"{name}.{part}"] = value(f"{name}.{part}", WIDTH)
    return found


def layer_nodes(at: str, x: str, y: str) -> list[Any]:
    def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
        names = [name if name in (x, y) else at + name for name in inputs.split()]
        domain = "" if kind == "MatMul" else MICROSOFT
        return helper.make_node(
            kind, names, [output if output == y else at + output], domain=domain, **attributes
        )

    return [
        node("Attention", f"{x} qkv.weight qkv.bias", "a", num_heads=HEADS),
        node("MatMul", "a out.weight", "b"),
        node("SkipLayerNormalization", f"b {x} first.weight first.bias out.bias", "c", epsilon=EPS),
        node("MatMul", "c up.weight", "d"),
        node("BiasGelu", "d up.bias", "e"),
        node("MatMul", "e down.weight", "f"),
        node("SkipLayerNormalization", "f c second.weight second.bias down.bias", y, epsilon=EPS),
    ]


def graph() -> Any:
    nodes, values = [], []
    for layer in range(LAYERS):
        at, y = f"{layer}.", "y" if layer + 1 == LAYERS else f"x{layer + 1}"
        nodes += layer_nodes(at, f"x{layer}", y)
        values += [numpy_helper.from_array(a, at + name) for name, a in constants(layer).items()]
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
