"""`ranvier summary`: the contents of a model file."""

from __future__ import annotations

import argparse
import re
from typing import Any

import ranvier as rv
from ranvier.cli.arguments import Mistake, add_command, add_flags, mistakes
from ranvier.cli.networks import add_model, open_model


def add(commands: Any) -> None:
    summary = add_command(
        commands,
        run,
        "summary",
        "print the layers, shapes and parameters of a model file",
        "Prints the layers of a model file, their shapes and parameters, the classes, and the transforms "
        "before and after the network.",
        ["ranvier summary runs/digits-cnn/digits.safetensors"],
    )
    add_model(summary)
    text = "of a sample, as 1x28x28; default: from the file"
    add_flags(summary, {"--input-shape": (sample_shape, "SHAPE", text)})


def sample_shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+([x,]\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 1x28x28")
    return tuple(int(part) for part in re.split("[x,]", text))


def run(arguments: argparse.Namespace) -> int:
    model = open_model(arguments)
    about = rv.serialization.info(model)
    shape = arguments.input_shape or about.input_shape
    if shape is None:
        raise Mistake(f"'{arguments.model}' does not say what its input is; pass --input-shape")
    with mistakes(ValueError, TypeError, RuntimeError):
        rv.summary(model, shape)
    print(f"input       {'x'.join(map(str, shape))}")
    for line in described(about):
        print(line)
    print(f"written by  ranvier {about.version}")
    return 0


def described(about: Any) -> list[str]:
    """The lines of the classes, and of the transforms before and after the network."""
    lines = [f"classes     {', '.join(about.class_names)}"] if about.class_names else []
    for step in about.preprocessing:
        settings = ", ".join(f"{name} {_short(value)}" for name, value in step.items() if name != "transform")
        lines.append(f"before it   {step.get('transform')} ({settings})")
    return lines + ([f"after it    {about.link}"] if about.link else [])


def _short(value: Any) -> str:
    """A setting on one line; of a long list, the first numbers."""
    if not isinstance(value, list):
        return f"{value:g}" if isinstance(value, float) else str(value)
    more = f" ... {len(value)} in all" if len(value) > 4 else ""
    return f"[{', '.join(_short(item) for item in value[:4])}{more}]"
