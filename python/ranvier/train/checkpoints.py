"""A folder of checkpoints: writing them, and finding the newest undamaged one."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

from ranvier.serialization import files
from ranvier.serialization.files import read_checkpoint, write_checkpoint

__all__ = ["folder_at", "listed", "lock", "newest", "save", "tidy", "unlock"]

_NAME = re.compile(r"checkpoint-(\d+)-(\d+)\.safetensors")
PathLike = str | os.PathLike[str]


def folder_at(path: PathLike) -> Path:
    """The path of a folder, which may be new. Raises ValueError where it, or a part of it, is a file."""
    folder = found = Path(path)
    while not found.exists() and found != found.parent:
        found = found.parent
    if not found.is_dir():
        raise ValueError(
            f"[Checkpoint] got '{folder}', but '{found}' is a file; expected a folder, which may be new"
        )
    return folder


def save(folder: Path, state: dict[str, Any]) -> Path:
    """Write the state of a run under the name of its epoch and batch."""
    path = folder / f"checkpoint-{state['epoch']:05d}-{state['batch']:06d}.safetensors"
    write_checkpoint(path, state)
    return path


def lock(folder: Path) -> int | None:
    """Keep the folder for one run, since each run removes files of earlier ones.

    The lock ends with `unlock`, or with the process, however that ends. None where there are no such locks.

    Raises:
        BlockingIOError: another run has it.
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
        return None  # a file system without locks
    return handle


def unlock(handle: int) -> None:
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_UN)  # a forked child may still have it open
    os.close(handle)


def listed(folder: PathLike) -> list[Path]:
    """The checkpoints of a folder, newest first."""
    if not Path(folder).is_dir():
        return []
    found = [(match, path) for path in Path(folder).iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for match, path in sorted(found, key=lambda pair: _age(pair[0]), reverse=True)]


def _age(match: re.Match[str]) -> tuple[int, int]:
    return int(match[1]), int(match[2])


def tidy(folder: Path, current: Path, keep: int) -> None:
    """Remove all but the newest `keep`, and temporary files of killed runs.

    Files newer than `current` are from a run that was resumed from an earlier checkpoint.
    """
    found = listed(folder)
    position = found.index(current)
    parts = [p for p in folder.glob(f".*{files.TEMPORARY}") if ".safetensors." in p.name]
    for path in [*found[:position], *found[position + keep :], *parts]:
        path.unlink(missing_ok=True)


def newest(path: PathLike) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint at `path` and its state; of a folder the newest undamaged one, or None.

    A damaged one is skipped with a warning, if an older one is undamaged.

    Raises:
        FileNotFoundError: neither a file nor a folder.
        ValueError: the file, or every checkpoint in the folder, is damaged or no checkpoint.
    """
    path = Path(path)
    if not path.is_dir():
        return path, read_checkpoint(path)
    found = listed(path)
    problems: list[str] = []
    for candidate in found:
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
    if found:
        raise ValueError(f"[Trainer.fit] no checkpoint in '{path}' is whole: {'; '.join(problems)}")
    return None
