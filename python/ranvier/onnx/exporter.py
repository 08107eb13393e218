"""`rv.onnx.export`: runs a model and writes the calls of its Functions as the nodes of an ONNX file.

`runs_at_sizes.py` runs the model at several sizes of its dynamic axes. Each call is then written by its
function of `registry.WRITERS`, which gets the call as all runs have made it (`traced_call.TracedCall`). At
the end the graph of the file is computed and compared with the model.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

import ranvier.onnx.symbolic_functions  # registers the handlers of functions that take sizes
import ranvier.onnx.writers  # noqa: F401  # fills the table of writers
from ranvier.nn import Module
from ranvier.onnx.arguments import Axes, dynamic, inputs_of, outputs_of
from ranvier.onnx.model_run import Modules, Output, Run
from ranvier.onnx.reader import KEY, load
from ranvier.onnx.registry import WRITERS
from ranvier.onnx.runs_at_sizes import run_at_sizes
from ranvier.onnx.sizes import Size
from ranvier.onnx.traced_call import GraphBuilder, TracedCall, used
from ranvier.onnx.values import Array, number_of, package
from ranvier.serialization.files import replace
from ranvier.tape.calls import Call
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.memory import BF16
from ranvier.version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto


class _Signature(NamedTuple):
    """The names of the inputs and outputs of a graph, and its dynamic axes.

    axes: the dynamic axes of each input.
    symbols: their names.
    """

    inputs: list[str]
    outputs: list[str]
    axes: Axes
    symbols: list[str]


def _model(onnx: ModuleType, runs: list[Run], signature: _Signature, version: int) -> ModelProto:
    """The ModelProto of a model.

    runs: traced runs with the same calls at different sizes.
    version: the version of the operator set.
    """
    weights: dict[str, Array] = {}
    buffers: set[str] = set()
    for run in runs:  # a later run of a function may find further modules
        weights.update(run.weights)
        buffers |= run.buffers
    builder = GraphBuilder(onnx, version)
    for name in (*signature.inputs, *signature.outputs, *weights):
        if builder.reserve(name) != name:
            raise ValueError(
                f"[onnx.export] got the name '{name}' twice among inputs, results and parameters; pass other "
                "input_names or output_names"
            )
    nodes = _nodes(builder, runs, signature, list(weights))
    nodes, transposed = _with_transposed(nodes, weights, signature.outputs)
    for name in transposed:
        weights[name] = weights[name].T
    used_names: set[str] = set()
    for node in nodes:
        used_names.update(node.input)
    initializers = []
    for name, array in {**weights, **builder.initializers}.items():
        if name in used_names:
            contiguous = np.asarray(array, order="C")
            initializers.append(onnx.numpy_helper.from_array(contiguous, name))
    inputs = _declared_inputs(onnx, signature, runs[0].inputs)
    outputs = []
    for name, output in zip(signature.outputs, runs[0].outputs, strict=True):
        outputs.append(_declared_output(onnx, name, output))
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "model", inputs, outputs, initializers),
        opset_imports=[onnx.helper.make_opsetid("", version)],
        producer_name="ranvier",
        producer_version=__version__,
        ir_version=8 if version < 19 else 10,  # of the file format: operator sets from 19 on need a later one
    )
    # `load` reads the marks: for buffers, and to give transposed weights their layers' layout again
    marks = {"buffers": sorted(buffers & used_names), "transposed": transposed}
    onnx.helper.set_model_props(model, {KEY: json.dumps(marks)})
    return model


def _nodes(
    builder: GraphBuilder, runs: list[Run], signature: _Signature, weights: list[str]
) -> list[NodeProto]:
    """The nodes of the graph, without those that no result needs."""
    names = {name: name for name in weights}  # name of a value in the traces -> its name in the graph
    for i, name in enumerate(signature.inputs):
        names[f"input {i}"] = name  # `model_run.run` gives inputs this name
    _check_calls(runs)
    for calls in zip(*[run.trace.calls for run in runs], strict=True):
        call = TracedCall(builder, calls, names, signature.symbols)
        call.require_ranks()
        written = WRITERS[call.kind](call)
        results = written if isinstance(written, tuple) else (written,)
        for value, name in zip(calls[0].outputs, results, strict=True):
            names[value.name] = name
    end = TracedCall(builder, [_END_OF_MODEL], names, signature.symbols)
    values = []
    for i in range(len(signature.outputs)):
        values.append(end.operand([run.outputs[i].value for run in runs]))
    nodes = used(builder.nodes, values)
    return _with_outputs(builder.onnx, nodes, values, signature.outputs)


_END_OF_MODEL = Call("the result", {}, [], [], "the model")
"""A call that no model makes: it gives errors about a result its place. `TracedCall.operand` alone is called
for it, since settings are compared between two runs."""


def _with_transposed(
    nodes: list[NodeProto], weights: dict[str, Array], outputs: list[str]
) -> tuple[list[NodeProto], list[str]]:
    """The nodes, and the weights to store transposed: those that only products read, each by a Transpose.

    A runtime can make integers of a product with a constant, but not of one with a node's result.
    """
    readers: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    stored: dict[str, str] = {}  # the result of a Transpose -> the weight in its place
    for name, weight in weights.items():
        of_weight = readers.get(name, [])
        if weight.ndim == 2 and all(_is_transpose_for_products(n, readers, outputs) for n in of_weight):
            stored.update((node.output[0], name) for node in of_weight)
    others = [node for node in nodes if node.output[0] not in stored]
    for node in others:
        node.input[:] = [stored.get(name, name) for name in node.input]
    return others, sorted({*stored.values()})


def _is_transpose_for_products(
    node: NodeProto, readers: dict[str, list[NodeProto]], outputs: list[str]
) -> bool:
    """True for a Transpose of a matrix whose result only MatMul nodes read. readers: of each value."""
    result = node.output[0]
    # `perm` is the one attribute that writers give a Transpose
    if node.op_type != "Transpose" or list(node.attribute[0].ints) != [1, 0] or result in outputs:
        return False
    return all(reader.op_type == "MatMul" for reader in readers[result])


def _check_calls(runs: list[Run]) -> None:
    """Raises ValueError that names all operations for which there is no writer."""
    lacking: dict[str, str] = {}
    for call in runs[0].trace.calls:
        if call.kind in WRITERS or call.kind in lacking:
            continue
        name = call.kind
        if call.name.lower() not in ("", call.kind.lower()):
            name = f"{call.kind} of {call.name}"
        lacking[call.kind] = f"{name} (at {call.where})"
    if lacking:
        raise ValueError(
            f"[onnx.export] got operations without a counterpart: {', '.join(lacking.values())}; expected "
            "those of docs/onnx.md: compute them outside of the exported model, or from other operations"
        )


def _with_outputs(
    onnx: ModuleType, nodes: list[NodeProto], values: list[str], outputs: list[str]
) -> list[NodeProto]:
    """The nodes, with the values that are results renamed to the names of the outputs.

    A result that no node makes, or that is returned twice, is copied by an Identity node.
    """
    made: set[str] = set()
    for node in nodes:
        made.update(node.output)
    renamed: dict[str, str] = {}
    copies = []
    for value, name in zip(values, outputs, strict=True):
        if value in made and value not in renamed:
            renamed[value] = name
        else:
            copies.append(onnx.helper.make_node("Identity", [value], [name], f"result_{name}"))
    nodes = [*nodes, *copies]
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    return nodes


def _declared_inputs(onnx: ModuleType, signature: _Signature, arrays: list[Array]) -> list[ValueInfoProto]:
    """The declarations of the inputs; a dynamic axis has its symbol in place of its size."""
    declarations = []
    for i, (name, array) in enumerate(zip(signature.inputs, arrays, strict=True)):
        shape: list[int | str] = list(array.shape)
        for axis, symbol in signature.axes.get(i, {}).items():
            shape[axis] = symbol
        declarations.append(onnx.helper.make_tensor_value_info(name, number_of(array.dtype), shape))
    return declarations


def _declared_output(onnx: ModuleType, name: str, output: Output) -> ValueInfoProto:
    """The declaration of a result. A size that varies has a symbol, that of its axis where it is one."""
    shape: list[int | str] = []
    for axis, n in enumerate(output.value.dims):
        if not isinstance(n, Size):
            shape.append(n)
        elif n.is_axis_of_input():
            shape.append(n.key)
        else:
            shape.append(f"{name}_{axis}")
    return onnx.helper.make_tensor_value_info(name, number_of(output.array.dtype), shape)


VERSIONS = range(11, 28)  # of the operator set, that `export` writes


def export(
    model: Any,
    args: Any = (),
    path: str | os.PathLike[str] | BinaryIO | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_axes: Mapping[str, Any] | None = None,
    opset_version: int = 18,
    export_params: bool = True,
    do_constant_folding: bool = True,
    keep_initializers_as_inputs: bool = False,
    verbose: bool = False,
) -> Any:
    """Writes a model as an ONNX file, and returns the `onnx.ModelProto`.

    The model runs in evaluation mode with the example inputs; the operations that it calls are written. It
    runs again with other values and, for dynamic axes, with other sizes: what depends on a size is written
    so, or refused. Then the file's graph is computed with all these inputs and compared with the model.

    Args:
        model: a Module, a function, or what :func:`ranvier.compile` returns for one of them.
        args: the example input, or a tuple of the arguments. Tensors and arrays become inputs of the graph,
            those in tuples too; other arguments are fixed.
        path: the file, or one opened for writing bytes; None only returns the model.
        kwargs: arguments by name, in addition to `args`. They become positional ones.
        input_names: default: the names of the arguments of `forward`.
        output_names: default: "output", or "output_0" ...
        dynamic_axes: axes with a size that may vary: ``{"x": {0: "batch"}}`` or ``{"x": [0]}``. Axes with the
            same name have the same size. All other sizes are fixed. Those of results follow from the model.
        opset_version: the version of the operator set, 11 to 27.
        keep_initializers_as_inputs: parameters are inputs of the graph, too, with these values as defaults.
        export_params, do_constant_folding, verbose: accepted for PyTorch's programs, without effect; a file
            without parameters (export_params=False) is refused.

    Parameters and buffers have their names in the state dict. Dropout layers are written, so that a model
    that is loaded again can be trained.

    Raises:
        ImportError: the package onnx is missing (`pip install 'ranvier[onnx]'`).
        ValueError: an operation without a counterpart, by its name and line; values that are read in Python
            (`.item()`); another path through the model for other sizes; wrong names or axes.
        TypeError: arguments or results that are no tensors.

    >>> import numpy as np, ranvier as rv
    >>> model = rv.nn.Sequential(rv.nn.Linear(3, 2), rv.nn.Softmax(-1))
    >>> x = np.ones((1, 3), np.float32)
    >>> proto = rv.onnx.export(model, x, "model.onnx", dynamic_axes={"x": {0: "batch"}})
    >>> [node.op_type for node in proto.graph.node], [w.name for w in proto.graph.initializer]
    (['Gemm', 'Softmax'], ['0.weight', '0.bias'])
    """
    onnx = package("onnx.export")
    if opset_version not in VERSIONS:
        raise ValueError(
            f"[onnx.export] got opset_version {opset_version!r}; expected {VERSIONS[0]} to {VERSIONS[-1]}"
        )
    if not export_params:
        raise ValueError(
            "[onnx.export] got export_params False; expected True: the file holds the parameters"
        )
    target = _target(model)
    arguments = args if isinstance(args, tuple) else (args,)
    arguments = _positional(target, arguments, kwargs or {})
    if path is not None and not isinstance(path, (str, os.PathLike)) and not hasattr(path, "write"):
        raise TypeError(
            f"[onnx.export] got path of type {type(path).__name__}; expected a path or a file opened for "
            "writing bytes: export(model, args, path)"
        )
    inputs, arrays = inputs_of(target, arguments, input_names)
    axes, symbols = dynamic(inputs, arrays, dynamic_axes, output_names or ())
    modules = Modules(target, opset_version)
    runs = run_at_sizes(target, modules, arguments, arrays, axes, symbols)
    outputs = outputs_of(len(runs.traced[0].outputs), output_names)
    signature = _Signature(inputs, outputs, axes, symbols)
    proto = _model(onnx, runs.traced, signature, opset_version)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except MemoryError:
        raise
    except Exception as error:  # onnx raises its own classes
        raise ValueError(f"[onnx.export] the graph of the model is not valid: {error}") from None
    _compare(proto, runs.traced + runs.plain)
    if keep_initializers_as_inputs:
        for weight in proto.graph.initializer:
            info = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))
            proto.graph.input.append(info)
    if path is not None:
        replace(path, proto.SerializeToString(), op="onnx.export")
    return proto


def _target(model: Any) -> Callable[..., Any]:
    """The Module or function to export: that of a compiled function is the function itself."""
    target = model
    if not isinstance(model, Module):
        target = getattr(model, "_function", model)
    if not callable(target):
        hint = ""
        if hasattr(model, "model"):  # a Trainer
            hint = ": its model"
        elif hasattr(model, "module_"):  # an estimator
            hint = ": its module_"
        raise TypeError(f"[onnx.export] got {type(model).__name__}; expected a Module or a function{hint}")
    refuse_torch("onnx.export", "a model", target)
    return target


def _positional(
    target: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, ...]:
    """All arguments as positional ones, in the order of the parameters of `forward` or of the function."""
    if not kwargs:
        return args
    forward = target.forward if isinstance(target, Module) else target
    bound = inspect.signature(forward).bind(*args, **kwargs)
    bound.apply_defaults()
    by_keyword_only = [name for name in kwargs if name in bound.kwargs or name not in bound.arguments]
    if by_keyword_only:
        raise ValueError(
            f"[onnx.export] got kwargs {', '.join(by_keyword_only)}, which forward takes by keyword only; "
            "expected a function of positional arguments around the model"
        )
    names = list(bound.arguments)
    last = max(names.index(name) for name in kwargs)
    return bound.args[: max(last + 1, len(args))]


# --- comparing the file with the model
class Tolerance(NamedTuple):
    """How far results of the file may be from those of the model.

    norm: the norm of the difference, relative to the norm of the result.
    largest: the difference of an element, relative to the largest element.

    Both are 0 where neither integers nor half floats are computed with; the limits of float32 in `_is_equal`
    hold in any case.
    """

    norm: float
    largest: float


def _compare(proto: ModelProto, runs: list[Run]) -> None:
    """Raises ValueError unless the graph gives the results of the runs from their inputs."""
    graph = load(proto)
    calls = runs[0].trace.calls
    has_integers = any(call.kind.startswith("Quantized") for call in calls)
    norm = _QUANTIZED_NORM if has_integers else 0.0
    tolerance = Tolerance(norm, _rounding(proto, calls))
    for run in runs:
        fault = _fault(graph, run, tolerance)
        if fault:
            shapes = [array.shape for array in run.inputs]
            raise ValueError(
                f"[onnx.export] the graph does not compute what the model does for inputs of shapes {shapes} "
                f"({fault}); expected a model that depends on its inputs by operations on tensors alone, and "
                "does the same for all sizes of dynamic axes: squeeze(dim), not squeeze(), and "
                "isinstance(n, int), not type(n)"
            )


def _fault(graph: Module, run: Run, tolerance: Tolerance) -> str:
    """What is wrong with the results of the graph for the inputs of a run; "" if nothing is."""
    try:
        outputs = graph(*run.inputs)
        results = outputs if isinstance(outputs, tuple) else (outputs,)
        for result, expected in zip(results, run.outputs, strict=True):
            if not _is_equal(result._array, expected.array, tolerance):
                return "other results"
    except ValueError as error:
        return str(error)
    return ""


_QUANTIZED_NORM = 0.1
"""`Tolerance.norm` where activations become integers: one that rounds to another neighbour, as its last bits
differ, moves all that follows, by less than the rounding of activations does."""


def _rounding(proto: ModelProto, calls: list[Call]) -> float:
    """The difference of results, relative to the largest one, that stems from the precision of half floats.

    Every node of the file rounds its result to its dtype, by half an epsilon at most (eps: 2^-10 for float16,
    2^-7 for bfloat16), while the model rounds once where it has one operation. A difference that goes through
    n nodes, whose largest results differ by a factor of two at most, is not above n eps. 0 without halves:
    the limits of float32 in `_is_equal` are for sums in another order, and float64 has them, too, since
    attributes of a file are numbers of float32.
    """
    eps = 0.0
    for call in calls:
        for value in (*call.inputs, *call.outputs):
            if value is not None:
                eps = max(eps, _EPS.get(value.array.dtype, 0.0))
    return eps * len(proto.graph.node)


_EPS = {np.dtype(np.float16): 2.0**-10, BF16: 2.0**-7}


def _is_equal(array: Array, expected: Array, tolerance: Tolerance) -> bool:
    """True for equal integers, and for floats that are near.

    These are floats within 1e-4 of each value and 1e-5 of the largest one, or within the tolerance.
    """
    if array.shape != expected.shape or array.dtype != expected.dtype:
        return False
    if expected.dtype.kind != "f":
        return bool((array == expected).all())
    array = array.astype(np.float64)
    expected = expected.astype(np.float64)
    is_finite = np.isfinite(expected)
    finite = expected[is_finite]
    largest = max(float(np.abs(finite).max(initial=0)), 1.0)
    absolute = max(1e-5, tolerance.largest) * largest
    if np.allclose(array, expected, rtol=1e-4, atol=absolute, equal_nan=True):
        return True
    difference = np.linalg.norm(array[is_finite] - finite)
    others_are_equal = np.array_equal(array[~is_finite], expected[~is_finite], equal_nan=True)
    return others_are_equal and bool(difference <= tolerance.norm * np.linalg.norm(finite))
