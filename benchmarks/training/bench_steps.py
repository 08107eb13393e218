"""Whole training steps, called from Python: zero_grad, forward, loss, backward, Adam's update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer
from benchmarks.training import networks
from benchmarks.training.by_hand import HandSteps
from benchmarks.training.networks import NETWORKS

# glibc then keeps freed activations instead of giving them back: halves torch's step at batch 128
KEEP_MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"
}


def peers(network: str) -> dict[str, Peer]:
    """The libraries that train this network, in their faster settings too."""
    found = {
        "torch": Peer("torch", {"network": network}),
        "torch, fused Adam": Peer("torch", {"network": network, "fused": True}),
        "jax.jit": Peer("jax", {"network": network}),
    }
    if network == "cnn":
        fastest = {"network": network, "fused": True, "channels_last": True}
        found["torch, channels_last"] = Peer("torch", fastest)
        found["torch, channels_last, memory kept"] = Peer("torch", fastest, KEEP_MEMORY)
    else:
        found["scikit-learn"] = Peer("sklearn", {"network": network})
        found["numpy by hand"] = Peer("numpy", {"network": network})
    return found


def ours(network: str) -> Any:
    import ranvier as rv
    from ranvier import nn, optim

    def make(**arrays: np.ndarray) -> Any:
        return networks.steps(nn, optim, rv.from_numpy, NETWORKS[network], arrays)

    return make


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(
    ("network", "batch"), [("tabular", 32), ("mlp", 32), ("mlp", 128), ("cnn", 32), ("cnn", 128)]
)
def bench_step(race: Race, network: str, batch: int, threads: int) -> None:
    arrays = networks.case(NETWORKS[network], batch)
    expected = HandSteps(NETWORKS[network], arrays, np.float64).answer()
    weights = sum(p.size for p in networks.parameters(arrays))
    longest_sum = max(p[0].size for p in networks.parameters(arrays))
    race(
        "train_step",
        f"{network}, batch {batch}",
        ours=ours(network),
        inputs=arrays,
        expected=expected,
        tolerance=tolerance(np.float32, longest_sum, float(expected.max())),
        flops=networks.flops(NETWORKS[network], batch),
        moved=4 * 7 * weights,  # parameter and two moments read and written, gradient read
        working_set=4 * 4 * weights,
        peers=peers(network),
        threads=threads,
    )
