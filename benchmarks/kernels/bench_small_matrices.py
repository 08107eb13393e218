"""Stacks of small matrices: factors, solutions, determinants and eigenvectors of 10,000 matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ranvier as rv

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

COUNT = 10_000
SIZES = (3, 8, 16, 32)
FUNCTIONS = ("cholesky", "solve", "inv", "det", "eigh", "eigvalsh", "qr", "solve_triangular")
OF_POSITIVE = ("cholesky", "eigh", "eigvalsh")
# operations of a matrix, in n^3; rotations: of six sweeps
FLOPS = {"cholesky": 1 / 3, "inv": 2, "qr": 8 / 3, "solve_triangular": 0, "eigh": 54, "eigvalsh": 18}


def ours(function: str, **arrays: np.ndarray) -> Callable[[], Any]:
    """The call of rv.linalg; of several results the first is checked."""
    tensors = [rv.tensor(array) for array in arrays.values()]
    compute = getattr(rv.linalg, function)
    if function == "solve_triangular":
        return lambda: compute(*tensors, upper=False)
    if function == "eigh":
        return lambda: compute(*tensors).eigenvalues
    if function == "qr":
        return lambda: compute(*tensors).R
    return lambda: compute(*tensors)


def answer(function: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The first result in float64, by NumPy."""
    wide = [array.astype(np.float64) for array in arrays.values()]
    if function == "eigh":
        return np.linalg.eigvalsh(*wide)
    if function == "qr":
        return np.linalg.qr(*wide)[1]
    if function == "solve_triangular":
        return np.linalg.solve(*wide)
    return np.asarray(getattr(np.linalg, function)(*wide))


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("function", FUNCTIONS)
def bench_small_matrices(race: Race, function: str, n: int, dtype: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, (COUNT, n, n)) + 2 * np.eye(n)  # not far from orthogonal for any n
    if function in OF_POSITIVE:
        a = a @ np.swapaxes(a, -1, -2)
    if function == "solve_triangular":
        a = np.tril(a) / np.sqrt(n) + 2 * np.eye(n)
    arrays = {"a": a.astype(dtype)}
    if function in ("solve", "solve_triangular"):
        arrays["b"] = rng.uniform(-1, 1, (COUNT, n, 1)).astype(dtype)
    expected = answer(function, arrays)
    condition = float(np.linalg.cond(arrays["a"].astype(np.float64)).max())
    error = 16 * n * float(np.finfo(dtype).eps) * condition
    libraries = ["torch", "jax"]
    if function != "solve_triangular":
        libraries.append("numpy")
    race(
        "small_matrices",
        f"{function} {COUNT}x{n}x{n}",
        ours=lambda **arrays: ours(function, **arrays),
        inputs=arrays,
        expected=expected,
        tolerance=error * float(np.abs(expected).max()),
        flops=COUNT * (FLOPS.get(function, 2 / 3) * n**3 + 2 * n**2),
        moved=2 * arrays["a"].nbytes,
        dtype=dtype,
        peers={library: Peer(library, {"function": function}) for library in libraries},
        threads=threads,
    )
