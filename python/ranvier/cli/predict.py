"""`ranvier predict`: classes and probabilities of the samples in a file."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from ranvier.cli.arguments import Mistake, add_command, add_flags, path_name, positive_int, require_writable
from ranvier.cli.models import add_model, names_of, open_model, outputs, probabilities
from ranvier.cli.saving import write_json
from ranvier.cli.useful import require_apart


def add(commands: Any) -> None:
    predict = add_command(
        commands,
        run,
        "predict",
        "classes and probabilities of the samples in a file",
        "Prints a line for each sample: its place in the file, and the most likely classes with their "
        "probabilities (or the outputs, for a model without probabilities).",
        [
            "ranvier predict digits.safetensors seven.png",
            "ranvier predict iris.safetensors new.csv --top 1",
        ],
    )
    add_model(predict)
    predict.add_argument("file", metavar="FILE", help="an image, a .csv or a .npz file")
    flags = {
        "--label": (str, "NAME", "a column or array of labels, which is left out"),
        "--invert": (bool, None, "of an image: exchange dark and light"),
        "--top": (positive_int, "N", "the number of classes; default: 3"),
        "--json": (path_name, "FILE", "write all probabilities to FILE"),
    }
    add_flags(predict, flags)


def run(arguments: argparse.Namespace) -> int:
    if arguments.json is not None:
        require_apart({"--json": arguments.json}, arguments.model, arguments.file, arguments.code)
        require_writable(Path(arguments.json))
    model = open_model(arguments)
    try:
        samples = _samples(arguments, model)
    except (OSError, ValueError, ImportError) as error:
        raise Mistake(error) from None
    output = outputs(model, samples)
    p = probabilities(model, output)
    if p is None and arguments.top is not None:
        raise Mistake("--top is for classes, and the model gives values")
    names = names_of(model, 0 if p is None else p.shape[1])
    for number, row in enumerate(output.reshape(len(output), -1) if p is None else p):
        print(f"{number}: " + (_values(row) if p is None else _classes(row, names, arguments.top or 3)))
    if arguments.json is not None:
        found = {"outputs": output.tolist()} if p is None else {"classes": names, "probabilities": p.tolist()}
        write_json(arguments.json, found)
    return 0


def _samples(arguments: argparse.Namespace, model: Any) -> Any:
    """The samples of the file; an image is scaled to the input size of the model."""
    import ranvier as rv
    from ranvier.data.datasets import images

    path = Path(arguments.file)
    if path.suffix.lower() not in images.ENDINGS:
        if arguments.invert:
            raise Mistake(f"--invert is for an image, not for {path.name}")
        return _of_file(path, arguments.label)
    if arguments.label is not None:
        raise Mistake(f"--label is for a .csv or .npz file, not for {path.name}")
    shape = rv.serialization.info(model).input_shape
    if shape is None or len(shape) != 3 or shape[0] not in (1, 3):
        raise Mistake(f"'{arguments.model}' does not take images: its input is {shape}")
    image = images.read_image(path, (shape[1], shape[2]), grayscale=shape[0] == 1)
    return rv.data.Samples((1 - image if arguments.invert else image)[None], None, scale=255.0)


def _of_file(path: Path, label: Any) -> Any:
    import ranvier as rv

    if label is not None and label.lstrip("-").isdigit() and path.suffix.lower() != ".npz":
        label = int(label)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        samples = rv.data.load(path, label)
    for message in {str(warning.message) for warning in said}:
        print(f"ranvier: {message}", file=sys.stderr)
    return samples


def _classes(row: Any, names: list[str], top: int) -> str:
    best = sorted(range(len(row)), key=lambda i: (-row[i], i))[:top]
    return "  ".join(f"{names[i]} {row[i]:.4f}" for i in best)


def _values(row: Any) -> str:
    return "  ".join(f"{value:.6g}" for value in row)
