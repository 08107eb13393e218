"""What rv.memory_stats says of the memory that the allocator keeps."""

import os
import subprocess
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from support.threads import in_threads


def test_memory_that_is_let_go_is_kept_until_the_cache_is_emptied():
    x = rv.zeros(1 << 20)
    in_use = rv.memory_stats()["bytes_in_use"]
    rv.empty_cache()
    assert rv.memory_stats()["bytes_cached"] == 0
    del x
    stats = rv.memory_stats()
    assert stats["bytes_cached"] >= 4 << 20
    assert stats["bytes_in_use"] <= in_use - (4 << 20)
    rv.empty_cache()
    assert rv.memory_stats()["bytes_cached"] == 0


def test_resized_in_place():
    """NumPy moves a block of the cache by the handler's realloc, and keeps its elements."""
    y = _core.add(np.arange(6.0), 1.0)
    y.resize(20000, refcheck=False)
    assert y[:6].tolist() == [1, 2, 3, 4, 5, 6]
    assert not y[6:].any()
    y.resize(3, refcheck=False)
    assert y.tolist() == [1, 2, 3]


def figures(program):
    """What a new process prints, whose allocator has served nobody before."""
    settings = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", f"import ranvier as rv\n{program}"]
    return list(map(int, subprocess.check_output(command, env=settings, text=True).split()))


SEQUENCES = {
    "shrinking": [60, 50, 40, 30, 20, 10],
    "growing": [10, 20, 30, 40, 50, 60],
    "halved": [60, 29, 14, 6, 3] * 5,
    "both": [10, 30, 50, 60, 40, 20] * 5,
    "any": [1 + k * 37 % 60 for k in range(100)],
}


@pytest.mark.parametrize("sizes", SEQUENCES.values(), ids=SEQUENCES)
def test_a_freed_block_serves_other_sizes(sizes):
    held, peak, hits = figures(
        f"for mib in {sizes}: rv.zeros(mib, 1 << 18)\n"
        "s = rv.memory_stats()\n"
        "print(s['bytes_in_use'] + s['bytes_cached'], s['peak_bytes_in_use'], s['cache_hits'])"
    )
    assert held <= 1.5 * peak
    assert hits >= len(sizes) - 12  # what a program repeats is there


def test_many_blocks_give_way_to_others():
    held, peak = figures(
        "for kib in (512, 448, 300, 900): xs = [rv.zeros(kib, 256) for _ in range(60)]; del xs\n"
        "s = rv.memory_stats()\n"
        "print(s['bytes_in_use'] + s['bytes_cached'], s['peak_bytes_in_use'])"
    )
    assert held <= 1.5 * peak


def test_blocks_that_are_parts_of_others_do_not_overlap():
    def take_and_give(number):
        rng, kept = np.random.default_rng(number), []
        for k in range(400):
            if len(kept) > 8 or (kept and rng.random() < 0.4):
                x, value = kept.pop(rng.integers(len(kept)))
                assert (x.numpy()[[0, -1]] == value).all()
            x = rv.empty(int(2 ** rng.uniform(4, 21)))
            x.numpy()[[0, -1]] = k
            kept.append((x, k))

    in_threads(4, take_and_give)


@pytest.mark.parametrize("call", ["relu", "relu6", "silu", "elu", "hardswish", "leaky_relu", "dropout"])
def test_a_layer_in_place_needs_no_array(call):
    (more,) = figures(
        "x = rv.full((4, 1024, 1024), 0.5)\n"
        "before = rv.memory_stats()['peak_bytes_in_use']\n"
        f"rv.nn.functional.{call}(x, inplace=True)\n"
        "print(rv.memory_stats()['peak_bytes_in_use'] - before)"
    )
    assert more < 1 << 20
