"""Model files for the commands: opening them, and the meaning of their outputs."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ranvier.cli.arguments import Mistake, add_flags, path_name


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a file of rv.save or ranvier train")
    text = "for your own network: the Python file with its build()"
    add_flags(parser, {"--code": (path_name, "FILE", text)})


def open_model(arguments: argparse.Namespace) -> Any:
    """The model in evaluation mode."""
    import ranvier as rv
    from ranvier.cli.networks import build

    into = None if arguments.code is None else build(arguments.code)
    try:
        model = rv.load(arguments.model, into=into)
    except FileNotFoundError:
        raise Mistake(f"no such file: '{arguments.model}'") from None
    except (OSError, ValueError) as error:
        message = str(error).replace("rv.load(path, into=model)", "--code FILE")
        raise Mistake(message) from None
    if not isinstance(model, rv.nn.Module):
        raise Mistake(
            f"'{arguments.model}' holds weights without a model; expected what rv.save(model, path) wrote"
        )
    return model.eval()


def outputs(model: Any, samples: Any) -> Any:
    """The model's outputs for the samples of a file, reshaped and preprocessed as the model file says."""
    import numpy as np

    import ranvier as rv

    about = rv.serialization.info(model)
    x = in_order(about.feature_names, samples)
    steps = [rv.data.transforms.from_config(step) for step in about.preprocessing]
    if steps and isinstance(steps[0], rv.data.TableEncoder):
        try:
            x = steps.pop(0).transform(x)
        except ValueError as error:
            raise Mistake(error) from None
    if about.input_shape is not None and x.shape[1:] != about.input_shape:
        if int(np.prod(x.shape[1:])) != int(np.prod(about.input_shape)):
            shapes = ("x".join(map(str, shape)) for shape in (x.shape[1:], about.input_shape))
            raise Mistake("a sample is {}, and the model takes {}".format(*shapes))
        x = x.reshape(len(x), *about.input_shape)
    if samples.scale != 1 and steps and isinstance(steps[0], rv.data.MinMaxScaler):
        steps = steps[1:]  # pixels are already scaled to [0, 1]
    for step in steps:
        x = step.transform(x)
    y = []
    dtype = dtype_of(model)
    try:
        with rv.no_grad():
            for start in range(0, len(x), 256):
                y.append(model(x[start : start + 256].astype(dtype)).numpy())
    except (ValueError, TypeError) as error:
        raise Mistake(f"the model does not take these samples: {error}") from None
    output = np.concatenate(y)
    wrong = np.isnan(output).reshape(len(output), -1).any(axis=1)
    if wrong.any():
        raise Mistake(f"the model's output for sample {int(wrong.argmax())} is NaN; expected a number")
    return output


def dtype_of(model: Any) -> Any:
    """The dtype of the samples that the model takes."""
    import numpy as np

    return next((p.dtype for p in model.parameters() if p.is_floating_point()), np.dtype(np.float32))


def in_order(expected: list[str] | None, samples: Any) -> Any:
    """The columns of the samples in the order of the model's columns.

    Raises Mistake: a column is missing, unknown, or there twice.
    """
    names = samples.feature_names
    if expected is None or samples.x.ndim != 2:
        return samples.x
    if names is None:
        if samples.x.shape[1] == len(expected):
            taken = f"they are taken to be {', '.join(expected)}"
            print(f"ranvier: the columns have no names; {taken}", file=sys.stderr, flush=True)
        return samples.x
    require_names(expected, list(names))
    if len({*expected}) < len(expected) or list(names) == expected:
        return samples.x
    return samples.x[:, [names.index(name) for name in expected]]


def require_names(expected: list[str], names: list[str]) -> None:
    """Raise Mistake: a column is missing, unknown, or there twice."""
    missing = [name for name in expected if name not in names]
    more = [name for name in names if name not in expected]
    twice = [name for name in expected if names.count(name) > 1]
    if missing or more or twice:
        said = [("lacks", missing), ("has, and the model does not take,", more), ("has twice", twice)]
        text = "; it ".join(f"{what} {', '.join(map(repr, found))}" for what, found in said if found)
        hint = "; --label NAME leaves a column of labels out" if more else ""
        raise Mistake(f"the table {text}: expected the columns {', '.join(expected)}{hint}")


def probabilities(model: Any, output: Any) -> Any:
    """Probabilities of the classes, (n, classes); None if the model file has no link."""
    import numpy as np

    import ranvier as rv
    from ranvier.train.losses import probabilities as of

    link = rv.serialization.info(model).link
    if link is None:
        return None
    p = of(output, link).reshape(len(output), -1)
    return np.hstack([1 - p, p]) if p.shape[1] == 1 else p


def names_of(model: Any, classes: int) -> list[str]:
    import ranvier as rv

    known = rv.serialization.info(model).class_names
    return known if known and len(known) == classes else [str(number) for number in range(classes)]
