"""`ranvier config`: versions, threads and instruction-set level."""

from __future__ import annotations

import argparse
from typing import Any

from ranvier.cli.arguments import add_command


def add(commands: Any) -> None:
    """The command's arguments."""
    config = add_command(
        commands,
        "config",
        "print ISA level, threads and versions",
        "Prints versions, instruction-set level and threads, for bug reports.",
        ["ranvier config", "RANVIER_ISA=x86-64-v3 ranvier config"],
    )
    config.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    import ranvier as rv

    rv.show_config()
    return 0
