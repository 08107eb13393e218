"""Random training steps of many kinds, with changes between their calls: compiled bit for bit."""

import os

import pytest
from support import random_steps

PARTS, PER_PART = 8, int(os.environ.get("RANVIER_RANDOM_STEPS", "40")) // 8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_same_as_eager(part):
    """Second gradients, distributions, hooks, containers, views, two optimizers; 1 to 2 threads."""
    captured, seeds = 0, range(part, PARTS * PER_PART, PARTS)
    for seed in seeds:
        outcome, remark = random_steps.judged(random_steps.Program(seed))
        if outcome == "wrong":
            source = random_steps.reduced(random_steps.Program(seed)).source()
            pytest.fail(f"seed {seed}: {remark}\n{source}")
        captured += outcome == "as eager"
    assert captured > 0.3 * len(seeds), "few of them are captured"
