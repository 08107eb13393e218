"""torch.onnx.export: calls :func:`ranvier.onnx.export` with PyTorch's arguments.

Arguments that do not change the file are accepted. An argument that asks for something that is not written is
refused by its name.
"""

from __future__ import annotations

import enum
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ranvier as rv
from ranvier.nn import Module
from ranvier.torch.utils.pytree import tree_leaves

TrainingMode = enum.IntEnum("TrainingMode", "EVAL PRESERVE TRAINING", start=0)
OperatorExportTypes = enum.IntEnum(
    "OperatorExportTypes", "ONNX ONNX_ATEN ONNX_ATEN_FALLBACK ONNX_FALLTHROUGH", start=0
)
_MODAL = ("Dropout", "BatchNorm", "InstanceNorm")  # layers whose result differs in training mode


class Dim:
    """torch.export.Dim: the name of a size that may vary; min and max have no effect."""

    AUTO = DYNAMIC = object()
    STATIC = None

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None) -> None:
        self.__name__ = name


class ONNXProgram:
    """The result of `torch.onnx.export`: the model, which can be saved and called."""

    def __init__(self, proto: Any) -> None:
        self.model_proto = proto
        self._loaded: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[rv.Tensor, ...]:
        """The results of the file for the model's arguments: a tuple, also of one. Arguments by name follow
        the others, in the order of the call; nested ones are taken apart, and None is left out."""
        if self._loaded is None:
            self._loaded = rv.onnx.load(self.model_proto)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if leaf is not None]
        with rv.no_grad():
            results = self._loaded(*given)
        if isinstance(results, tuple):
            return results
        return (results,)

    def release(self) -> None:
        """Frees what calls have made."""
        self._loaded = None

    def save(self, destination: str | os.PathLike[str], *, external_data: bool | None = None) -> None:
        """Writes the file. external_data: has no effect, the weights are in the file."""
        Path(destination).write_bytes(self.model_proto.SerializeToString())


def export(
    model: Module,
    args: Any = (),
    f: Any = None,
    *,
    kwargs: dict[str, Any] | None = None,
    verbose: bool | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    dynamo: bool = True,
    external_data: bool = True,
    dynamic_shapes: Any = None,
    custom_translation_table: Any = None,
    report: bool = False,
    optimize: bool = True,
    verify: bool = False,
    profile: bool = False,
    dump_exported_program: bool = False,
    artifacts_dir: Any = ".",
    fallback: bool = False,
    export_params: bool = True,
    keep_initializers_as_inputs: bool = False,
    dynamic_axes: Mapping[str, Any] | None = None,
    training: int = TrainingMode.EVAL,
    operator_export_type: int = OperatorExportTypes.ONNX,
    do_constant_folding: bool = True,
    custom_opsets: Mapping[str, int] | None = None,
    export_modules_as_functions: Any = False,
    autograd_inlining: bool = True,
) -> ONNXProgram | None:
    """`ranvier.onnx.export` with PyTorch's arguments. Returns an ONNXProgram, or None with dynamo=False.

    kwargs: arguments by name; a dict at the end of args has the same effect. dynamic_shapes: for each
    argument {axis: name or Dim}. The model is written in evaluation mode. An argument that PyTorch ignores is
    ignored.

    Raises ValueError: an argument that asks for another file than is written here.
    """
    refused: dict[str, Any] = {
        "custom_translation_table": custom_translation_table,
        "report": report,
        "profile": profile,
        "dump_exported_program": dump_exported_program,
    }
    if not dynamo:
        refused = {
            (fault := _mode_fault(model, training)): fault,
            "operator_export_type": operator_export_type == OperatorExportTypes.ONNX_ATEN,
            "export_modules_as_functions": export_modules_as_functions,
            "dynamic_shapes with dynamo=False": dynamic_shapes,
        }
    if wrong := [name for name, value in refused.items() if value]:
        raise ValueError(
            f"[onnx.export] got {wrong[0]}; expected the default, the only one that is written here"
        )
    if not isinstance(args, tuple):
        args = (args,)
    if not kwargs and args and isinstance(args[-1], dict):
        args, kwargs = args[:-1], args[-1]
    if input_names is None:
        input_names = _names(model, args, kwargs or {})
    if dynamic_shapes is not None:
        dynamic_axes = _axes(model, dynamic_shapes, input_names)
    proto = rv.onnx.export(
        model,
        args,
        f,
        kwargs=kwargs,
        input_names=input_names,
        output_names=output_names,
        dynamic_axes=dynamic_axes,
        opset_version=18 if opset_version is None else opset_version,
        export_params=export_params,
        keep_initializers_as_inputs=keep_initializers_as_inputs,
    )
    if dynamo:
        return ONNXProgram(proto)
    return None


def _names(model: Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str] | None:
    """The names of the inputs: those of the parameters of `forward`, as PyTorch has them. None where an
    argument holds several tensors, or goes to no parameter of its own."""
    forward = model.forward if isinstance(model, Module) else model
    try:
        bound = inspect.signature(forward).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return None
    names = []
    for name, value in bound.arguments.items():
        if inspect.signature(forward).parameters[name].kind in (_REST, _NAMED_REST):
            return None
        if isinstance(value, (tuple, list, dict)):
            return None
        if isinstance(value, (rv.Tensor, np.ndarray)):
            names.append(name)
    return names or None


_REST = inspect.Parameter.VAR_POSITIONAL
_NAMED_REST = inspect.Parameter.VAR_KEYWORD


def _mode_fault(model: Module, training: int) -> str:
    """The text of the error about a mode that a file cannot have; "" where no layer depends on the mode."""
    if isinstance(model, Module):
        modal = [type(m).__name__ for m in model.modules()]
    else:
        modal = []
    modal = [name for name in modal if any(kind in name for kind in _MODAL)]
    kept = training == TrainingMode.PRESERVE and getattr(model, "training", False)
    trains = training == TrainingMode.TRAINING or kept
    if trains and modal:
        return f"training, which {modal[0]} follows"
    return ""


def _axes(model: Module, shapes: Any, input_names: Sequence[str] | None) -> dict[str, dict[int, str]]:
    """dynamic_shapes, by name or in the order of the arguments, as dynamic_axes of `onnx.export`."""
    forward = model.forward if isinstance(model, Module) else model
    names = list(inspect.signature(forward).parameters)
    if not isinstance(shapes, Mapping):
        shapes = dict(zip(names, shapes, strict=False))
    found: dict[str, dict[int, str]] = {}
    for name, of in shapes.items():
        if isinstance(of, Mapping):
            axes = dict(of)
        else:
            axes = dict(enumerate(of or ()))
        if name not in names or not all(isinstance(axis, int) for axis in axes):
            raise ValueError(
                f"[onnx.export] got dynamic_shapes of {name!r}: {of!r}; expected {{axis: name}} of "
                f"{', '.join(names)}"
            )
        given = (input_names or names)[names.index(name)]
        found[given] = {
            axis: dim if isinstance(dim, str) else getattr(dim, "__name__", f"{given}_{axis}")
            for axis, dim in axes.items()
            if dim is not None and not isinstance(dim, int)
        }
    return found
