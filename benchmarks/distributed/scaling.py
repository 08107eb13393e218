"""The number of hosts from which on more of them do not help, computed from measured steps: ``python -m
benchmarks.distributed.scaling``.

A step on R hosts takes t(b) + t_sum(R): t(b) is the measured step of one process of one thread on b samples,
and t_sum the sum of n bytes of gradients along the tree (recursive halving and doubling):

    t_sum(R) = 2 log2(R) latency + 2 n (R - 1) / R / bandwidth + n (R - 1) / R / additions

The sum follows the backward pass. Weak scaling with b samples a host has the efficiency
t(b) / (t(b) + t_sum).
Latency and bandwidth of a network are assumptions, printed with the table; additions per second are
measured. The check compares the formula with jobs on this machine, whose messages are measured between two
processes: R ranks of c cores take R / c times as long for their part of the work.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from support.ranks import SETTINGS, mpirun

from benchmarks.distributed.efficiency import ONE_THREAD, seconds
from benchmarks.distributed.jobs import NETWORKS, build

HOSTS = (8, 64, 512)
WIRES = {"10 Gbit/s": (30e-6, 1.25e9), "100 Gbit/s": (5e-6, 12.5e9)}  # assumed: latency, bytes a second
BATCHES = (16, 64, 256)


def gradient_bytes(network: str) -> int:
    from ranvier import nn

    return 4 * sum(p.numel() for p in build(nn, NETWORKS[network][0]).parameters())


def sum_seconds(size: int, hosts: int, latency: float, bandwidth: float, additions: float) -> float:
    """t_sum of `size` bytes."""
    if hosts == 1:
        return 0.0
    part = size * (hosts - 1) / hosts
    return 2 * math.log2(hosts) * latency + 2 * part / bandwidth + part / additions


def smallest_batch(steps: dict[int, float], summed: float, efficiency: float) -> str:
    """Samples a host that reach the efficiency: t(b) is a line through the measured steps."""
    slope, start = np.polyfit(list(steps), list(steps.values()), 1)
    return str(max(1, math.ceil((summed * efficiency / (1 - efficiency) - start) / slope)))


def additions() -> float:
    """Bytes of float32 sums a second."""
    a = np.ones(1 << 20, np.float32)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        np.add(a, a, out=a)
        times.append(time.perf_counter() - start)
    return a.nbytes / min(times)


PINGS = """
import json, statistics, time
import numpy as np
import ranvier as rv
from ranvier.distributed.job import init
from ranvier.distributed.collectives import _exchange
world = init()
for size in (8, 1 << 22):
    give, take, times = np.zeros(size, np.uint8), np.zeros(size, np.uint8), []
    for _ in range(200 if size == 8 else 30):
        start = time.perf_counter()
        _exchange(world, 1 - world.rank, give, take, "ping")
        times.append(time.perf_counter() - start)
    if world.rank == 0:
        print(json.dumps([size, statistics.median(times)]), flush=True)
"""


def messages_here() -> tuple[float, float]:
    """Latency and bandwidth of an exchange between two ranks of this host."""
    env = os.environ | ONE_THREAD | SETTINGS
    done = subprocess.run(
        [mpirun(), "-n", "2", sys.executable, "-c", PINGS],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    (_, latency), (size, large) = (json.loads(line) for line in done.stdout.split("\n") if line[:1] == "[")
    return latency, size / (large - latency)


def predict(network: str, steps: dict[int, float], speed: float) -> None:
    size = gradient_bytes(network)
    for name, (latency, bandwidth) in WIRES.items():
        for hosts in HOSTS:
            summed = sum_seconds(size, hosts, latency, bandwidth, speed)
            shares = " | ".join(f"{steps[b] / (steps[b] + summed):.2f}" for b in BATCHES)
            batch = smallest_batch(steps, summed, 0.8)
            print(f"| {network} | {name} | {hosts} | {summed * 1e3:.2f} | {shares} | {batch} |", flush=True)


def check(network: str, speed: float, rounds: int) -> None:
    latency, bandwidth = messages_here()
    cores, size = os.cpu_count() or 1, gradient_bytes(network)
    for ranks in (2, 4, 8):
        shared = max(1.0, ranks / cores)
        batch = 128 * ranks
        alone = statistics.median(seconds("ranvier", network, 128, "free", 1) for _ in range(rounds))
        expected = shared * (alone + sum_seconds(size, ranks, latency, bandwidth, speed))
        found = statistics.median(
            seconds("ranvier", network, batch, "deterministic", ranks, ranks) for _ in range(rounds)
        )
        print(f"| {network} | {ranks} | {expected * 1e3:.2f} | {found * 1e3:.2f} | {found / expected:.2f} |")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    speed = additions()
    print("; ".join(f"{name}: latency {a * 1e6:g} us" for name, (a, _) in WIRES.items()))
    print("| network | wire | hosts | ms of a sum |", " | ".join(f"b {b}" for b in BATCHES), "| b for 0.8 |")
    print("|" + "---|" * (5 + len(BATCHES)))
    for network in NETWORKS:
        steps = {
            b: statistics.median(seconds("ranvier", network, b, "free", 1) for _ in range(rounds))
            for b in BATCHES
        }
        predict(network, steps, speed)
    print(
        "\n| network | ranks here | expected ms | measured ms | measured / expected |\n|---|---|---|---|---|"
    )
    for network in NETWORKS:
        check(network, speed, rounds)


if __name__ == "__main__":
    main()
