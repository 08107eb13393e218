"""Checkpoint: the whole state of a run on disk, so that it can be killed at any moment and resumed.

The functions write, list and read the files of a folder; the callback calls them, and `Run.find` reads the
newest file with `newest`.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ranvier.extension as extension
from ranvier.tensors.errors import count, flag, own_errors
from ranvier.train.attributes import Checked, Known
from ranvier.train.callbacks.base import Callback
from ranvier.train.callbacks.control import Monitor
from ranvier.train.losses import link_of

if TYPE_CHECKING:
    from pathlib import Path

# The functions import what reads and writes files: a run without checkpoints does not need it.
__all__ = ["Checkpoint"]

_NAME = r"checkpoint-(\d+)-(\d+)\.safetensors"
PathLike = str | os.PathLike[str]


def folder_at(path: PathLike) -> Path:
    """The path of a folder, which may be new. Raises ValueError where it, or a part of it, is a file."""
    from pathlib import Path

    folder = parent = Path(path)
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise ValueError(
            f"[Checkpoint] got '{folder}', but '{parent}' is a file; expected a folder, which may be new"
        )
    return folder


def write_state(folder: Path, state: dict[str, Any]) -> Path:
    """Write the state of a run under the name of its epoch and batch."""
    from ranvier.serialization.files import write_checkpoint

    path = folder / f"checkpoint-{state['epoch']:05d}-{state['batch']:06d}.safetensors"
    write_checkpoint(path, state)
    return path


def lock(folder: Path) -> int | None:
    """Lock the folder for one run, since each run removes files of earlier ones; returns the handle.

    The lock ends with `unlock`, or with the process, however that ends. None where the system has no such
    locks.

    Raises:
        BlockingIOError: another run holds the lock.
    """
    try:
        import fcntl
    except ImportError:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise BlockingIOError(
                f"[Checkpoint] another run is writing to '{folder}'; expected a folder for this run alone"
            ) from None
        return None  # The file system has no locks.
    return handle


def unlock(handle: int) -> None:
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_UN)  # a forked child may still have it open
    os.close(handle)


def listed(folder: PathLike) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    from pathlib import Path

    if not Path(folder).is_dir():
        return []
    checkpoints = []
    for path in Path(folder).iterdir():
        match = re.fullmatch(_NAME, path.name)
        if match is not None:
            epochs, batches = match.groups()
            checkpoints.append((int(epochs), int(batches), path))
    checkpoints.sort(reverse=True)
    return [path for _, _, path in checkpoints]


def _is_model_file(name: str) -> bool:
    return name.endswith(".safetensors")


def tidy(folder: Path, current: Path, keep: int) -> None:
    """Remove all checkpoints except the newest `keep`, and temporary files that killed runs left.

    Those newer than `current` are removed too: they are of a run that was then resumed from an earlier one.
    """
    from ranvier.tensors.disk import remove_parts

    checkpoints = listed(folder)
    position = checkpoints.index(current)
    for path in [*checkpoints[:position], *checkpoints[position + keep :]]:
        path.unlink(missing_ok=True)
    remove_parts(folder, _is_model_file)  # files that were not written to their end


def newest(path: PathLike) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint at `path` and its state; of a folder the newest undamaged one, or None.

    A damaged one is skipped with a warning, if an older one is undamaged.

    Raises:
        FileNotFoundError: neither a file nor a folder.
        ValueError: the file, or every checkpoint in the folder, is damaged or no checkpoint.
    """
    from pathlib import Path

    from ranvier.serialization.files import read_checkpoint

    path = Path(path)
    if not path.is_dir():
        return path, read_checkpoint(path)
    candidates = listed(path)
    problems: list[str] = []
    for candidate in candidates:
        try:
            state = read_checkpoint(candidate)
        except ValueError as error:
            problems.append(str(error))
            continue
        if problems:
            warnings.warn(
                f"[Trainer.fit] falls back to the older checkpoint '{candidate}': {'; '.join(problems)}",
                stacklevel=4,
            )
        return candidate, state
    if candidates:
        raise ValueError(f"[Trainer.fit] no checkpoint in '{path}' is whole: {'; '.join(problems)}")
    return None


BEST = "best.safetensors"


def _seconds(owner: str, name: str, value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise ValueError(f"[{owner}] got {name} {value}; expected a number above 0")
    return value


def _batches(owner: str, name: str, value: object) -> int | None:
    if value is None:
        return None
    return count(owner, name, value)


class Checkpoint(Known, Callback):
    """Writes checkpoints of the run to a folder, and the best model so far to "best.safetensors" in it.

    A checkpoint holds everything that the rest of the run depends on: model, optimizer, schedule, random
    numbers, the order of the data and the position in it, gradients accumulated so far, history, and the
    state of all callbacks. `fit(resume=folder)` continues from the newest undamaged one, with the bits of
    a run that was never stopped. Other callbacks are called before it, so that it holds their state.

    A file is complete or does not exist: it is written under another name, flushed to the disk and renamed;
    older files are removed after that. Ctrl-C, and a KeyboardInterrupt that a callback raises, write one
    before the run ends.

    Args:
        folder: for the files "checkpoint-<epochs>-<batches>.safetensors"; made if it does not exist.
        every: epochs between checkpoints; the last epoch has one in any case.
        every_batches, every_seconds: also within an epoch, after this many batches, or this time since the
            last checkpoint.
        keep: how many of the newest are kept; more than one helps where a disk damages a file.
        best: keep the best model (as `rv.save` writes it).
        monitor, mode: what "best" means, as in EarlyStopping.
        overwrite: remove checkpoints of an earlier run in the folder instead of refusing to mix with them.

    Raises:
        ValueError: a file in the folder's place, a folder with checkpoints of a run that is not resumed, a
            count below 1, an unknown mode, a quantity that is not measured, or one whose direction is not
            known without `mode`.
        BlockingIOError: another run, of this process or another, is writing to the folder.

    >>> import tempfile
    >>> import ranvier as rv
    >>> folder = tempfile.mkdtemp()
    >>> def run(epochs, resume):
    ...     _ = rv.manual_seed(0)
    ...     model = rv.nn.Linear(1, 1)
    ...     trainer = rv.Trainer(model, rv.nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    ...     trainer.fit([[1.0], [2.0]], [[2.0], [4.0]], epochs=epochs, resume=resume,
    ...                 callbacks=[rv.Checkpoint(folder)])
    ...     return trainer
    >>> stopped = run(epochs=2, resume=None)
    >>> resumed = run(epochs=5, resume=folder)
    >>> resumed.history.epochs, resumed.resumed_from.name
    (5, 'checkpoint-00002-000000.safetensors')
    """

    _is_checkpoint = True
    every: Any = Checked(count)
    keep: Any = Checked(count)
    every_batches: Any = Checked(_batches)
    every_seconds: Any = Checked(_seconds)
    overwrite: Any = Checked(flag)

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int = 1,
        every_batches: int | None = None,
        every_seconds: float | None = None,
        keep: int = 2,
        best: bool = True,
        monitor: str | None = None,
        mode: str = "auto",
        overwrite: bool = False,
    ) -> None:
        self.folder = folder_at(folder)
        self.every = every
        self.keep = keep
        self.every_batches = every_batches
        self.every_seconds = every_seconds
        self.overwrite = overwrite
        best = flag("Checkpoint", "best", best)
        if not best and (monitor is not None or mode != "auto"):
            raise ValueError(
                "[Checkpoint] got best=False with monitor or mode, which say what is best; expected best=True"
            )
        self._monitor = Monitor("Checkpoint", monitor, mode) if best else None
        self._ours = False  # True if the files in the folder are of this run
        self._lock: int | None = None  # during a run
        self._made = True

    @property
    def every_batch(self) -> bool:  # type: ignore[override]
        return self.every_batches is not None

    @property
    def best(self) -> bool:
        """Whether the best model is kept."""
        return self._monitor is not None

    @property
    def monitor(self) -> str | None:
        """The quantity that says what is best; None for "val_loss" or "loss"."""
        if self._monitor is None:
            return None
        return self._monitor.name

    @property
    def mode(self) -> str | None:
        """ "min" or "max", the better direction of the quantity; "auto" before it is known."""
        if self._monitor is None:
            return None
        return self._monitor.mode

    @property
    def latest(self) -> Path | None:
        """The newest checkpoint in the folder."""
        return next(iter(listed(self.folder)), None)

    def on_train_begin(self) -> None:
        self._saved = time.monotonic()
        if self._monitor is not None:
            self._monitor.begin(self.trainer.metrics)
        if self.trainer.leads:
            self._take_folder()

    def _take_folder(self) -> None:
        """Lock the folder, and remove checkpoints of another run, if that is allowed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.folder)
        present = listed(self.folder)
        origin = self.trainer.resumed_from
        self._ours = self._ours or (origin is not None and origin.parent.samefile(self.folder))
        if present and not (self._ours or self.overwrite):
            raise ValueError(
                f"[Checkpoint] '{self.folder}' holds checkpoints of another run, the newest "
                f"{present[0].name}; expected an empty folder, fit(resume=folder) to continue that run, or "
                "overwrite=True"
            )
        if not self._ours:
            for path in present:
                path.unlink()

    def on_train_end(self) -> None:
        handle = self._lock
        self._lock = None
        if handle is not None:
            unlock(handle)

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        due = self.every_batches is not None and (batch + 1) % self.every_batches == 0
        if due or (self.every_seconds is not None and self._long_ago(batch, self.every_seconds)):
            self._save()

    def _long_ago(self, batch: int, seconds: float) -> bool:
        """True if the last checkpoint is older than `seconds`; the ranks agree on it every 20 batches."""
        old = time.monotonic() - self._saved >= seconds
        if not self.trainer.distributed:
            return old
        if batch % 20:
            return False
        return bool(extension.provider("distributed training").of_first(old, "Checkpoint"))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        trainer = self.trainer
        improved = self._monitor is not None and self._monitor.improved(epoch, logs)
        if improved and trainer.leads:
            from ranvier.serialization import save

            save(trainer.model, self.folder / BEST, link=link_of(trainer.loss))
        last = trainer.stop_training or epoch + 1 == trainer.last_epoch
        if last or (epoch + 1) % self.every == 0:
            self._save()

    def on_interrupt(self) -> None:
        self._save()

    def _save(self) -> None:
        state = self.trainer.checkpoint()  # a call on all ranks
        self._ours = True
        self._saved = time.monotonic()
        if self.trainer.leads:
            path = write_state(self.folder, state)
            tidy(self.folder, path, self.keep)

    def state_dict(self) -> dict[str, Any]:
        if self._monitor is None:
            return {}
        return self._monitor.state_dict()

    def require_state(self, state: Mapping[str, Any]) -> None:
        if self._monitor is not None:
            self._monitor.require_state(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._monitor is not None and state:
            self._monitor.load_state_dict(state)


own_errors(globals(), __all__)
