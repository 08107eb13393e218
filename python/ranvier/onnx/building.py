"""The runs of a model as a graph."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import ranvier.onnx.writers  # noqa: F401  # fills the table
from ranvier.onnx.dtypes import number_of
from ranvier.onnx.reader import KEY
from ranvier.onnx.runs import Axes, Run
from ranvier.onnx.site import Site, Sizes
from ranvier.onnx.tracing import Call
from ranvier.onnx.writers.table import WRITERS
from ranvier.onnx.writing import Writer, used
from ranvier.version import __version__


def model_of(
    onnx: Any, runs: list[Run], inputs: list[str], outputs: list[str], axes: Axes, sizes: Sizes, version: int
) -> Any:
    """The ModelProto of the runs."""
    weights: dict[str, Any] = {}
    buffers: set[str] = set()
    for one in runs:  # a function's modules are found while it runs
        weights.update(one.weights)
        buffers |= one.buffers
    writer = Writer(onnx, version)
    for name in (*inputs, *outputs, *weights):
        if writer.reserve(name) != name:
            raise ValueError(
                f"[onnx.export] got the name '{name}' twice among inputs, results and parameters; pass other "
                "input_names or output_names"
            )
    nodes = _nodes(writer, runs, inputs, outputs, weights, sizes)
    needed = {name for node in nodes for name in node.input}
    graph = onnx.helper.make_graph(
        nodes,
        "model",
        [
            _info(onnx, name, x, axes.get(i, {}))
            for i, (name, x) in enumerate(zip(inputs, runs[0].inputs, strict=True))
        ],
        [_result(onnx, name, [r.outputs[i][1] for r in runs], sizes) for i, name in enumerate(outputs)],
        [onnx.numpy_helper.from_array(_plain(a), name) for name, a in weights.items() if name in needed],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", version)],
        producer_name="ranvier",
        producer_version=__version__,
        ir_version=8 if version < 19 else 10,
    )
    onnx.helper.set_model_props(model, {KEY: json.dumps({"buffers": sorted(buffers & needed)})})
    return model


def _plain(array: Any) -> Any:
    """The array in C order; ascontiguousarray gives a number one dimension."""
    return np.ascontiguousarray(array).reshape(array.shape)


def _nodes(
    writer: Writer, runs: list[Run], inputs: list[str], outputs: list[str], weights: Any, sizes: Sizes
) -> list[Any]:
    """The nodes that the results need."""
    names = {**{f"input {i}": name for i, name in enumerate(inputs)}, **{name: name for name in weights}}
    _check_calls(runs)
    for calls in zip(*(r.trace.calls for r in runs), strict=True):
        site = Site(writer, calls, names, sizes)
        site.require_ranks()
        found = WRITERS[site.kind](site)
        results = found if isinstance(found, tuple) else (found,)
        names.update((value.name, name) for value, name in zip(calls[0].outputs, results, strict=True))
    site = Site(writer, [_RESULT], names, sizes)
    for i, name in enumerate(outputs):
        value = site.operand([r.outputs[i][0] for r in runs])
        writer.nodes.append(writer.onnx.helper.make_node("Identity", [value], [name], f"result_{name}"))
    return _without_identities(used(writer.nodes, outputs), {*inputs, *weights})


_RESULT = Call("the result", {}, [], [], "the model")


def _check_calls(runs: list[Run]) -> None:
    """Raises ValueError: operations without a counterpart, all of them."""
    lacking: dict[str, str] = {}
    for call in runs[0].trace.calls:
        if call.kind not in WRITERS:
            lacking.setdefault(call.kind, call.where)
    if lacking:
        found = ", ".join(f"{kind} (at {where})" for kind, where in lacking.items())
        raise ValueError(
            f"[onnx.export] got operations without a counterpart: {found}; expected those of docs/onnx.md: "
            "compute them outside of the exported model, or from other operations"
        )


def _without_identities(nodes: list[Any], fixed: set[str]) -> list[Any]:
    """The nodes that make the results, with the names of the results."""
    made = {name: node for node in nodes for name in node.output}
    kept = []
    renamed: dict[str, str] = {}
    for node in nodes:
        source = node.input[0] if node.input else ""
        if (
            node.op_type == "Identity"
            and node.name.startswith("result_")
            and source in made
            and source not in fixed
            and source not in renamed
        ):
            renamed[source] = node.output[0]
        else:
            kept.append(node)
    for node in kept:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name in renamed:
                    names[i] = renamed[name]
    return kept


def _info(onnx: Any, name: str, array: Any, axes: dict[int, str]) -> Any:
    shape = [axes.get(i, n) for i, n in enumerate(array.shape)]
    return onnx.helper.make_tensor_value_info(name, number_of(array.dtype), shape)


def _result(onnx: Any, name: str, arrays: list[Any], sizes: Sizes) -> Any:
    shape: list[Any] = []
    for axis in range(arrays[0].ndim):
        entry = tuple(a.shape[axis] for a in arrays)
        symbol = next(
            (s for s, v in zip(sizes.names, sizes.values, strict=True) if v == entry), f"{name}_{axis}"
        )
        shape.append(entry[0] if len(set(entry)) == 1 else symbol)
    return onnx.helper.make_tensor_value_info(name, number_of(arrays[0].dtype), shape)
