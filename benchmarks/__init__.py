"""ranvier against its peers and against the machine's limits.

``pytest benchmarks --benchmark-only`` runs all of it; ``python -m benchmarks.report`` also writes the report.
"""

import sys
from pathlib import Path

_TESTS = str(Path(__file__).resolve().parents[1] / "tests")  # tests/support: tolerances, layouts
if _TESTS not in sys.path:
    sys.path.append(_TESTS)
