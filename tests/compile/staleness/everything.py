"""All scenarios: each table adds its own when it is imported."""

from compile.staleness import arguments, code, effects, forwards, library, models, optimizers, places, values  # noqa: F401
from compile.staleness.judge import SCENARIOS as SCENARIOS
