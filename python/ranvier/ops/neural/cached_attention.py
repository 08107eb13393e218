"""Attention of new tokens to the keys and values of earlier tokens, which a cache keeps.

nn/key_value_cache.py calls it. The kernel is `_core.attention_cached`. It has no gradients, so forward saves
nothing.
"""

from __future__ import annotations

from typing import Any

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.neural.attention import PackedAttention
from ranvier.tape.function import Function
from ranvier.tensors.memory import narrow, widened


class CachedAttention(PackedAttention):
    """Attention for q, k and v of new tokens in one array (see PackedAttention). Their keys and values are
    added to the cache.

    cache: (keys, values, lengths, max_length, whether lengths grow), as the kernel takes them
    (nn/key_value_cache.py).
    """

    differentiable = False

    def __init__(self, heads: int, batch_first: bool, scale: float, cache: tuple[Any, ...]) -> None:
        super().__init__(heads, batch_first, scale, is_causal=True, p=0.0, hides=False)
        self.cache = cache

    def forward(self, qkv: Array, *masks: Array) -> Any:
        keys, values, lengths, most, advance = self.cache
        del self.cache
        q, k, v = self._heads(qkv)
        wide_keys, wide_values = widened([keys, values])
        y = _core.attention_cached(q, k, v, wide_keys, wide_values, lengths, most, self.scale, advance)
        narrow([keys, values], [wide_keys, wide_values])
        return self._joined(y)


class CachePositions(Function):
    """The positions of new tokens, lengths[i] + t for t < count: (N, count)"""

    differentiable = False

    def __init__(self, count: int, most: int) -> None:
        self.count = count
        self.most = most

    def forward(self, lengths: Array) -> Array:
        return _core.cache_positions(lengths, self.count, self.most)
