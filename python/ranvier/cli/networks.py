"""The networks of the commands: made by name or by a Python file, read from a model file, and applied."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.cli.arguments import Mistake, mistakes, path_name, similar

if TYPE_CHECKING:
    import ranvier.nn as nn
    from ranvier.data import Samples, Standardize
    from ranvier.optim import Optimizer
    from ranvier.tensors.memory import Array

KINDS = ("cnn", "mlp")
BATCH = 256  # samples that a model gets at once, to predict
EPOCHS = 40
MNIST_EPOCHS = {"cnn": 6, "mlp": 10}
LEARNING_RATE = {
    "adam": {"cnn": 3e-3, "mlp": 6e-3},
    "adamw": {"cnn": 3e-3, "mlp": 6e-3},
    "rmsprop": {"cnn": 1e-3, "mlp": 2e-3},
    "sgd": {"cnn": 0.05, "mlp": 0.05},
}


def default_epochs(data: str, kind: str) -> int:
    """The epochs for a data set by its name, and a network's kind: "cnn", "mlp" or a Python file."""
    if data in ("mnist", "fashion_mnist"):
        return MNIST_EPOCHS.get(kind, EPOCHS)
    return EPOCHS


def default_batch_size(samples: int) -> int:
    """The default batch size for a number of samples, small enough for many steps in an epoch."""
    if samples < 10_000:
        return 32
    return 128


def default_learning_rate(optimizer: str, kind: str) -> float:
    """The learning rate for an optimizer and a network's kind; for the user's own network the lowest."""
    rates = LEARNING_RATE[optimizer]
    return rates.get(kind, min(rates.values()))


def network(kind: str, input_shape: tuple[int, ...], classes: int, embedded: Sequence[int] = ()) -> nn.Module:
    """The network of a kind: "cnn", "mlp", or the path of a Python file, whose `build()` makes it.

    embedded: the number of classes of each of a table's last columns, if these are class indices.
    """
    if kind not in KINDS:
        return build(kind, input_shape, classes)
    if kind == "cnn":
        return _cnn(input_shape, classes)
    return _mlp(input_shape, classes, embedded)


def _mlp(input_shape: tuple[int, ...], classes: int, embedded: Sequence[int]) -> nn.Module:
    width = prod(input_shape)
    if not embedded:
        return rv.nn.Sequential(rv.nn.Flatten(), *rv.mlp([width, 128, 64, classes], init="default"))
    first = rv.nn.CategoryEmbedding(width - len(embedded), embedded)
    return rv.nn.Sequential(first, *rv.mlp([first.width, 128, 64, classes], init="default"))


def _cnn(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    if len(input_shape) != 3 or min(input_shape[1:]) < 6:
        shape = "x".join(map(str, input_shape))
        raise Mistake(f"the cnn is for images of at least 6x6, and a sample is {shape}; try --model mlp")
    nn = rv.nn
    channels, height, width = input_shape
    if min(height, width) < 20:  # small images: one pooling; small data sets: dropout
        pixels = (height // 2) * (width // 2)
        convolutions = [nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1)]
        body = [*convolutions, nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)]
        head = [nn.Linear(64 * pixels, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, classes)]
        return nn.Sequential(*body, nn.Flatten(), *head)
    # Twice a 3x3 convolution, which loses 2 pixels, and a pooling, which halves the image.
    height = ((height - 2) // 2 - 2) // 2
    width = ((width - 2) // 2 - 2) // 2
    first = [nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Linear(64 * height * width, 128), nn.ReLU(), nn.Linear(128, classes)]
    return nn.Sequential(*first, *second, nn.Flatten(), *head)


def build(path: str, input_shape: tuple[int, ...] | None = None, classes: int | None = None) -> nn.Module:
    """Runs a Python file and calls its `build()`, with `input_shape` and `classes` if it takes them."""
    import importlib.util
    import inspect

    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        meant = similar(path, KINDS)
        raise Mistake(
            f"no network '{path}': expected {', '.join(KINDS)} or a Python file with build(){meant}"
        )
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise Mistake(f"'{path}' cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # an error in the user's code shows its traceback
    function = getattr(module, "build", None)
    if not callable(function):
        raise Mistake(f"'{path}' defines no function build()")
    wanted = inspect.signature(function).parameters
    arguments: dict[str, Any] = {}
    if "input_shape" in wanted and input_shape is not None:
        arguments["input_shape"] = input_shape
    if "classes" in wanted and classes is not None:
        arguments["classes"] = classes
    model = function(**arguments)
    if not isinstance(model, rv.nn.Module):
        raise Mistake(f"build() of '{path}' returned a {type(model).__name__}; expected a Module")
    return model


def initialize(model: nn.Module, name: str) -> None:
    """Initializes weights by the name of an initializer, biases with 0.

    Raises Mistake: the network has no layer with such weights.
    """
    kinds = (rv.nn.Linear, rv.nn.Conv1d, rv.nn.Conv2d)
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]
    if not layers:
        raise Mistake(f"--init {name} is for linear layers and convolutions, and the network has none")
    for layer in layers:
        rv.nn.init.named(name)(layer.weight)
        if layer.bias is not None:
            rv.nn.init.zeros_(layer.bias)


def rescale(model: nn.Sequential, scale: Standardize) -> None:
    """Change the last layer so that its outputs are values, no longer standardized by `scale`.

    The network becomes float64 if float32 would round away the differences between its outputs.
    """
    from ranvier.data.scaling import beyond_float32

    mean = scale.mean
    std = scale.std
    if mean is None or std is None:
        raise ValueError("[rescale] got a transform that is not fitted")
    if beyond_float32(np.abs(mean), std).any():
        model.double()
    last = model[-1]
    with rv.no_grad():
        last.weight.copy_(last.weight * rv.tensor(std.reshape(-1, 1), dtype=last.weight.dtype))
        bias = scale.inverse_transform(last.bias.numpy(force=True)[None])[0]
        last.bias.copy_(rv.tensor(bias, dtype=last.bias.dtype))


def make_optimizer(name: str, model: nn.Module, lr: float, momentum: float | None) -> Optimizer:
    """An optimizer by its name on the command line; momentum: of "sgd" only."""
    parameters = model.parameters()
    if name == "sgd":
        return rv.optim.SGD(parameters, lr=lr, momentum=momentum or 0.0)
    classes = {"adam": rv.optim.Adam, "adamw": rv.optim.AdamW, "rmsprop": rv.optim.RMSprop}
    return classes[name](parameters, lr=lr)


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=path_name, help="a file of rv.save or ranvier train")
    text = "for your own network: the Python file with its build()"
    parser.add_argument("--code", type=path_name, metavar="FILE", help=text)


def open_model(arguments: argparse.Namespace) -> nn.Module:
    """The model in evaluation mode."""
    into = None if arguments.code is None else build(arguments.code)
    try:
        model = rv.load(arguments.model, into=into)
    except FileNotFoundError:
        raise Mistake(f"no such file: '{arguments.model}'") from None
    except IsADirectoryError:
        inside = sorted(Path(arguments.model).glob("*.safetensors"))[:3]
        if inside:
            found = f": it has {', '.join(str(path) for path in inside)}"
        else:
            found = ""
        raise Mistake(f"'{arguments.model}' is a folder; expected a model file{found}") from None
    except (OSError, ValueError) as error:
        message = str(error).replace("rv.load(path, into=model)", "--code FILE")
        raise Mistake(message) from None
    if not isinstance(model, rv.nn.Module):
        raise Mistake(
            f"'{arguments.model}' holds weights without a model; expected what rv.save(model, path) wrote"
        )
    return model.eval()


def image_settings(model: nn.Module) -> dict[str, Any]:
    """The arguments of `rv.data.load` that read images as the model takes them; {} if it takes no images."""
    shape = rv.serialization.info(model).input_shape
    if shape is None or len(shape) != 3 or shape[0] not in (1, 3):
        return {}
    return {"size": (shape[1], shape[2]), "grayscale": shape[0] == 1}


def inputs(model: nn.Module, samples: Samples) -> Array:
    """The samples of a file, reshaped and preprocessed as the model file says."""
    about = rv.serialization.info(model)
    x = order_columns(about.feature_names, samples)
    steps = [rv.data.transforms.from_config(step) for step in about.preprocessing]
    if steps and isinstance(steps[0], rv.data.TableEncoder):
        with mistakes(ValueError):
            x = steps.pop(0).transform(x)
    if about.input_shape is not None and x.shape[1:] != about.input_shape:
        if int(np.prod(x.shape[1:])) != int(np.prod(about.input_shape)):
            shape = "x".join(map(str, x.shape[1:]))
            expected = "x".join(map(str, about.input_shape))
            raise Mistake(f"a sample is {shape}, and the model takes {expected}")
        x = x.reshape(len(x), *about.input_shape)
    if samples.scale != 1 and steps and isinstance(steps[0], rv.data.MinMaxScaler):
        steps = steps[1:]  # pixels are already scaled to [0, 1]
    for step in steps:
        x = step.transform(x)
    return x.astype(sample_dtype(model))


def outputs(model: nn.Module, samples: Samples) -> Array:
    """The model's outputs for the samples of a file."""
    x = inputs(model, samples)
    batches = []
    try:
        with rv.no_grad():
            for start in range(0, len(x), BATCH):
                batches.append(model(x[start : start + BATCH]).numpy())
    except (ValueError, TypeError) as error:
        raise Mistake(f"the model does not take these samples: {error}") from None
    output = np.concatenate(batches)
    wrong = np.isnan(output).reshape(len(output), -1).any(axis=1)
    if wrong.any():
        raise Mistake(f"the model's output for sample {int(wrong.argmax())} is NaN; expected a number")
    return output


def sample_dtype(model: nn.Module) -> np.dtype[Any]:
    """The dtype of the samples that the model takes."""
    for p in model.parameters():
        if p.is_floating_point():
            return p.dtype
    return np.dtype(np.float32)


def order_columns(expected: list[str] | None, samples: Samples) -> Array:
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
        differences = []
        if missing:
            differences.append(f"lacks {', '.join(map(repr, missing))}")
        if more:
            differences.append(f"has, and the model does not take, {', '.join(map(repr, more))}")
        if twice:
            differences.append(f"has twice {', '.join(map(repr, twice))}")
        hint = "; --label NAME leaves a column of labels out" if more else ""
        raise Mistake(
            f"the table {'; it '.join(differences)}: expected the columns {', '.join(expected)}{hint}"
        )


def probabilities(model: nn.Module, output: Array, link: str | None = None) -> Array | None:
    """Probabilities of the classes, (n, classes); None without a link, in the model file or given."""
    from ranvier.train.losses import probabilities as link_probabilities

    link = rv.serialization.info(model).link or link
    if link is None:
        return None
    p = link_probabilities(output, link).reshape(len(output), -1)
    if p.shape[1] == 1:
        return np.hstack([1 - p, p])
    return p


def class_names(model: nn.Module, classes: int) -> list[str]:
    """The names of the classes from the model file; numbers if it has none, or of another number."""
    names = rv.serialization.info(model).class_names
    if names and len(names) == classes:
        return names
    return [str(number) for number in range(classes)]
