"""What can be checked of a rate: that it is sane at every level; and that wrong calls are refused."""

from collections.abc import Callable

import pytest
from ranvier import _core

KIB = 1 << 10


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 3])
def test_fma_rate(isa: str, threads: Callable[[int], None], dtype: str, count: int) -> None:
    threads(count)
    assert 1e6 < _core.probe_fma(dtype, 1000) < 1e15


@pytest.mark.parametrize("kind", ["read", "read_write"])
@pytest.mark.parametrize("size", [1, 2 * KIB - 1, 2 * KIB, 1000 * KIB])
@pytest.mark.parametrize("count", [1, 3])
def test_bandwidth(isa: str, threads: Callable[[int], None], kind: str, size: int, count: int) -> None:
    threads(count)
    assert 1e6 < _core.probe_bandwidth(size, 10, kind) < 1e15


@pytest.mark.parametrize("count", [1, 2, 3])
def test_barrier(threads: Callable[[int], None], count: int) -> None:
    threads(count)
    assert 0 < _core.probe_barrier(100) < 10
