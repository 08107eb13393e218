"""Linear algebra on one matrix beside PyTorch's: factors, inverses, systems of equations, and gradients.

    python -m benchmarks.matrices [--rounds 5] [--threads 1] [--sizes 4 16 ...] [text in the call ...]

`RANVIER_PEER_TORCH` is the Python that has PyTorch. Each library is a process, and they take turns; a
figure is the smallest of the rounds. The answers are compared first; where the signs of vectors are
arbitrary, a product of them is compared. `OPENBLAS_CORETYPE` and `OPENBLAS_L2_SIZE`, which change the
BLAS that NumPy brings, are not passed on. Prints the rows, those with the lowest ratio first.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import timeit
from typing import Any

import numpy as np

from benchmarks.peers.turns import InTurns

SECONDS = 0.003  # the length of one measurement
SIZES = (4, 16, 64, 128, 256, 512)
# `t` is the library; A is any matrix (n, n), S is positive-definite, L a lower triangle, B (n, 8), C (4, 4),
# tall (4 n, n), right (4 n, 1); gA, gS, gL, gB and g_tall require gradients.
CALLS = (
    "t.linalg.cholesky(S)",
    "t.linalg.inv(A)",
    "t.linalg.solve(A, B)",
    "t.linalg.det(A)",
    "t.linalg.slogdet(A)",
    "t.linalg.lu_factor(A)",
    "t.linalg.lu(A)",
    "t.linalg.solve_triangular(L, B, upper=False)",
    "t.triangular_solve(B, L, upper=False)",
    "t.cholesky_solve(B, L)",
    "t.linalg.qr(A)",
    "t.linalg.qr(tall)",
    "t.linalg.lstsq(tall, right)",
    "t.linalg.eigh(S)",
    "t.linalg.eigvalsh(S)",
    "t.linalg.svd(A)",
    "t.linalg.svdvals(A)",
    "t.linalg.pinv(A)",
    "t.linalg.matrix_rank(A)",
    "t.kron(A, C)",
)
GRADIENTS = (
    "t.linalg.cholesky(gS).sum().backward()",
    "t.linalg.inv(gA).sum().backward()",
    "t.linalg.solve(gA, gB).sum().backward()",
    "t.linalg.det(gA).backward()",
    "t.linalg.slogdet(gA)[1].backward()",
    "t.linalg.lu_factor(gA)[0].sum().backward()",
    "t.linalg.solve_triangular(gL, gB, upper=False).sum().backward()",
    "t.cholesky_solve(gB, gL).sum().backward()",
    "t.linalg.qr(gA)[1].sum().backward()",
    "t.linalg.lstsq(g_tall, right)[0].sum().backward()",
    "t.linalg.eigh(gS)[0].sum().backward()",
    "t.linalg.svdvals(gA).sum().backward()",
    "t.linalg.pinv(gA).sum().backward()",
)
# what is compared in place of the answer
COMPARED = {
    "t.linalg.eigh(S)": "(lambda values, V: (values, (V * values) @ V.mT))(*t.linalg.eigh(S))",
    "t.linalg.svd(A)": "(lambda U, values, V: (values, (U * values) @ V))(*t.linalg.svd(A))",
    "t.linalg.lstsq(tall, right)": "t.linalg.lstsq(tall, right).solution",
}


def operands(t: Any, size: int, dtype: str) -> dict[str, Any]:
    """The operands of the calls."""
    rng = np.random.default_rng(0)
    n = size
    A = rng.normal(size=(n, n)) / np.sqrt(n) + 2 * np.eye(n)  # well-conditioned, so that answers agree
    S = A @ A.T + 0.5 * np.eye(n)
    arrays = {
        "A": A,
        "S": S,
        "L": np.linalg.cholesky(S),
        "B": rng.normal(size=(n, 8)),
        "C": rng.normal(size=(4, 4)),
        "tall": rng.normal(size=(4 * n, n)),
        "right": rng.normal(size=(4 * n, 1)),
    }
    tensors = {name: t.tensor(values.astype(dtype)) for name, values in arrays.items()}
    leaves = {"gA": "A", "gS": "S", "gL": "L", "gB": "B", "g_tall": "tall"}
    for leaf, name in leaves.items():
        tensors[leaf] = tensors[name].clone().requires_grad_()
    return {"t": t, **tensors}


def plain(answer: Any) -> list[Any]:
    """The shapes, and at most 200 of the numbers, of tensors in any containers."""
    if isinstance(answer, (list, tuple)):
        return [plain(part) for part in answer]
    values = np.asarray(answer.detach().numpy(), np.float64)
    step = max(1, values.size // 200)
    return [*values.shape, *values.ravel()[::step].tolist()]


class Worker:
    """Answers and times calls with one library. A case is a call, a size and a dtype."""

    def __init__(self, library: str) -> None:
        self._library = importlib.import_module(library)
        self._library.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self._names: dict[tuple[int, str], dict[str, Any]] = {}

    def _operands(self, size: int, dtype: str) -> dict[str, Any]:
        if (size, dtype) not in self._names:
            self._names[size, dtype] = operands(self._library, size, dtype)
        names = self._names[size, dtype]
        for name in names:
            if name.startswith("g"):
                names[name].grad = None
        return names

    def answer(self, call: str, size: int, dtype: str) -> Any:
        """The call's answer, or the gradients that it left."""
        names = self._operands(size, dtype)
        answer = eval(COMPARED.get(call, call), names)
        if answer is not None:
            return plain(answer)
        leaves = [names[name] for name in names if name.startswith("g")]
        return plain([leaf.grad for leaf in leaves if leaf.grad is not None])

    def time(self, call: str, size: int, dtype: str) -> float:
        """Microseconds of a call."""
        timer = timeit.Timer(call, globals=self._operands(size, dtype))
        timer.timeit(2)
        once = timer.timeit(1)
        number = max(1, round(SECONDS / once))
        return 1e6 * min(timer.repeat(5, number)) / number


def serve(library: str) -> None:
    """Answers questions on standard input."""
    worker = Worker(library)
    for line in sys.stdin:
        what, *case = json.loads(line)
        print(json.dumps(getattr(worker, what)(*case)), flush=True)


def flat(answer: Any) -> list[float]:
    """All numbers of nested lists."""
    if isinstance(answer, list):
        return [number for part in answer for number in flat(part)]
    return [float(answer)]


Case = tuple[str, int, str]


def compare(ours: InTurns, theirs: InTurns, case: Case) -> None:
    """Raises if the answers of a call differ."""
    here = np.array(flat(ours.ask("answer", *case)))
    there = np.array(flat(theirs.ask("answer", *case)))
    _, size, dtype = case
    tolerance = 200 * size * float(np.finfo(dtype).eps)
    scale = np.abs(there[np.isfinite(there)]).max(initial=0)
    np.testing.assert_allclose(here, there, rtol=tolerance, atol=tolerance * scale, err_msg=f"{case}")


def measure(cases: list[Case], rounds: int, threads: int) -> list[tuple[Case, float, float]]:
    """The cases with our microseconds and PyTorch's."""
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(name, None)
    ours = InTurns("benchmarks.matrices", "ranvier", threads)
    theirs = InTurns("benchmarks.matrices", "torch", threads)
    times: dict[Case, tuple[float, float]] = {}
    try:
        for case in cases:
            compare(ours, theirs, case)
        for _ in range(rounds):
            for case in cases:
                here, there = times.get(case, (float("inf"), float("inf")))
                here = min(here, ours.ask("time", *case))
                there = min(there, theirs.ask("time", *case))
                times[case] = here, there
    finally:
        ours.close()
        theirs.close()
    return [(case, here, there) for case, (here, there) in times.items()]


def main() -> None:
    """Reads the arguments, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only the calls that have one of these texts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--dtypes", nargs="+", default=("float32", "float64"))
    parser.add_argument("--worker")
    arguments = parser.parse_args()
    if arguments.worker:
        serve(arguments.worker)
        return
    words = arguments.words
    calls = [call for call in (*CALLS, *GRADIENTS) if not words or any(word in call for word in words)]
    cases = [(call, size, dtype) for call in calls for size in arguments.sizes for dtype in arguments.dtypes]
    table = measure(cases, arguments.rounds, arguments.threads)
    table.sort(key=lambda row: row[2] / row[1])
    for (call, size, dtype), here, there in table:
        print(f"{call:65} {size:4} {dtype:8} {here:10.2f} {there:10.2f} {there / here:6.2f}")
    ratios = [there / here for _, here, there in table]
    mean = statistics.geometric_mean(ratios)
    print(f"{len(table)} rows, geometric mean {mean:.2f}, below 1: {sum(ratio < 1 for ratio in ratios)}")


if __name__ == "__main__":
    main()
