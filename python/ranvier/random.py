"""The seed and the state of the random numbers, as torch.random has them.

>>> import ranvier as rv
>>> rv.random.manual_seed(3)
>>> rv.random.initial_seed()
3
"""

from ranvier.autograd.random import (
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)

__all__ = ["fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]
