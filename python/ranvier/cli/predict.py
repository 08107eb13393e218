"""`ranvier predict`: classes and probabilities of the samples in a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.cli.arguments import (
    Commands,
    Mistake,
    add_command,
    mistakes,
    path_name,
    positive_int,
    require_outputs,
)
from ranvier.cli.networks import add_model, class_names, image_settings, open_model, outputs, probabilities
from ranvier.cli.outputs import write_json, write_text
from ranvier.cli.tables import (
    NAMED,
    add_reading_flags,
    is_table,
    load,
    reading_as_trained,
    require_table_flags,
)

if TYPE_CHECKING:
    import ranvier.nn as nn
    from ranvier.data import Samples
    from ranvier.tensors.memory import Array


def add(commands: Commands) -> None:
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
            "ranvier predict photos.safetensors folder/ --csv predictions.csv",
        ],
    )
    add_model(predict)
    files = "an image, a folder of images, a .csv, .parquet, .npy or .npz file"
    kinds = f"{', '.join(NAMED)} (the test part), {files}"
    predict.add_argument("file", metavar="FILE", type=path_name, help=kinds)
    predict.add_argument(
        "--label", type=str, metavar="NAME", help="a column or array of labels, which is left out"
    )
    predict.add_argument("--invert", action="store_true", help="of an image: exchange dark and light")
    predict.add_argument("--top", type=positive_int, metavar="N", help="the number of classes; default: 3")
    predict.add_argument(
        "--csv", type=path_name, metavar="FILE", help="write the predictions to FILE, a table"
    )
    predict.add_argument("--json", type=path_name, metavar="FILE", help="write all probabilities to FILE")
    add_reading_flags(predict)


def run(arguments: argparse.Namespace) -> int:
    written = {"--csv": arguments.csv, "--json": arguments.json}
    require_outputs(written, arguments.model, arguments.file, arguments.code)
    model = open_model(arguments)
    with mistakes(OSError, ValueError, ImportError):
        samples = read_input(arguments, model)
    output = outputs(model, samples)
    p = probabilities(model, output)
    if p is None and arguments.top is not None:
        raise Mistake("--top is for classes, and the model gives values")
    places = _places(samples)
    # Files are written before lines are printed, whose reader may close the pipe.
    if p is None:
        rows = output.reshape(len(output), -1)
        _write(arguments, places, rows, None, {"outputs": output.tolist()})
        lines = [_values(row) for row in rows]
    else:
        names = class_names(model, p.shape[1])
        _write(arguments, places, p, names, {"classes": names, "probabilities": p.tolist()})
        lines = [_classes(row, names, arguments.top or 3) for row in p]
    for place, line in zip(places, lines, strict=True):
        print(f"{place}: {line}")
    return 0


def _write(
    arguments: argparse.Namespace,
    places: list[Any],
    rows: Array,
    names: list[str] | None,
    document: dict[str, Any],
) -> None:
    """Write the files of --csv (see `_write_csv`) and --json."""
    if arguments.csv is not None:
        _write_csv(arguments.csv, places, rows, names)
    if arguments.json is not None:
        write_json(arguments.json, document)


def read_input(arguments: argparse.Namespace, model: nn.Module) -> Samples:
    """The samples of the file or data set; an image is scaled to the input size of the model."""
    path = Path(arguments.file)
    if arguments.file in NAMED:
        return _read_named(arguments)
    from ranvier.data.datasets import images

    if path.suffix.lower() not in images.ENDINGS and not path.is_dir():
        if arguments.invert:
            raise Mistake(f"--invert is for an image, not for {path.name}")
        require_table_flags(arguments, arguments.file)
        label = arguments.label
        options = reading_as_trained(arguments, arguments.file, rv.serialization.info(model), label)
        if label is not None and is_table(path) and not label.lstrip("-").isdigit():
            options["without"] = [*options["without"], label]  # the column of labels may have gaps
            label = None
        return load(arguments, path, label, **options)
    require_table_flags(arguments, arguments.file)
    if arguments.label is not None:
        raise Mistake(f"--label is for a .csv or .npz file, not for {path.name}")
    how = image_settings(model)
    if not how:
        shape = rv.serialization.info(model).input_shape
        raise Mistake(f"'{arguments.model}' does not take images: its input is {shape}")
    if not path.is_dir():
        image = images.read_image(path, **how)[None]
        _hint(arguments, model, image)
        if arguments.invert:
            image = 1 - image
        return rv.data.Samples(image, None, scale=255.0, files=(str(path),))
    flat = any(images.is_image(file) for file in path.iterdir())
    loaded = images.load_unlabelled if flat else images.load_images
    samples = loaded(path, **how, skip_broken=arguments.skip_broken)
    for name in samples.skipped:
        print(f"skipped the broken image {name}", file=sys.stderr)
    _hint(arguments, model, samples.x)
    if arguments.invert:
        return samples.with_changes(x=1 - samples.x)
    return samples


def _read_named(arguments: argparse.Namespace) -> Samples:
    """The test part of a data set of the library."""
    if arguments.invert:
        raise Mistake(f"--invert is for an image, not for {arguments.file}")
    require_table_flags(arguments, arguments.file)
    if arguments.label is not None:
        raise Mistake(f"--label is for a .csv or .npz file, not for {arguments.file}")
    from ranvier.cli.problems import named_samples

    return named_samples(arguments.file)


def _hint(arguments: argparse.Namespace, model: nn.Module, x: Array) -> None:
    """Print a hint at --invert for digits on white paper: those of the data sets are light on black."""
    about = rv.serialization.info(model)
    if arguments.invert or about.class_names != list("0123456789") or x.shape[1] != 1:
        return
    edge = np.concatenate([x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1]], axis=-1)
    if len(x) and float(np.median(edge)) > 0.5:
        hint = "the edges are light, and the digits of digits and mnist are light on black: see --invert"
        print(f"ranvier: {hint}", file=sys.stderr, flush=True)


def _places(samples: Samples) -> list[Any]:
    """The names of the images, or the numbers of the samples in the file."""
    if samples.files:
        return list(samples.files)
    if samples.rows is None:
        return list(range(len(samples.x)))
    return samples.rows.tolist()


def _write_csv(path: str, places: list[Any], rows: Array, names: list[str] | None) -> None:
    """A line for each sample: its place, the predicted class, and the probabilities; or the values."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    count = rows.shape[1]
    if names is not None:
        headings = ["prediction", *names]
    elif count == 1:
        headings = ["prediction"]
    else:
        headings = [f"prediction {i}" for i in range(count)]
    writer.writerow(["sample", *headings])
    for place, row in zip(places, rows, strict=True):
        numbers = [_digits(value) for value in row]
        if names is None:
            writer.writerow([place, *numbers])
        else:
            writer.writerow([place, names[int(row.argmax())], *numbers])
    write_text(path, text.getvalue())


def _digits(value: np.floating[Any]) -> str:
    """A number with the digits that its dtype has."""
    digits = 7 if value.dtype.itemsize < 8 else 15
    return f"{float(value):.{digits}g}"


def _classes(row: Array, names: list[str], top: int) -> str:
    best = sorted(range(len(row)), key=lambda i: (-row[i], i))[:top]
    return "  ".join(f"{names[i]} {row[i]:.4f}" for i in best)


def _values(row: Array) -> str:
    if row.dtype.itemsize == 8:
        return "  ".join(_digits(value) for value in row)
    return "  ".join(f"{value:.6g}" for value in row)
