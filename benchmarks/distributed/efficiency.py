"""Measures what more ranks gain, beside torch's DDP with gloo: ``python -m
benchmarks.distributed.efficiency``.

Every rank has one thread, and is a process of one host. Strong scaling: the same batch for all ranks
together; weak: the same batch for each rank. The efficiency is the time of one process alone, without any
distribution, over the time on R ranks (strong: divided by R as well). A row's jobs follow each other in
rounds, and the figure is the median over the rounds. Where gloo fails, as it does on some systems, that is
said, and torch has no rows from there on. Figures of two hosts are not made here (`two_hosts.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys

from support.ranks import SETTINGS, mpirun

from benchmarks.distributed.jobs import NETWORKS

BATCH = 128
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def seconds(library: str, network: str, batch: int, mode: str, ranks: int, shards: int = 8) -> float:
    """The time of a step of a new job."""
    job = [sys.executable, "-m", "benchmarks.distributed.jobs", library, network, str(batch), mode]
    job += ["--shards", str(shards)]
    env = os.environ | ONE_THREAD | SETTINGS
    if ranks == 1:
        commands, envs = [job], [env]
    elif library == "ranvier":
        commands, envs = [[mpirun(), "-n", str(ranks), *job]], [env]
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(ranks)}
        commands = [job] * ranks
        envs = [env | address | {"RANK": str(rank)} for rank in range(ranks)]
    processes = [
        subprocess.Popen(command, env=each, stdout=subprocess.PIPE, text=True)
        for command, each in zip(commands, envs, strict=True)
    ]
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:  # the others wait for one that has failed
            process.kill()
    if any(process.returncode for process in processes):
        codes = [process.returncode for process in processes]
        raise RuntimeError(f"{library} failed on {network}, {ranks} processes, exits {codes}: {outputs}")
    return float(json.loads(outputs[0].strip().splitlines()[-1])[0])


def compare(network: str, ranks: int, rounds: int, libraries: list[tuple[str, str]]) -> None:
    for scaling, batch in (("strong", BATCH), ("weak", BATCH * ranks)):
        work = ranks if scaling == "strong" else 1
        found: dict[tuple[str, str], list[tuple[float, float]]] = {one: [] for one in libraries}
        for _ in range(rounds):
            for library, mode in [*libraries]:
                alone = seconds(library, network, BATCH, "alone", 1)
                try:
                    found[library, mode].append((alone, seconds(library, network, batch, mode, ranks)))
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    if library != "torch":
                        raise
                    libraries.remove((library, mode))
                    del found[library, mode]
                    print(f"no rows of torch from here on, since gloo does not run: {error}", flush=True)
        for (library, mode), times in found.items():
            efficiency = statistics.median(alone / (several * work) for alone, several in times)
            ms = [statistics.median(each) * 1e3 for each in zip(*times, strict=True)]
            cells = f"{library}, {mode}" if library == "ranvier" else "torch DDP"
            figures = f"{ms[0]:.3f} | {ms[1]:.3f} | {efficiency:.2f}"
            print(f"| {network} | {scaling} | {ranks} | {cells} | {figures} |")
            sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--without-torch", action="store_true")
    a = parser.parse_args()
    libraries = [("ranvier", "deterministic"), ("ranvier", "free")]
    libraries += [] if a.without_torch else [("torch", "free")]
    print("| network | scaling | ranks | library | ms alone | ms | efficiency |")
    print("|---|---|---|---|---|---|---|")
    for network in NETWORKS:
        compare(network, a.ranks, a.rounds, libraries)


if __name__ == "__main__":
    main()
