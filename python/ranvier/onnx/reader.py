"""load: an ONNX file as a module."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ranvier.onnx.graph import graph_of
from ranvier.onnx.limits import NODES, inlined_nodes
from ranvier.onnx.module import OnnxModule
from ranvier.onnx.package import OPSETS, package
from ranvier.onnx.registry import find

__all__ = ["KEY", "load"]

KEY = "ranvier"
"""The entry of the file's metadata that export writes."""


def load(
    path: str | os.PathLike[str] | Any, *, max_nodes: int = NODES, max_elements: int | None = None
) -> OnnxModule:
    """A module that computes the graph of an ONNX file, with its weights as parameters.

    path: the file, or an `onnx.ModelProto`. Tensors of an external data file are read beside it.
    max_nodes: of a graph after its functions are replaced by their nodes.
    max_elements: of all results of a run together; None: 2^24, and 4096 for each element of the weights and
        inputs. More is an error: a file of a kilobyte could ask for terabytes.

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
    model = path if isinstance(path, onnx.ModelProto) else _read(onnx, Path(path))
    try:
        if not isinstance(path, onnx.ModelProto) and model.ByteSize() >= 2**31:
            onnx.checker.check_model(os.fspath(path))
        else:
            onnx.checker.check_model(model)
    except MemoryError:
        raise
    except Exception as error:  # onnx raises its own kinds, and those of protobuf
        raise ValueError(f"[onnx.load] {_named(onnx, path)} is not a valid model: {error}") from None
    versions = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    if versions.setdefault("", OPSETS[-1]) not in OPSETS:
        raise ValueError(
            f"[onnx.load] got version {versions['']} of the operator set; expected {OPSETS[0]} to "
            f"{OPSETS[-1]}"
        )
    buffers = _buffers(model)
    if model.functions and (count := inlined_nodes(model)) > max_nodes:
        raise ValueError(
            f"[onnx.load] got functions that stand for {count} nodes; expected {max_nodes} at most "
            "(max_nodes)"
        )
    graph = graph_of(onnx, _inlined(onnx, model, versions[""]), versions)
    return OnnxModule(graph, buffers, max_elements).eval()


def _named(onnx: Any, path: Any) -> str:
    return "the model" if isinstance(path, onnx.ModelProto) else f"'{path}'"


def _read(onnx: Any, path: Path) -> Any:
    with open(path, "rb"):  # the system's error for a missing or unreadable file or a folder
        pass
    try:
        return onnx.load(os.fspath(path))
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"[onnx.load] '{path}' is not an ONNX file, or is damaged: {error}") from None


def _inlined(onnx: Any, model: Any, version: int) -> Any:
    """The model without calls of functions: its own, and those that ONNX defines and no operator here has."""
    known = {node.op_type for node in model.graph.node if not node.domain and find(node.op_type, version)}
    if not model.functions and all(n.op_type in known and not n.domain for n in model.graph.node):
        return model
    for _ in range(4):  # a function may use functions
        try:
            typed = onnx.shape_inference.infer_shapes(
                onnx.inliner.inline_local_functions(_typed(onnx, model))
            )
            kept = [("", op) for op in {n.op_type for n in typed.graph.node} if find(op, version)]
            inlined = onnx.inliner.inline_selected_functions(typed, kept, True, True)
        except MemoryError:
            raise
        except Exception:  # a function that the inliner cannot expand is named among what is not supported
            return model
        if len(inlined.graph.node) == len(model.graph.node):
            return inlined
        model = inlined
    return model


def _typed(onnx: Any, model: Any) -> Any:
    """A copy in which initializers have types: the inliner needs those of a function's inputs."""
    typed = onnx.ModelProto()
    typed.CopyFrom(model)
    known = {v.name for v in (*typed.graph.value_info, *typed.graph.input)}
    for tensor in typed.graph.initializer:
        if tensor.name not in known:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            typed.graph.value_info.append(info)
    return typed


def _buffers(model: Any) -> frozenset[str]:
    """The names that export has marked as buffers."""
    for entry in model.metadata_props:
        if entry.key == KEY:
            try:
                names = json.loads(entry.value)["buffers"]
                return frozenset(name for name in names if isinstance(name, str))
            except (ValueError, TypeError, KeyError, RecursionError):
                break
    return frozenset()
