"""`rv.onnx.load`: reads an ONNX file as an `OnnxModule`, whose weights are its parameters.

The file is checked and its functions are replaced by their nodes, by the package onnx. `graph.py` turns the
result into nodes, which `execution.py` runs.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import ranvier.onnx.operators  # noqa: F401  # fills the table
from ranvier.autograd import Tensor
from ranvier.nn import Module, Parameter
from ranvier.onnx.execution import CostBudget, Plan, Submodule, called, run
from ranvier.onnx.graph import (
    NODES,
    Graph,
    Node,
    every_node,
    graph_of,
    is_function,
    node_count,
    require_operators,
    roles_of,
)
from ranvier.onnx.limits import ELEMENTS, PER_ELEMENT
from ranvier.onnx.registry import OPERATORS, find
from ranvier.onnx.values import FLOATS, OPSETS, package, raw, shape_of, shown, tensor_of
from ranvier.serialization.foreign_files import other_kind
from ranvier.tensors.reading import open_file, path_of, reading

_DEPTH = 32  # the deepest nesting of names in names
# names that parameters and parts cannot have
_RESERVED = {*dir(Module), "input_names", "output_names", "nodes", "with_few_bits", "_inputs", "_body"}


class OnnxModule(Module):
    """The result of :func:`ranvier.onnx.load`: a graph of operators with trainable weights.

    Each floating initializer is a parameter with its name; a dot leads to a module inside. Running statistics
    and what the file marks so are buffers. Numbers without dimensions, settings and integers are constants.

    Attributes:
        input_names, output_names: the graph's names, in the order of the arguments and results.
        nodes: the operators, in the order in which they run.
    """

    step_constants = ("_body", "_inputs", "nodes")  # constants for a compiled step: they stay as in the file

    def __init__(
        self,
        graph: Graph,
        buffers: frozenset[str] = frozenset(),
        max_elements: int | None = None,
        few_bits: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        held = sum(array.size for array in graph.initializers.values())
        # the cost that a run may have: a constant, and a number for each element of the inputs
        if max_elements is None:
            most = (ELEMENTS + PER_ELEMENT * held, PER_ELEMENT)
        else:
            most = (max_elements, 0)
        self._inputs = graph.inputs
        self.output_names = graph.outputs
        self.nodes = graph.nodes
        self.input_names = [name for name, *_ in graph.inputs]
        kinds = _kinds(graph, buffers) | dict.fromkeys(few_bits, "buffer")
        marked = {name for name, kind in kinds.items() if kind == "buffer"}
        for node in graph.nodes:
            if node.op == "Identity" and node.inputs[0] in marked:
                marked.update(node.outputs)
        plan = Plan(graph, _paths(list(kinds)), frozenset(marked), most)
        self._body = plan.bodies[()]
        parts: list[Module] = [self]
        for around, name, body in plan.tree:
            parts.append(Submodule())
            parts[-1]._body = body
            setattr(parts[around], name, parts[-1])
        for name, at, attribute in plan.places:
            value = tensor_of(graph.initializers[name])
            if kinds[name] == "parameter":
                setattr(parts[at], attribute, Parameter(value))
            else:
                parts[at].register_buffer(attribute, value)

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) != len(self._inputs):
            names = shown(", ".join(self.input_names))
            raise TypeError(f"[onnx] got {len(inputs)} inputs; expected {len(self._inputs)}: {names}")
        plan = self._body.plan
        values: dict[str, Any] = {"": None, **plan.constants}
        given = [_checked(*one, x) for x, one in zip(inputs, self._inputs, strict=True)]
        if plan.unchanged(self, values):
            values.update(zip(self.input_names, given, strict=True))
            left = CostBudget(plan, values, self.input_names)
            outputs = run(self, self._body, self.nodes, plan.unused, values, left, self.output_names)
        else:
            outputs = called(self, self._body, given)
        results = tuple(map(tensor_of, outputs))
        if len(results) == 1:
            return results[0]
        return results

    def with_few_bits(self, kind: str) -> OnnxModule | None:
        """The copy that `rv.quantize` makes: products with matrices of this kind. None where there are
        none."""
        from ranvier.onnx.quantized_weights import converted

        plan = self._body.plan
        values = dict[str, Any]()
        if not plan.unchanged(self, values):
            raise ValueError(
                "[quantize] got an OnnxModule of which a part is hooked, replaced or in another mode; "
                "expected one as it was loaded"
            )
        held = {name: np.array(raw(value)) for name, value in values.items()}
        small = converted(plan.nodes, held, kind)
        if small is None:
            return None
        graph = Graph(self._inputs, self.output_names, {**plan.constants, **small.arrays}, small.nodes)
        buffers = frozenset(name for name, value in values.items() if not isinstance(value, Parameter))
        made = OnnxModule(graph, buffers, None, small.few_bits)
        made._body.plan.most = plan.most
        return made.train(self.training)

    def __repr__(self) -> str:
        counts = Counter(node.op for node in self.nodes).most_common()
        operators = ", ".join(f"{count} {op}" for op, count in counts)
        inputs, outputs = (shown(", ".join(names)) for names in (self.input_names, self.output_names))
        return f"OnnxModule({inputs} -> {outputs}; {operators})"


def _checked(name: str, dtype: Any, shape: list[int | None] | None, value: Any) -> Any:
    """The input, cast to the declared dtype if both are integers.

    Raises TypeError or ValueError if dtype or shape are not as the file declares.
    """
    if not isinstance(value, (Tensor, np.ndarray)):
        value = np.asarray(value, dtype)
    array = raw(value)
    if array.dtype != dtype and not {array.dtype, dtype} <= FLOATS:  # after module.double() floats may differ
        if not {array.dtype.kind, dtype.kind} <= {"i", "u"}:
            raise TypeError(f"[onnx] got input {name!r} of dtype {array.dtype}; expected {dtype}")
        if isinstance(value, Tensor):
            value = value.to(dtype)
        else:
            value = value.astype(dtype)
    sizes = shape_of(value)
    fits = shape is None or len(shape) == len(sizes)
    if shape is not None and fits:
        fits = all(wanted in (None, n) for wanted, n in zip(shape, sizes, strict=True))
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape or ())
        raise ValueError(f"[onnx] got input {name!r} of shape {sizes}; expected ({wanted})")
    if isinstance(value, Tensor) or value.dtype.kind not in "biuf":
        return value
    return tensor_of(value)


def _kinds(graph: Graph, buffers: frozenset[str]) -> dict[str, str]:
    """For each initializer that is no constant: "parameter" or "buffer".

    buffers: what the file marks as such.
    """
    roles = roles_of(graph.nodes)
    kinds = {}
    for name, array in graph.initializers.items():
        if array.dtype not in FLOATS or not roles.get(name, set()) - {"setting"}:
            continue
        if name in buffers or roles[name] == {"buffer"}:
            kinds[name] = "buffer"
        elif array.ndim or name in buffers:
            kinds[name] = "parameter"
    return kinds


def _paths(names: list[str]) -> dict[str, tuple[str, ...]]:
    """The path of each name: it is split at its dots.

    A name becomes one word, with "_" in place of its dots, if it is too deep, if a part of it is empty or an
    attribute of Module, or if it is also the prefix of another name.
    """
    paths = {name: tuple(name.split(".")) for name in names}
    deep = {name for name, path in paths.items() if len(path) > _DEPTH}
    inner = {path[:i] for name, path in paths.items() if name not in deep for i in range(1, len(path))}
    if len(inner) > NODES:
        deep, inner = {name for name, path in paths.items() if len(path) > 1}, set()
    taken = _RESERVED | {path[0] for path in (*paths.values(), *inner) if len(path) == 1}
    for name, path in paths.items():
        if name in deep or "" in path or path in inner or _RESERVED & set(path):
            flat = name.replace(".", "_") or "_"
            while flat in taken:
                flat += "_"
            taken.add(flat)
            paths[name] = (flat,)
    return paths


KEY = "ranvier"
"""The entry of the file's metadata that export writes."""


def load(
    path: str | os.PathLike[str] | Any, *, max_nodes: int = NODES, max_elements: int | None = None
) -> OnnxModule:
    """A module that computes the graph of an ONNX file, with its weights as parameters.

    path: the file, or an `onnx.ModelProto`. Tensors of an external data file are read beside it.
    max_nodes: the most nodes of a graph after its functions are replaced by their nodes, and the most
        initializers.
    max_elements: the most elements of all results of a run together; None: 14 * 2^20, and 4096 for each
        element of the weights and inputs. More is an error: a file of a kilobyte could ask for terabytes.

    The module is in evaluation mode, and can be trained: after `train()`, dropout is active, and batch norm
    uses the statistics of the batch and updates its running ones. It takes the graph's inputs in their order
    and returns its result, or a tuple of them. `docs/onnx.md` lists the operators. Functions that ONNX
    defines by other operators are replaced by these.

    Raises:
        ImportError: the package onnx is missing (`pip install 'ranvier[onnx]'`).
        FileNotFoundError: no such file.
        ValueError: not a valid ONNX model, a version of the operator set that is not supported, or operators
            that are not supported, all named at once; more nodes than `max_nodes`.

    >>> import numpy as np, ranvier as rv
    >>> _ = rv.onnx.export(rv.nn.Linear(3, 2), np.ones((1, 3), np.float32), "linear.onnx")
    >>> model = rv.onnx.load("linear.onnx")
    >>> [name for name, _ in model.named_parameters()]
    ['weight', 'bias']
    >>> model(np.ones((1, 3), np.float32)).shape
    (1, 2)
    """
    onnx = package("onnx.load")
    source = "the model" if isinstance(path, onnx.ModelProto) else path
    with reading("onnx.load", source):
        return _module(onnx, path, max_nodes, max_elements)


def _module(onnx: Any, path: Any, max_nodes: int, max_elements: int | None) -> OnnxModule:
    if isinstance(path, onnx.ModelProto):
        model = path
    else:
        model = _read(onnx, path_of("onnx.load", "path", path))
    versions = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    if versions.setdefault("", OPSETS[0]) not in OPSETS:  # files before version 3 of the format name none
        raise ValueError(
            f"[onnx.load] got version {versions['']} of the operator set; expected {OPSETS[0]} to "
            f"{OPSETS[-1]}"
        )
    count = max(node_count(onnx, model, versions), len(model.graph.initializer))
    if count > max_nodes:
        if model.functions:
            what = "functions that stand for"
        else:
            what = "a graph of"
        raise ValueError(f"[onnx.load] got {what} {count} nodes; expected {max_nodes} at most (max_nodes)")
    try:
        if not isinstance(path, onnx.ModelProto) and model.ByteSize() >= 2**31:
            onnx.checker.check_model(os.fspath(path))
        else:
            onnx.checker.check_model(_completed(onnx, model))
    except MemoryError:
        raise
    except Exception as error:  # onnx raises its own kinds, and those of protobuf
        if isinstance(path, onnx.ModelProto):
            source = "the model"
        else:
            source = f"'{path}'"
        raise ValueError(f"[onnx.load] {source} is not a valid model: {error}") from None
    require_operators(onnx, model, versions)
    graph = graph_of(onnx, _inlined(onnx, model, versions), versions)
    graph = _as_exported(graph, _marked(model, "transposed"))
    return OnnxModule(graph, _marked(model, "buffers"), max_elements).eval()


def _read(onnx: Any, path: Path) -> Any:
    """The model of a file, read as bytes of protobuf whatever its name: a parser of text in onnx ends the
    process at a text that is nested deeply."""
    with open_file(path, "onnx.load"):  # the system's error for a missing or unreadable file or a folder
        pass
    try:
        return onnx.load(os.fspath(path), format="protobuf")
    except MemoryError:
        raise
    except Exception as error:
        kind = other_kind(path, b"\x08") or f"is not an ONNX file, or is damaged: {error}"
        if path.suffix in _OF_TEXT:
            kind = "is a text; expected the bytes that onnx.save(onnx.load(path), 'model.onnx') writes"
        raise ValueError(f"[onnx.load] '{path}' {kind}") from None


_OF_TEXT = (".json", ".onnxjson", ".onnxtext", ".onnxtxt", ".pbtxt", ".prototxt", ".textproto")


def _completed(onnx: Any, model: Any) -> Any:
    """The model as onnx's checker accepts it: a copy, where something has to be added for the checker alone.

    The checker wants a shape for inputs and results, and a type for results. It refuses GroupNormalization of
    versions 18 to 20, which ONNX has withdrawn: in the copy this operator is of another domain, which it
    skips.
    """
    graph = model.graph
    ends = [*graph.input, *graph.output]
    untyped = [v.name for v in graph.output if not v.HasField("type")]
    shapeless = any(v.type.HasField("tensor_type") and not v.type.tensor_type.HasField("shape") for v in ends)
    withdrawn = any(o.domain in ("", "ai.onnx") and 18 <= o.version < 21 for o in model.opset_import) and any(
        n.op_type == "GroupNormalization" for n in graph.node
    )
    if not untyped and not shapeless and not withdrawn:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        if value.name in untyped:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    for node in copy.graph.node if withdrawn else ():
        if node.op_type == "GroupNormalization" and not node.domain:
            node.domain = KEY
    if withdrawn:
        copy.opset_import.append(onnx.helper.make_opsetid(KEY, 1))
    return copy


def _inlined(onnx: Any, model: Any, versions: dict[str, int]) -> Any:
    """The model in which calls of functions are replaced by their nodes.

    Functions are those of the file, and operators that ONNX defines by others and this library does not have.
    """
    for _ in range(4):  # a function may call functions, to so many levels
        nodes = [*every_node(model.graph.node)]
        if not model.functions and all(not n.domain and find(n.op_type, versions[""]) for n in nodes):
            return model
        try:
            typed, weights = _typed(onnx, model)
            _complete_functions(onnx, typed.graph.node, versions)
            typed = onnx.shape_inference.infer_shapes(onnx.inliner.inline_local_functions(typed))
            kept = [("", op) for op in OPERATORS if find(op, versions[""])]
            inlined = onnx.inliner.inline_selected_functions(typed, kept, True, True)
        except MemoryError:
            raise
        except Exception:  # `graph_of` then refuses the function that the inliner cannot expand
            return model
        same = len(inlined.graph.node) == len(model.graph.node)
        inlined.graph.initializer.extend(weights)
        model = inlined
        if same:
            break
    return model


def _complete_functions(onnx: Any, nodes: Any, versions: dict[str, int]) -> None:
    """Adds the defaults of attributes that calls of functions leave out; the inliner would not apply them."""
    for node in every_node(nodes):
        if not node.domain and is_function(onnx, "", node.op_type, versions):
            given = {a.name for a in node.attribute}
            schema = onnx.defs.get_schema(node.op_type, versions[""])
            usual = [a.default_value for a in schema.attributes.values() if a.name not in given]
            node.attribute.extend(a for a in usual if a.type)


def _typed(onnx: Any, model: Any) -> tuple[Any, list[Any]]:
    """A copy of the model for the inliner, and the initializers of more than 1024 bytes.

    Every initializer has a declared type in the copy. The large ones are inputs there, so that the inliner
    does not copy them.
    """
    large = [t for t in model.graph.initializer if t.ByteSize() > 1024]
    rest = [t for t in model.graph.initializer if t.ByteSize() <= 1024]
    kept = {name: getattr(model.graph, name) for name in ("name", "node", "input", "output", "value_info")}
    graph = onnx.GraphProto(initializer=rest, **kept)
    kept = {
        name: getattr(model, name) for name in ("ir_version", "producer_name", "opset_import", "functions")
    }
    typed = onnx.ModelProto(graph=graph, **kept)
    named = {v.name for v in (*graph.value_info, *graph.input)}
    for tensors, infos in ((rest, typed.graph.value_info), (large, typed.graph.input)):
        for tensor in tensors:
            if tensor.name not in named:
                infos.append(
                    onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
                )
    return typed, large


def _marked(model: Any, kind: str) -> frozenset[str]:
    """The names of this kind in the metadata that `rv.onnx.export` writes; empty for other files."""
    for entry in model.metadata_props:
        if entry.key == KEY:
            try:
                names = json.loads(entry.value)[kind]
                return frozenset(name for name in names if isinstance(name, str))
            except (ValueError, TypeError, KeyError, RecursionError):
                break
    return frozenset()


def _as_exported(graph: Graph, transposed: frozenset[str]) -> Graph:
    """The graph with weights in their layers' layout: nodes transpose those that the file has transposed."""
    named = {name for name in transposed & graph.initializers.keys() if graph.initializers[name].ndim == 2}
    initializers = {name: a.T if name in named else a for name, a in graph.initializers.items()}
    nodes: list[Node] = []
    for node in graph.nodes:
        turned = {name: f"{name} transposed by {node.outputs[0]}" for name in node.inputs if name in named}
        for name, new in turned.items():
            nodes.append(Node("Transpose", node.version, (name,), (new,), {"perm": [1, 0]}, new))
        nodes.append(node._replace(inputs=tuple(turned.get(name, name) for name in node.inputs)))
    return graph._replace(initializers=initializers, nodes=nodes)
