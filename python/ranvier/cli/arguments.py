"""What all commands share: types of arguments, checks of paths, and errors of the user as one line.

Also `--distributed`, which runs a command on the processes that mpirun started.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import ranvier as rv


class Mistake(Exception):
    """An error that the user can correct: shown as one line, without a traceback."""


@contextmanager
def mistakes(*kinds: type[Exception]) -> Iterator[None]:
    """Within the block, errors of these kinds are mistakes of the user."""
    try:
        yield
    except BrokenPipeError:  # the reader of the output is gone
        raise
    except kinds as error:
        raise Mistake(error) from None


class Parser(argparse.ArgumentParser):
    """A parser whose errors are two lines: the mistake with the nearest known name, and how to get help."""

    def error(self, message: str) -> NoReturn:
        hint = ""
        if message.startswith("unrecognized arguments: "):
            wrong = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
            hint = similar(wrong, [flag for flag in self._option_string_actions if flag[:2] == "--"])
        elif "invalid choice: '" in message:
            choices = message.partition("(choose from ")[2].rstrip(")").replace("'", "").split(", ")
            hint = similar(message.partition("invalid choice: '")[2].partition("'")[0], choices)
        self.exit(2, f"ranvier: error: {message}{hint}\nhelp: {self.prog} --help\n")


def similar(wrong: str, choices: Iterable[str]) -> str:
    """The text "; did you mean X?", or "" if no known name is similar."""
    import difflib

    nearest = difflib.get_close_matches(wrong, list(choices), 1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return ""


class Interrupted(Exception):
    """Ctrl-C ended the command; the text says what is saved."""


def add_command(
    commands: Any, run: Any, name: str, summary: str, description: str, examples: list[str]
) -> Any:
    """A command's parser; its help ends with examples."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(description, 78),
        epilog="\n".join(["examples:", *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run, parser=parser)
    return parser


def add_flags(parser: argparse.ArgumentParser, flags: Mapping[str, tuple[Any, str | None, str]]) -> None:
    """Add flags, each by its name: (type, metavar, help), (choices, default, help) or (bool, None, help).

    A flag whose value is NAME=VALUE may be given several times.
    """
    for name, (kind, hint, text) in flags.items():
        if kind is bool:
            parser.add_argument(name, action="store_true", help=text)
        elif isinstance(kind, tuple):
            parser.add_argument(name, choices=kind, default=hint, help=text)
        else:
            action = "append" if hint == "NAME=VALUE" else "store"
            parser.add_argument(name, action=action, type=kind, metavar=hint, help=text)


def number_of(
    kind: type, least: float, below: float = math.inf, *, above: bool = False, **words: int
) -> Callable[[str], Any]:
    """An argparse type: a number of at least `least` (above: larger than it) and below `below`.

    words: texts that are allowed too, and the numbers that they mean.
    """

    def read(text: str) -> Any:
        value = words[text] if text in words else kind(text)
        if text not in words and not (value > least if above else value >= least):
            raise argparse.ArgumentTypeError(f"{text} is not {'above' if above else 'at least'} {least}")
        if value >= below:
            limit = f"at most {below - 1}" if kind is int else f"below {below}"
            raise argparse.ArgumentTypeError(f"{text} is not {'finite' if below == math.inf else limit}")
        return value

    read.__name__ = "whole number" if kind is int else "number"  # argparse names the type in its message
    return read


positive_int = number_of(int, 1, 2**31)
seed = number_of(int, 0, 2**63)


def path_name(text: str) -> str:
    """The name of a file or folder. An empty one would mean no path, or the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a path")
    return text


def names(text: str) -> list[str]:
    """Names separated by commas."""
    entries = [name.strip() for name in text.split(",")]
    if not all(entries) and entries != [""]:  # a column of row numbers has an empty name
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names such as a,b")
    return entries


def _require_writable(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Mistake(f"cannot make folder '{path.parent}': {error.strerror}") from None
    if path.is_dir():
        raise Mistake(f"'{path}' is a folder; expected a file to write")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise Mistake(f"cannot write '{path}': permission denied")


def require_folder(flag: str, path: str) -> None:
    """Raise a mistake unless the path is a folder that can be written, or can become one."""
    folder = Path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise Mistake(f"{flag} {path}: '{folder}' is a file; expected a folder, which may be new")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Mistake(f"{flag} {path}: cannot write to '{folder}': permission denied")


def require_outputs(paths: dict[str, str | Path | None], *inputs: str | None, writes: bool = True) -> None:
    """Raise Mistake, before the work begins, for outputs that cannot be written.

    Two outputs have the same path, one is an input, or the file cannot be written.

    paths: {flag: path}. writes: whether this process writes them, so that it checks that it can.
    """
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
        if writes:
            _require_writable(Path(path))


def set_threads(threads: int | None) -> None:
    """Set the number of threads, unless it is None; raise a mistake for more threads than processors."""
    if threads is None:
        return
    with mistakes(ValueError):
        rv.set_num_threads(threads)
    count = os.cpu_count() or threads
    if threads > count:
        raise Mistake(f"--threads {threads}: this machine has {count} processor{'s' * (count > 1)}")


T = TypeVar("T")
_LATER = 2.0  # seconds that other ranks wait before they report an error, which rank 0 may report first


def launched_size() -> int:
    """The number of processes that a launcher started; 1 without ranvier's part for distributed runs."""
    try:
        from ranvier.distributed.job import launched_size as size
    except ModuleNotFoundError:
        return 1
    return size()


def connect(distributed: bool) -> None:
    """Connect to the other processes, if the command is distributed. Only rank 0 then prints on stdout.

    Raises Mistake: several processes were started without --distributed, or they cannot be connected.
    """
    if not distributed:
        if launched_size() > 1:
            raise Mistake(
                f"{launched_size()} processes were started, and each would train and write the same files; "
                "expected --distributed"
            )
        return
    with mistakes(ImportError, RuntimeError, ValueError):
        from ranvier.distributed.job import init

        rank = init().rank
    if rank:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends


def _world() -> Any:
    """The module of a job of several processes; None for a process alone."""
    job: Any = sys.modules.get("ranvier.distributed.job")
    if job is not None and job.is_initialized() and job.world().size > 1:
        return job
    return None


def after_first(make: Callable[[], T]) -> T:
    """The result of make(), which rank 0 calls before the others, since it may download a file."""
    job = _world()
    if job is None:
        return make()
    from ranvier.distributed.collectives import barrier

    first = job.world().rank == 0
    made: Any = make() if first else None
    barrier()
    if first:
        return made
    return make()


def end_job(code: int, tell: Callable[[], None]) -> int:
    """Report an error by `tell()`, end the other processes too, and return the exit code."""
    job = _world()
    if job is not None and job.world().rank:
        time.sleep(_LATER)
    tell()
    if job is not None:
        sys.stderr.flush()
        job.world().comm.Abort(code)
    return code
