"""`rv.quantize` of a loaded graph: products with matrices that are parameters get weights of 8 or 4 bits.

`quantized_graph` takes a matrix that all its nodes use in one way: `MatMul` and `Gemm` as the second factor,
as it is or after a `Transpose`, and `Gather` of its rows. These nodes become "QuantizedMatrix" and
"QuantizedTable", which no file has: they read the integers and scales of a `QuantizedWeight`, which are
buffers of the module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ranvier.autograd import Tensor
from ranvier.nn.quantized.layers import product
from ranvier.onnx.graph import Node
from ranvier.onnx.registry import operator
from ranvier.onnx.values import FLOATS, Array, Value, raw, tensor_of
from ranvier.ops.matrix.quantized import quantized_embedding
from ranvier.ops.matrix.quantized_weight import QuantizedWeight, quantized

PRODUCT = "QuantizedMatrix"
TABLE = "QuantizedTable"


# --- the operators. kind: the format of the integers, such as "int8"; n, k: the shape of the matrix W
@operator(PRODUCT, more=("kind", "n", "k"))
def quantized_matrix(
    x: Value,
    panels: Tensor,
    scale: Tensor | None = None,
    bias: Value | None = None,
    *,
    kind: str,
    n: int,
    k: int,
) -> Tensor:
    """x W^T + bias"""
    y = product(tensor_of(x), panels, _float32(scale), None, kind, n, k)
    if bias is None:
        return y
    return y + tensor_of(bias).to(y.dtype)


@operator(TABLE, more=("kind", "n", "k"))
def quantized_table(
    index: Value, panels: Tensor, scale: Tensor | None = None, *, kind: str, n: int, k: int
) -> Tensor:
    """The rows of W that the index names; an index below 0 counts from the end."""
    index = tensor_of(index)
    weight = QuantizedWeight(kind, (n, k), panels, _float32(scale))
    return quantized_embedding(index + n * (index < 0), weight)


def _float32(scale: Tensor | None) -> Tensor | None:
    if scale is None:
        return None
    return scale.float()


# --- the graph
class QuantizedGraph(NamedTuple):
    """The nodes of a graph with quantized matrices, and its arrays: parameters, integers and scales.

    new: the names of the integers and scales.
    """

    nodes: list[Node]
    arrays: dict[str, Array]
    new: frozenset[str]


class _Use(NamedTuple):
    """A node that uses a matrix. transposed: whether its rows are the inputs of the product, not the
    outputs."""

    node: Node
    transposed: bool


def quantized_graph(nodes: list[Node], parameters: dict[str, Array], kind: str) -> QuantizedGraph | None:
    """The graph with matrices of this format; None where it has no matrix to quantize."""
    uses_of_matrices = _quantizable(nodes, parameters)
    if not uses_of_matrices:
        return None
    arrays = dict(parameters)
    new: set[str] = set()
    replaced: dict[int, Node] = {}  # id of a node -> the node in its place
    for name, uses in uses_of_matrices.items():
        matrix = arrays.pop(name)
        if uses[0].transposed:
            matrix = matrix.T
        is_table = all(use.node.op == "Gather" for use in uses)
        rows_of_panel = 1 if is_table else 16  # a table is read row by row
        weight = quantized(matrix, kind, rows_of_panel)
        names = _names(name, weight)
        arrays[names.panels] = raw(weight.panels)
        new.add(names.panels)
        if weight.scale is not None:
            arrays[names.scale] = raw(weight.scale)
            new.add(names.scale)
        for use in uses:
            replaced[id(use.node)] = _quantized_node(use.node, names)
    made = []
    for node in nodes:
        is_unused = _is_matrix_transpose(node) and node.inputs[0] in uses_of_matrices
        if not is_unused:
            made.append(replaced.get(id(node), node))
    return QuantizedGraph(made, arrays, frozenset(new))


class _Names(NamedTuple):
    """The names of the arrays of a quantized matrix, and the attributes of the nodes that use it.

    scale: "" for a format that has none.
    """

    panels: str
    scale: str
    attributes: dict[str, Any]


def _names(name: str, weight: QuantizedWeight) -> _Names:
    n, k = weight.shape
    scale = ""
    if weight.scale is not None:
        scale = f"{name}.scale"
    return _Names(f"{name}.panels", scale, {"kind": weight.kind, "n": n, "k": k})


def _quantizable(nodes: list[Node], parameters: dict[str, Array]) -> dict[str, list[_Use]]:
    """The parameters that can be quantized, each with the nodes that use it."""
    matrices = {name for name, array in parameters.items() if array.ndim == 2 and array.dtype in FLOATS}
    transposed = {}  # the result of a Transpose -> the matrix
    for node in nodes:
        if _is_matrix_transpose(node) and node.inputs[0] in matrices:
            transposed[node.outputs[0]] = node.inputs[0]
    uses: dict[str, list[_Use]] = {}
    others: set[str] = set()  # matrices that a node uses in another way
    for node in nodes:
        if _is_matrix_transpose(node) and node.inputs[0] in matrices:
            continue
        for place, operand in enumerate(node.inputs):
            name = transposed.get(operand, operand)
            if name not in matrices:
                continue
            use = _use(node, place, operand in transposed)
            if use is None:
                others.add(name)
            else:
                uses.setdefault(name, []).append(use)
    found = {}
    for name in parameters:  # in their order
        if name not in uses or name in others:
            continue
        is_one_way = len({use.transposed for use in uses[name]}) == 1
        if is_one_way:
            found[name] = uses[name]
    return found


def _is_matrix_transpose(node: Node) -> bool:
    return node.op == "Transpose" and list(node.attributes.get("perm", (1, 0))) == [1, 0]


def _use(node: Node, place: int, is_transposed: bool) -> _Use | None:
    """How a node uses a matrix at a place of its inputs; None if it cannot use a quantized one so.

    is_transposed: its operand is the transposed matrix.
    """
    if node.captured:
        return None
    if node.op == "MatMul" and place == 1:
        return _Use(node, not is_transposed)
    if node.op == "Gather" and place == 0 and not is_transposed and node.attributes.get("axis", 0) == 0:
        return _Use(node, False)
    if node.op == "Gemm" and place == 1 and _is_plain(node.attributes):
        has_transposed_rows = bool(node.attributes.get("transB", 0))
        return _Use(node, has_transposed_rows == is_transposed)
    return None


def _is_plain(attributes: dict[str, Any]) -> bool:
    """True for a Gemm without factors, whose first operand is not transposed."""
    factors = [attributes.get("alpha", 1), attributes.get("beta", 1)]
    return factors == [1, 1] and not attributes.get("transA", 0)


def _quantized_node(node: Node, names: _Names) -> Node:
    """The node that reads the quantized matrix in place of `node`."""
    if node.op == "Gather":
        index = node.inputs[1]
        inputs = (index, names.panels, names.scale)
        return node._replace(op=TABLE, inputs=inputs, attributes=names.attributes)
    bias = ""
    if len(node.inputs) > 2:
        bias = node.inputs[2]
    operands = (node.inputs[0], names.panels, names.scale, bias)
    return node._replace(op=PRODUCT, inputs=operands, attributes=names.attributes)
