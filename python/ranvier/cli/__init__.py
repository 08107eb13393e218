"""The command line: `ranvier train digits`, `ranvier config` ..., with a file for each large command.

Modules that only some commands need are imported when such a command runs, so that help and errors appear
immediately.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, TextIO

from ranvier.cli.arguments import Interrupted, Mistake, Parser, add_command, end_job
from ranvier.config import show_config
from ranvier.tensors.sanitize import printable
from ranvier.version import __version__

__all__ = ["main"]


# Each command and its module, in the order of the help.
_MODULES = {
    "train": "train",
    "evaluate": "evaluate",
    "predict": "predict",
    "summary": "models",
    "export": "models",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 1 for an error, 2 for wrong arguments, 130 for Ctrl-C.

    >>> from ranvier.cli import main
    >>> main(["train", "digits", "--epochs", "0"])
    Traceback (most recent call last):
    SystemExit: 2
    """
    # At its end Python searches all objects for cycles, which takes 8 ms, and the process frees them anyway.
    atexit.register(gc.freeze)
    if isinstance(sys.stdout, io.TextIOWrapper):  # characters that its encoding lacks are escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    with redirect_stdout(_Printed(sys.stdout)), redirect_stderr(_Printed(sys.stderr)):
        return _run(argv)


class _Printed:
    """A stream without control codes, which names of files, columns and classes in the output may have."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> Any:
        return self._stream.write(printable(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _run(argv: Sequence[str] | None) -> int:
    """Run a command; errors become a line on stderr and an exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments, unknown = _parser(words).parse_known_args(words)
        if unknown:
            arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        arguments.words = words
        return arguments.command(arguments)
    except (KeyboardInterrupt, Interrupted) as interrupt:
        saved = str(interrupt) or "nothing saved"
        return end_job(130, f"\nranvier: interrupted, {saved}")
    except BrokenPipeError:  # the reader is gone; avoid the message of Python at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Mistake, OSError) as error:  # OSError: the output cannot be written, as on a full disk
        return end_job(1, f"ranvier: error: {error}")


def _parser(words: Sequence[str]) -> Parser:
    """The parser of these words, with the command that the first of them names, or else with all."""
    parser = Parser(prog="ranvier", description="Neural networks, fast on a CPU.")
    parser.add_argument("--version", action="version", version=f"ranvier {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    named = words[0] if words else ""
    modules = [_MODULES[named]] if named in _MODULES else dict.fromkeys(_MODULES.values())
    for module in modules:
        command: Any = importlib.import_module(f"ranvier.cli.{module}")
        command.add(commands)
    add_command(
        commands,
        _config,
        "config",
        "print ISA level, threads and versions",
        "Prints versions, instruction-set level and threads, for bug reports.",
        ["ranvier config", "RANVIER_ISA=x86-64-v3 ranvier config"],
    )
    return parser


def _config(arguments: argparse.Namespace) -> int:
    show_config()
    return 0
