"""Random calls: samples whose shapes and settings are drawn anew, beside NumPy, float64 and differences.

RANVIER_DRAWS says how many of each sample there are.
"""

import itertools
import os

import ranvier as rv

from properties.every import OF_ITS_DTYPE, every_op
from properties.slopes import OF_LARGE, check_slope, directions
from properties.test_gradient import LEAVES_OUT as OTHER_GRADIENTS
from properties.test_levels import compare
from properties.test_reference import compare_with_reference
from properties.test_sizes import outcome

DRAWS = int(os.environ.get("RANVIER_DRAWS", "3"))


def is_random(sample):
    return sample.error is None and sample.op.has_random_shapes


@every_op(OF_ITS_DTYPE, only=lambda op: op.has_random_shapes, of=is_random)
def test_random_calls(sample, isas):
    levels = itertools.cycle(isas)
    for seed in range(1, 1 + DRAWS):
        drawn = sample.op.drawn(seed=seed)[sample.number]
        shapes = [x.shape for x in drawn.arrays]
        # where a draw fails, it is the last one printed
        print(f"draw {seed}: shapes {shapes}, settings {drawn.settings}")
        level = next(levels)
        if drawn.op.reference and "reference" not in drawn.left_out:
            compare_with_reference(drawn, [level])
        if not drawn.is_smooth:
            continue
        compare(drawn, [level], times=16)
        call = drawn.tensors(rv.float64)
        gradients = outcome(call).gradients
        has_slope = gradients and all(x.size for x in drawn.arrays) and "gradient" not in drawn.left_out
        if has_slope and drawn.op.name not in OTHER_GRADIENTS:
            check_slope(call.with_leaves, call.leaves, gradients, directions(call.leaves, 1), **OF_LARGE)
