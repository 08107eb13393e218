"""`ranvier predict`: classes and probabilities of the samples in a file."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from dataclasses import replace
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
    positive_int,
    require_outputs,
)
from ranvier.cli.networks import add_model, image_form, names_of, open_model, outputs, probabilities
from ranvier.cli.outputs import write_json, write_text
from ranvier.cli.problems import named_samples
from ranvier.cli.tables import NAMED, READING, is_table, load, of_model, require_table_flags


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
            "ranvier predict photos.safetensors folder/ --csv predictions.csv",
        ],
    )
    add_model(predict)
    files = "an image, a folder of images, a .csv, .parquet, .npy or .npz file"
    kinds = f"{', '.join(NAMED)} (the test part), {files}"
    predict.add_argument("file", metavar="FILE", type=path_name, help=kinds)
    flags = {
        "--label": (str, "NAME", "a column or array of labels, which is left out"),
        "--invert": (bool, None, "of an image: exchange dark and light"),
        "--top": (positive_int, "N", "the number of classes; default: 3"),
        "--csv": (path_name, "FILE", "write the predictions to FILE, a table"),
        "--json": (path_name, "FILE", "write all probabilities to FILE"),
    }
    add_flags(predict, flags | READING)


def run(arguments: argparse.Namespace) -> int:
    written = {"--csv": arguments.csv, "--json": arguments.json}
    require_outputs(written, arguments.model, arguments.file, arguments.code)
    model = open_model(arguments)
    with mistakes(OSError, ValueError, ImportError):
        samples = samples_of(arguments, model)
    output = outputs(model, samples)
    p = probabilities(model, output)
    if p is None and arguments.top is not None:
        raise Mistake("--top is for classes, and the model gives values")
    names = names_of(model, 0 if p is None else p.shape[1])
    places = _places(samples)
    rows = output.reshape(len(output), -1) if p is None else p
    if arguments.csv is not None:  # before lines are printed, whose reader may close the pipe
        _write_csv(arguments.csv, places, rows, None if p is None else names)
    if arguments.json is not None:
        of_classes = {"classes": names, "probabilities": rows.tolist()}
        write_json(arguments.json, {"outputs": output.tolist()} if p is None else of_classes)
    for place, row in zip(places, rows, strict=True):
        print(f"{place}: " + (_values(row) if p is None else _classes(row, names, arguments.top or 3)))
    return 0


def samples_of(arguments: argparse.Namespace, model: Any) -> Any:
    """The samples of the file or data set; an image is scaled to the input size of the model."""
    from ranvier.data.datasets import images

    path = Path(arguments.file)
    named = arguments.file in NAMED
    if named or (path.suffix.lower() not in images.ENDINGS and not path.is_dir()):
        if arguments.invert:
            raise Mistake(f"--invert is for an image, not for {path.name}")
        require_table_flags(arguments, arguments.file)
        label = arguments.label
        if named and label is not None:
            raise Mistake(f"--label is for a .csv or .npz file, not for {path.name}")
        if named:
            return named_samples(arguments.file)
        options = of_model(arguments, arguments.file, rv.serialization.info(model), label)
        if label is not None and is_table(path) and not label.lstrip("-").isdigit():
            options["without"] = [*options["without"], label]  # the column of labels may have gaps
            label = None
        return load(arguments, path, label, **options)
    require_table_flags(arguments, arguments.file)
    if arguments.label is not None:
        raise Mistake(f"--label is for a .csv or .npz file, not for {path.name}")
    how = image_form(model)
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
        return replace(samples, x=1 - samples.x)
    return samples


def _hint(arguments: argparse.Namespace, model: Any, x: Any) -> None:
    """Print a hint at --invert for digits on white paper: those of the data sets are light on black."""
    about = rv.serialization.info(model)
    if arguments.invert or about.class_names != list("0123456789") or x.shape[1] != 1:
        return
    edge = np.concatenate([x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1]], axis=-1)
    if len(x) and float(np.median(edge)) > 0.5:
        hint = "the edges are light, and the digits of digits and mnist are light on black: see --invert"
        print(f"ranvier: {hint}", file=sys.stderr, flush=True)


def _places(samples: Any) -> list[Any]:
    """The names of the images, or the numbers of the samples in the file."""
    if samples.files:
        return list(samples.files)
    if samples.rows is None:
        return list(range(len(samples.x)))
    return samples.rows.tolist()


def _write_csv(path: str, places: list[Any], rows: Any, names: list[str] | None) -> None:
    """A line for each sample: its place, the predicted class, and the probabilities; or the values."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    count = rows.shape[1]
    if count == 1:
        values = ["prediction"]
    else:
        values = [f"prediction {i}" for i in range(count)]
    writer.writerow(["sample", *(values if names is None else ["prediction", *names])])
    for place, row in zip(places, rows, strict=True):
        best = [] if names is None else [names[int(row.argmax())]]
        writer.writerow([place, *best, *map(_digits, row)])
    write_text(path, text.getvalue())


def _digits(value: Any) -> str:
    return f"{float(value):.{7 if value.dtype.itemsize < 8 else 15}g}"


def _classes(row: Any, names: list[str], top: int) -> str:
    best = sorted(range(len(row)), key=lambda i: (-row[i], i))[:top]
    return "  ".join(f"{names[i]} {row[i]:.4f}" for i in best)


def _values(row: Any) -> str:
    return "  ".join(map(_digits if row.dtype.itemsize == 8 else "{:.6g}".format, row))
