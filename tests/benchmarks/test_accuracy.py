"""The comparison of errors: what it measures, and what it says of it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.peers.process import Peers


def test_errors_are_relative_to_the_exact_values() -> None:
    exact = np.array([3.0, -4.0, 3.0, -4.0])
    rms, largest = accuracy.errors(np.array([3.0, -4.0, 3.5, -4.0], np.float32), exact)
    assert rms == pytest.approx(0.25 / np.sqrt(12.5))
    assert largest == pytest.approx(0.5 / np.sqrt(12.5))


def test_ours_and_numpys_products_are_measured_on_the_same_data() -> None:
    peers = Peers()
    try:
        found = accuracy.matmul_errors(peers, (8, 512, 8))
    finally:
        peers.close()
    assert {"numpy (OpenBLAS)", "ranvier, x86-64-v2"} & set(found)
    assert all(0 < rms < 1e-5 and rms < largest for rms, largest in found.values())


def test_the_verdicts_name_the_largest_ratios() -> None:
    matmuls = {
        "a": {"ranvier, v4": (2.0, 3.0), "numpy": (1.0, 3.0)},
        "b": {"ranvier, v4": (1.0, 3.0), "numpy": (2.0, 3.0)},
    }
    convs = {"c": {"ranvier direct, v4": (2.0, 3.0), "ranvier Winograd, v4": (3.0, 3.0), "torch": (2.0, 3.0)}}
    assert accuracy.verdicts(matmuls, convs) == [
        "- matmul, our rms error over that of numpy: 0.50 to 2.00.",
        "- conv2d, direct, our rms error over that of torch: 1.00 to 1.00.",
        "- Winograd's rms error over the direct kernel's: 1.50 to 1.50 (allowed: 2).",
    ]
    assert accuracy.table({"a, float64": {"numpy": (2e-16, 3e-16)}})[-1] == "| a, float64 | 2.00 / 3.0 |"
