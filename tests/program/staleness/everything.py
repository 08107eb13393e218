"""All scenarios: each of these modules adds its own."""

from program.staleness import (
    branches,
    calls,
    effects,
    functions,
    library,
    models,
    optimizers,
    places,
    settings,
)
from program.staleness.judge import SCENARIOS

__all__ = [
    "SCENARIOS",
    "branches",
    "calls",
    "effects",
    "functions",
    "library",
    "models",
    "optimizers",
    "places",
    "settings",
]
