"""Random numbers within vmap: refused, the same for all slices, or others for each.

The function draws from the Generator of one of these classes. Where slices have different numbers, a key of
the counter-based kernels is a batched array, so that the kernel draws for all slices (`_random` in
batching_rules/kernels.py); integers and permutations are drawn slice by slice from NumPy's generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NoReturn

import numpy as np

from ranvier.ops.making import random
from ranvier.tensors.batched import Level, batched_array, innermost, join_slices, slice_of
from ranvier.tensors.tensor import wrap


class _SameDraws(random.Generator):
    """The generator of a function that draws the same numbers for each slice."""

    # The error of a draw from another generator while this one is in use (ops/making/random.py).
    only = "[vmap] got a function that draws from its own generator; expected randomness='different'"

    def numpy(self) -> Any:
        return _NumPyOfSlices(super().numpy(), None)


class NoDraws(_SameDraws):
    """The generator of a function that must not draw: each way to draw raises RuntimeError."""

    def fresh_key(self) -> NoReturn:
        raise RuntimeError(
            "[vmap] got a function that draws random numbers; expected randomness='different' or 'same'"
        )

    next_key = numpy = state_to_draw = fresh_key


class _DifferentDraws(random.Generator):
    """The generator of a function that draws other numbers for each slice of a level, from another one."""

    def __init__(self, level: Level, source: random.Generator) -> None:
        super().__init__()
        self._level = level
        self._source = source

    def over(self, other: random.Generator) -> random.Generator:
        if isinstance(other, (_DifferentDraws, _SameDraws)):  # of a call of vmap within this one
            return other
        return _DifferentDraws(self._level, other)

    def level_of_draws(self) -> Level | None:
        return self._level

    def fresh_key(self) -> Any:
        key = wrap(self._source.fresh_key())
        of_slices = key.unsqueeze(0).expand(self._level.size, *key.shape)
        return batched_array(of_slices, self._level)

    def numpy(self) -> Any:
        return _NumPyOfSlices(self._source.numpy(), self._level)

    def next_key(self) -> int:
        return self._source.next_key()

    def state_to_draw(self) -> Any:
        return self._source.state_to_draw()

    def manual_seed(self, seed: int) -> random.Generator:
        return self._source.manual_seed(seed)

    def plain_state(self) -> dict[str, Any]:
        return self._source.plain_state()

    def set_state(self, state: Any) -> random.Generator:
        return self._source.set_state(state)


class _NumPyOfSlices:
    """NumPy's generator within vmap: its methods draw slice by slice.

    level: whose slices have different numbers. None: all slices have the same numbers, which are drawn again
    for each slice where an argument differs from slice to slice.
    """

    def __init__(self, source: Any, level: Level | None) -> None:
        self._source = source
        self._level = level

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._source, name)
        if not callable(method):
            return method

        def draw(*args: Any, **settings: Any) -> Any:
            level = innermost([*args, *settings.values()]) if self._level is None else self._level
            if level is None:
                return method(*args, **settings)
            return _draw_slices(name, method, self._start_of_slice(), level, args, settings)

        return draw

    def _start_of_slice(self) -> Callable[[], None]:
        """What is done before each slice: the generator goes back if all slices have the same numbers."""
        if self._level is not None:
            return lambda: None
        bits = self._source.bit_generator
        state = bits.state

        def go_back() -> None:
            bits.state = state

        return go_back


def _draw_slices(
    name: str,
    method: Callable[..., Any],
    start: Callable[[], None],
    level: Level,
    args: tuple[Any, ...],
    settings: dict[str, Any],
) -> Any:
    results = []
    for i in range(level.size):
        start()
        arguments = [slice_of(value, level, i) for value in args]
        settings_of_slice = {key: slice_of(value, level, i) for key, value in settings.items()}
        results.append(np.asanyarray(method(*arguments, **settings_of_slice)))
    return join_slices(name, results, level)


def random_numbers(randomness: str, level: Level) -> AbstractContextManager[None]:
    """A block in which a function draws its random numbers as vmap was told."""
    if randomness == "error":
        return random.using(NoDraws())
    generator = random.current()
    if randomness == "different":
        level.blocks_of_op = lambda: partial(random.held, generator)
        return random.held(_DifferentDraws(level, generator))
    return _same_draws(level, generator)


@contextmanager
def _same_draws(level: Level, generator: random.Generator) -> Iterator[None]:
    same = _SameDraws().set_state(generator.plain_state())
    level.blocks_of_op = partial(_again, same)
    with random.using(same):
        yield
    generator.set_state(same.plain_state())  # goes on after the numbers of one slice


def _again(same: random.Generator) -> Callable[[], AbstractContextManager[None]]:
    """What makes the blocks in which an op runs slice by slice: each draws the same numbers."""
    state = same.plain_state()

    @contextmanager
    def block_of_slice() -> Iterator[None]:
        same.set_state(state)
        yield

    return block_of_slice
