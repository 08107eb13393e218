"""KeyValueCache: the keys and values of the tokens so far, for models that write token after token.

MultiheadAttention (nn/attention.py) and the layers of nn/transformer.py take it as ``cache``. `CacheLayer` is
what one attention layer gets of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import ranvier.ops as ops
from ranvier.grad_mode import is_grad_enabled, no_grad
from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import zeros
from ranvier.ops.neural.cached_attention import CachedAttention, CachePositions
from ranvier.tensors.errors import count, whole
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Array, ArrayLike, DtypeLike
from ranvier.tensors.views import bump

__all__ = LAYERS["key_value_cache"]

_NAME = "key_value_cache"
_ROOM = 64  # `keys` has a multiple of 64 places for tokens, because the kernel reads whole vectors of them.


class KeyValueCache(Module):
    """The keys and values of the tokens so far, in fixed memory, so that a model reads each token once.

    Attention layers take it as ``cache``, in evaluation mode and under ``no_grad()``, with ``is_causal``. A
    call with L new tokens in each of the N sequences adds their keys and values. It gives the same results as
    a call with all tokens so far gives for the last L tokens. ``layers``: the number of attention layers of
    the model. :class:`TransformerEncoder` and :class:`TransformerDecoder` take the whole cache; in a model of
    your own, layer i takes ``cache[i]``. The call of the last layer ends a step: it adds L to ``lengths``
    (N,), the number of tokens of each sequence so far. So an exception before that leaves the cache as it
    was.

    Prompts of different lengths are padded behind their ends and read in one call; :meth:`crop` then cuts
    each sequence to its length. A compiled step is one program for all lengths.

    max_length: the most tokens of a sequence. More raise ValueError, before anything is changed. Memory:
    ``2 layers batch heads head_dim max_length`` numbers, as buffers that are no part of a state dict.
    Source: Pope et al., "Efficiently Scaling Transformer Inference" (2023), section 2.

    >>> import ranvier as rv
    >>> layer = rv.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    >>> cache = rv.nn.KeyValueCache(1, heads=2, max_length=10, head_dim=8)
    >>> x = rv.randn(1, 5, 16)
    >>> with rv.no_grad():
    ...     whole = layer(x, is_causal=True)
    ...     start = layer(x[:, :4], is_causal=True, cache=cache)  # the prompt
    ...     last = layer(x[:, 4:], is_causal=True, cache=cache)  # one more token
    >>> rv.allclose(last, whole[:, 4:], atol=1e-5), cache.lengths
    (True, tensor([5]))
    """

    keys: Tensor  # (layers, N, heads, head_dim, max_length or more)
    values: Tensor  # (layers, N, heads, max_length, head_dim)
    lengths: Tensor

    def __init__(
        self,
        batch: int,
        heads: int,
        max_length: int,
        head_dim: int,
        layers: int = 1,
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__()
        self.max_length = count(_NAME, "max_length", max_length, 0)
        self.layers = count(_NAME, "layers", layers)
        lead = (self.layers, count(_NAME, "batch", batch, 0), count(_NAME, "heads", heads))
        head_dim = count(_NAME, "head_dim", head_dim)
        room = math.ceil(self.max_length / _ROOM) * _ROOM
        buffers = {
            "keys": zeros(*lead, head_dim, room, dtype=dtype),
            "values": zeros(*lead, self.max_length, head_dim, dtype=dtype),
            "lengths": zeros(batch, dtype=np.int64),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def __getitem__(self, layer: int) -> CacheLayer:
        """The part of one attention layer."""
        if not -self.layers <= layer < self.layers:
            raise IndexError(f"[{_NAME}] got layer {layer}; expected one of {self.layers}")
        return CacheLayer(self, layer % self.layers)

    def positions(self, count: int = 1) -> Tensor:
        """The places of the next ``count`` tokens in their sequences: lengths[i] + t, int64 (N, count).

        They are for an embedding of places. Raises ValueError if there is no room for so many tokens.
        """
        return CachePositions(whole(_NAME, "count", count), self.max_length).apply(self.lengths)

    def crop(self, lengths: ArrayLike) -> None:
        """Keeps only the first ``lengths`` tokens: one number for all sequences, or (N,) numbers.

        Raises ValueError for negative numbers, and for more tokens than a sequence has.
        """
        new = _whole_numbers(lengths)
        now = self.lengths.detach().numpy()
        fits = new.dtype.kind in "iu" and new.shape in ((), now.shape)
        if not fits or not np.all((new >= 0) & (new <= now)):
            raise OpError(f"[{_NAME}] got lengths {lengths}; expected whole numbers from 0 to {now.tolist()}")
        with no_grad():
            self.lengths.copy_(np.broadcast_to(new, now.shape).astype(np.int64))

    def reset(self) -> None:
        """Forgets all tokens: the next ones begin new sequences."""
        with no_grad():
            self.lengths.zero_()

    def reorder(self, rows: ArrayLike) -> None:
        """Replaces sequence i by the old sequence rows[i], as beam search needs; rows: N whole numbers."""
        new = _whole_numbers(rows)
        if new.dtype.kind not in "iu" or new.shape != self.lengths.shape:
            raise OpError(
                f"[{_NAME}] got rows {new.tolist()}; expected {self.lengths.shape[0]} numbers of sequences"
            )
        with no_grad():
            # All are selected before one is written, so that an index out of range changes nothing.
            keys = ops.index_select(self.keys, 1, new)
            values = ops.index_select(self.values, 1, new)
            lengths = ops.index_select(self.lengths, 0, new)
            self.keys.copy_(keys)
            self.values.copy_(values)
            self.lengths.copy_(lengths)

    def extra_repr(self) -> str:
        layers, batch, heads, most, width = self.values.shape
        return f"{batch}, heads={heads}, max_length={most}, head_dim={width}, layers={layers}"


def _whole_numbers(x: ArrayLike) -> Array:
    if isinstance(x, Tensor):
        return x.detach().numpy()
    return np.asarray(x)


class CacheLayer(NamedTuple):
    """What one attention layer gets of a cache: the cache and the number of the layer."""

    cache: KeyValueCache
    layer: int

    def attend(self, qkv: Tensor, batch_first: bool) -> Tensor:
        """The attention of new tokens, which are added to the cache.

        qkv: their projected queries, keys and values (N, L, 3 * heads * D), or (L, N, 3 * heads * D) without
        batch_first. The call of the last layer adds L to the lengths of the cache.
        """
        cache, layer = self
        _, batch, heads, max_length, width = cache.values.shape
        if qkv.dtype != cache.values.dtype:
            raise DtypeError(
                f"[multihead_attention] got a cache of dtype {cache.values._array.dtype}; "
                f"expected {qkv._array.dtype}"
            )
        batch_axis = 0 if batch_first else 1
        if qkv.shape[batch_axis] != batch or qkv.shape[2] != 3 * heads * width:
            raise OpError(
                f"[multihead_attention] got a cache for {batch} sequences, {heads} heads of width {width}; "
                f"expected one for a projection of shape {tuple(qkv.shape)}"
            )
        is_last = layer == cache.layers - 1
        memory = (
            cache.keys._array[layer],
            cache.values._array[layer],
            cache.lengths._array,
            max_length,
            is_last,
        )
        y = CachedAttention(heads, batch_first, 1 / math.sqrt(width), memory).apply(qkv)
        # The kernel has changed these in place, which their counts of changes have to say.
        bump(cache.keys)
        bump(cache.values)
        if is_last:
            bump(cache.lengths)
        return y


def fitting_cache_layer(cache: KeyValueCache | CacheLayer, module: Module, heads: int) -> CacheLayer:
    """The argument ``cache`` of an attention layer as a CacheLayer; an error if it does not fit the layer."""
    if isinstance(cache, KeyValueCache) and cache.layers == 1:
        cache = cache[0]
    name = "multihead_attention"
    if not isinstance(cache, CacheLayer):
        raise TypeError(f"[{name}] got cache {cache!r}; expected a KeyValueCache of one layer, or cache[i]")
    if module.training:
        raise RuntimeError(f"[{name}] got a cache in training mode; expected model.eval()")
    if is_grad_enabled():
        raise RuntimeError(
            f"[{name}] got a cache while gradients are recorded; expected `with rv.no_grad():`"
        )
    if cache.cache.values.shape[2] != heads:
        raise OpError(
            f"[{name}] got a cache for {cache.cache.values.shape[2]} heads; expected one for {heads}"
        )
    return cache


def cache_arguments(cache: KeyValueCache | None, name: str, count: int) -> list[dict[str, CacheLayer]]:
    """The keyword arguments {"cache": cache[i]} for each of `count` layers; without a cache they are empty.

    So a program's layer that takes no cache is called without the argument. name: of the caller, for errors.
    """
    if cache is None:
        return [{}] * count
    if not isinstance(cache, KeyValueCache) or cache.layers != count:
        if isinstance(cache, KeyValueCache):
            shown = f"of {cache.layers} layers"
        else:
            shown = repr(cache)
        raise ValueError(f"[{name}] got cache {shown}; expected a KeyValueCache of {count} layers")
    return [{"cache": cache[i]} for i in range(count)]
