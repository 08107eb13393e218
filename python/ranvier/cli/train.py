"""`ranvier train`: a network by name on a data set, saved with its curves."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ranvier.cli.arguments import (
    Interrupted,
    Mistake,
    defaults,
    positive_float,
    positive_int,
    require_writable,
    seed,
)
from ranvier.cli.networks import BATCH_SIZE, EPOCHS, LEARNING_RATE, PIXEL_MAXIMUM, make_optimizer, network

if TYPE_CHECKING:
    from ranvier.data.datasets.mnist import Part


def add(commands: Any) -> None:
    """The command's arguments."""
    train = commands.add_parser("train", help="train a network on a data set, save it with its curves")
    train.set_defaults(command=run)
    train.add_argument("dataset", choices=("digits", "mnist"), help="digits (inside the package) or mnist")
    train.add_argument(
        "--data-dir", metavar="DIR", help="folder with the four IDX files of mnist, gzipped or not"
    )
    train.add_argument("--model", choices=("cnn", "mlp"), default="cnn", help="default: cnn")
    train.add_argument("--epochs", type=positive_int, metavar="N", help=f"default: {defaults(EPOCHS)}")
    train.add_argument(
        "--batch-size", type=positive_int, metavar="N", help=f"default: {defaults(BATCH_SIZE)}"
    )
    train.add_argument(
        "--lr",
        type=positive_float,
        metavar="X",
        help=f"at the start; it falls to 0 along half a cosine. Default: {defaults(LEARNING_RATE)}",
    )
    train.add_argument("--optimizer", choices=tuple(LEARNING_RATE), default="adam", help="default: adam")
    train.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="default: 0; the same seed, the same bits"
    )
    train.add_argument(
        "--threads", type=positive_int, metavar="N", help="default: the physical cores we may use"
    )
    train.add_argument(
        "--out",
        metavar="PATH",
        help="folder, or file ending in .safetensors; default: runs/<dataset>-<model>",
    )
    train.add_argument(
        "--checkpoint",
        metavar="DIR",
        help="write the whole state of the run to DIR, after each epoch and each minute of one",
    )
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest checkpoint in DIR, with the bits of a run that was never stopped",
    )
    train.add_argument("--json", metavar="FILE", help="write configuration, history and test results to FILE")


def run(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    if arguments.data_dir is not None and arguments.dataset != "mnist":
        raise Mistake(f"--data-dir is for mnist; {arguments.dataset} comes with the package")
    if arguments.resume and arguments.checkpoint is None:
        raise Mistake("--resume needs --checkpoint DIR, the folder to go on from")
    model_path = _model_path(arguments)
    picture_path: Path | None = model_path.with_suffix(".png")
    for path in filter(None, (model_path, arguments.json)):
        require_writable(Path(path))

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
    model = network(arguments.dataset, arguments.model)
    optimizer = make_optimizer(arguments.optimizer, model, settings["lr"])
    trainer = rv.Trainer(model, rv.nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    print(
        f"{arguments.dataset}: {len(train[0])} training, {len(valid[0])} validation and {len(test[0])} test "
        f"images; {arguments.model} of {sum(p.numel() for p in model.parameters()):,} parameters; "
        f"{arguments.optimizer}, lr {settings['lr']:g}, batch {settings['batch_size']}, "
        f"{rv.get_num_threads()} threads",
        flush=True,
    )
    history = _fit(arguments, trainer, train, valid, settings)
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


def _fit(
    arguments: argparse.Namespace, trainer: Any, train: Part, valid: Part, settings: dict[str, Any]
) -> Any:
    import ranvier as rv

    updates = settings["epochs"] * -(-len(train[0]) // settings["batch_size"])
    cosine = rv.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, updates)  # half of it, down to 0
    watch = _watch(settings)
    callbacks = [rv.ProgressBar(), rv.train.Schedule(cosine, per="batch"), watch]
    folder = arguments.checkpoint
    if folder is not None:
        callbacks.append(rv.Checkpoint(folder, every_seconds=60, monitor="val_accuracy"))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say  # type: ignore[assignment]  # a damaged checkpoint that is passed over
            history = trainer.fit(
                *train,
                epochs=settings["epochs"],
                batch_size=settings["batch_size"],
                validation_data=valid,
                callbacks=callbacks,
                resume=folder if arguments.resume else None,
            )
    except (ValueError, OSError) as error:
        if folder is None:
            raise
        hint = "" if arguments.resume else "; add --resume to go on with its run"
        raise Mistake(f"{error}{hint}") from None
    if trainer.interrupted:
        kept = None if folder is None else callbacks[-1].latest
        raise Interrupted("nothing saved" if kept is None else f"'{kept}' is kept: go on with --resume")
    return history


def _say(message: Warning | str, *_: Any) -> None:
    print(f"ranvier: {message}", file=sys.stderr, flush=True)


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
        link="softmax",
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


def _watch(settings: dict[str, Any]) -> Any:
    """A callback that ends a run that diverged, and one that is resumed with other settings."""
    from ranvier.train import Callback

    class Watch(Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            if not math.isfinite(logs["loss"]):
                raise Mistake(f"the training diverged: loss {logs['loss']}; try a smaller --lr")

        def state_dict(self) -> dict[str, Any]:
            return {f"--{name}": settings[name] for name in ("lr", "epochs")}

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            for name, ours in self.state_dict().items():
                if state[name] != ours:
                    raise Mistake(f"--resume needs the settings of the run: it has {name} {state[name]:g}")

    return Watch()
