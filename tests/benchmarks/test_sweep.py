"""The sweep: the same seed draws the same shapes, and what is drawn can be run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import sweep
from benchmarks.sweep_kinds import KINDS, MOST_ELEMENTS, layer, layer_flops, log_uniform


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_cases(kind: str) -> None:
    first, second = (list(KINDS[kind](np.random.default_rng([3, 1]))) for _ in range(2))
    assert [case.name for case in first] == [case.name for case in second]
    assert len({case.name for case in first}) == len(first)
    for case in first:
        answer = case.ours()
        answers = answer if isinstance(answer, tuple) else (answer,)
        assert all(np.isfinite(a).all() for a in answers)
        assert all(a.size <= max(MOST_ELEMENTS, 2048**2) for a in case.inputs.values())


def test_sizes_reach_both_ends() -> None:
    rng = np.random.default_rng(0)
    drawn = [log_uniform(rng, 1, 8) for _ in range(500)]
    assert (min(drawn), max(drawn)) == (1, 8)


def test_layers_have_pixels() -> None:
    rng = np.random.default_rng(0)
    assert all(layer_flops(*layer(rng)) > 0 for _ in range(500))


def test_a_small_sweep_against_numpy(threads: Callable[[int], None]) -> None:
    threads(1)
    said: list[str] = []
    found = sweep.run(2, 5, ["matmul"], said.append)
    assert not found["failed"]
    assert [row["op"] for row in found["rows"]] == ["matmul", "matmul"]
    assert all(row["ratios"]["numpy"] > 0 for row in found["rows"])
    assert said[0].startswith("| matmul |")
    assert len(sweep.worst(found["rows"])) == 4
