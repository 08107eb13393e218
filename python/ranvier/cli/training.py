"""One run of `ranvier train`: the network, its training, and the outputs."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import ranvier as rv
from ranvier.cli.arguments import Interrupted, Mistake
from ranvier.cli.networks import initialize, make_optimizer, network, rescale
from ranvier.cli.outputs import make_interrupt_checkpoint, results, save_somewhere, write_json
from ranvier.cli.problems import Problem, file_hash, standardized
from ranvier.cli.tables import NAMED, reading

if TYPE_CHECKING:
    from ranvier import EarlyStopping, History
    from ranvier.train import Callback, Checkpoint

# the settings that a resumed run must have in common with the stopped one
RESUMED = ("lr", "epochs", "schedule", "momentum", "init", "seed", "early_stopping")


class Training:
    """The network with its loss and optimizer; prints a summary of the run.

    `ranvier.cli.train` makes one, and calls `fit` and then `finish`.

    Args:
        arguments: those of the command line.
        problem: the data.
        settings: what `train` derives from both, such as the number of epochs; keys as in its `_settings`.
        model_path: the file to which `fit` saves the model.
    """

    def __init__(
        self, arguments: argparse.Namespace, problem: Problem, settings: dict[str, Any], model_path: Path
    ) -> None:
        self.arguments = arguments
        self.problem = problem
        self.settings = settings
        self.model_path = model_path
        model = network(settings["model"], problem.input_shape, problem.outputs, problem.embedded)
        if arguments.init != "default":
            initialize(model, arguments.init)
        optimizer = make_optimizer(arguments.optimizer, model, settings["lr"], settings["momentum"])
        if problem.values:
            loss = rv.nn.MSELoss()
        else:
            loss = rv.nn.CrossEntropyLoss()
        threads = _count(rv.get_num_threads(), "thread")
        if settings["ranks"] is not None:
            threads += f" on each of {settings['ranks']} ranks"
        print(
            f"{problem.name}: {len(problem.train[0])} training, {len(problem.valid[0])} validation and "
            f"{len(problem.test[0])} test {problem.kind}; {Path(settings['model']).stem} of "
            f"{sum(p.numel() for p in model.parameters()):,} parameters; "
            f"{arguments.optimizer}, lr {settings['lr']:g}, batch {settings['batch_size']}, "
            f"{threads}",
            flush=True,
        )
        how: dict[str, Any] = {"metrics": [problem.goal], "on_nonfinite": arguments.on_nonfinite}
        if arguments.distributed:
            how["distributed"] = True
            if arguments.shards:
                how["shards"] = arguments.shards
        try:
            self.trainer = rv.Trainer(model, loss, optimizer, **how)
        except ValueError as error:
            if not arguments.distributed:
                raise
            raise Mistake(error) from None  # the number of ranks does not fit

    def fit(self) -> None:
        """Train and save the model."""
        problem = self.problem
        folder = self.arguments.checkpoint
        scale = None
        if self.settings["standardize"]:
            problem, scale = standardized(problem)
            print("the losses are of standardized values: the mean as prediction has the loss 1", flush=True)
        callbacks = self._callbacks(len(problem.train[0]))
        checkpoint = callbacks[-1]
        try:
            self._fit(problem, callbacks)
        except rv.train.NonFiniteError as error:
            hint = ""
            if folder is not None and checkpoint.latest is not None:
                hint = f"; '{checkpoint.latest}' is a state before it"
            raise Mistake(f"the training diverged: {error}; see --lr{hint}") from None
        except BrokenPipeError:  # the reader of the output is gone
            raise
        except BlockingIOError as error:  # another run uses the folder
            raise Mistake(error) from None
        except (ValueError, OSError) as error:
            if folder is None and isinstance(error, ValueError):
                raise  # an error in the user's network shows its traceback
            stopped_run = not self.arguments.resume and checkpoint.latest is not None
            hint = "; add --resume to continue its run" if stopped_run else ""
            raise Mistake(f"{error}{hint}") from None
        self.best_epoch = getattr(callbacks[0], "best_epoch", None)  # of EarlyStopping, if there is one
        if self.best_epoch is not None and self.trainer.leads:
            text = _describe_stop(callbacks[0])
            if not self.arguments.early_stopping:
                text += " (--early-stopping off: of the last epoch)"
            print(text, flush=True)
        if scale is not None:
            rescale(self.trainer.model, scale)
        if self.trainer.interrupted:
            raise Interrupted(self._describe_saved(checkpoint))
        if self.trainer.leads:
            save_somewhere(self._save, self.model_path)

    def _callbacks(self, samples: int) -> list[Any]:
        """The callbacks: EarlyStopping is the first one if it is used, the last one writes checkpoints."""
        settings = self.settings
        folder = self.arguments.checkpoint
        callbacks = [rv.ProgressBar(every=max(1, settings["epochs"] // 50)), _watch(settings)]
        if settings["schedule"] == "cosine":
            updates = settings["epochs"] * math.ceil(samples / settings["batch_size"])
            cosine = rv.optim.lr_scheduler.CosineAnnealingLR(self.trainer.optimizer, updates)
            callbacks.insert(1, rv.train.Schedule(cosine, per="batch"))
        if settings["early_stopping"] is not None:
            callbacks.insert(0, rv.EarlyStopping("val_loss", patience=settings["early_stopping"]))
        if folder is None:
            return [*callbacks, make_interrupt_checkpoint(self.model_path)]
        return [*callbacks, rv.Checkpoint(folder, every_seconds=60, monitor=f"val_{self.problem.goal}")]

    def _fit(self, problem: Problem, callbacks: list[Any]) -> None:
        resumed = self.arguments.checkpoint if self.arguments.resume else None
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning  # of damaged checkpoints
            self.trainer.fit(
                *problem.train,
                epochs=self.settings["epochs"],
                batch_size=self.settings["batch_size"],
                shuffle=self.settings["batch_size"] < len(problem.train[0]),
                class_weight=self.settings["class_weight"],
                validation_data=problem.valid,
                callbacks=callbacks,
                verbose=0,  # the command has its own lines
                resume=resumed,
            )

    def _describe_saved(self, checkpoint: Checkpoint) -> str:
        """The text about the files of an interrupted run, and how to continue it."""
        if checkpoint.latest is None:
            return "nothing saved"
        if self.arguments.checkpoint is not None:
            return f"'{checkpoint.latest}' is kept: continue with --resume"
        model_path = checkpoint.folder / self.model_path.name
        save_somewhere(self._save, model_path)
        line = shlex.join(["ranvier", *self.arguments.words])
        command = f"{line} --checkpoint {shlex.quote(str(checkpoint.folder))} --resume"
        return f"the model so far is '{model_path}'; continue with: {command}"

    def _save(self, path: Path) -> None:
        problem = self.problem
        about: dict[str, Any] = {"input_shape": problem.input_shape, "class_names": problem.class_names}
        about |= {"preprocessing": problem.preprocessing, "feature_names": problem.feature_names}
        about["training_data"] = _trained_on(self.arguments, problem)
        about["link"] = None if problem.values else "softmax"
        rv.save(self.trainer.model, path, **about)

    def finish(self, start: float, picture_path: Path | None) -> None:
        """Measure the model on the test part, and write the other outputs.

        start: the time of `perf_counter` at the beginning of the command. picture_path: None for no picture.
        """
        arguments = self.arguments
        history = self.trainer.history
        measured = self.trainer.evaluate(*self.problem.test)
        if not self.trainer.leads:
            return
        seconds = time.perf_counter() - start
        self._print_results(measured, seconds)
        saved = [str(self.model_path)]
        if picture_path is not None:
            kept = history.epochs if self.best_epoch is None else self.best_epoch + 1
            rv.plot.history(history, picture_path, kept=kept)
            saved.append(str(picture_path))
        if arguments.json is not None:
            picture = None if picture_path is None else str(picture_path)
            goal = self.problem.goal
            document = {
                "configuration": {**self.settings, **self._reading_settings(), **rv.config.config()},
                "history": history.to_dict(),
                f"test_{goal}": measured[goal],
                "test_loss": measured["loss"],
                "seconds": seconds,
                "model": str(self.model_path),
                "picture": picture,
            }
            write_json(arguments.json, document)
            saved.append(arguments.json)
        print(_overfitting(history, self.settings["early_stopping"]), end="")
        print(f"saved {', '.join(saved)}")

    def _print_results(self, measured: dict[str, float], seconds: float) -> None:
        """Print the results on the test part. measured: the loss and the metrics by name."""
        problem = self.problem
        x, y = problem.test
        if problem.values:
            predicted = self.trainer.predict(x)
        else:
            predicted = self.trainer.predict_proba(x)
        loss = f"test loss {measured['loss']:.4f}, "
        if self.settings["standardize"]:  # the network was rescaled: its loss is another than in the training
            loss = ""
        print(f"test {problem.goal} {measured[problem.goal]:.4f}, {loss}{seconds:.1f} s\n")
        print(results(y, predicted, problem.class_names))

    def _reading_settings(self) -> dict[str, Any]:
        """How the data were read: the label, what becomes of missing values, the size of images ..."""
        flags = ("task", "missing", "without", "size", "grayscale")
        settings: dict[str, Any] = {"label": self.problem.target}
        settings |= {name: getattr(self.arguments, name) for name in flags}
        trained = _trained_on(self.arguments, self.problem) or {}
        return settings | trained.get("reading", {})


def _trained_on(arguments: argparse.Namespace, problem: Problem) -> dict[str, Any] | None:
    """The record in a model file by which `ranvier evaluate` knows the file of the training."""
    file = Path(arguments.data)
    if arguments.data in NAMED or not file.is_file():
        return None
    sizes = [len(part[0]) for part in (problem.train, problem.valid, problem.test)]
    about = {"sha256": file_hash(file), "seed": arguments.seed, "samples": sizes, "label": problem.target}
    options = reading(arguments, arguments.data)
    if options:
        about["reading"] = options
    return about


def _count(number: int, noun: str) -> str:
    """A number with its noun: "1 epoch", "2 epochs"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}s"


def _overfitting(history: History, early_stopping: int | None) -> str:
    """The text about a model that overfits, with its best epoch; empty for others."""
    from ranvier.explore import judge_fit

    judged = judge_fit(history)
    if judged.verdict != "overfitting" or early_stopping is not None:
        return ""
    losses = history["val_loss"]
    best = losses.index(min(losses)) + 1
    text = f"overfitting: {judged.reasons[0]}"
    if best < len(losses):
        text += (
            f"; the best epoch is {best}: --early-stopping 10 keeps its weights, --epochs {best} stops there"
        )
    return f"{text}\n"


def _describe_stop(stopping: EarlyStopping) -> str:
    """The text about the end of a run with early stopping."""
    end = ""
    if stopping.stopped_epoch is not None:
        waited = stopping.stopped_epoch - stopping.best_epoch
        end = f"stopped after {_count(waited, 'epoch')} without a better validation loss: "
    return f"{end}the weights are those of epoch {stopping.best_epoch + 1}"


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line; in place of `warnings.showwarning`, which has the same arguments."""
    print(f"ranvier: {message}", file=sys.stderr, flush=True)


def _watch(settings: dict[str, Any]) -> Callback:
    """A callback that refuses to resume a run with other settings.

    More epochs are allowed if the learning rate is constant.
    """
    from ranvier.train import Callback

    class Watch(Callback):
        def state_dict(self) -> dict[str, Any]:
            return {f"--{name.replace('_', '-')}": settings[name] for name in RESUMED}

        def require_state(self, state: Mapping[str, Any]) -> None:
            """Compare the settings of the stopped run with the present ones; raise the first difference."""
            constant = settings["schedule"] == "constant"
            for name, ours in self.state_dict().items():
                theirs = state.get(name, ours)
                more_epochs = name == "--epochs" and ours > theirs
                if theirs == ours or (more_epochs and constant):
                    continue
                if isinstance(theirs, float):
                    value = f"{theirs:g}"
                elif theirs is None:
                    value = "off"
                else:
                    value = theirs
                hint = ""
                if more_epochs:
                    hint = (
                        f", over which its learning rate falls to 0; for {ours} epochs start a new run, with "
                        "another folder as --checkpoint (a run with --schedule constant can be continued)"
                    )
                raise Mistake(f"--resume needs the settings of the run: it has {name} {value}{hint}")

    return Watch()
