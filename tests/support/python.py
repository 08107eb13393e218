"""Programs in an interpreter of their own."""

import os
import subprocess
import sys
from pathlib import Path


def ended(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """python with these arguments, when it has ended."""
    command, variables = [sys.executable, *arguments], os.environ | environment
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)


def printed(*arguments: str | Path, **environment: str) -> str:
    """What it prints; the test fails where it ends with an error."""
    done = ended(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
