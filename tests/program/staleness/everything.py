"""All scenarios: each of these modules adds its own."""

from program.staleness import places
from program.staleness.judge import SCENARIOS

__all__ = ["SCENARIOS", "places"]
