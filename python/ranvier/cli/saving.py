"""Writing files, also if the disk is full or Ctrl-C ends a run."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ranvier.cli.arguments import Mistake


def write_json(path: str, document: dict[str, Any]) -> None:
    from ranvier.serialization import files

    try:
        files.replace(path, (json.dumps(document, indent=2) + "\n").encode())
    except OSError as error:
        raise Mistake(error) from None


def save_somewhere(save: Callable[[Path], None], path: Path) -> None:
    """Save to `path`; if that fails, to the folder of temporary files.

    Raises Mistake: it is not saved to `path`; says where it is.
    """
    try:
        save(path)
    except OSError as error:
        try:
            other = Path(tempfile.mkdtemp(prefix="ranvier-")) / path.name
            save(other)
        except OSError:
            raise Mistake(error) from None
        raise Mistake(f"{error}; the model is in '{other}'") from None


def interrupted_folder(model_path: Path) -> Path:
    """A new folder for an interrupted run, next to its model."""
    for number in range(1, 10_000):
        folder = model_path.with_name(f"{model_path.stem}-interrupted" + (f"-{number}" if number > 1 else ""))
        if not folder.exists():
            return folder
    raise Mistake(f"'{model_path.parent}' has too many interrupted runs")


def keeper(model_path: Path) -> Any:
    """A callback that writes a checkpoint only after Ctrl-C; `latest` is None before."""
    from ranvier.train import Checkpoint

    class Keeper(Checkpoint):
        def on_train_begin(self) -> None:
            pass

        def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
            pass

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            pass

        def on_interrupt(self) -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            super().on_interrupt()

    return Keeper(interrupted_folder(model_path), best=False)


def how_to_resume(line: str, folder: Path) -> str:
    """The command that continues from a checkpoint in the folder."""
    return f"{line} --checkpoint {shlex.quote(str(folder))} --resume"
