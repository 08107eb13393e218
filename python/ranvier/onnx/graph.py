"""A file's graph as a list of nodes with known operators, and limits for files of strangers.

A kilobyte can describe terabytes: the number of nodes after inlining is counted before it, and the elements
of a node's result before it runs.
"""

from __future__ import annotations

import math
from collections.abc import Container
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ranvier.onnx.registry import IGNORED, find
from ranvier.onnx.values import FLOATS, Array, array_of, dtype_of, ints, shape_of


class Node(NamedTuple):
    """A call of an operator. An input "" is left out; `settings` are its attributes."""

    op: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[str, Any]
    name: str


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
    graph = model.graph
    lacking: dict[str, str] = {}  # what is not supported, and a node that has it
    nodes = []
    used = {v.name for v in graph.output}.union(*(node.input for node in graph.node))
    for node in graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        operator = find(node.op_type, versions.get(domain, 1)) if not domain else None
        if operator is None:
            lacking[f"{domain}.{node.op_type}" if domain else node.op_type] = node.name
            continue
        settings = {a.name: attribute(onnx, a) for a in node.attribute if a.name not in IGNORED}
        unknown = settings.keys() - operator.settings
        if unknown:
            lacking[f"{node.op_type} with {', '.join(sorted(map(str, unknown)))}"] = node.name
        if "whole" in operator.settings and model.producer_name == "pytorch":
            settings["whole"] = 1
        outputs = tuple(node.output)
        if node.op_type == "Dropout" and not used & {*outputs[1:]}:
            outputs = outputs[:1]  # PyTorch writes the mask, which nothing reads
        nodes.append(Node(node.op_type, versions[""], tuple(node.input), outputs, settings, node.name))
    if graph.sparse_initializer:
        lacking["sparse initializers"] = ""
    if lacking:
        names = ", ".join(sorted(f"'{name}'" for name in lacking.values() if name))
        raise ValueError(
            f"[onnx.load] got {', '.join(sorted(lacking))}; expected operators of the table in docs/onnx.md "
            f"(operator set {versions['']}{f', nodes {names}' if names else ''})"
        )
    initializers = {t.name: array_of_tensor(onnx, t) for t in graph.initializer}
    if model.producer_name not in ("ranvier", "pytorch"):  # these write all weights as initializers
        nodes = _with_weights(nodes, initializers)
    inputs = [_input(onnx, v) for v in graph.input if v.name not in initializers]
    return Graph(inputs, [v.name for v in graph.output], initializers, nodes)


# --- what constants are
STATISTICS: dict[str, tuple[int, ...]] = {"BatchNormalization": (3, 4)}
_SETTINGS = {  # inputs that are settings: they are no parameters
    "Clip": (1, 2),
    "Dropout": (1, 2),
    "OneHot": (1, 2),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
}
_WEIGHTS = {  # inputs that are weights, where they are constants
    **dict.fromkeys(("Conv", "ConvTranspose", "LayerNormalization", "InstanceNormalization"), (1, 2)),
    **dict.fromkeys(("GroupNormalization", "BatchNormalization"), (1, 2)),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (1, 2, 3, 7)),
    **dict.fromkeys(("MatMul", "Gemm", "Einsum"), (0, 1, 2)),
    **dict.fromkeys(("PRelu", "RMSNormalization"), (1,)),
    "Gather": (0,),
}
_PLACES: dict[str, dict[str, tuple[int, ...]]] = {
    "setting": _SETTINGS,
    "buffer": STATISTICS,
    "weight": _WEIGHTS,
}
_PRODUCTS = ("MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose")
_PASSING = ("Identity", "Transpose", "Reshape", "Cast", "Squeeze", "Unsqueeze", "Flatten")


def roles_of(nodes: list[Node], initializers: Container[str] = ()) -> dict[str, set[str]]:
    """What values are used as: "setting", "buffer" (running statistics), "weight", "offset" or "other".

    offset: it is added to a product with a weight, or scales and shifts a quotient, as in a norm.
    """
    source: dict[str, Node] = {}  # what made each value, but for its shape
    for node in nodes:
        origin = source.get(node.inputs[0]) if node.op in _PASSING else node
        source.update(dict.fromkeys(node.outputs, origin) if origin is not None else {})
    roles: dict[str, set[str]] = {}
    for node in reversed(nodes):
        for place, name in enumerate(node.inputs):
            role = next((what for what, of in _PLACES.items() if place in of.get(node.op, ())), "other")
            before = source.get(node.inputs[1 - place]) if node.op in ("Add", "Mul") else None
            if before is not None and (
                before.op == ("Div" if node.op == "Mul" else "Mul")
                or (before.op in _PRODUCTS and any(v in initializers for v in before.inputs))
                or (before.op in _PRODUCTS and any(_is_constant(source.get(v)) for v in before.inputs))
            ):
                role = "offset"
            passed = roles.get(node.outputs[0]) if node.op in _PASSING and not place else None
            roles.setdefault(name, set()).update(passed or {role})
    return roles


def _is_constant(node: Node | None) -> bool:
    return node is not None and node.op == "Constant"


def _with_weights(nodes: list[Node], initializers: dict[str, Array]) -> list[Node]:
    """The nodes without constants that are weights, which become initializers: some exporters write none."""
    roles, rest = roles_of(nodes, initializers), []
    for node in nodes:
        operator = find(node.op, node.version) if node.op == "Constant" else None
        value = np.zeros(()) if operator is None else operator.function(**node.settings)
        uses = roles.get(node.outputs[0], set())
        if value.dtype not in FLOATS or not value.ndim or uses.isdisjoint(("weight", "buffer", "offset")):
            rest.append(node)
        else:
            initializers[node.outputs[0]] = value
    return rest


def _input(onnx: Any, value: Any) -> tuple[str, Any, list[int | None] | None]:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ValueError(f"[onnx.load] got input '{value.name}' of type {kind}; expected a tensor")
    tensor = value.type.tensor_type
    dims = None
    if tensor.HasField("shape"):
        # exporters write -1 for a size that may be any
        dims = [
            d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in tensor.shape.dim
        ]
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


def attribute(onnx: Any, proto: Any) -> Any:
    """The value of a node's attribute: a number, a string, a list or an array."""
    kinds = onnx.AttributeProto
    if proto.ref_attr_name:
        raise ValueError(f"[onnx.load] got attribute '{proto.name}' without a value")
    if proto.type == kinds.TENSOR:
        return array_of_tensor(onnx, proto.t)
    if proto.type == kinds.STRING:
        return proto.s.decode("utf-8", "replace")
    if proto.type == kinds.STRINGS:
        return [s.decode("utf-8", "replace") for s in proto.strings]
    if proto.type in (kinds.INT, kinds.INTS, kinds.FLOAT, kinds.FLOATS):
        value = onnx.helper.get_attribute_value(proto)
        return list(value) if proto.type in (kinds.INTS, kinds.FLOATS) else value
    raise ValueError(
        f"[onnx.load] got attribute '{proto.name}' of a kind that is not supported (a graph, a sequence)"
    )


# --- limits
NODES = 20_000
"""Of a graph whose functions are replaced by their nodes: about a second, and 60 MB."""

ELEMENTS = 2**24
"""Of all results of a run together; 64 MB of float32. To these come ..."""

PER_ELEMENT = 4096
"""... so many for each element of the inputs and initializers. Ten times what a large network has."""


def inlined_nodes(model: Any) -> int:
    """The number of nodes of the graph after all calls of local functions are inlined."""
    functions = {(f.domain, f.name): f for f in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Any, depth: int) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in functions and key not in counts:
                if depth > len(functions):
                    raise ValueError(f"[onnx.load] got a function '{node.op_type}' that calls itself")
                counts[key] = count(functions[key].node, depth + 1)
            total += counts.get(key, 1)
        return total

    return count(model.graph.node, 0)


def elements(op: str, inputs: list[Any], settings: dict[str, Any]) -> int:
    """The number of elements of a node's result, or more; what is not in the table broadcasts its inputs."""
    rule = _RULES.get(op)
    if rule is not None:
        # what is wrong is said by the operator
        with suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return max(int(rule(inputs, settings)), 0)
    shapes = [shape_of(v) for v in inputs if v is not None]
    if len(shapes) == 1:
        return math.prod(shapes[0])
    return _broadcast(shapes)


def _broadcast(shapes: list[tuple[int, ...]]) -> int:
    rank = max(map(len, shapes), default=0)
    return math.prod(max((s[-i] for s in shapes if len(s) >= i), default=1) for i in range(1, rank + 1))


def _size(value: Any) -> int:
    return math.prod(shape_of(value))


def _given(inputs: list[Any], place: int, settings: dict[str, Any], name: str) -> tuple[int, ...]:
    """Whole numbers that are an input, or in older versions an attribute."""
    if name in settings:
        return tuple(settings[name])
    return () if len(inputs) <= place or inputs[place] is None else ints(inputs[place])


def _pad(inputs: list[Any], settings: dict[str, Any]) -> int:
    shape, pads = shape_of(inputs[0]), _given(inputs, 1, settings, "pads")
    axes = ints(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else tuple(range(len(shape)))
    sizes = list(shape)
    for i, axis in enumerate(axes):
        if axis < len(sizes) and i + len(axes) < len(pads):
            sizes[axis] += pads[i] + pads[i + len(axes)]
    return math.prod(sizes)


def _range(inputs: list[Any], settings: dict[str, Any]) -> float:
    first, last, step = (array_of(v).reshape(()).item() for v in inputs)
    return max((last - first) / step, 0) if step else 0


def _resize(inputs: list[Any], settings: dict[str, Any]) -> float:
    """Also the weights (n, out) of each axis."""
    shape = shape_of(inputs[0])
    scales = settings.get("scales")
    if "height_scale" in settings:
        scales = (1, 1, settings["height_scale"], settings.get("width_scale", 1))
    if scales is None:
        place = 1 if len(inputs) == 2 else 2
        factors = inputs[place] if len(inputs) > place else None
        scales = () if factors is None else array_of(factors).reshape(-1).tolist()
    axes = settings.get("axes") or range(len(shape))
    if len(scales):
        outs = {a % len(shape): n for a, n in zip(axes, scales, strict=False)}
        sizes = [n * max(outs.get(i, 1.0), 0.0) for i, n in enumerate(shape)]
    else:
        out_sizes = {
            a % len(shape): n for a, n in zip(axes, _given(inputs, 3, settings, "sizes"), strict=False)
        }
        sizes = [float(out_sizes.get(i, n)) for i, n in enumerate(shape)]
    work = math.prod(sizes) + sum(n * out for n, out in zip(shape, sizes, strict=True) if out != n)
    return min(work, 1e18) if math.isfinite(work) else 1e18


def _matmul(inputs: list[Any], settings: dict[str, Any]) -> int:
    a, b = (shape_of(v) for v in inputs[:2])
    if min(len(a), len(b)) < 2:
        return max(math.prod(a), math.prod(b))
    return _broadcast([a[:-2], b[:-2]]) * a[-2] * b[-1]


def _gemm(inputs: list[Any], settings: dict[str, Any]) -> int:
    a, b = (shape_of(v) for v in inputs[:2])
    return (a[-1] if settings.get("transA") else a[0]) * (b[0] if settings.get("transB") else b[-1])


def _einsum(inputs: list[Any], settings: dict[str, Any]) -> int:
    """All products, since a sum over them may have one element."""
    terms = str(settings.get("equation", "")).replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    rest = 1
    for term, value in zip(terms, inputs, strict=False):
        shape = shape_of(value)
        if "..." in term:
            rest = max(rest, math.prod(shape))
            continue
        sizes |= {label: max(n, sizes.get(label, 1)) for label, n in zip(term, shape, strict=False)}
    product = math.prod(sizes.values())
    # the labels of both terms, over which a product of matrices sums
    both = set(terms[0]).intersection(*terms[1:]) if len(terms) > 1 else set()
    common = math.prod(sizes.get(label, 1) for label in both)
    return rest * product if len(inputs) > 2 else max(rest, product // max(common, 1))


def _gather(inputs: list[Any], settings: dict[str, Any]) -> int:
    shape = shape_of(inputs[0])
    axis = settings.get("axis", 0)
    n = shape[axis] if -len(shape) <= axis < len(shape) else 1
    return math.prod(shape) // max(n, 1) * _size(inputs[1])


def _window(inputs: list[Any], settings: dict[str, Any]) -> float:
    """Convolutions and pools: the spatial sizes grow by the pads."""
    shape = shape_of(inputs[0])
    channels = shape_of(inputs[1])[0] if len(inputs) > 1 and inputs[1] is not None else shape[1]
    space = shape[2:]
    pads = settings.get("pads") or [0] * (2 * len(space))
    sizes = [n + sum(pads[i :: len(space)]) for i, n in enumerate(space)]
    padded = shape[0] * shape[1] * math.prod(sizes)
    strides = settings.get("strides") or [1] * len(space)
    outs = [max(n // max(s, 1), 1) for n, s in zip(sizes, strides, strict=False)]
    return max(padded, shape[0] * channels * math.prod(outs))


def _transposed(inputs: list[Any], settings: dict[str, Any]) -> int:
    shape, weight = shape_of(inputs[0]), shape_of(inputs[1])
    space = len(shape) - 2
    strides, dilations = (settings.get(k) or [1] * space for k in ("strides", "dilations"))
    more = settings.get("output_padding") or [0] * space
    sizes = [
        s * (n - 1) + d * (k - 1) + 1 + o
        for s, n, d, k, o in zip(strides, shape[2:], dilations, weight[2:], more, strict=False)
    ]
    output_shape = settings.get("output_shape") or ()
    group = settings.get("group", 1)
    return shape[0] * weight[1] * group * max(math.prod(sizes), math.prod(output_shape))


_RULES: dict[str, Any] = {
    "ConstantOfShape": lambda inputs, settings: math.prod(ints(inputs[0])),
    "Expand": lambda inputs, settings: _broadcast([shape_of(inputs[0]), ints(inputs[1])]),
    "Tile": lambda inputs, settings: _size(inputs[0]) * math.prod(ints(inputs[1])),
    "OneHot": lambda inputs, settings: (
        _size(inputs[0]) * max(array_of(inputs[1]).reshape(-1)[:1].tolist() or [0])
    ),
    "GatherND": lambda inputs, settings: _size(inputs[0]) * max(math.prod(shape_of(inputs[1])[:-1]), 1),
    "GridSample": lambda inputs, settings: shape_of(inputs[0])[1] * _size(inputs[1]),
    "AffineGrid": lambda inputs, settings: math.prod(ints(inputs[1])) * 3,
    "Col2Im": lambda inputs, settings: (
        _size(inputs[0]) + math.prod(shape_of(inputs[0])[:2] + ints(inputs[1]))
    ),
    "EyeLike": lambda inputs, settings: _size(inputs[0]),
    "MaxUnpool": lambda inputs, settings: math.prod(ints(inputs[2])) if len(inputs) > 2 else _size(inputs[0]),
    "Concat": lambda inputs, settings: sum(map(_size, inputs)),
    "Pad": _pad,
    "Range": _range,
    "Resize": _resize,
    "Upsample": _resize,
    "Gather": _gather,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Conv": _window,
    "ConvTranspose": _transposed,
    **dict.fromkeys(
        ("AveragePool", "MaxPool", "LpPool"), lambda inputs, settings: _window(inputs[:1], settings)
    ),
    **dict.fromkeys(  # the gates of all steps and directions
        ("LSTM", "GRU", "RNN"),
        lambda inputs, settings: math.prod(shape_of(inputs[0])[:2]) * math.prod(shape_of(inputs[2])[:2]),
    ),
}
