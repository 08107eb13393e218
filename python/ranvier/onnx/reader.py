"""`rv.onnx.load`: reads an ONNX file as an `OnnxModule`, whose weights are its parameters.

The file is checked, and its functions are replaced by their nodes, by the package onnx. `graph.py` turns the
result into nodes, which `execution.py` runs.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier.onnx.operators  # noqa: F401  # fills the table of operators
from ranvier.autograd import Tensor
from ranvier.nn import Module, Parameter
from ranvier.onnx.execution import CostBudget, CostLimit, Plan, Submodule, Values, run, run_body
from ranvier.onnx.graph import (
    NODES,
    Graph,
    Input,
    Node,
    every_node,
    is_function,
    node_count,
    read_graph,
    require_operators,
    value_roles,
)
from ranvier.onnx.limits import ELEMENTS, PER_ELEMENT
from ranvier.onnx.registry import OPERATORS, find
from ranvier.onnx.values import FLOATS, OPSETS, Value, package, raw, shape_of, shown, tensor_of
from ranvier.serialization.foreign_files import other_kind
from ranvier.tensors.reading import open_file, path_of, reading
from ranvier.tensors.types import ArrayLike

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_DEPTH = 32  # the deepest nesting of names in names; `_paths` makes one word of a deeper name
# names that parameters and submodules cannot have
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
        limit: CostLimit | None = None,
        quantized: frozenset[str] = frozenset(),
    ) -> None:
        """The module of a graph.

        buffers: initializers of floats that are buffers whatever their nodes.
        limit: the cost that a run may have; None for the usual one.
        quantized: the integers and scales of quantized matrices, which are buffers, too.
        """
        super().__init__()
        if limit is None:
            elements = sum(array.size for array in graph.initializers.values())
            limit = CostLimit(ELEMENTS + PER_ELEMENT * elements, PER_ELEMENT)
        self._inputs = graph.inputs
        self.output_names = graph.outputs
        self.nodes = graph.nodes
        self.input_names = [value.name for value in graph.inputs]
        is_buffer = _is_buffer(graph, buffers) | dict.fromkeys(quantized, True)
        names_of_buffers = {name for name in is_buffer if is_buffer[name]}
        for node in graph.nodes:
            if node.op == "Identity" and node.inputs[0] in names_of_buffers:
                names_of_buffers.update(node.outputs)
        plan = Plan(graph, _paths(list(is_buffer)), frozenset(names_of_buffers), limit)
        self._body = plan.bodies[()]
        modules: list[Module] = [self]
        for around, name, body in plan.tree:
            submodule = Submodule()
            submodule._body = body
            setattr(modules[around], name, submodule)
            modules.append(submodule)
        for name, module, attribute in plan.places:
            value = tensor_of(graph.initializers[name])
            if is_buffer[name]:
                modules[module].register_buffer(attribute, value)
            else:
                setattr(modules[module], attribute, Parameter(value))

    def forward(self, *inputs: ArrayLike) -> Any:
        """The result of the graph, or a tuple of its results."""
        if len(inputs) != len(self._inputs):
            names = shown(", ".join(self.input_names))
            raise TypeError(f"[onnx] got {len(inputs)} inputs; expected {len(self._inputs)}: {names}")
        plan = self._body.plan
        operands = [_checked(declared, x) for declared, x in zip(self._inputs, inputs, strict=True)]
        parameters = plan.parameters(self)
        if parameters is None:  # a submodule was changed, so submodules are called
            outputs = run_body(self, self._body, operands)
        else:
            values: Values = {"": None, **plan.constants, **parameters}
            values.update(zip(self.input_names, operands, strict=True))
            budget = CostBudget(plan.limit, values, self.input_names)
            outputs = run(self, self._body, self.nodes, plan.unused, values, budget, self.output_names)
        results = tuple(map(tensor_of, outputs))
        if len(results) == 1:
            return results[0]
        return results

    def with_few_bits(self, kind: str) -> OnnxModule | None:
        """The copy that `rv.quantize` makes: products with quantized matrices, in integers of a format.

        None where there is no matrix to quantize.
        """
        from ranvier.onnx.quantized_weights import quantized_graph

        plan = self._body.plan
        parameters = plan.parameters(self)
        if parameters is None:
            raise ValueError(
                "[quantize] got an OnnxModule of which a part is hooked, replaced or in another mode; "
                "expected one as it was loaded"
            )
        arrays = {name: np.array(raw(value)) for name, value in parameters.items()}
        small = quantized_graph(plan.nodes, arrays, kind)
        if small is None:
            return None
        graph = Graph(self._inputs, self.output_names, {**plan.constants, **small.arrays}, small.nodes)
        buffers = frozenset(name for name, x in parameters.items() if not isinstance(x, Parameter))
        made = OnnxModule(graph, buffers, plan.limit, small.new)
        return made.train(self.training)

    def __repr__(self) -> str:
        counts = Counter(node.op for node in self.nodes).most_common()
        operators = ", ".join(f"{count} {op}" for op, count in counts)
        inputs = shown(", ".join(self.input_names))
        outputs = shown(", ".join(self.output_names))
        return f"OnnxModule({inputs} -> {outputs}; {operators})"


def _checked(declared: Input, value: ArrayLike) -> Value:
    """An argument as an operand of the graph, cast to the declared dtype if both are integers.

    Raises TypeError or ValueError if dtype or shape are not as the file declares.
    """
    dtype = declared.dtype
    assert dtype is not None
    operand: Value
    if isinstance(value, (Tensor, np.ndarray)):
        operand = value
    else:
        operand = np.asarray(value, dtype)
    actual = raw(operand).dtype
    are_floats = {actual, dtype} <= FLOATS  # after module.double() they may differ
    if actual != dtype and not are_floats:
        are_integers = {actual.kind, dtype.kind} <= {"i", "u"}
        if not are_integers:
            raise TypeError(f"[onnx] got input {declared.name!r} of dtype {actual}; expected {dtype}")
        if isinstance(operand, Tensor):
            operand = operand.to(dtype)
        else:
            operand = operand.astype(dtype)
    _check_shape(declared, shape_of(operand))
    if isinstance(operand, Tensor) or operand.dtype.kind not in "biuf":
        return operand
    return tensor_of(operand)


def _check_shape(declared: Input, shape: tuple[Any, ...]) -> None:
    """Raises ValueError for another shape than declared. shape: ints, or Sizes while it is exported again."""
    if declared.shape is None:
        return
    fits = len(declared.shape) == len(shape)
    if fits:
        fits = all(wanted in (None, n) for wanted, n in zip(declared.shape, shape, strict=True))
    if not fits:
        sizes = ", ".join(map(str, declared.shape)).replace("None", "any")
        raise ValueError(f"[onnx] got input {declared.name!r} of shape {shape}; expected ({sizes})")


def _is_buffer(graph: Graph, buffers: frozenset[str]) -> dict[str, bool]:
    """For each initializer that is a parameter or a buffer, and no constant: whether it is a buffer.

    buffers: those of floats that are buffers whatever their nodes.
    """
    roles = value_roles(graph.nodes)
    found = {}
    for name, array in graph.initializers.items():
        roles_beside_setting = roles.get(name, set()) - {"setting"}
        if array.dtype not in FLOATS or not roles_beside_setting:
            continue
        if name in buffers or roles[name] == {"buffer"}:
            found[name] = True
        elif array.ndim:
            found[name] = False
    return found


def _paths(names: list[str]) -> dict[str, tuple[str, ...]]:
    """The path of each name: it is split at its dots.

    A name becomes one word, with "_" in place of its dots, if it is too deep, if a word of it is empty or an
    attribute of Module, or if it is also the prefix of another name.
    """
    paths = {name: tuple(name.split(".")) for name in names}
    deep = {name for name, path in paths.items() if len(path) > _DEPTH}
    prefixes: set[tuple[str, ...]] = set()  # the paths of the submodules
    for name, path in paths.items():
        if name not in deep:
            prefixes.update(path[:length] for length in range(1, len(path)))
    if len(prefixes) > NODES:  # too many submodules: every name becomes one word
        deep = {name for name, path in paths.items() if len(path) > 1}
        prefixes = set()
    taken = _RESERVED | {path[0] for path in (*paths.values(), *prefixes) if len(path) == 1}
    for name, path in paths.items():
        is_invalid = name in deep or "" in path or not _RESERVED.isdisjoint(path)
        if is_invalid or path in prefixes:
            word = name.replace(".", "_") or "_"
            while word in taken:
                word += "_"
            taken.add(word)
            paths[name] = (word,)
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
        return _load(onnx, path, max_nodes, max_elements)


def _load(
    onnx: ModuleType, source: str | os.PathLike[str] | ModelProto, max_nodes: int, max_elements: int | None
) -> OnnxModule:
    """`load` with the package onnx. source: the path of a file, or a model."""
    if isinstance(source, onnx.ModelProto):
        model = source
    else:
        model = _read(onnx, path_of("onnx.load", "path", source))
    versions: dict[str, int] = {}
    for opset in model.opset_import:
        domain = opset.domain
        if domain == "ai.onnx":  # another name of ONNX's own domain
            domain = ""
        versions[domain] = opset.version
    if versions.setdefault("", OPSETS[0]) not in OPSETS:  # files before version 3 of the format name none
        raise ValueError(
            f"[onnx.load] got version {versions['']} of the operator set; expected {OPSETS[0]} to "
            f"{OPSETS[-1]}"
        )
    count = max(node_count(onnx, model, versions), len(model.graph.initializer))
    if count > max_nodes:
        what = "functions that stand for" if model.functions else "a graph of"
        raise ValueError(f"[onnx.load] got {what} {count} nodes; expected {max_nodes} at most (max_nodes)")
    _check(onnx, model, source)
    require_operators(onnx, model, versions)
    graph = read_graph(onnx, _inlined(onnx, model, versions), versions)
    graph = _in_layouts_of_layers(graph, _marked(model, "transposed"))
    limit = None
    if max_elements is not None:
        limit = CostLimit(max_elements, 0)
    return OnnxModule(graph, _marked(model, "buffers"), limit).eval()


def _read(onnx: ModuleType, path: Path) -> ModelProto:
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
        if path.suffix in _SUFFIXES_OF_TEXT:
            kind = "is a text; expected the bytes that onnx.save(onnx.load(path), 'model.onnx') writes"
        raise ValueError(f"[onnx.load] '{path}' {kind}") from None


_SUFFIXES_OF_TEXT = (".json", ".onnxjson", ".onnxtext", ".onnxtxt", ".pbtxt", ".prototxt", ".textproto")


def _check(onnx: ModuleType, model: ModelProto, source: str | os.PathLike[str] | ModelProto) -> None:
    """Raises ValueError: onnx's checker refuses the model."""
    is_file = not isinstance(source, onnx.ModelProto)
    try:
        if is_file and model.ByteSize() >= 2**31:  # protobuf has no larger messages: onnx reads it again
            onnx.checker.check_model(os.fspath(source))
        else:
            onnx.checker.check_model(_completed(onnx, model))
    except MemoryError:
        raise
    except Exception as error:  # onnx raises its own classes, and those of protobuf
        name = f"'{source}'" if is_file else "the model"
        raise ValueError(f"[onnx.load] {name} is not a valid model: {error}") from None


def _completed(onnx: ModuleType, model: ModelProto) -> ModelProto:
    """The model as onnx's checker accepts it: a copy, where something has to be added for the checker alone.

    The checker wants a shape for inputs and results, and a type for results. It refuses GroupNormalization of
    versions 18 to 20, which ONNX has withdrawn: in the copy this operator is of another domain, which it
    skips.
    """
    graph = model.graph
    untyped = [value.name for value in graph.output if not value.HasField("type")]
    lacks_shape = False
    for value in (*graph.input, *graph.output):
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            lacks_shape = True
    has_withdrawn = _has_withdrawn_operator(model)
    if not untyped and not lacks_shape and not has_withdrawn:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        if value.name in untyped:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    if has_withdrawn:
        for node in copy.graph.node:
            if node.op_type == "GroupNormalization" and not node.domain:
                node.domain = KEY
        copy.opset_import.append(onnx.helper.make_opsetid(KEY, 1))
    return copy


def _has_withdrawn_operator(model: ModelProto) -> bool:
    for domain in model.opset_import:
        if domain.domain in ("", "ai.onnx") and 18 <= domain.version < 21:
            return any(node.op_type == "GroupNormalization" for node in model.graph.node)
    return False


def _inlined(onnx: ModuleType, model: ModelProto, versions: Mapping[str, int]) -> ModelProto:
    """The model in which calls of functions are replaced by their nodes.

    Functions are those of the file, and operators that ONNX defines by others and this library does not have.
    """
    for _ in range(4):  # a function may call functions, to so many levels
        nodes = every_node(model.graph.node)
        if not model.functions and all(not n.domain and find(n.op_type, versions[""]) for n in nodes):
            return model
        try:
            typed, large = _with_types(onnx, model)
            _complete_functions(onnx, typed.graph.node, versions)
            typed = onnx.shape_inference.infer_shapes(onnx.inliner.inline_local_functions(typed))
            implemented = [("", op) for op in OPERATORS if find(op, versions[""])]
            inlined = onnx.inliner.inline_selected_functions(typed, implemented, True, True)
        except MemoryError:
            raise
        except Exception:  # `read_graph` then refuses the function that the inliner cannot expand
            return model
        is_done = len(inlined.graph.node) == len(model.graph.node)
        inlined.graph.initializer.extend(large)
        model = inlined
        if is_done:
            break
    return model


def _complete_functions(onnx: ModuleType, nodes: Iterable[NodeProto], versions: Mapping[str, int]) -> None:
    """Adds the defaults of attributes that calls of functions leave out; the inliner would not apply them."""
    for node in every_node(nodes):
        if node.domain or not is_function(onnx, "", node.op_type, versions):
            continue
        present = {a.name for a in node.attribute}
        schema = onnx.defs.get_schema(node.op_type, versions[""])
        for attribute in schema.attributes.values():
            default = attribute.default_value
            if attribute.name not in present and default.type:  # a default without a type: there is none
                node.attribute.extend([default])


def _with_types(onnx: ModuleType, model: ModelProto) -> tuple[ModelProto, list[TensorProto]]:
    """A copy of the model for the inliner, and the initializers of more than 1024 bytes.

    Every initializer has a declared type in the copy. The large ones are inputs there, so that the inliner
    does not copy them.
    """
    large = [t for t in model.graph.initializer if t.ByteSize() > 1024]
    small = [t for t in model.graph.initializer if t.ByteSize() <= 1024]
    source = model.graph
    graph = onnx.GraphProto(
        name=source.name,
        node=source.node,
        input=source.input,
        output=source.output,
        value_info=source.value_info,
        initializer=small,
    )
    typed = onnx.ModelProto(
        graph=graph,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        opset_import=model.opset_import,
        functions=model.functions,
    )
    named = {value.name for value in (*graph.value_info, *graph.input)}
    for tensors, declarations in ((small, typed.graph.value_info), (large, typed.graph.input)):
        for tensor in tensors:
            if tensor.name not in named:
                shape = list(tensor.dims)
                declarations.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    return typed, large


def _marked(model: ModelProto, mark: str) -> frozenset[str]:
    """The names with a mark in the metadata that `rv.onnx.export` writes; none for other files.

    mark: "buffers", or "transposed" for weights that are stored so.
    """
    for entry in model.metadata_props:
        if entry.key == KEY:
            try:
                names = json.loads(entry.value)[mark]
                return frozenset(name for name in names if isinstance(name, str))
            except (ValueError, TypeError, KeyError, RecursionError):
                break
    return frozenset()


def _in_layouts_of_layers(graph: Graph, transposed: frozenset[str]) -> Graph:
    """The graph with weights in their layers' layout: nodes transpose those that the file has transposed."""
    initializers = dict(graph.initializers)
    restored = set()
    for name in transposed & initializers.keys():
        if initializers[name].ndim == 2:
            initializers[name] = initializers[name].T
            restored.add(name)
    nodes: list[Node] = []
    for node in graph.nodes:
        renamed = {}
        for name in node.inputs:
            if name in restored and name not in renamed:
                result = f"{name} transposed by {node.outputs[0]}"
                nodes.append(Node("Transpose", node.version, (name,), (result,), {"perm": [1, 0]}, result))
                renamed[name] = result
        nodes.append(node._replace(inputs=tuple([renamed.get(name, name) for name in node.inputs])))
    return graph._replace(initializers=initializers, nodes=nodes)
