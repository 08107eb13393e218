"""`ranvier summary`, `ranvier export`: the contents of a model file; its network as an ONNX file or as C."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.cli.arguments import Commands, Mistake, add_command, mistakes, path_name, require_outputs
from ranvier.cli.networks import add_model, inputs, open_model, sample_dtype
from ranvier.cli.predict import read_input
from ranvier.cli.tables import add_reading_flags

if TYPE_CHECKING:
    import ranvier.nn as nn
    from ranvier.serialization import Info
    from ranvier.tensors.memory import Array

FEW = 32  # with fewer samples for --int8, the measured ranges of values are mostly chance
SHOWN = 100  # the most entries of a printed list, such as the columns of a table


def add(commands: Commands) -> None:
    summary = add_command(
        commands,
        summarize,
        "summary",
        "print the layers, shapes and parameters of a model file",
        "Prints the layers of a model file, their shapes and parameters, the classes, and the transforms "
        "before and after the network.",
        ["ranvier summary runs/digits-cnn/digits.safetensors"],
    )
    export = add_command(
        commands,
        write,
        "export",
        "write the network of a model file as an ONNX file or as C",
        "Writes the network as ONNX for batches of any size, with its input 'x' and its result 'output' "
        "('output_0', 'output_1' ... of several), or as C99 for one sample, by the ending of FILE. The file "
        "has the network alone: the transforms before and after it are printed.",
        [
            "ranvier export digits.safetensors digits.onnx",
            "ranvier export digits.safetensors digits.c",
            "ranvier export houses.safetensors net.c --int8 houses.csv --label price",
        ],
    )
    for parser in (summary, export):
        add_model(parser)
        text = "of a sample, as 1x28x28; default: from the model file"
        parser.add_argument("--input-shape", type=sample_shape, metavar="SHAPE", help=text)
    export.add_argument("file", metavar="FILE", type=path_name, help="the file to write, .onnx or .c")
    calibration = "C in int8; DATA: samples such as the network will get, read as predict reads them"
    export.add_argument("--int8", type=path_name, metavar="DATA", help=calibration)
    export.add_argument(
        "--label", type=str, metavar="NAME", help="a column or array of labels in DATA, which is left out"
    )
    add_reading_flags(export)
    export.set_defaults(invert=False)


def sample_shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+([x,]\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 1x28x28")
    return tuple(int(part) for part in re.split("[x,]", text))


def _open(arguments: argparse.Namespace) -> tuple[nn.Module, Info, tuple[int, ...]]:
    """The model, what its file says of it, and the shape of a sample."""
    model = open_model(arguments)
    about = rv.serialization.info(model)
    shape = arguments.input_shape or about.input_shape
    if shape is None:
        raise Mistake(f"'{arguments.model}' does not say what its input is; pass --input-shape")
    return model, about, shape


def summarize(arguments: argparse.Namespace) -> int:
    model, about, shape = _open(arguments)
    with mistakes(ValueError, TypeError, RuntimeError):
        rv.summary(model, shape)
    print(f"input       {'x'.join(map(str, shape))}")
    _describe(about)
    print(f"written by  ranvier {about.version}")
    return 0


def write(arguments: argparse.Namespace) -> int:
    require_outputs({"FILE": arguments.file}, arguments.model, arguments.code)
    ending = Path(arguments.file).suffix
    if ending not in (".onnx", ".c"):
        raise Mistake(f"'{arguments.file}' ends in {ending!r}; expected .onnx, or .c for C")
    if arguments.int8 is not None and ending != ".c":
        raise Mistake(f"--int8 is for C, not for '{arguments.file}'")
    model, about, shape = _open(arguments)
    x = np.random.default_rng(0).random((2, *shape)).astype(sample_dtype(model))
    shape_text = "x".join(map(str, shape))
    with mistakes(ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError):
        if ending == ".c":
            calibration = _read_calibration(arguments, model)
            report = rv.export.c(model, arguments.file, x[:1], calibration=calibration)
            print(f"functions   {', '.join(report.functions)}: input 1x{shape_text}, float32")
        else:
            proto = rv.onnx.export(
                model, x, arguments.file, input_names=["x"], dynamic_axes={"x": {0: "batch"}}
            )
            print(f"input       x: batch x {shape_text}, {x.dtype}")
            for result in proto.graph.output:
                print(f"output      {result.name}: {_shape_text(result)}")
    _describe(about)
    print(f"written to  {arguments.file}")
    return 0


def _read_calibration(arguments: argparse.Namespace, model: nn.Module) -> Array | None:
    """The samples of --int8, as the network gets them; None without the flag."""
    if arguments.int8 is None:
        return None
    as_predict = argparse.Namespace(**vars(arguments))
    as_predict.file = arguments.int8  # where `ranvier predict` has its samples
    samples = inputs(model, read_input(as_predict, model))
    if len(samples) < FEW:
        few = f"{arguments.int8} has {len(samples)} samples; expected {FEW} or more, to know the ranges"
        print(f"ranvier: {few}", file=sys.stderr, flush=True)
    return samples


def _shape_text(result: Any) -> str:
    """The shape of a result of an ONNX graph (a ValueInfoProto): "batch x 2x3"."""
    sizes = [size.dim_param or str(size.dim_value) for size in result.type.tensor_type.shape.dim]
    if not sizes:
        return "a number"
    if len(sizes) == 1:
        return sizes[0]
    return f"{sizes[0]} x {'x'.join(sizes[1:])}"


def _describe(about: Info) -> None:
    """Print the classes, and the transforms before and after the network."""
    if about.class_names:
        print(f"classes     {', '.join(about.class_names)}")
    for step in about.preprocessing:
        settings = ", ".join(f"{name} {_short(value)}" for name, value in step.items() if name != "transform")
        print(f"before it   {step.get('transform')} ({settings})")
    if about.link:
        print(f"after it    {about.link}")


def _short(value: Any) -> str:
    """The text of a setting on one line: the first numbers of a long list, as of the pixels of an image."""
    if not isinstance(value, list):
        if isinstance(value, float):
            return f"{value:g}"
        return str(value)
    more = f" ... {len(value)} in all" if len(value) > SHOWN else ""
    return f"[{', '.join(_short(item) for item in value[:SHOWN])}{more}]"
