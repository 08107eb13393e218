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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import ranvier as rv

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""The commands of a parser: what `add_subparsers` returns, which argparse has no public name for."""


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


class Help(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal.

    argparse makes a formatter for each flag. That of argparse asks `shutil` for the width, which loads all
    that reads archives.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_width() - 2)


def _terminal_width() -> int:
    """The number of columns, by the rules of `shutil.get_terminal_size`."""
    setting = os.environ.get("COLUMNS", "")
    if setting.isdecimal() and int(setting) > 0:
        return int(setting)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return 80


class Parser(argparse.ArgumentParser):
    """A parser whose errors are two lines: the mistake with the nearest known name, and how to get help."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=Help, **settings)

    def error(self, message: str) -> NoReturn:
        hint = ""
        if message.startswith("unrecognized arguments: "):
            first = message.removeprefix("unrecognized arguments: ").split()[0]
            wrong, _, _ = first.partition("=")  # without the value of --flag=value
            hint = similar(wrong, [flag for flag in self._option_string_actions if flag.startswith("--")])
        elif "invalid choice: '" in message:  # "invalid choice: 'X' (choose from 'A', 'B')"
            _, _, choices = message.partition("(choose from ")
            _, _, after = message.partition("invalid choice: '")
            wrong, _, _ = after.partition("'")
            hint = similar(wrong, choices.rstrip(")").replace("'", "").split(", "))
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
    commands: Commands,
    run: Callable[[argparse.Namespace], int],
    name: str,
    summary: str,
    description: str,
    examples: list[str],
) -> Parser:
    """Add a command; returns its parser, to which flags are added.

    Args:
        commands: the parser's list of commands.
        run: the function that runs the command and returns the exit code.
        name: the word on the command line.
        summary: the line in the list of commands.
        description, examples: the text at the beginning and the end of the command's help.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(description, 78),
        epilog="\n".join(["examples:", *(f"  {example}" for example in examples)]),
    )
    parser.set_defaults(command=run, parser=parser)
    return parser


def number_of(
    number_type: type, least: float, below: float = math.inf, *, above: bool = False, **words: int
) -> Callable[[str], Any]:
    """An argparse type: a number of at least `least` (above: larger than it) and below `below`.

    words: texts that are allowed too, and the numbers that they mean.
    """

    def read(text: str) -> Any:
        if text in words:
            return words[text]
        value = number_type(text)
        if above and not value > least:  # also for NaN, which compares false
            raise argparse.ArgumentTypeError(f"{text} is not above {least}")
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is not at least {least}")
        if value >= below:
            raise argparse.ArgumentTypeError(f"{text} is not {_upper_bound(number_type, below)}")
        return value

    read.__name__ = "whole number" if number_type is int else "number"  # argparse names it in its message
    return read


def _upper_bound(number_type: type, below: float) -> str:
    if below == math.inf:
        return "finite"
    if number_type is int:
        return f"at most {below - 1}"
    return f"below {below}"


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
    changed = path if path.exists() else path.parent
    if not os.access(changed, os.W_OK):
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
        processors = "processor" if count == 1 else "processors"
        raise Mistake(f"--threads {threads}: this machine has {count} {processors}")


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


def end_job(code: int, text: str) -> int:
    """Print an error, end the other processes of a distributed run too, and return the exit code."""
    job = _world()
    if job is not None and job.world().rank:
        time.sleep(_LATER)
    print(text, file=sys.stderr)
    if job is not None:
        sys.stderr.flush()
        job.world().comm.Abort(code)
    return code
