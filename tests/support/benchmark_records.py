"""Records of benchmarks, as if they had been measured."""

from typing import Any

from benchmarks.harness import Row


def record(name: str, op: str = "matmul", slower: float = 1.0, **given: Any) -> dict[str, Any]:
    """A row that is twice as fast as NumPy and 1.5 times as fast as torch; ``slower`` by a factor."""
    row = Row(op, name, given.pop("threads", 2), 24.0, 64.0, **given)
    row.ours = [1.0 * slower, 2.0 * slower, 4.0 * slower]  # the machine slows down from round to round
    row.peers = {"numpy": [2.0, 4.0, 8.0], "torch": [1.5, 3.0, 60.0]}
    row.limits, row.limited_by = [0.5, 1.0, 2.0], "FMA peak"
    row.skipped = {"jax": "jax is not installed"}
    command = f"pytest 'benchmarks/kernels/bench_{op}.py::bench_{op}[{name}]' --benchmark-only"
    return {**row.record(), "command": command, "room": op, "id": f"bench_{op}[{name}]"}


def limits(isa: str) -> dict[str, Any]:
    bandwidth = {level: {"read": 3e10, "read_write": 5e10} for level in ("L2", "L3", "DRAM")}
    fma = {"float32": 2e11, "float64": 1e11}
    limit = {"threads": 2, "fma": fma, "bandwidth": bandwidth, "barrier": 1e-7}
    return {"cpu": "a CPU", "isa": isa, "limits": [limit]}
