"""Captured steps while another process keeps one core busy: ``python -m benchmarks.training.taken_core``.

The other process is pinned to the last core and has the same priority. Each library runs its step with as
many threads as the machine has cores, ranvier on one thread too. A figure is the mean over a third of a
second, which has many time slices of the scheduler, and of those the median over the rounds. Each round
begins with the first parameters. Where weights get no gradient, torch's first moments of Adam become
subnormal after some 800 steps, with which Intel's processors calculate slowly; jax and ranvier store 0.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.clock import one_round
from benchmarks.harness import check
from benchmarks.peers.process import PeerMissing, PeerProcess, Peers
from benchmarks.training.bench_training import captured
from benchmarks.training.cases import Case, trainers, training_case

CASES = [
    *(("tabular", 32), ("mlp", 32), ("mlp", 128), ("mlp", 256), ("deep tanh mlp", 64), ("wide mlp", 256)),
    *(("cnn", 32), ("cnn", 128), ("lenet", 32), ("vgg", 32)),
]
ROUNDS = 3


@contextmanager
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that computes on the last core, stopped until it gets SIGCONT."""
    core = max(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    process.send_signal(signal.SIGSTOP)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def own_steps(network: str, case: Case, counts: Sequence[int]) -> dict[int, Any]:
    """A captured step for each number of threads, since a program is made for one."""
    found = {}
    for threads in counts:
        with machine.threads(threads):
            found[threads] = captured(network)(**case.arrays)
            check("ranvier", found[threads].answer(), case.expected, case.tolerance)
    return found


def peer_steps(network: str, case: Case, threads: int, peers: Peers) -> dict[str, PeerProcess]:
    found = {}
    for label, peer in trainers(network, compiled=False).items():
        if peer.library not in ("torch", "jax"):
            continue
        try:
            process = peers.get(peer, threads)
            answer = process.prepare(label, "train_step", case.arrays, peer.options)
        except PeerMissing as missing:
            print(f"without {label}: {missing}")
            continue
        check(label, answer, [case.expected], 2 * case.tolerance)
        found[label] = process
    return found


def measured(network: str, batch: int, peers: Peers, busy: subprocess.Popen[bytes]) -> dict[str, float]:
    """Seconds of a step: of each library, with the core taken and ("quiet") without."""
    case = training_case(network, batch)
    most = machine.thread_counts()[-1]
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for state, word in ((signal.SIGSTOP, "quiet "), (signal.SIGCONT, "")):
            own = own_steps(network, case, [1, most])
            others = {} if word else peer_steps(network, case, most, peers)
            busy.send_signal(state)
            for threads, step in own.items():
                with machine.threads(threads):
                    seconds.setdefault(f"{word}{threads}", []).append(one_round(step, "mean"))
            for label, process in others.items():
                seconds.setdefault(label, []).append(process.seconds(label, "mean"))
                process.forget(label)
            busy.send_signal(signal.SIGSTOP)
    return {label: median(found) for label, found in seconds.items()}


def line(network: str, batch: int, found: dict[str, float]) -> str:
    most = str(machine.thread_counts()[-1])
    own = {name: found.pop(name) for name in ("quiet 1", f"quiet {most}", "1", most)}
    best = min(found, key=found.__getitem__) if found else "none"
    cells = [f"{network}, {batch}", *(f"{own[name] * 1e6:.0f}" for name in own)]
    cells += [f"{own[most] / own['1']:.2f}", best, f"{found[best] / own[most]:.2f}" if found else ""]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", dest="part", default="", help="only networks whose name has this in it")
    arguments = parser.parse_args()
    most = machine.thread_counts()[-1]
    if most < 2:
        parser.error("needs two processors")
    titles = ["step", "quiet, 1 thread, us", f"quiet, {most} threads", "core taken, 1 thread"]
    titles += [f"core taken, {most} threads", f"{most} threads / 1", "best peer", "peer / ranvier"]
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    peers = Peers()
    try:
        with busy_process() as busy:
            for network, batch in CASES:
                if arguments.part in network:
                    print(line(network, batch, measured(network, batch, peers, busy)), flush=True)
    finally:
        peers.close()


if __name__ == "__main__":
    main()
