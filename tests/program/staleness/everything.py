"""All scenarios: each of these modules adds its own."""

from program.staleness import branches, calls, functions, models, optimizers, places, settings
from program.staleness.judge import SCENARIOS

__all__ = ["SCENARIOS", "branches", "calls", "functions", "models", "optimizers", "places", "settings"]
