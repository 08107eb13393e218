"""The command line: `ranvier train digits`, `ranvier train mnist`, `ranvier config`.

Only argparse is imported until a command runs, so that help and mistakes answer at once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ranvier._core import __version__

if TYPE_CHECKING:
    from ranvier.data.datasets.mnist import Part

__all__ = ["main"]

EPOCHS = {"digits": {"cnn": 40, "mlp": 40}, "mnist": {"cnn": 6, "mlp": 10}}
BATCH_SIZE = {"digits": 32, "mnist": 128}
LEARNING_RATE = {
    "adam": {"cnn": 3e-3, "mlp": 6e-3},
    "adamw": {"cnn": 3e-3, "mlp": 6e-3},
    "rmsprop": {"cnn": 1e-3, "mlp": 2e-3},
    "sgd": {"cnn": 0.05, "mlp": 0.05},
}
PIXEL_MAXIMUM = {"digits": 16, "mnist": 255}


class Mistake(Exception):
    """Something that the user can put right: shown as one line, without a traceback."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 for an error, 2 for wrong arguments, 130 for Ctrl-C.

    >>> from ranvier.cli import main
    >>> main(["train", "digits", "--epochs", "0"])
    Traceback (most recent call last):
    SystemExit: 2
    """
    arguments = _parser().parse_args(argv)
    try:
        result: int = arguments.command(arguments)
        return result
    except Mistake as mistake:
        print(f"ranvier: error: {mistake}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nranvier: interrupted, nothing saved", file=sys.stderr)
        return 130
    except BrokenPipeError:  # our reader has gone; keep Python from saying so once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


# --- arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ranvier", description="Neural networks, fast on a CPU.")
    parser.add_argument("--version", action="version", version=f"ranvier {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    train = commands.add_parser("train", help="train a network on a data set, save it with its curves")
    train.set_defaults(command=_train)
    train.add_argument("dataset", choices=("digits", "mnist"), help="digits (inside the package) or mnist")
    train.add_argument(
        "--data-dir", metavar="DIR", help="folder with the four IDX files of mnist, gzipped or not"
    )
    train.add_argument("--model", choices=("cnn", "mlp"), default="cnn", help="default: cnn")
    train.add_argument("--epochs", type=_positive_int, metavar="N", help=f"default: {_defaults(EPOCHS)}")
    train.add_argument(
        "--batch-size", type=_positive_int, metavar="N", help=f"default: {_defaults(BATCH_SIZE)}"
    )
    train.add_argument(
        "--lr",
        type=_positive_float,
        metavar="X",
        help=f"at the start; it falls to 0 along half a cosine. Default: {_defaults(LEARNING_RATE)}",
    )
    train.add_argument("--optimizer", choices=tuple(LEARNING_RATE), default="adam", help="default: adam")
    train.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="default: 0; the same seed, the same bits"
    )
    train.add_argument(
        "--threads", type=_positive_int, metavar="N", help="default: the physical cores we may use"
    )
    train.add_argument(
        "--out",
        metavar="PATH",
        help="folder, or file ending in .safetensors; default: runs/<dataset>-<model>",
    )
    train.add_argument("--json", metavar="FILE", help="write configuration, history and test results to FILE")

    config = commands.add_parser("config", help="print ISA level, threads and versions")
    config.set_defaults(command=_config)
    return parser


def _defaults(table: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return f"({_defaults(value)})" if isinstance(value, dict) else f"{value:g}"

    return ", ".join(f"{name} {text(value)}" for name, value in table.items())


def _positive_int(text: str) -> int:
    value = int(text)
    if not 1 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


_positive_int.__name__ = "whole number"  # argparse names the type in its message


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not at least 0")
    return value


_seed.__name__ = "whole number"


def _positive_float(text: str) -> float:
    value = float(text)
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


_positive_float.__name__ = "number"


# --- ranvier config


def _config(arguments: argparse.Namespace) -> int:
    import ranvier as rv

    rv.show_config()
    return 0


# --- ranvier train


def _train(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    if arguments.data_dir is not None and arguments.dataset != "mnist":
        raise Mistake(f"--data-dir is for mnist; {arguments.dataset} comes with the package")
    model_path = _model_path(arguments)
    picture_path: Path | None = model_path.with_suffix(".png")
    for path in filter(None, (model_path, arguments.json)):
        _require_writable(Path(path))

    import ranvier as rv
    from ranvier import plot

    try:
        plot.require_matplotlib("ranvier train")
    except ImportError:
        print("no picture of the curves: matplotlib is missing (pip install 'ranvier[plot]')", flush=True)
        picture_path = None
    if arguments.threads is not None:
        try:
            rv.set_num_threads(arguments.threads)
        except ValueError as error:
            raise Mistake(error) from None
    rv.manual_seed(arguments.seed)

    train, valid, test = _data(arguments)
    settings = _settings(arguments)
    model = _model(arguments.dataset, arguments.model)
    optimizer = _optimizer(arguments.optimizer, model, settings["lr"])
    trainer = rv.Trainer(model, rv.nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    print(
        f"{arguments.dataset}: {len(train[0])} training, {len(valid[0])} validation and {len(test[0])} test "
        f"images; {arguments.model} of {sum(p.numel() for p in model.parameters()):,} parameters; "
        f"{arguments.optimizer}, lr {settings['lr']:g}, batch {settings['batch_size']}, "
        f"{rv.get_num_threads()} threads",
        flush=True,
    )
    history = trainer.fit(
        *train,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        validation_data=valid,
        callbacks=[rv.ProgressBar(), _schedule(settings["lr"])],
    )
    measured = trainer.evaluate(*test)
    seconds = time.perf_counter() - start
    print(f"test accuracy {measured['accuracy']:.4f}, test loss {measured['loss']:.4f}, {seconds:.1f} s")

    _save(arguments, model_path, picture_path, model, history)
    if arguments.json is not None:
        results = {
            "configuration": {**settings, **rv.config.config()},
            "history": history.to_dict(),
            "test_accuracy": measured["accuracy"],
            "test_loss": measured["loss"],
            "seconds": seconds,
            "model": str(model_path),
            "picture": None if picture_path is None else str(picture_path),
        }
        Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")
    print(f"saved {', '.join(str(path) for path in (model_path, picture_path, arguments.json) if path)}")
    return 0


def _save(
    arguments: argparse.Namespace, model_path: Path, picture_path: Path | None, model: Any, history: Any
) -> None:
    import ranvier as rv
    from ranvier import plot

    rv.save(
        model,
        model_path,
        input_shape=(1, 8, 8) if arguments.dataset == "digits" else (1, 28, 28),
        class_names=[str(digit) for digit in range(10)],
        preprocessing=[rv.data.Normalize(0, PIXEL_MAXIMUM[arguments.dataset])],
    )
    if picture_path is not None:
        plot.history(history, picture_path)


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments with their defaults filled in."""
    dataset, model, optimizer = arguments.dataset, arguments.model, arguments.optimizer
    return {
        "dataset": dataset,
        "data_dir": arguments.data_dir,
        "model": model,
        "epochs": arguments.epochs or EPOCHS[dataset][model],
        "batch_size": arguments.batch_size or BATCH_SIZE[dataset],
        "lr": arguments.lr or LEARNING_RATE[optimizer][model],
        "optimizer": optimizer,
        "seed": arguments.seed,
    }


def _model_path(arguments: argparse.Namespace) -> Path:
    out = Path(arguments.out or f"runs/{arguments.dataset}-{arguments.model}")
    return out if out.suffix == ".safetensors" else out / f"{arguments.dataset}.safetensors"


def _require_writable(path: Path) -> None:
    """Find out before the training, not after it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Mistake(f"cannot make folder '{path.parent}': {error.strerror}") from None
    if path.is_dir():
        raise Mistake(f"'{path}' is a folder; expected a file to write")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise Mistake(f"cannot write '{path}': permission denied")


def _data(arguments: argparse.Namespace) -> tuple[Part, Part, Part]:
    """Training, validation and test part; digits 70 %, 10 %, 20 %, mnist 55,000, 5,000, 10,000."""
    from ranvier.data import datasets, train_test_split

    if arguments.dataset == "digits":
        x, y = datasets.load_digits()
        x, xt, y, yt = train_test_split(x, y, test_size=360, random_state=arguments.seed, stratify=y)
        held_out = 180
    else:
        try:
            (x, y), (xt, yt) = datasets.load_mnist(arguments.data_dir)
        except (OSError, ValueError, ImportError) as error:
            raise Mistake(error) from None
        held_out = len(x) // 12
    if held_out < 10 or len(xt) == 0:
        raise Mistake(f"{len(x)} training and {len(xt)} test images are too few to train on")
    x, xv, y, yv = train_test_split(x, y, test_size=held_out, random_state=arguments.seed, stratify=y)
    return (x, y), (xv, yv), (xt, yt)


def _model(dataset: str, kind: str) -> Any:
    from ranvier import nn

    if kind == "mlp":
        pixels = 64 if dataset == "digits" else 784
        return nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
        )
    if dataset == "digits":  # 8x8 pixels leave room for one pooling, 1,257 images need dropout
        convolutions = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()]
        head = [nn.Linear(1024, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)]
        return nn.Sequential(*convolutions, nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(), *head)
    first = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*first, *second, nn.Flatten(), *head)


def _optimizer(name: str, model: Any, lr: float) -> Any:
    from ranvier import optim

    if name == "sgd":
        return optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    kinds = {"adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop}
    return kinds[name](model.parameters(), lr=lr)


def _schedule(lr: float) -> Any:
    """A callback that lets the learning rate fall to 0 along half a cosine, and ends a run that diverged.

    Source: I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.
    """
    from ranvier.train import Callback

    class Schedule(Callback):
        step = 0

        def on_batch_begin(self, batch: int) -> None:
            share = self.step / (self.trainer.steps_per_epoch * self.trainer.last_epoch)
            for group in self.trainer.optimizer.param_groups:
                group["lr"] = lr * (1 + math.cos(math.pi * share)) / 2
            self.step += 1

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if not math.isfinite(logs["loss"]):
                raise Mistake(f"the training diverged: loss {logs['loss']}; try a smaller --lr")

    return Schedule()


if __name__ == "__main__":
    sys.exit(main())
