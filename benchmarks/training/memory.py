"""The memory of a step, as JSON: ``python -m benchmarks.training.memory ranvier cnn FILE``.

The process's resident set is read before the first step of the network; its peak after some steps, and again
(the kernel's mark reset) over later ones. A step on another, small batch comes before, so that what a library
loads or builds with its first step is not counted, ours or theirs.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training.models import Steps, steps
from benchmarks.training.networks import NETWORKS

STEPS = 10
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(field: str) -> int:
    """Bytes: VmRSS, now, or VmHWM, the most so far."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def trained(library: str, network: str, arrays: dict[str, np.ndarray]) -> Steps:
    """Set up: the parameters and four batches are there."""
    name, _, layout = library.partition(" ")
    root: Any = importlib.import_module(name)
    nn, optim = (importlib.import_module(f"{name}.{part}") for part in ("nn", "optim"))
    form = NETWORKS[network]
    if name == "ranvier":
        return steps(nn, optim, root.from_numpy, form, arrays, compiled=root.compile, to_input=np.asarray)
    if not layout:
        return steps(nn, optim, root.from_numpy, form, arrays, fused=True)

    def to_tensor(a: np.ndarray) -> Any:
        t = root.from_numpy(a)
        return t.contiguous(memory_format=root.channels_last) if t.ndim == 4 else t

    def prepared(model: Any) -> Any:
        return model.to(memory_format=root.channels_last)

    return steps(nn, optim, to_tensor, form, arrays, prepared=prepared, fused=True)


def measure(library: str, network: str, file: str) -> dict[str, int]:
    importlib.import_module(library.partition(" ")[0]).set_num_threads(1)
    with np.load(file) as read:
        arrays = dict(read)
    call = trained(library, network, {**arrays, "x": arrays["x"][:, :2], "y": arrays["y"][:, :2]})
    for _ in range(STEPS):
        call()
    call = trained(library, network, arrays)
    gc.collect()
    RESET.write_text("5")
    before = resident("VmRSS")
    for _ in range(STEPS):
        call()
    found = {"growth": resident("VmHWM") - before}
    RESET.write_text("5")
    for _ in range(STEPS):
        call()
    found["growth, later steps"] = resident("VmHWM") - before
    program = getattr(call.step, "programs", None)
    if program:
        memory = program[-1].memory
        found["planned"] = memory.arena + memory.workspace + memory.made
    return found


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
