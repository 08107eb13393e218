"""All scenarios: each of these modules adds its own."""

from program.staleness import branches, functions, places
from program.staleness.judge import SCENARIOS

__all__ = ["SCENARIOS", "branches", "functions", "places"]
