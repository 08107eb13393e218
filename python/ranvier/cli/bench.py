"""`ranvier bench`: the speed of this machine and of the library; `ranvier config`: what they are."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import ranvier as rv
from ranvier.cli.arguments import Mistake, add_command, add_flags, positive_int, set_threads
from ranvier.cli.saving import write_json

ROUNDS = 3
TASKS = {  # name: (title, floating-point operations, libraries)
    "matmul": ("matmul 1024^3", 2 * 1024**3, ("ranvier", "numpy", "torch")),
    "conv2d": ("conv2d 3x3, 64 ch, 8x56x56", 2 * 8 * 56 * 56 * 64 * 64 * 9, ("ranvier", "torch")),
    "train_step": ("Adam step, 784-128-64-10, 128", None, ("ranvier", "torch")),
}
TOLERANCE = 1e-3  # relative to the largest number: sums of up to 1,024 float32 products in any order


def add(commands: Any) -> None:
    bench = add_command(
        commands,
        run,
        "bench",
        "measure this machine, and this library against others",
        "Measures the limits, then a matmul, a convolution and a training step, each library in its "
        "own process, in alternating rounds. Peers: numpy, and torch if it is installed.",
        ["ranvier bench", "ranvier bench --threads 1 --json bench.json"],
    )
    threads = (positive_int, "N", "default: the physical cores that the process may use")
    add_flags(bench, {"--threads": threads, "--json": (str, "FILE", "write the figures to FILE")})

    add_command(
        commands,
        _show_config,
        "config",
        "print ISA level, threads and versions",
        "Prints versions, instruction-set level and threads, for bug reports.",
        ["ranvier config", "RANVIER_ISA=x86-64-v3 ranvier config"],
    )


def _show_config(arguments: argparse.Namespace) -> int:
    rv.show_config()
    return 0


class Process:
    def __init__(self, library: str, threads: int) -> None:
        self.library = library
        worker = Path(__file__).with_name("bench_worker.py")
        # not as a script, which would add its folder with our modules such as `tables` to the path
        launch = f"import runpy; runpy.run_path({str(worker)!r}, run_name='__main__')"
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", launch, library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            bufsize=1,
        )
        self.version = self._reply()["version"]
        self.seconds: dict[str, list[float]] = {}
        self.results: dict[str, list[float]] = {}

    def measure(self, task: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(task + "\n")
        reply = self._reply()
        self.seconds.setdefault(task, []).append(reply["seconds"])
        self.results.setdefault(task, reply.get("result", []))

    def _reply(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Mistake(f"the {self.library} process ended; see its output above")
        return json.loads(line)

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait()


def run(arguments: argparse.Namespace) -> int:
    set_threads(arguments.threads)
    threads = rv.get_num_threads()
    limits = _limits()
    print(f"ranvier {rv.__version__} at level {rv.config.config()['isa']}, {threads} threads")
    print(f"limits: {limits['flops'] / 1e9:.0f} GFLOP/s float32, {limits['bytes'] / 1e9:.0f} GB/s of memory")
    figures = _measure(threads)
    print(_table(figures, limits["flops"]))
    if arguments.json is not None:
        write_json(arguments.json, {"threads": threads, "limits": limits, "figures": figures})
    return 0


def _limits() -> dict[str, float]:
    """FLOP/s of FMA chains in registers, and bytes/s of a buffer that is larger than the caches."""
    from ranvier._core import probe_bandwidth, probe_fma

    return {
        "flops": max(probe_fma("float32", 200_000) for _ in range(5)),
        "bytes": median(probe_bandwidth(256 << 20, 1, "read") for _ in range(3)),
    }


def _measure(threads: int) -> list[dict[str, Any]]:
    """A row for each task and library, with the median seconds over the rounds."""
    installed = [name for name in ("ranvier", "numpy", "torch") if importlib.util.find_spec(name)]
    processes = [Process(name, threads) for name in installed]
    try:
        for _ in range(ROUNDS):
            for task, (_, _, libraries) in TASKS.items():
                for process in processes:
                    if process.library in libraries:
                        process.measure(task)
    finally:
        for process in processes:
            process.close()
    return [
        _row(task, process, processes[0])
        for task in TASKS
        for process in processes
        if task in process.seconds
    ]


def _row(task: str, process: Process, ours: Process) -> dict[str, Any]:
    name, flops, _ = TASKS[task]
    expected, results = ours.results[task], process.results[task]
    scale = max(abs(value) for value in expected)
    if any(abs(a - b) > TOLERANCE * scale for a, b in zip(expected, results, strict=True)):
        raise Mistake(f"{process.library} and ranvier differ on {name}: {results} and {expected}")
    seconds = median(process.seconds[task])
    return {
        "task": name,
        "library": process.library,
        "version": process.version,
        "seconds": seconds,
        "flops": None if flops is None else flops / seconds,
        "ratio": seconds / median(ours.seconds[task]),
    }


def _table(figures: list[dict[str, Any]], peak: float) -> str:
    lines = [f"{'':32}{'':18}{'time':>10}{'of the limit':>14}{'ranvier is':>18}"]
    for row in figures:
        ours = row["library"] == "ranvier"
        task = row["task"] if ours else ""
        share = "" if row["flops"] is None else f"{row['flops'] / peak:.0%}"
        ratio = "" if ours else f"{row['ratio']:.2f} x as fast"
        library = f"{row['library']} {row['version']}"
        line = f"{task:32}{library:18}{_time(row['seconds']):>10}{share:>14}{ratio:>18}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"
