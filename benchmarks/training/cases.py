"""The cases of the training benchmarks, with their expected answers and peers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from support.tolerance import tolerance

from benchmarks.peers.process import Peer
from benchmarks.training import networks
from benchmarks.training.by_hand import HandSteps, predictions
from benchmarks.training.networks import NETWORKS

# glibc then keeps freed activations instead of giving them back: halves torch's step at batch 128
KEEP_MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"
}


@dataclass(frozen=True)
class Case:
    arrays: dict[str, np.ndarray]
    expected: np.ndarray
    tolerance: float

    @property
    def weights(self) -> int:
        """The number of elements of all parameters."""
        return sum(p.size for p in networks.parameters(self.arrays))


def _case(arrays: dict[str, np.ndarray], expected: np.ndarray) -> Case:
    longest_sum = max(p[0].size for p in networks.parameters(arrays))
    allowed = tolerance(np.float32, longest_sum, float(np.abs(expected).max()))
    return Case(arrays, expected, allowed)


@lru_cache(maxsize=2)  # the same for each number of threads
def training_case(network: str, batch: int) -> Case:
    arrays = networks.case(NETWORKS[network], batch)
    return _case(arrays, HandSteps(NETWORKS[network], arrays, np.float64).losses())


@lru_cache(maxsize=2)
def inference_case(network: str, batch: int) -> Case:
    arrays = networks.case(NETWORKS[network], batch)
    return _case(arrays, predictions(NETWORKS[network], arrays, np.float64))


def has_images(network: str) -> bool:
    return len(NETWORKS[network].input_shape) == 3


def trainers(network: str, compiled: bool) -> dict[str, Peer]:
    """The libraries that train this network, in their faster settings too."""
    fused = {"network": network, "fused": True}
    found = {
        "torch": Peer("torch", fused),
        "torch, memory kept": Peer("torch", fused, KEEP_MEMORY),
        "jax.jit": Peer("jax", {"network": network}),
    }
    if compiled:
        found["torch.compile"] = Peer("torch", {**fused, "compiled": True}, KEEP_MEMORY)
    if has_images(network):
        layout = {**fused, "channels_last": True}
        found["torch, channels_last"] = Peer("torch", layout)
        found["torch, channels_last, memory kept"] = Peer("torch", layout, KEEP_MEMORY)
    elif NETWORKS[network].loss != "squares":
        found["scikit-learn"] = Peer("sklearn", {"network": network})
        found["numpy by hand"] = Peer("numpy", {"network": network})
    return found


def predictors(network: str) -> dict[str, Peer]:
    """The libraries that compute this network's predictions."""
    found = {
        "onnxruntime": Peer("onnxruntime", {"network": network}),
        "onnxruntime, values held": Peer("onnxruntime", {"network": network, "held": True}),
        "torch": Peer("torch", {"network": network}),
        "jax.jit": Peer("jax", {"network": network}),
    }
    if has_images(network):
        found["torch, channels_last"] = Peer("torch", {"network": network, "channels_last": True})
    return found
