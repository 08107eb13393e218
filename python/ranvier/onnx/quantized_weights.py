"""`rv.quantize` of a loaded graph: products with matrices that are parameters get weights of 8 or 4 bits.

A matrix is taken that all its nodes use in one way: `MatMul` and `Gemm` as the second factor, as it is or
after a `Transpose`, and `Gather` of its rows. These nodes become "QuantizedMatrix" and "QuantizedTable",
which no file has: they read the bytes and scales of a `QuantizedWeight`, which are buffers of the module.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ranvier.autograd import Tensor
from ranvier.nn.quantized.layers import product
from ranvier.onnx.graph import Node
from ranvier.onnx.registry import operator
from ranvier.onnx.values import FLOATS, Array, raw, tensor_of
from ranvier.ops.matrix.quantized import quantized_embedding
from ranvier.ops.matrix.quantized_weight import QuantizedWeight, quantized

PRODUCT = "QuantizedMatrix"
TABLE = "QuantizedTable"


class Use(NamedTuple):
    """A node that uses a matrix. transposed: whether its rows are the inputs of the product, not the
    outputs."""

    node: Node
    transposed: bool


@operator(PRODUCT, more=("kind", "n", "k"))
def quantized_matrix(
    x: Any, panels: Any, scale: Any = None, bias: Any = None, *, kind: str, n: int, k: int
) -> Tensor:
    """x W^T + bias"""
    y = product(tensor_of(x), panels, _float32(scale), None, kind, n, k)
    if bias is None:
        return y
    return y + tensor_of(bias).to(y.dtype)


@operator(TABLE, more=("kind", "n", "k"))
def quantized_table(index: Any, panels: Any, scale: Any = None, *, kind: str, n: int, k: int) -> Tensor:
    """The rows of W that the index names; an index below 0 counts from the end."""
    index = tensor_of(index)
    weight = QuantizedWeight(kind, (n, k), panels, _float32(scale))
    return quantized_embedding(index + n * (index < 0), weight)


def _float32(scale: Tensor | None) -> Tensor | None:
    if scale is None:
        return None
    return scale.float()


class Converted(NamedTuple):
    """A graph with matrices of few bits: its nodes, its parameters and new arrays, and the names of the
    latter."""

    nodes: list[Node]
    arrays: dict[str, Array]
    few_bits: frozenset[str]


def converted(nodes: list[Node], values: dict[str, Array], kind: str) -> Converted | None:
    """A graph with matrices of this kind; None where it has none.

    values: the parameters of the module.
    """
    found = _matrices(nodes, values)
    if not found:
        return None
    arrays = dict(values)
    of_nodes: dict[int, _Matrix] = {}  # id of a node -> the matrix that it uses
    new: set[str] = set()
    for name, uses in found.items():
        is_table = all(use.node.op == "Gather" for use in uses)
        matrix = arrays.pop(name)
        weight = quantized(matrix.T if uses[0].transposed else matrix, kind, 1 if is_table else 16)
        made = _named(name, weight)
        of_nodes.update((id(use.node), made) for use in uses)
        arrays[made.panels] = raw(weight.panels)
        new.add(made.panels)
        if weight.scale is not None:
            arrays[made.scale] = raw(weight.scale)
            new.add(made.scale)
    turned = {node.outputs[0] for node in nodes if _is_turned(node) and node.inputs[0] in found}
    kept = [node for node in nodes if turned.isdisjoint(node.outputs)]
    replaced = [_replaced(node, of_nodes[id(node)]) if id(node) in of_nodes else node for node in kept]
    return Converted(replaced, arrays, frozenset(new))


class _Matrix(NamedTuple):
    """The names of the arrays of a matrix of few bits ("" for a scale that it has not), and the settings of
    the nodes that use it."""

    panels: str
    scale: str
    settings: dict[str, Any]


def _named(name: str, weight: QuantizedWeight) -> _Matrix:
    n, k = weight.shape
    scale = "" if weight.scale is None else f"{name}.scale"
    return _Matrix(f"{name}.panels", scale, {"kind": weight.kind, "n": n, "k": k})


def _matrices(nodes: list[Node], values: dict[str, Array]) -> dict[str, list[Use]]:
    """The parameters that become matrices of few bits, with the nodes that use them."""
    matrices = {name for name, array in values.items() if array.ndim == 2 and array.dtype in FLOATS}
    turned = {node.outputs[0]: node.inputs[0] for node in nodes if _is_turned(node)}
    uses: dict[str, list[Use]] = {name: [] for name in matrices}
    others: set[str] = set()
    for node in nodes:
        if _is_turned(node) and node.inputs[0] in matrices:
            continue
        for place, given in enumerate(node.inputs):
            name = turned.get(given, given)
            if name not in matrices:
                continue
            use = _use(node, place, name != given)
            if use is None:
                others.add(name)
            else:
                uses[name].append(use)
    return {
        name: found
        for name, found in uses.items()
        if found and name not in others and len({use.transposed for use in found}) == 1
    }


def _is_turned(node: Node) -> bool:
    return node.op == "Transpose" and list(node.settings.get("perm", (1, 0))) == [1, 0]


def _use(node: Node, place: int, is_turned: bool) -> Use | None:
    """How a node uses a matrix at a place of its inputs; None if a matrix of few bits cannot be used so."""
    if node.captured:
        return None
    if node.op == "MatMul" and place == 1:
        return Use(node, not is_turned)
    if node.op == "Gather" and place == 0 and not is_turned and node.settings.get("axis", 0) == 0:
        return Use(node, False)
    if node.op == "Gemm" and place == 1 and _is_plain(node.settings):
        return Use(node, bool(node.settings.get("transB", 0)) == is_turned)
    return None


def _is_plain(settings: dict[str, Any]) -> bool:
    """True for a Gemm without factors, whose first operand is not transposed."""
    factors = [settings.get("alpha", 1), settings.get("beta", 1)]
    return factors == [1, 1] and not settings.get("transA", 0)


def _replaced(node: Node, matrix: _Matrix) -> Node:
    """The node that reads the matrix of few bits."""
    if node.op == "Gather":
        of_table = (node.inputs[1], matrix.panels, matrix.scale)
        return node._replace(op=TABLE, inputs=of_table, settings=matrix.settings)
    bias = node.inputs[2] if len(node.inputs) > 2 else ""
    of_product = (node.inputs[0], matrix.panels, matrix.scale, bias)
    return node._replace(op=PRODUCT, inputs=of_product, settings=matrix.settings)
