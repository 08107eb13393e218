"""`rv.onnx.export`: runs a model and writes the calls of its Functions as the nodes of an ONNX file.

`runs_at_sizes.py` runs the model at several sizes of its dynamic axes. Each call is then written by its
function of `registry.WRITERS`, which gets the call as all runs have made it (`traced_call.TracedCall`). At
the end the graph of the file is computed and compared with the model.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

import ranvier.onnx.symbolic_functions  # registers the handlers of functions that take sizes
import ranvier.onnx.writers  # noqa: F401  # fills the table of writers
from ranvier.nn import Module
from ranvier.onnx.arguments import Axes, dynamic, inputs_of, outputs_of
from ranvier.onnx.model_run import Modules, Run
from ranvier.onnx.reader import KEY, load
from ranvier.onnx.registry import WRITERS
from ranvier.onnx.runs_at_sizes import run_at_sizes
from ranvier.onnx.sizes import Size
from ranvier.onnx.traced_call import GraphBuilder, TracedCall, used
from ranvier.onnx.values import number_of, package
from ranvier.serialization.files import replace
from ranvier.tape.calls import Call
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.memory import BF16
from ranvier.version import __version__


def model_of(
    onnx: Any,
    runs: list[Run],
    inputs: list[str],
    outputs: list[str],
    axes: Axes,
    symbols: list[str],
    version: int,
) -> Any:
    """The ModelProto for these runs of one model.

    runs: traced runs with the same calls at different sizes. inputs, outputs: their names in the graph. axes:
    the dynamic axes of each input. symbols: their names. version: the version of the operator set.
    """
    weights: dict[str, Any] = {}
    buffers: set[str] = set()
    for one in runs:  # a later run of a function may find further modules
        weights.update(one.weights)
        buffers |= one.buffers
    writer = GraphBuilder(onnx, version)
    for name in (*inputs, *outputs, *weights):
        if writer.reserve(name) != name:
            raise ValueError(
                f"[onnx.export] got the name '{name}' twice among inputs, results and parameters; pass other "
                "input_names or output_names"
            )
    nodes = _nodes(writer, runs, inputs, outputs, weights, symbols)
    nodes, transposed = _with_transposed(nodes, weights, outputs)
    weights.update((name, weights[name].T) for name in transposed)
    needed = {name for node in nodes for name in node.input}
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "model",
        [
            info(name, number_of(x.dtype), [axes.get(i, {}).get(a, n) for a, n in enumerate(x.shape)])
            for i, (name, x) in enumerate(zip(inputs, runs[0].inputs, strict=True))
        ],
        [_result(onnx, name, *runs[0].outputs[i]) for i, name in enumerate(outputs)],
        [
            onnx.numpy_helper.from_array(np.asarray(a, order="C"), name)
            for name, a in {**weights, **writer.initializers}.items()
            if name in needed
        ],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", version)],
        producer_name="ranvier",
        producer_version=__version__,
        ir_version=8 if version < 19 else 10,  # of the file format: operator sets from 19 on need a later one
    )
    onnx.helper.set_model_props(
        model, {KEY: json.dumps({"buffers": sorted(buffers & needed), "transposed": transposed})}
    )
    return model


def _nodes(
    writer: GraphBuilder,
    runs: list[Run],
    inputs: list[str],
    outputs: list[str],
    weights: Any,
    axes: list[str],
) -> list[Any]:
    """The nodes of the graph, without those that no result needs."""
    # name of a value in the traces (`model_run.run` gives inputs the name "input i") -> its name in the graph
    names = {**{f"input {i}": name for i, name in enumerate(inputs)}, **{name: name for name in weights}}
    _check_calls(runs)
    for calls in zip(*(r.trace.calls for r in runs), strict=True):
        site = TracedCall(writer, calls, names, axes)
        site.require_ranks()
        written = WRITERS[site.kind](site)
        results = written if isinstance(written, tuple) else (written,)
        names.update((value.name, name) for value, name in zip(calls[0].outputs, results, strict=True))
    site = TracedCall(writer, [_RESULT], names, axes)
    values = [site.operand([r.outputs[i].value for r in runs]) for i in range(len(outputs))]
    return _with_results(used(writer.nodes, values), values, outputs, onnx=writer.onnx)


def _with_transposed(
    nodes: list[Any], weights: dict[str, Any], outputs: list[str]
) -> tuple[list[Any], list[str]]:
    """The nodes, and the weights to store transposed: those that only products read, each by a Transpose.

    A runtime can make integers of a product with a constant, but not of one with a node's result.
    """
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    stored: dict[str, str] = {}  # the result of a Transpose -> the weight in its place
    for name in readers.keys() & weights.keys():
        made = readers[name] if weights[name].ndim == 2 else []
        if all(
            node.op_type == "Transpose"
            and node.attribute[0].ints == [1, 0]
            and node.output[0] not in outputs
            and all(reader.op_type == "MatMul" for reader in readers[node.output[0]])
            for node in made
        ):
            stored.update((node.output[0], name) for node in made)
    rest = [node for node in nodes if node.output[0] not in stored]
    for node in rest:
        node.input[:] = [stored.get(name, name) for name in node.input]
    return rest, sorted({*stored.values()})


_RESULT = Call("the result", {}, [], [], "the model")  # stands for the end of the model in errors of `_nodes`


def _check_calls(runs: list[Run]) -> None:
    """Raises ValueError that names all operations for which there is no writer."""
    lacking: dict[str, str] = {}
    for call in runs[0].trace.calls:
        if call.kind not in WRITERS:
            is_named = call.name.lower() in ("", call.kind.lower())
            name = call.kind if is_named else f"{call.kind} of {call.name}"
            lacking.setdefault(call.kind, f"{name} (at {call.where})")
    if lacking:
        kinds = ", ".join(lacking.values())
        raise ValueError(
            f"[onnx.export] got operations without a counterpart: {kinds}; expected those of docs/onnx.md: "
            "compute them outside of the exported model, or from other operations"
        )


def _with_results(nodes: list[Any], values: list[str], outputs: list[str], onnx: Any) -> list[Any]:
    """The nodes, with the values that are results renamed to the names of the outputs.

    A result that no node makes, or that is returned twice, is copied by an Identity node.
    """
    made = {name for node in nodes for name in node.output}
    renamed: dict[str, str] = {}
    copies = []
    for value, name in zip(values, outputs, strict=True):
        if value in made and value not in renamed:
            renamed[value] = name
        else:
            copies.append(onnx.helper.make_node("Identity", [value], [name], f"result_{name}"))
    nodes = [*nodes, *copies]
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    return nodes


def _result(onnx: Any, name: str, value: Any, array: Any) -> Any:
    """The declaration of a result. A size that varies has a symbol, that of its axis where it is one."""
    shape: list[Any] = []
    for at, n in enumerate(value.dims):
        if not isinstance(n, Size):
            shape.append(n)
        else:
            shape.append(n.key if n.is_axis_of_input() else f"{name}_{at}")
    return onnx.helper.make_tensor_value_info(name, number_of(array.dtype), shape)


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
    if not isinstance(model, Module):
        target = getattr(model, "_function", model)
    else:
        target = model
    if not callable(target):
        part = next((f": its {name}" for name in ("model", "module_") if hasattr(model, name)), "")
        raise TypeError(f"[onnx.export] got {type(model).__name__}; expected a Module or a function{part}")
    refuse_torch("onnx.export", "a model", target)
    args = _positional(target, args if isinstance(args, tuple) else (args,), kwargs or {})
    if path is not None and not isinstance(path, (str, os.PathLike)) and not hasattr(path, "write"):
        raise TypeError(
            f"[onnx.export] got path of type {type(path).__name__}; expected a path or a file opened for "
            "writing bytes: export(model, args, path)"
        )
    names, arrays = inputs_of(target, args, input_names)
    axes, symbols = dynamic(names, arrays, dynamic_axes, output_names or ())
    modules = Modules(target, opset_version)
    runs = run_at_sizes(target, modules, args, arrays, axes, symbols)
    results = outputs_of(len(runs.traced[0].outputs), output_names)
    proto = model_of(onnx, runs.traced, names, results, axes, symbols, opset_version)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except MemoryError:
        raise
    except Exception as error:  # onnx raises its own kinds
        raise ValueError(f"[onnx.export] the graph of the model is not valid: {error}") from None
    _compare(proto, runs.traced + runs.plain)
    if keep_initializers_as_inputs:
        for weight in proto.graph.initializer:
            info = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))
            proto.graph.input.append(info)
    if path is not None:
        replace(path, proto.SerializeToString(), op="onnx.export")
    return proto


def _positional(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """All arguments as positional ones, in the order of the parameters of `forward` or of the function."""
    if not kwargs:
        return args
    forward = target.forward if isinstance(target, Module) else target
    bound = inspect.signature(forward).bind(*args, **kwargs)
    bound.apply_defaults()
    only = [name for name in kwargs if name in bound.kwargs or name not in bound.arguments]
    if only:
        raise ValueError(
            f"[onnx.export] got kwargs {', '.join(only)}, which forward takes by keyword only; expected a "
            "function of positional arguments around the model"
        )
    last = max(list(bound.arguments).index(name) for name in kwargs)
    return bound.args[: max(last + 1, len(args))]


def _compare(proto: Any, runs: list[Run]) -> None:
    """Raises ValueError unless the graph gives the results of the runs from their inputs."""
    graph = load(proto)
    calls = runs[0].trace.calls
    if any(c.kind.startswith("Quantized") for c in calls):
        close = _STEPS
    else:
        close = 0.0
    rounding = _rounding(proto, calls)
    for one in runs:
        try:
            outputs = graph(*one.inputs)
            results = outputs if isinstance(outputs, tuple) else (outputs,)
            pairs = zip(results, one.outputs, strict=True)
            are_equal = [_is_equal(got._array, wanted.array, close, rounding) for got, wanted in pairs]
            fault = "" if all(are_equal) else "other results"
        except ValueError as error:
            fault = str(error)
        if fault:
            shapes = [a.shape for a in one.inputs]
            raise ValueError(
                f"[onnx.export] the graph does not compute what the model does for inputs of shapes {shapes} "
                f"({fault}); expected a model that depends on its inputs by operations on tensors alone, and "
                "does the same for all sizes of dynamic axes: squeeze(dim), not squeeze(), and "
                "isinstance(n, int), not type(n)"
            )


_STEPS = 0.1
"""The size of results' differences where activations become integers: one that rounds to another neighbour,
as its last bits differ, moves all that follows, by less than the rounding of activations does."""


def _rounding(proto: Any, calls: list[Call]) -> float:
    """The difference of results, relative to the largest one, that stems from the precision of half floats.

    Every node of the file rounds its result to its dtype, by half an epsilon at most (eps: 2^-10 for float16,
    2^-7 for bfloat16), while the model rounds once where it has one operation. A difference that goes through
    n nodes, whose largest results differ by a factor of two at most, is not above n eps. 0 without halves:
    the limits of float32 in `_is_equal` are for sums in another order, and float64 has them, too, since
    attributes of a file are numbers of float32.
    """
    values = [value for call in calls for value in (*call.inputs, *call.outputs) if value is not None]
    eps = max((_EPS.get(value.array.dtype, 0.0) for value in values), default=0.0)
    return eps * len(proto.graph.node)


_EPS = {np.dtype(np.float16): 2.0**-10, BF16: 2.0**-7}


def _is_equal(array: Any, wanted: Any, close: float, rounding: float) -> bool:
    """True for equal integers, and for floats within 1e-4 of each value and 1e-5 of the largest one, or whose
    difference has at most `close` times the norm of the wanted ones, or `rounding` times the largest one."""
    if array.shape != wanted.shape or array.dtype != wanted.dtype:
        return False
    if wanted.dtype.kind != "f":
        return bool((array == wanted).all())
    array, wanted = (x.astype(np.float64) for x in (array, wanted))
    is_finite = np.isfinite(wanted)
    finite = wanted[is_finite]
    scale = max(float(np.abs(finite).max(initial=0)), 1.0)
    if np.allclose(array, wanted, rtol=1e-4, atol=max(1e-5, rounding) * scale, equal_nan=True):
        return True
    rest_is_equal = np.array_equal(array[~is_finite], wanted[~is_finite], equal_nan=True)
    return rest_is_equal and bool(np.linalg.norm(array[is_finite] - finite) <= close * np.linalg.norm(finite))
