"""torch.onnx.export: calls :func:`ranvier.onnx.export` with PyTorch's arguments.

Arguments that do not change the file are accepted. An argument that asks for something that is not written is
refused by its name.
"""

from __future__ import annotations

import enum
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

import ranvier as rv
from ranvier.nn import Module
from ranvier.torch.utils.pytree import tree_leaves

TrainingMode = enum.IntEnum("TrainingMode", "EVAL PRESERVE TRAINING", start=0)
OperatorExportTypes = enum.IntEnum(
    "OperatorExportTypes", "ONNX ONNX_ATEN ONNX_ATEN_FALLBACK ONNX_FALLTHROUGH", start=0
)
# Parts of the names of layers whose result differs in training mode.
_MODE_DEPENDENT = ("Dropout", "BatchNorm", "InstanceNorm")


DynamicShapes: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""For each argument, by name or in order, {axis: the name of its size}, or a sequence of such names."""


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
        """The results of the file for the model's arguments: a tuple, also of one.

        Arguments by name follow the others, in the order of the call; nested ones are taken apart, and None
        is left out.
        """
        if self._loaded is None:
            self._loaded = rv.onnx.load(self.model_proto)
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if leaf is not None]
        with rv.no_grad():
            results = self._loaded(*inputs)
        if isinstance(results, tuple):
            return results
        return (results,)

    def release(self) -> None:
        """Free what calls have made."""
        self._loaded = None

    def save(self, destination: str | os.PathLike[str], *, external_data: bool | None = None) -> None:
        """Write the file. external_data: has no effect, the weights are in the file."""
        Path(destination).write_bytes(self.model_proto.SerializeToString())


def export(
    model: Module,
    args: Any = (),
    f: str | os.PathLike[str] | BinaryIO | None = None,
    *,
    kwargs: dict[str, Any] | None = None,
    verbose: bool | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    dynamo: bool = True,
    external_data: bool = True,
    dynamic_shapes: DynamicShapes | None = None,
    custom_translation_table: Mapping[Any, Any] | None = None,
    report: bool = False,
    optimize: bool = True,
    verify: bool = False,
    profile: bool = False,
    dump_exported_program: bool = False,
    artifacts_dir: str | os.PathLike[str] = ".",
    fallback: bool = False,
    export_params: bool = True,
    keep_initializers_as_inputs: bool = False,
    dynamic_axes: Mapping[str, Any] | None = None,
    training: int = TrainingMode.EVAL,
    operator_export_type: int = OperatorExportTypes.ONNX,
    do_constant_folding: bool = True,
    custom_opsets: Mapping[str, int] | None = None,
    export_modules_as_functions: bool | set[type[Module]] = False,
    autograd_inlining: bool = True,
) -> ONNXProgram | None:
    """`ranvier.onnx.export` with PyTorch's arguments. Returns an ONNXProgram, or None with dynamo=False.

    kwargs: arguments by name; a dict at the end of args has the same effect.
    dynamic_shapes: for each argument {axis: name or Dim}.

    The model is written in evaluation mode. An argument that PyTorch ignores is ignored.

    Raises ValueError: an argument that asks for another file than is written here.
    """
    refused: dict[str, Any] = {}  # what is not written, if it is asked for
    if dynamo:
        refused["custom_translation_table"] = custom_translation_table
        refused["report"] = report
        refused["profile"] = profile
        refused["dump_exported_program"] = dump_exported_program
    else:
        mode_fault = _mode_fault(model, training)
        refused[mode_fault] = mode_fault  # a text, "" without a fault: it is the name and the value
        refused["operator_export_type"] = operator_export_type == OperatorExportTypes.ONNX_ATEN
        refused["export_modules_as_functions"] = export_modules_as_functions
        refused["dynamic_shapes with dynamo=False"] = dynamic_shapes
    for name, value in refused.items():
        if value:
            raise ValueError(
                f"[onnx.export] got {name}; expected the default, the only one that is written here"
            )
    if not isinstance(args, tuple):
        args = (args,)
    if not kwargs and args and isinstance(args[-1], dict):
        kwargs = args[-1]
        args = args[:-1]
    if input_names is None:
        input_names = _input_names(model, args, kwargs or {})
    if dynamic_shapes is not None:
        dynamic_axes = _dynamic_axes(model, dynamic_shapes, input_names)
    if opset_version is None:
        opset_version = 18
    proto = rv.onnx.export(
        model,
        args,
        f,
        kwargs=kwargs,
        input_names=input_names,
        output_names=output_names,
        dynamic_axes=dynamic_axes,
        opset_version=opset_version,
        export_params=export_params,
        keep_initializers_as_inputs=keep_initializers_as_inputs,
    )
    if dynamo:
        return ONNXProgram(proto)
    return None


def _forward(model: Module | Callable[..., Any]) -> Callable[..., Any]:
    """The function whose parameters are the inputs: `forward` of a module, or a function itself."""
    if isinstance(model, Module):
        return model.forward
    return model


def _input_names(model: Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str] | None:
    """The names of the inputs: those of the parameters of `forward`, as PyTorch has them.

    None where an argument holds several tensors, or is one of *args or **kwargs.
    """
    try:
        signature = inspect.signature(_forward(model))
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError):
        return None
    names = []
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return None
        if isinstance(value, (tuple, list, dict)):
            return None
        if isinstance(value, (rv.Tensor, np.ndarray)):
            names.append(name)
    return names or None


def _mode_fault(model: Module, training: int) -> str:
    """The text of the error about a mode that a file cannot have; "" where no layer depends on the mode."""
    preserves_training = training == TrainingMode.PRESERVE and getattr(model, "training", False)
    if training != TrainingMode.TRAINING and not preserves_training:
        return ""
    if not isinstance(model, Module):
        return ""
    for layer in model.modules():
        layer_name = type(layer).__name__
        if any(part in layer_name for part in _MODE_DEPENDENT):
            return f"training, which {layer_name} follows"
    return ""


def _dynamic_axes(
    model: Module, shapes: DynamicShapes, input_names: Sequence[str] | None
) -> dict[str, dict[int, str]]:
    """dynamic_shapes, by name or in the order of the arguments, as dynamic_axes of `onnx.export`.

    Returns, for each input of the file, the names of its sizes that may vary, by axis.
    """
    parameters = list(inspect.signature(_forward(model)).parameters)
    if not isinstance(shapes, Mapping):
        shapes = dict(zip(parameters, shapes, strict=False))
    dynamic_axes: dict[str, dict[int, str]] = {}
    for name, shape in shapes.items():
        if isinstance(shape, Mapping):
            axes = dict(shape)
        else:
            axes = dict(enumerate(shape or ()))
        if name not in parameters or not all(isinstance(axis, int) for axis in axes):
            names = ", ".join(parameters)
            raise ValueError(
                f"[onnx.export] got dynamic_shapes of {name!r}: {shape!r}; expected {{axis: name}} of {names}"
            )
        input_name = (input_names or parameters)[parameters.index(name)]
        size_names: dict[int, str] = {}
        for axis, dim in axes.items():
            if dim is None or isinstance(dim, int):
                continue  # a fixed size
            if isinstance(dim, str):
                size_names[axis] = dim
            else:
                size_names[axis] = getattr(dim, "__name__", f"{input_name}_{axis}")
        dynamic_axes[input_name] = size_names
    return dynamic_axes
