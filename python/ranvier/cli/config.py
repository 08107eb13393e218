"""`ranvier config`: what this installation is and runs on."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """The command's arguments."""
    config = commands.add_parser("config", help="print ISA level, threads and versions")
    config.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    import ranvier as rv

    rv.show_config()
    return 0
