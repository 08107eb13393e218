"""ranvier against its peers and against the machine's limits.

``pytest benchmarks --benchmark-only`` runs all of it; ``python -m benchmarks.report`` also writes the report.
"""
