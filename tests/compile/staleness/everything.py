"""All scenarios: each module of this folder adds its own when it is imported."""

import importlib
import pkgutil
from pathlib import Path

from compile.staleness.judge import SCENARIOS
from compile.staleness.trainers import FITS

__all__ = ["FITS", "SCENARIOS"]

for _, name, _ in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if name != "outcomes" and not name.startswith("test_"):
        importlib.import_module(f"compile.staleness.{name}")
