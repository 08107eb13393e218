"""Refuses flags that have no effect on this data, model or machine, and outputs that overwrite inputs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ranvier.cli.arguments import Mistake, similar
from ranvier.cli.tables import require_table_flags

NAMED = ("digits", "fashion_mnist", "iris", "mnist")


def require_data_flags(arguments: argparse.Namespace) -> None:
    """Raise a mistake for a flag of another kind of data."""
    name = arguments.data
    named, folder = name in NAMED, Path(name).is_dir()
    if arguments.data_dir is not None and name not in ("mnist", "fashion_mnist"):
        raise Mistake(f"--data-dir is for mnist and fashion_mnist, not for {name}")
    if not named and not Path(name).exists():
        found = similar(name, NAMED)
        raise Mistake(f"no data set or file '{name}'; expected {', '.join(NAMED)}, a file or a folder{found}")
    require_table_flags(arguments, name)
    if arguments.label is not None and (named or folder):
        raise Mistake(f"--label is for a .csv or .npz file, not for {name}")
    if arguments.task != "auto" and (named or folder):
        raise Mistake(f"--task is for a .csv or .npz file, not for {name}, which has classes")
    for flag, given in (("--size", arguments.size is not None), ("--grayscale", arguments.grayscale)):
        if given and not (folder and not named):
            raise Mistake(f"{flag} is for a folder of images, not for {name}")


def require_apart(paths: dict[str, str | Path | None], *inputs: str | None) -> None:
    """Raise a mistake for two outputs (flag -> path) under one path, or an output in place of an input."""
    seen: dict[str, str] = {}
    for flag, path in paths.items():
        if path is None:
            continue
        place = os.path.realpath(path)
        if os.path.exists(place) and any(name and os.path.realpath(name) == place for name in inputs):
            raise Mistake(f"{flag} is '{path}', which is read; writing it would destroy the input")
        if place in seen:
            raise Mistake(f"{seen[place]} and {flag} are both '{path}'; the second would replace the first")
        seen[place] = flag


def set_threads(threads: int | None) -> None:
    """Set the number of threads, unless it is None; raise a mistake for more threads than processors."""
    import ranvier as rv

    if threads is None:
        return
    try:
        rv.set_num_threads(threads)
    except ValueError as error:
        raise Mistake(error) from None
    count = os.cpu_count() or threads
    if threads > count:
        raise Mistake(f"--threads {threads}: this machine has {count} processor{'s' * (count > 1)}")
