"""A file's graph as a list of nodes with known operators."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ranvier.onnx.registry import IGNORED, Operator, find
from ranvier.onnx.values import Array


class Node(NamedTuple):
    """A call of an operator. An input "" is left out; `settings` are its attributes."""

    op: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[str, Any]
    name: str

    @property
    def operator(self) -> Operator:
        found = find(self.op, self.version)
        assert found is not None
        return found


class Graph(NamedTuple):
    """inputs: (name, dtype, shape with None for a size that may be any) of those that are no initializers."""

    inputs: list[tuple[str, Any, list[int | None] | None]]
    outputs: list[str]
    initializers: dict[str, Array]
    nodes: list[Node]


def graph_of(onnx: Any, model: Any, versions: dict[str, int]) -> Graph:
    """The nodes of a checked model.

    Raises ValueError: operators, attributes or element types that are not supported, all of them at once.
    """
    graph, lacking = model.graph, {}
    nodes = []
    used = {v.name for v in graph.output}.union(*(node.input for node in graph.node))
    for node in graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        found = find(node.op_type, versions.get(domain, 1)) if not domain else None
        if found is None:
            lacking[f"{domain}.{node.op_type}" if domain else node.op_type] = node.name
            continue
        settings = {a.name: attribute(onnx, a) for a in node.attribute if a.name not in IGNORED}
        unknown = settings.keys() - found.settings
        if unknown:
            lacking[f"{node.op_type} with {', '.join(sorted(unknown))}"] = node.name
        if "whole" in found.settings and model.producer_name == "pytorch":
            settings["whole"] = 1
        outputs = tuple(node.output)
        if node.op_type == "Dropout" and not used & {*outputs[1:]}:
            outputs = outputs[:1]  # PyTorch writes the mask, which nothing reads
        nodes.append(Node(node.op_type, versions[""], tuple(node.input), outputs, settings, node.name))
    if graph.sparse_initializer:
        lacking["sparse initializers"] = ""
    if lacking:
        raise ValueError(
            f"[onnx.load] got {', '.join(sorted(lacking))}; expected operators of the table in docs/onnx.md"
        )
    initializers = {t.name: array_of_tensor(onnx, t) for t in graph.initializer}
    inputs = [_input(onnx, v) for v in graph.input if v.name not in initializers]
    return Graph(inputs, [v.name for v in graph.output], initializers, nodes)


def _input(onnx: Any, value: Any) -> tuple[str, Any, list[int | None] | None]:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ValueError(f"[onnx.load] got input '{value.name}' of type {kind}; expected a tensor")
    tensor = value.type.tensor_type
    from ranvier.onnx.values import dtype_of

    dims = None
    if tensor.HasField("shape"):
        dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    return value.name, dtype_of(tensor.elem_type), dims


def array_of_tensor(onnx: Any, tensor: Any) -> Array:
    """The values of a TensorProto; ValueError where its size and its data do not fit."""
    dims = list(tensor.dims)
    if any(n < 0 for n in dims) or np.prod([float(n) for n in dims]) >= 2**40:
        raise ValueError(
            f"[onnx.load] got tensor '{tensor.name}' of shape {dims}; expected 0 to 2^40 elements"
        )
    if tensor.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        raise ValueError(f"[onnx.load] got tensor '{tensor.name}' of strings; expected numbers")
    try:
        return np.array(onnx.numpy_helper.to_array(tensor))
    except Exception as error:  # of many kinds
        raise ValueError(
            f"[onnx.load] tensor '{tensor.name}' of shape {dims} cannot be read: {error}"
        ) from None


def attribute(onnx: Any, found: Any) -> Any:
    """The value of a node's attribute: a number, a string, a list or an array."""
    kinds = onnx.AttributeProto
    if found.ref_attr_name:
        raise ValueError(f"[onnx.load] got attribute '{found.name}' without a value")
    if found.type == kinds.TENSOR:
        return array_of_tensor(onnx, found.t)
    if found.type == kinds.STRING:
        return found.s.decode("utf-8", "replace")
    if found.type == kinds.STRINGS:
        return [s.decode("utf-8", "replace") for s in found.strings]
    if found.type in (kinds.INT, kinds.INTS, kinds.FLOAT, kinds.FLOATS):
        value = onnx.helper.get_attribute_value(found)
        return list(value) if found.type in (kinds.INTS, kinds.FLOATS) else value
    raise ValueError(
        f"[onnx.load] got attribute '{found.name}' of a kind that is not supported (a graph, a sequence)"
    )
