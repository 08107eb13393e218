"""`ranvier export`: the network of a model file as an ONNX file or as C."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import ranvier as rv
from ranvier.cli.arguments import (
    Mistake,
    add_command,
    add_flags,
    mistakes,
    path_name,
    require_apart,
    require_writable,
)
from ranvier.cli.networks import add_model, dtype_of, open_model
from ranvier.cli.summary import described, sample_shape


def add(commands: Any) -> None:
    export = add_command(
        commands,
        run,
        "export",
        "write the network of a model file as an ONNX file or as C",
        "Writes the network as ONNX for batches of any size, with its input 'x' and its result 'output', or "
        "as C99 for one sample, by the ending of FILE. The file has the network alone: the transforms before "
        "and after it are printed.",
        ["ranvier export digits.safetensors digits.onnx", "ranvier export digits.safetensors digits.c"],
    )
    add_model(export)
    export.add_argument("file", metavar="FILE", type=path_name, help="the file to write, .onnx or .c")
    text = "of a sample, as 1x28x28; default: from the model file"
    add_flags(export, {"--input-shape": (sample_shape, "SHAPE", text)})


def run(arguments: argparse.Namespace) -> int:
    require_apart({"FILE": arguments.file}, arguments.model, arguments.code)
    require_writable(Path(arguments.file))
    ending = Path(arguments.file).suffix
    if ending not in (".onnx", ".c"):
        raise Mistake(f"'{arguments.file}' ends in {ending!r}; expected .onnx, or .c for C")
    model = open_model(arguments)
    about = rv.serialization.info(model)
    shape = arguments.input_shape or about.input_shape
    if shape is None:
        raise Mistake(f"'{arguments.model}' does not say what its input is; pass --input-shape")
    x = np.random.default_rng(0).random((2, *shape)).astype(dtype_of(model))
    names = {"input_names": ["x"], "output_names": ["output"], "dynamic_axes": {"x": {0: "batch"}}}
    with mistakes(ImportError, OSError, RuntimeError, TypeError, ValueError):
        if ending == ".c":
            report = rv.export.c(model, arguments.file, x[:1])
            print(f"functions   {', '.join(report.functions)}: input 1x{'x'.join(map(str, shape))}, float32")
        else:
            proto = rv.onnx.export(model, x, arguments.file, **names)
            sizes = [d.dim_value for d in proto.graph.output[0].type.tensor_type.shape.dim[1:]]
            print(f"input       x: batch x {'x'.join(map(str, shape))}, {x.dtype}")
            print(f"output      output: batch x {'x'.join(map(str, sizes))}")
    for line in described(about):
        print(line)
    print(f"written to  {arguments.file}")
    return 0
