"""Matrix products of captured steps beside the FMA peak: ``python -m benchmarks.training.products``.

The peak is that of independent FMA chains in registers, on as many threads. The time of a product is the
shortest of the program's own measurements of its instruction, with what is merged into it (bias, activation).
A share is 2 m n k of all products over the sum of their times and the peak; the rest is other instructions.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import nn, optim

from benchmarks import machine
from benchmarks.training import networks
from benchmarks.training.models import steps
from benchmarks.training.networks import NETWORKS, TITLES

CASES = [("mlp", 32), ("mlp", 128), ("mlp", 256), ("deep mlp", 128), ("deep tanh mlp", 64), ("wide mlp", 256)]
STEPS = 70  # the first are measured while the program chooses its threads; checks are at 2, 4, 8 ...


def flops(instruction: Any) -> float:
    """FLOP of one product (batch, m, k) (batch, k, n)."""
    (batch, m, k), (_, _, n) = (operand.shape for operand in instruction.reads[:2])
    return 2.0 * batch * m * k * n


def measured(network: str, batch: int) -> tuple[float, float, float, float]:
    """(FLOP of a step's products, their seconds, FLOP/s of the slowest, seconds of all instructions)."""
    form = NETWORKS[network]
    arrays = networks.case(form, batch)
    run = steps(nn, optim, rv.from_numpy, form, arrays, compiled=rv.compile, to_input=np.asarray)
    for _ in range(STEPS):
        run()
    best: dict[int, Any] = {}
    for _ in range(3):
        for i in run.step.programs[0].instructions:
            if not i.prepared and (i.number not in best or i.ns < best[i.number].ns):
                best[i.number] = i
    products = [i for i in best.values() if i.op == "matmul"]
    slowest = min(flops(i) / i.ns for i in products) * 1e9
    return (
        sum(map(flops, products)),
        sum(i.ns for i in products) / 1e9,
        slowest,
        sum(i.ns for i in best.values()) / 1e9,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="*", default=machine.thread_counts())
    parser.add_argument("-k", dest="part", default="", help="only networks whose name has this in it")
    arguments = parser.parse_args()
    print("| network | batch | threads | share of the FMA peak | of the step's time | slowest product |")
    print("|---|---|---|---|---|---|")
    for threads in arguments.threads:
        with machine.threads(threads):
            peak = machine.fma_peak()
            for network, batch in CASES:
                if arguments.part not in network:
                    continue
                peak = max(peak, machine.fma_peak())  # another process may have been in its way before
                done, seconds, slowest, whole = measured(network, batch)
                cells = [f"{done / seconds / peak:.0%}", f"{seconds / whole:.0%}", f"{slowest / peak:.0%}"]
                print(f"| {' | '.join([TITLES[network], str(batch), str(threads), *cells])} |", flush=True)


if __name__ == "__main__":
    main()
