"""Reads the graph of an `onnx.ModelProto` as a list of `Node`s whose operators are known.

`reader.py` uses it. The file also decides which constants are parameters, buffers or settings
(`value_roles`). A file from an unknown source may be small and describe a huge graph, so the nodes that its
functions stand for are counted (`node_count`) before the functions are replaced.

Arguments with the name `onnx` are the package, which is optional: `values.package` imports it, and its types
are imported for type checkers alone.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ranvier.onnx.registry import BECAME_INPUTS, IGNORED, find
from ranvier.onnx.values import FLOATS, Array, dtype_of

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto


class Node(NamedTuple):
    """A call of an operator.

    version: the version of the operator set.
    inputs, outputs: names of values; an input "" is left out.
    attributes: numbers, strings, lists, arrays and Graphs by name.
    captured: the last so many inputs are no operands: they are values that the graphs in the attributes use.
    """

    op: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    name: str
    captured: int = 0


class Input(NamedTuple):
    """An input of a graph. Only those of the model's own graph have a dtype and a shape.

    shape: None in it is a size that may be any; the shape is None where the file has none.
    """

    name: str
    dtype: np.dtype[Any] | None = None
    shape: list[int | None] | None = None


class Graph(NamedTuple):
    """A model's graph, or one in an attribute: a branch, or the body of a loop.

    inputs: those that are no initializers.
    initializers: the arrays that the file stores, by name.
    """

    inputs: list[Input]
    outputs: list[str]
    initializers: dict[str, Array]
    nodes: list[Node]


def every_node(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """The nodes and all nodes of the graphs in their attributes."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in _graphs_in(attribute):
                yield from every_node(graph.node)


def _graphs_in(attribute: AttributeProto) -> list[GraphProto]:
    graphs = list(attribute.graphs)
    if attribute.HasField("g"):
        graphs.append(attribute.g)
    return graphs


def read_graph(onnx: ModuleType, model: ModelProto, versions: Mapping[str, int]) -> Graph:
    """The graph of a model that onnx's checker has accepted.

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
    inputs = [_input(v) for v in model.graph.input if v.name not in reader.initializers]
    return graph._replace(inputs=inputs, initializers=reader.initializers)


class _GraphReader(NamedTuple):
    """Reads a model's graph and the graphs in attributes of its nodes.

    version: the version of the operator set.
    producer: the name of the program that wrote the file.

    Two dicts are filled:
    initializers: the arrays of all graphs.
    lacking: attributes that are not supported -> a node that has one.
    """

    onnx: ModuleType
    version: int
    producer: str
    initializers: dict[str, Array]
    lacking: dict[str, str]

    def graph(self, proto: GraphProto) -> Graph:
        """The graph, with inputs without types.

        Its initializers go to the dict that all graphs share. An initializer whose name is taken there stays
        in the Graph.
        """
        shared = {}
        hidden = {}
        for tensor in proto.initializer:
            array = array_of_tensor(self.onnx, tensor)
            if tensor.name in self.initializers:
                hidden[tensor.name] = array
            else:
                shared[tensor.name] = array
        self.initializers.update(shared)
        used = {value.name for value in proto.output}
        for node in every_node(proto.node):
            used.update(node.input)
        nodes = [self.node(node, used) for node in proto.node]
        if self.producer not in ("ranvier", "pytorch"):  # these write all weights as initializers
            nodes = _with_weights(nodes, self.initializers)
        inputs = [Input(value.name) for value in proto.input]
        outputs = [value.name for value in proto.output]
        return Graph(inputs, outputs, hidden, nodes)

    def node(self, proto: NodeProto, used: set[str]) -> Node:
        """The node of a NodeProto; used: all values that nodes and outputs of its graph use."""
        operator = find(proto.op_type, self.version)
        assert operator is not None
        now_inputs = _attributes_that_became_inputs(proto.op_type, self.version)
        attributes = self._attributes(proto, operator.attributes.union(now_inputs))
        inputs = self._inputs(proto, attributes, now_inputs)
        captured: dict[str, None] = {}  # a set in the order in which names occur
        for value in attributes.values():
            if isinstance(value, Graph):
                captured.update(dict.fromkeys(_captured_values(value)))
        if "from_pytorch" in operator.attributes and self.producer == "pytorch":
            attributes["from_pytorch"] = 1  # of Resize, whose function says what it changes
        outputs = tuple(proto.output)
        if proto.op_type == "Dropout" and used.isdisjoint(outputs[1:]):
            outputs = outputs[:1]  # PyTorch writes the mask, which nothing reads
        names = (*inputs, *captured)
        return Node(proto.op_type, self.version, names, outputs, attributes, proto.name, len(captured))

    def _attributes(self, proto: NodeProto, supported: frozenset[str]) -> dict[str, Any]:
        """The attributes of a node by name. Those that are not supported are added to `lacking`."""
        attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            if attribute.name in IGNORED:
                continue
            if attribute.name not in supported:
                self.lacking[f"{proto.op_type} with {attribute.name}"] = proto.name
            elif attribute.type == self.onnx.AttributeProto.GRAPH:
                attributes[attribute.name] = self.graph(attribute.g)
            else:
                attributes[attribute.name] = attribute_value(self.onnx, attribute)
        return attributes

    def _inputs(self, proto: NodeProto, attributes: dict[str, Any], now_inputs: tuple[str, ...]) -> list[str]:
        """The names of a node's inputs.

        now_inputs: the attributes that a later version of the operator has as inputs, from the second input
        on. They are removed from `attributes`, and their values become initializers.
        """
        inputs = list(proto.input)
        for place, name in enumerate(now_inputs, 1):
            if name not in attributes:
                continue
            constant = f"{proto.output[0]} {name}"
            value = np.asarray(attributes.pop(name))
            if value.dtype.kind == "f":
                value = value.astype(np.float32)
            self.initializers[constant] = value
            missing = place + 1 - len(inputs)
            inputs += [""] * missing
            inputs[place] = constant
        return inputs


def _attributes_that_became_inputs(op: str, version: int) -> tuple[str, ...]:
    """The attributes of an operator, in this version, that a later version has as inputs."""
    since, names = BECAME_INPUTS.get(op, (0, ()))
    if version < since:
        return names
    return ()


def _captured_values(graph: Graph) -> list[str]:
    """The names of values of the graph around it that a graph in an attribute uses.

    The initializers that a Graph has kept are among them: such a name is also that of an initializer of the
    model, so the value exists, and `execution._graph_results` puts the graph's own array in its place.
    """
    made = {"", *[value.name for value in graph.inputs]}
    used: list[str] = []
    for node in graph.nodes:
        made.update(node.outputs)
        used += node.inputs
    used += graph.outputs
    return [name for name in dict.fromkeys(used) if name not in made]


def _without_operator(nodes: Iterable[NodeProto], versions: Mapping[str, int]) -> dict[str, str]:
    """The operators that are not supported -> the name of a node with this operator."""
    lacking = {}
    for node in nodes:
        is_read = node.domain in ("", "ai.onnx") or (node.domain, node.op_type) in OTHER_DOMAINS
        if not is_read:
            lacking[f"{node.domain}.{node.op_type}"] = node.name
        elif find(node.op_type, versions[""]) is None:
            lacking[node.op_type] = node.name
    return lacking


OTHER_DOMAINS = {("com.microsoft", "MatMulNBits")}
"""Operators of other domains that are read."""


def _refuse(lacking: dict[str, str], version: int) -> None:
    """Raises ValueError if something is lacking: what is not supported -> a node that has it."""
    if not lacking:
        return
    names = ", ".join(sorted(f"'{name}'" for name in lacking.values() if name))
    where = ""
    if names:
        where = f", nodes {names}"
    raise ValueError(
        f"[onnx.load] got {', '.join(sorted(lacking))}; expected operators of the table in docs/onnx.md "
        f"(operator set {version}{where})"
    )


def require_operators(onnx: ModuleType, model: ModelProto, versions: Mapping[str, int]) -> None:
    """Raises ValueError: an operator is neither supported nor a function, or a function has no heads or
    groups.

    It is called before functions are replaced by their nodes, because the code of onnx that does this fails
    for such a model.
    """
    functions = {(f.domain, f.name) for f in model.functions}
    nodes = list(model.graph.node)
    for function in model.functions:
        nodes += function.node
    of_standard_functions = []
    others = []
    for node in every_node(nodes):
        if is_function(onnx, node.domain, node.op_type, versions):
            of_standard_functions.append(node)
        elif (node.domain, node.op_type) not in functions:
            others.append(node)
    _refuse(_without_operator(others, versions), versions[""])
    for node in of_standard_functions:
        for a in node.attribute:
            if a.name.endswith(("num_heads", "groups")) and a.i < 1:
                raise ValueError(f"[onnx.load] got {a.name} {a.i} of {node.op_type}; expected 1 or more")


# --- whether a constant is a parameter, a buffer or a setting
# The tables below have for an operator the places of some of its inputs.
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


def value_roles(nodes: list[Node], initializers: Container[str] = ()) -> dict[str, set[str]]:
    """For each value the roles in which nodes use it: "setting", "buffer", "weight", "offset" or "other".

    buffer: running statistics. offset: the value is added to a product with a weight (a bias), is multiplied
    by a quotient, or is added to a product, as the scale and the shift of a norm.
    """
    makers = _makers(nodes)
    roles: dict[str, set[str]] = {}
    for node in reversed(nodes):  # so that the roles of a node's result are known
        for place, name in enumerate(node.inputs):
            found = {_role_of_place(node.op, place)}
            if node.op in ("Add", "Mul") and _is_offset(node, place, makers, initializers):
                found = {"offset"}
            if node.op in _PASSING and place == 0:
                found = roles.get(node.outputs[0]) or found
            roles.setdefault(name, set()).update(found)
    return roles


def _makers(nodes: list[Node]) -> dict[str, Node]:
    """For each value the node that computed its elements: operators of _PASSING are passed over."""
    makers: dict[str, Node] = {}
    for node in nodes:
        maker: Node | None = node
        if node.op in _PASSING:
            maker = makers.get(node.inputs[0])
        if maker is not None:
            makers.update(dict.fromkeys(node.outputs, maker))
    return makers


def _role_of_place(op: str, place: int) -> str:
    """The role of the input at a place of an operator, by the tables above."""
    for role, places_of_operators in _PLACES.items():
        if place in places_of_operators.get(op, ()):
            return role
    return "other"


def _is_offset(node: Node, place: int, makers: dict[str, Node], initializers: Container[str]) -> bool:
    """True if an operand of Add or Mul has the role "offset": the other operand decides."""
    other = makers.get(node.inputs[1 - place])
    if other is None:
        return False
    if node.op == "Mul" and other.op == "Div":
        return True
    if node.op == "Add" and other.op == "Mul":
        return True
    if other.op not in _PRODUCTS:
        return False
    for name in other.inputs:
        is_constant = name in makers and makers[name].op == "Constant"
        if is_constant or name in initializers:
            return True
    return False


def _with_weights(nodes: list[Node], initializers: dict[str, Array]) -> list[Node]:
    """The nodes without the Constant nodes that hold weights; these arrays are added to the initializers.

    Some exporters write weights as Constant nodes.
    """
    roles = value_roles(nodes, initializers)
    others = []
    for node in nodes:
        array = _array_of_constant(node)
        if array is not None and _is_weight(array, roles.get(node.outputs[0], set())):
            initializers[node.outputs[0]] = array
        else:
            others.append(node)
    return others


def _array_of_constant(node: Node) -> Array | None:
    """The array of a Constant node; None for other nodes."""
    operator = find(node.op, node.version)
    if node.op != "Constant" or operator is None:
        return None
    array: Array = operator.function(**node.attributes)
    return array


def _is_weight(array: Array, roles: set[str]) -> bool:
    has_role = not roles.isdisjoint(("weight", "buffer", "offset"))
    return array.dtype in FLOATS and array.ndim > 0 and has_role


# --- messages of protobuf
def _input(value: ValueInfoProto) -> Input:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ValueError(f"[onnx.load] got input '{value.name}' of type {kind}; expected a tensor")
    tensor = value.type.tensor_type
    dtype = dtype_of(tensor.elem_type)
    if not tensor.HasField("shape"):
        return Input(value.name, dtype)
    shape: list[int | None] = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            shape.append(dim.dim_value)
        else:  # a name, or -1, which exporters write: the size may be any
            shape.append(None)
    return Input(value.name, dtype, shape)


def array_of_tensor(onnx: ModuleType, tensor: TensorProto) -> Array:
    """The values of a TensorProto; ValueError where its size and its data do not fit."""
    shape = list(tensor.dims)
    count = np.prod([float(n) for n in shape])  # a float, because integers of NumPy would overflow
    if any(n < 0 for n in shape) or count >= 2**40:
        raise ValueError(
            f"[onnx.load] got tensor '{tensor.name}' of shape {shape}; expected 0 to 2^40 elements"
        )
    if tensor.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        raise ValueError(f"[onnx.load] got tensor '{tensor.name}' of strings; expected numbers")
    try:
        return np.array(onnx.numpy_helper.to_array(tensor))
    except Exception as error:  # the reader raises many classes
        raise ValueError(
            f"[onnx.load] tensor '{tensor.name}' of shape {shape} cannot be read: {error}"
        ) from None


def attribute_value(onnx: ModuleType, proto: AttributeProto) -> Any:
    """The value of a node's attribute: a number, a string, a list of these, or an array."""
    types = onnx.AttributeProto
    if proto.ref_attr_name:
        raise ValueError(f"[onnx.load] got attribute '{proto.name}' without a value")
    if proto.type == types.TENSOR:
        return array_of_tensor(onnx, proto.t)
    if proto.type in (types.INT, types.FLOAT, types.STRING):
        return _decoded(onnx.helper.get_attribute_value(proto))
    if proto.type in (types.INTS, types.FLOATS, types.STRINGS):
        return [_decoded(item) for item in onnx.helper.get_attribute_value(proto)]
    raise ValueError(f"[onnx.load] got attribute '{proto.name}' of a kind that is not supported (a sequence)")


def _decoded(value: bytes | float) -> str | float:
    """A number as it is; protobuf has texts as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


# --- limits
NODES = 20_000
"""The most nodes of a graph whose functions are replaced by their nodes, and the most initializers, by
default.

A graph of this many nodes is read in about a second and takes 60 MB.
"""

_DEPTH = 64  # the deepest nesting of functions and graphs in each other
_NODES_OF_FUNCTION = 200  # an operator that ONNX defines by other operators is counted as this many nodes


def node_count(onnx: ModuleType, model: ModelProto, versions: Mapping[str, int]) -> int:
    """The number of nodes, with those inside each call of a function and in graphs of attributes."""
    functions = {(f.domain, f.name): f for f in model.functions}
    counts: dict[tuple[str, str], int] = {}  # domain and name of an operator -> what a node of it counts as

    def count_of_operator(key: tuple[str, str], depth: int) -> int:
        inside = 1
        if key in functions:
            # also where `inside` is not the result: `count` refuses functions that are nested too deeply
            inside = count(functions[key].node, depth + 1)
        if is_function(onnx, *key, versions):
            return _NODES_OF_FUNCTION
        return inside

    def count(nodes: Iterable[NodeProto], depth: int) -> int:
        if depth > _DEPTH:
            raise ValueError(
                f"[onnx.load] got functions or graphs in more than {_DEPTH} others, or in themselves"
            )
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key not in counts:
                counts[key] = count_of_operator(key, depth)
            total += counts[key]
            for attribute in node.attribute:
                for graph in _graphs_in(attribute):
                    total += count(graph.node, depth + 1)
        return total

    return count(model.graph.node, 0)


def is_function(onnx: ModuleType, domain: str, op: str, versions: Mapping[str, int]) -> bool:
    """True for an operator that ONNX defines by other operators and that this library does not implement."""
    if domain == "ai.onnx":
        domain = ""
    if not (isinstance(op, str) and isinstance(domain, str)):  # bytes that are no text
        return False
    version = versions.get(domain, 1)
    if domain == "" and find(op, version) is not None:
        return False
    if not onnx.defs.has(op, version, domain):
        return False
    schema = onnx.defs.get_schema(op, version, domain)
    return bool(schema.has_function or schema.has_context_dependent_function)
