"""Sizes beyond any memory: refused, or MemoryError, and nothing outside the arrays is touched.

A view that repeats one element has any size without memory, so that every product of sizes can be made to
overflow. Each call runs in a process that may die.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import kernels
from ranvier.nn.utils import rnn
from support.grouped import in_groups
from support.isolated import Case, run_isolated
from support.refused import refused
from support.run_call import EVERY, call_of, cases

# More elements than are accepted, and as many as NumPy makes views of.
HUGE = (2**41, 2**48 + 1, 2**60 - 1, 2**61 - 1)


def repeated(shape: tuple[int, ...], dtype: Any) -> Any:
    """Zeros, or None where NumPy makes no such view."""
    try:
        return np.broadcast_to(np.zeros((), dtype), shape)
    except ValueError:
        return None


def huge_cases(module: str, name: str) -> Iterator[Case]:
    arrays, _ = call_of(module, name)
    at_axis = [
        (at, axis) for at, x in enumerate(arrays) if isinstance(x, np.ndarray) for axis in range(x.ndim)
    ]
    together = [((at, axis),) for at, axis in at_axis]
    sizes = {arrays[at].shape[axis] for at, axis in at_axis}
    together += [tuple(p for p in at_axis if arrays[p[0]].shape[p[1]] == size) for size in sizes]
    together += [tuple(p for p in at_axis if p[1] == axis) for axis in range(4)]
    for places, size in itertools.product(dict.fromkeys(filter(None, together)), HUGE):
        shapes = {at: list(arrays[at].shape) for at, _ in places}
        for at, axis in places:
            shapes[at][axis] = size
        given = [repeated(tuple(shapes[at]), x.dtype) if at in shapes else x for at, x in enumerate(arrays)]
        if any(x is None for x in given):
            continue
        yield from cases(module, name, given)


@pytest.mark.parametrize("group", in_groups(EVERY, 20), ids=str)
def test_huge_views(group: list[tuple[str, str]]) -> None:
    assert run_isolated([case for module, name in group for case in huge_cases(module, name)], 20) == []


@pytest.mark.parametrize("channels", [2, 2**20, 2**30])
def test_gradients_of_huge_images(channels: int) -> None:
    """The sum of the workspace's parts wrapped around size_t."""

    def run() -> None:
        x = repeated(((2**61 - 1) // channels // 2, channels, 1, 1), np.float32)
        w = repeated((1, channels, 1, 1), np.float32)
        with pytest.raises(ValueError, match=r"\[conv2d_backward\] got .* expected .*2\*\*40"):
            kernels.conv2d_backward(x[:, :1], x, w)

    assert run_isolated([("conv2d_backward", run)]) == []


def limited(work: Any, gigabytes: int = 4) -> Any:
    """That, with so much memory: some systems promise more than they have, and end what uses it."""

    def run() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30,) * 2)
        work()

    return run


def test_long_signals_with_many_taps_need_no_tables() -> None:
    """Tables of outputs by taps would take 262 GB, and 33 GB for each thread."""

    def convolve() -> None:
        x = repeated((1, 1, 4_000_000), np.float32)
        w = repeated((1, 1, 4_096), np.float32)
        y = kernels.conv1d(x, w, None, 64, 2_048)
        assert y.shape == (1, 1, 62_501)
        assert not y.any()

    def pool() -> None:
        x = np.zeros((1, 1, 2_000_000), np.float32)
        x[0, 0, 1_000_000] = 1
        y, where = kernels.max_pool1d(x, 2_048, 512)
        dx = kernels.max_pool1d_backward(y, where, x.shape, 2_048, 512)
        assert dx[0, 0, 1_000_000] == y.sum() == 4

    assert run_isolated([("conv1d", limited(convolve)), ("max_pool1d", limited(pool))]) == []


def test_no_tensor_of_such_a_size() -> None:
    """A computation of NumPy on it would take hours, also of integers and empty slices."""
    wide = np.broadcast_to(np.int64(1), (2**41,))
    for take in (rv.from_numpy, rv.as_tensor, rv.sum, rv.all, rv.isfinite, lambda x: rv.split(x, 1)):
        with pytest.raises(ValueError, match=r"\[\w+\] got the shape \(2199023255552,\); expected"):
            take(wide)
    with pytest.raises(ValueError, match=r"\[unbind\] got the shape \(0, 2199023255552\)"):
        rv.unbind(np.broadcast_to(np.float32(1), (0, 2**41)), 1)
    refused(ValueError, "[expand] got the shape (2199023255552, 2)", rv.ones(2).expand, 2**41, 2)


def test_an_index_is_read_after_its_shape() -> None:
    """Looking at each of so many indices first would take hours, before the shape is refused."""
    index = np.broadcast_to(np.int64(0), (2, 2**39))
    x, src = np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)
    calls = [
        lambda: kernels.gather(np.ones((3, 3), np.float32), index, 1),
        lambda: kernels.gather(x, index, 1),
        lambda: kernels.scatter(x, index, src, 1),
        lambda: kernels.scatter_add(src, index, 1, 3),
        lambda: kernels.embedding(index, x),
    ]

    def refuse() -> None:
        for call in calls:
            with pytest.raises((ValueError, MemoryError)):
                call()

    assert run_isolated([("indices", limited(refuse, 64))]) == []


COUNTS = {
    "tensor_split": lambda n: rv.tensor_split(rv.ones(3), n),
    "repeat": lambda n: rv.ones(3).repeat(n, n, n),
    "tile": lambda n: rv.tile(rv.ones(3), (n, n)),
    "repeat_interleave": lambda n: rv.repeat_interleave(rv.ones(3), n),
    "linspace": lambda n: rv.linspace(0, 1, n),
    "zeros": lambda n: rv.zeros(n),
    "rand": lambda n: rv.rand(n),
    "eye": lambda n: rv.eye(n),
    "combinations": lambda n: rv.combinations(rv.ones(3), n),
    "transformer_encoder": lambda n: rv.nn.TransformerEncoder(rv.nn.TransformerEncoderLayer(4, 2), n),
    "lstm": lambda n: rv.nn.LSTM(2, 2, num_layers=n),
    "RandomSampler": lambda n: rv.data.RandomSampler([1, 2], True, n),
    "WeightedRandomSampler": lambda n: rv.data.WeightedRandomSampler([1.0, 2.0], n),
    "one_hot": lambda n: F.one_hot(rv.tensor([0, 1]), n),
    "pad_packed_sequence": lambda n: rnn.pad_packed_sequence(rnn.pack_sequence([rv.ones(3)]), total_length=n),
}


@pytest.mark.parametrize("count", [2**62, 10**20, 2**70])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_beyond_any_memory_are_refused_at_once(name: str, count: int) -> None:
    with pytest.raises(ValueError, match=rf"^\[{name}\] got .*expected"):
        COUNTS[name](count)
