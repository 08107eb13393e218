"""`ranvier config`: versions, instruction-set level and threads."""

from __future__ import annotations

import argparse
from typing import Any

import ranvier as rv
from ranvier.cli.arguments import add_command


def add(commands: Any) -> None:
    add_command(
        commands,
        run,
        "config",
        "print ISA level, threads and versions",
        "Prints versions, instruction-set level and threads, for bug reports.",
        ["ranvier config", "RANVIER_ISA=x86-64-v3 ranvier config"],
    )


def run(arguments: argparse.Namespace) -> int:
    rv.show_config()
    return 0
