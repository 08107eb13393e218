"""Reads the graph of an `onnx.ModelProto` as a list of `Node`s whose operators are known.

It also decides which constants of the file are parameters, buffers or settings (`roles_of`). A file from an
unknown source may be small and describe a huge graph, so the nodes that its functions stand for are counted
(`node_count`) before the functions are replaced.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any, NamedTuple

import numpy as np

from ranvier.onnx.registry import BECAME_INPUTS, IGNORED, find
from ranvier.onnx.values import FLOATS, Array, dtype_of


class Node(NamedTuple):
    """A call of an operator.

    version: the version of the operator set. inputs, outputs: names of values; an input "" is left out.
    settings: the attributes by name. captured: the last so many inputs are no operands: the graphs in the
    attributes use them.
    """

    op: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[str, Any]
    name: str
    captured: int = 0


class Graph(NamedTuple):
    """A model's graph, or one in an attribute: a branch, or the body of a loop.

    inputs: (name, dtype, shape) of the inputs that are no initializers; None in a shape: the size may be any.
    initializers: the arrays that the file stores, by name.
    """

    inputs: list[tuple[str, Any, list[int | None] | None]]
    outputs: list[str]
    initializers: dict[str, Array]
    nodes: list[Node]


def every_node(nodes: Any) -> Iterator[Any]:
    """The nodes (NodeProtos) and all nodes of the graphs in their attributes."""
    for node in nodes:
        yield node
        for a in node.attribute:
            for graph in (*a.graphs, *([a.g] if a.HasField("g") else ())):
                yield from every_node(graph.node)


def graph_of(onnx: Any, model: Any, versions: dict[str, int]) -> Graph:
    """The graph of a ModelProto that onnx's checker has accepted.

    versions: the version of the operator set of each domain; "" is ONNX's own domain.
    Raises ValueError that names all operators and attributes that are not supported.
    """
    lacking = _without_operator(every_node(model.graph.node), versions)
    if model.graph.sparse_initializer:
        lacking["sparse initializers"] = ""
    _refuse(lacking, versions[""])
    reader = _GraphReader(onnx, versions[""], model.producer_name, {}, lacking)
    graph = reader.graph(model.graph)
    _refuse(lacking, versions[""])
    inputs = [_input(onnx, v) for v in model.graph.input if v.name not in reader.initializers]
    return graph._replace(inputs=inputs, initializers=reader.initializers)


class _GraphReader(NamedTuple):
    """Reads a model's graph and the graphs in attributes of its nodes.

    version: the version of the operator set. producer: the name of the program that wrote the file. Two dicts
    are filled:
    initializers: the arrays of all graphs. lacking: attributes that are not supported -> a node that has one.
    """

    onnx: Any
    version: int
    producer: str
    initializers: dict[str, Array]
    lacking: dict[str, str]

    def graph(self, proto: Any) -> Graph:
        """The graph, with inputs without types.

        Its initializers go to the dict that all graphs share. An initializer whose name is taken there stays
        in the Graph.
        """
        own = {t.name: array_of_tensor(self.onnx, t) for t in proto.initializer}
        twice = {name: own.pop(name) for name in own.keys() & self.initializers.keys()}
        self.initializers.update(own)
        used = {v.name for v in proto.output}.union(*(node.input for node in every_node(proto.node)))
        nodes = [self.node(node, used) for node in proto.node]
        if self.producer not in ("ranvier", "pytorch"):  # these write all weights as initializers
            nodes = _with_weights(nodes, self.initializers)
        return Graph(
            [(v.name, None, None) for v in proto.input], [v.name for v in proto.output], twice, nodes
        )

    def node(self, node: Any, used: set[str]) -> Node:
        """The node of a NodeProto; used: all values that nodes and outputs of its graph use.

        Attributes that a later version of the operator made inputs become inputs with constants.
        """
        operator = find(node.op_type, self.version)
        assert operator is not None
        settings: dict[str, Any] = {}
        since, became = BECAME_INPUTS.get(node.op_type, (0, ()))
        if not (self.version < since):
            became = ()
        for a in node.attribute:
            if a.name not in operator.settings.union(IGNORED, became):
                self.lacking[f"{node.op_type} with {a.name}"] = node.name
            elif a.name not in IGNORED:
                is_graph = a.type == self.onnx.AttributeProto.GRAPH
                settings[a.name] = self.graph(a.g) if is_graph else attribute(self.onnx, a)
        inputs = list(node.input)
        for place, name in enumerate(became, 1):
            if name in settings:
                constant = f"{node.output[0]} {name}"
                value = np.asarray(settings.pop(name))
                self.initializers[constant] = value.astype(np.float32) if value.dtype.kind == "f" else value
                inputs += [""] * (place + 1 - len(inputs))
                inputs[place] = constant
        graphs = [value for value in settings.values() if isinstance(value, Graph)]
        captured = dict.fromkeys(name for graph in graphs for name in _free(graph))
        if "whole" in operator.settings and self.producer == "pytorch":
            settings["whole"] = 1
        outputs = tuple(node.output)
        if node.op_type == "Dropout" and not used & {*outputs[1:]}:
            outputs = outputs[:1]  # PyTorch writes the mask, which nothing reads
        names = (*inputs, *captured)
        return Node(node.op_type, self.version, names, outputs, settings, node.name, len(captured))


def _free(graph: Graph) -> list[str]:
    """The names of values of the graph around it that a graph in an attribute uses."""
    made = {"", *[name for name, *_ in graph.inputs]}.union(*[node.outputs for node in graph.nodes])
    uses = [*[name for node in graph.nodes for name in node.inputs], *graph.outputs]
    return [name for name in dict.fromkeys(uses) if name not in made]


def _without_operator(nodes: Any, versions: dict[str, int]) -> dict[str, str]:
    """The operators that are not supported -> the name of a node with this operator."""
    lacking = {}
    for node in nodes:
        is_read = node.domain == "ai.onnx" or (node.domain, node.op_type) in OF_OTHERS
        domain = "" if is_read else node.domain
        if domain or find(node.op_type, versions[""]) is None:
            lacking[f"{domain}.{node.op_type}" if domain else node.op_type] = node.name
    return lacking


OF_OTHERS = {("com.microsoft", "MatMulNBits")}
"""Operators of other domains that are read."""


def _refuse(lacking: dict[str, str], version: int) -> None:
    """Raises ValueError if something is lacking: what is not supported -> a node that has it."""
    if lacking:
        names = ", ".join(sorted(f"'{name}'" for name in lacking.values() if name))
        raise ValueError(
            f"[onnx.load] got {', '.join(sorted(lacking))}; expected operators of the table in docs/onnx.md "
            f"(operator set {version}{f', nodes {names}' if names else ''})"
        )


def require_operators(onnx: Any, model: Any, versions: dict[str, int]) -> None:
    """Raises ValueError: an operator is neither supported nor a function, or a function has no heads or
    groups.

    It is called before functions are replaced by their nodes, because the code of onnx that does this fails
    for such a model.
    """
    functions = {(f.domain, f.name) for f in model.functions}
    made = []
    rest = []
    for node in every_node([*model.graph.node, *[node for f in model.functions for node in f.node]]):
        if is_function(onnx, node.domain, node.op_type, versions):
            made.append(node)
        elif (node.domain, node.op_type) not in functions:
            rest.append(node)
    _refuse(_without_operator(rest, versions), versions[""])
    for node in made:
        for a in node.attribute:
            if a.name.endswith(("num_heads", "groups")) and a.i < 1:
                raise ValueError(f"[onnx.load] got {a.name} {a.i} of {node.op_type}; expected 1 or more")


# --- whether a constant is a parameter, a buffer or a setting; below: operator -> places among its inputs
STATISTICS: dict[str, tuple[int, ...]] = {"BatchNormalization": (3, 4)}  # running mean and variance
_SETTINGS = {  # constants in these places are no parameters
    "Clip": (1, 2),
    "Dropout": (1, 2),
    "OneHot": (1, 2),
    "Pad": (1, 2, 3),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
}
_WEIGHTS = {  # constants in these places are parameters
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
# operators whose result has the elements of their first input: a constant has the role of their result
_PASSING = ("Identity", "Transpose", "Reshape", "Cast", "Squeeze", "Unsqueeze", "Flatten")


def roles_of(nodes: list[Node], initializers: Container[str] = ()) -> dict[str, set[str]]:
    """For each value the roles in which nodes use it: "setting", "buffer", "weight", "offset" or "other".

    buffer: running statistics. offset: the value is added to a product with a weight (a bias), is multiplied
    by a quotient, or is added to a product, as the scale and the shift of a norm.
    """
    source: dict[str, Node] = {}  # value -> the node that computed its elements, before operators of _PASSING
    for node in nodes:
        origin = source.get(node.inputs[0]) if node.op in _PASSING else node
        source.update(dict.fromkeys(node.outputs, origin) if origin is not None else {})

    def is_weight(name: str) -> bool:
        return name in initializers or (name in source and source[name].op == "Constant")

    roles: dict[str, set[str]] = {}
    for node in reversed(nodes):
        for place, name in enumerate(node.inputs):
            role = next((what for what, of in _PLACES.items() if place in of.get(node.op, ())), "other")
            if node.op in ("Add", "Mul"):
                before = source.get(node.inputs[1 - place])
            else:
                before = None
            if before is not None and (
                before.op == ("Div" if node.op == "Mul" else "Mul")
                or (before.op in _PRODUCTS and any(map(is_weight, before.inputs)))
            ):
                role = "offset"
            if node.op in _PASSING and not place:
                passed = roles.get(node.outputs[0])
            else:
                passed = None
            roles.setdefault(name, set()).update(passed or {role})
    return roles


def _with_weights(nodes: list[Node], initializers: dict[str, Array]) -> list[Node]:
    """The nodes without the Constant nodes that hold weights; these arrays are added to the initializers.

    Some exporters write weights as Constant nodes.
    """
    roles = roles_of(nodes, initializers)
    rest = []
    for node in nodes:
        if node.op == "Constant":
            operator = find(node.op, node.version)
        else:
            operator = None
        if operator is None:
            value = np.zeros(())
        else:
            value = operator.function(**node.settings)
        uses = roles.get(node.outputs[0], set())
        if value.dtype not in FLOATS or not value.ndim or uses.isdisjoint(("weight", "buffer", "offset")):
            rest.append(node)
        else:
            initializers[node.outputs[0]] = value
    return rest


def _input(onnx: Any, value: Any) -> tuple[str, Any, list[int | None] | None]:
    """An input of the graph as (name, dtype, shape); its shape is None where the file has none."""
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
    except Exception as error:  # the reader raises many classes
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
    if proto.type in (kinds.INT, kinds.INTS, kinds.FLOAT, kinds.FLOATS, kinds.STRING, kinds.STRINGS):
        value = onnx.helper.get_attribute_value(proto)
        if proto.type in (kinds.INTS, kinds.FLOATS, kinds.STRINGS):
            several = value
        else:
            several = [value]
        items = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in several]
        if several is value:
            return items
        return items[0]
    raise ValueError(f"[onnx.load] got attribute '{proto.name}' of a kind that is not supported (a sequence)")


# --- limits
NODES = 20_000
"""The most nodes of a graph whose functions are replaced by their nodes, and the most initializers, by
default.

A graph of this many nodes is read in about a second and takes 60 MB.
"""

_DEPTH = 64  # the deepest nesting of functions and graphs in each other
_OF_FUNCTION = 200  # an operator that ONNX defines by other operators is counted as this many nodes


def node_count(onnx: Any, model: Any, versions: dict[str, int]) -> int:
    """The number of nodes, with those inside each call of a function and in graphs of attributes."""
    functions = {(f.domain, f.name): f for f in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Any, depth: int) -> int:
        if depth > _DEPTH:
            raise ValueError(
                f"[onnx.load] got functions or graphs in more than {_DEPTH} others, or in themselves"
            )
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key not in counts:
                if key in functions:
                    inner = count(functions[key].node, depth + 1)
                else:
                    inner = 1
                counts[key] = _OF_FUNCTION if is_function(onnx, *key, versions) else inner
            total += counts[key]
            for a in node.attribute:
                graphs = [*a.graphs, *([a.g] if a.HasField("g") else ())]
                total += sum(count(graph.node, depth + 1) for graph in graphs)
        return total

    return count(model.graph.node, 0)


def is_function(onnx: Any, domain: str, op: str, versions: dict[str, int]) -> bool:
    """True for an operator that ONNX defines by other operators and that this library does not implement."""
    if domain == "ai.onnx":
        domain = ""
    if not (isinstance(op, str) and isinstance(domain, str)):  # bytes that are no text
        return False
    version = versions.get(domain, 1)
    if (not domain and find(op, version)) or not onnx.defs.has(op, version, domain):
        return False
    schema = onnx.defs.get_schema(op, version, domain)
    return bool(schema.has_function or schema.has_context_dependent_function)
