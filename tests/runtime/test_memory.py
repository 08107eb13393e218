"""What rv.memory_stats says of the memory that the allocator keeps."""

import numpy as np
import ranvier as rv
from ranvier import _core


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
