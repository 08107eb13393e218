"""MultiheadAttention: attention in several subspaces (heads) at once.

The ops `Attention` and `PackedAttention` (ops/neural/attention.py) compute softmax(q k^T) v of all heads;
this file has the projections around them, the masks and the cache. In shapes, N is the batch, L the number of
queries, S the number of keys, D the width of a head.
"""

from __future__ import annotations

import contextlib
import enum
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import ranvier.nn.functional as F
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.nn.key_value_cache import CacheLayer, KeyValueCache, fitting_cache_layer
from ranvier.nn.linear import NonDynamicallyQuantizableLinear
from ranvier.nn.module import Module, Parameter
from ranvier.nn.table import LAYERS
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import empty
from ranvier.ops.neural.attention import Attention, PackedAttention
from ranvier.ops.neural.attention_masks import as_added, later, of_heads
from ranvier.ops.neural.dropout import probability
from ranvier.tensors.errors import whole
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike

__all__ = LAYERS["attention"]


class SDPBackend(enum.IntEnum):
    """PyTorch's names of the ways to compute attention. This library has one way and ignores the choice."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3


@contextlib.contextmanager
def sdpa_kernel(backends: SDPBackend | list[SDPBackend], set_priority: bool = False) -> Iterator[None]:
    """A block without effect: see :class:`SDPBackend`."""
    yield


_NAME = "multihead_attention"
_FUNCTIONAL = vars(F)
# The library's functions by name, also where a program has replaced those of `nn.functional`.
_OWN = F._OWN


class _Settings(NamedTuple):
    """The settings of one attention, in the order in which `Attention` takes them."""

    scale: float  # of the scores
    is_causal: bool
    dropout: float  # the probability that a weight is dropped; 0 in evaluation mode
    several_heads: bool  # `hides` of Attention: True in a bool mask hides a key, as in PyTorch's layer
    need_weights: bool


class MultiheadAttention(Module):
    """Attention in num_heads subspaces, from projected queries, keys and values; the results are joined:

        head_h = softmax(q_h k_h^T / sqrt(D) + masks) v_h,   q_h = query W_q,h^T + b_q,h, and k, v likewise
        y = [head_1 ... head_H] W_o^T + b_o,   D = embed_dim / num_heads

    query (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim), y (L, N, embed_dim); with batch_first=True
    the batch comes first: (N, L, embed_dim). Without a batch: (L, embed_dim) and so on. kdim and vdim are
    embed_dim if not given. dropout: the probability that a weight is dropped in training.

    W_q, W_k and W_v are in_proj_weight (3 embed_dim, embed_dim), or q_proj_weight, k_proj_weight and
    v_proj_weight if kdim or vdim is not embed_dim; the biases b_q, b_k and b_v are in_proj_bias; W_o and b_o
    are out_proj. add_bias_kv: one more key and value after the projection, bias_k and bias_v (1, 1,
    embed_dim). add_zero_attn: one more key and value of zeros. No mask hides these additional keys. If all
    keys of a query are hidden, its y and weights are NaN with need_weights, and y = b_o without need_weights,
    as in PyTorch. (PyTorch gives NaN without need_weights, too, in one case: with bool masks, query, key and
    value as one tensor, batch_first, an even num_heads, and without training or gradients.)

    Raises ValueError where num_heads does not divide embed_dim, and for shapes of inputs and masks that do
    not fit; TypeError for masks of other dtypes.
    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.2.

    >>> import ranvier as rv
    >>> layer = rv.nn.MultiheadAttention(8, num_heads=2, batch_first=True)
    >>> x = rv.randn(4, 10, 8)
    >>> y, weights = layer(x, x, x)
    >>> y.shape, weights.shape
    ((4, 10, 8), (4, 10, 10))
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None
    _paths: ClassVar[dict[str, str]] = {"bias": "in_proj_bias", "add_bias_kv": "bias_k"}

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__()
        sizes = (whole(_NAME, "embed_dim", embed_dim), whole(_NAME, "num_heads", num_heads))
        if min(sizes) < 1 or embed_dim % num_heads:
            raise ValueError(
                f"[{_NAME}] got {embed_dim} embed_dim and {num_heads} num_heads; expected a divisor of "
                "embed_dim"
            )
        probability(_NAME, "dropout", dropout)
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = int(num_heads)
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        # Weights of one width are one Parameter, so that one product projects all.
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = Parameter(empty(3 * embed_dim, embed_dim, dtype=dtype))
            self.register_parameter("q_proj_weight", None)
            self.register_parameter("k_proj_weight", None)
            self.register_parameter("v_proj_weight", None)
        else:
            self.register_parameter("in_proj_weight", None)
            self.q_proj_weight = Parameter(empty(embed_dim, embed_dim, dtype=dtype))
            self.k_proj_weight = Parameter(empty(embed_dim, self.kdim, dtype=dtype))
            self.v_proj_weight = Parameter(empty(embed_dim, self.vdim, dtype=dtype))
        in_proj_bias = Parameter(empty(3 * embed_dim, dtype=dtype)) if bias else None
        self.register_parameter("in_proj_bias", in_proj_bias)
        for name in ("bias_k", "bias_v"):
            row = Parameter(empty(1, 1, embed_dim, dtype=dtype)) if add_bias_kv else None
            self.register_parameter(name, row)
        self.add_zero_attn = add_zero_attn
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, dtype)
        self._reset_parameters()

    @property
    def _qkv_same_embed_dim(self) -> bool:
        return self.in_proj_weight is not None

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """(mask, kind), as in PyTorch: both masks as one (N, heads, L, S) and kind 2, or a key_padding_mask
        alone and kind 1.

        Programs call it. The masks are floats, which are added to the scores; query (N, L, E).
        """
        if attn_mask is None:
            if key_padding_mask is None:
                return None, None
            return key_padding_mask, 1
        n, length, _ = query.shape
        if attn_mask.ndim == 3:
            mask = attn_mask.view(n, -1, length, length)
        else:
            mask = attn_mask.view(1, 1, length, length).expand(n, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            mask = mask + key_padding_mask.view(n, 1, 1, length)
        return mask, 2

    def _reset_parameters(self) -> None:
        """Draws new starting values: Glorot's for the projections of the inputs, zero for the biases."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for row in (self.bias_k, self.bias_v):
            if row is not None:
                init.xavier_normal_(row)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        cache: KeyValueCache | CacheLayer | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(y, weights): see the class for y; weights is None without need_weights.

        Args:
            query, key, value: (L, N, embed_dim), (S, N, kdim) and (S, N, vdim); see the class.
            key_padding_mask: (N, S), hides keys. This mask and attn_mask are bool, True where hidden, or
                numbers that are added to the scores.
            need_weights: whether the weights are a result: (N, L, S), the mean over the heads, or with
                average_attn_weights=False (N, num_heads, L, S).
            attn_mask: (L, S) or (N num_heads, L, S), hides pairs of query and key.
            is_causal: query i uses only keys 0 ... i, in addition to the masks.
            cache: a :class:`KeyValueCache` of one layer, or ``cache[i]`` of one with more layers. query, key
                and value are then one Tensor with the next tokens, and these also see all tokens in the
                cache. It needs is_causal, and no masks and weights.

        Raises:
            RuntimeError: a cache in training mode, or while gradients are recorded.
        """
        function = _FUNCTIONAL.get("multi_head_attention_forward")  # present only if a program replaced it
        masks = key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
        if function is not None:
            return self._call_replaced_function(function, (query, key, value), *masks)
        return self._compute(query, key, value, *masks, cache)

    def _compute(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None,
        need_weights: bool,
        attn_mask: Tensor | None,
        average_attn_weights: bool,
        is_causal: bool,
        cache: KeyValueCache | CacheLayer | None,
    ) -> tuple[Tensor, Tensor | None]:
        """(y, weights) as forward, by the functions of this library."""
        is_one_tensor = query is key and key is value
        query = as_tensor(_NAME, query)
        key = as_tensor(_NAME, key)
        value = as_tensor(_NAME, value)
        self._check(query, key, value)
        without_batch = query.ndim == 2
        batch_axis = 0 if self.batch_first else 1
        if without_batch:  # Such an input is computed as a batch of 1.
            query = ops.unsqueeze(query, batch_axis)
            key = ops.unsqueeze(key, batch_axis)
            value = ops.unsqueeze(value, batch_axis)
        added_keys = (self.bias_k is not None) + bool(self.add_zero_attn)
        packed = is_one_tensor and not added_keys and self._qkv_same_embed_dim
        weights: Tensor | None = None
        if cache is not None:
            is_plain = is_causal and not need_weights and key_padding_mask is None and attn_mask is None
            cache_layer = fitting_cache_layer(cache, self, self.num_heads)
            y = self._attend_to_cache(query, cache_layer, fits=packed and is_plain)
        else:
            length_axis = 1 - batch_axis
            batch = query.shape[batch_axis]
            shape = (batch, self.num_heads, query.shape[length_axis], key.shape[length_axis])
            arguments = (key_padding_mask, attn_mask, bool(is_causal))
            masks, is_causal = of_heads(query, shape, arguments, added_keys, need_weights)
            settings = _Settings(
                scale=1 / math.sqrt(self.head_dim),
                is_causal=is_causal,
                dropout=self.dropout if self.training else 0.0,
                several_heads=True,
                need_weights=need_weights,
            )
            y, weights = self._attend((query, key, value), packed, masks, settings)
        if weights is not None and average_attn_weights:
            weights = ops.mean(weights, 1)
        if without_batch:
            y = ops.squeeze(y, batch_axis)
            if weights is not None:
                weights = weights[0]
        return y, weights

    def _attend(
        self, inputs: tuple[Tensor, Tensor, Tensor], packed: bool, masks: list[Tensor], settings: _Settings
    ) -> tuple[Tensor, Tensor | None]:
        """(y, weights of each head or None).

        inputs: query, key and value with a batch. packed: they are one Tensor, which one product projects.
        masks: those that broadcast to the scores (N, heads, L, S).
        """
        is_replaced = F.scaled_dot_product_attention is not _OWN["scaled_dot_product_attention"]
        if is_replaced or F.softmax is not _OWN["softmax"]:
            return self._attend_by_functions(inputs, masks, settings)
        if packed:
            attention: Attention = PackedAttention(self.num_heads, self.batch_first, *settings)
            result = attention.over(self._project_packed(inputs[0]), *masks)
        else:
            attention = Attention(*settings)
            result = attention.over(*self._project_to_heads(*inputs), *masks)
        if attention.with_weights:
            y, weights = result
        else:
            y = result
            weights = None
        if not packed:
            y = self._join_heads(y)
        return self._project_out(y), weights

    def _attend_by_functions(
        self, inputs: tuple[Tensor, Tensor, Tensor], masks: list[Tensor], settings: _Settings
    ) -> tuple[Tensor, Tensor | None]:
        """As `_attend`, by the functions of ``nn.functional``, of which a program has replaced some."""
        query, key, value = self._project_to_heads(*inputs)
        is_causal = settings.is_causal
        mask: Tensor | None = None  # the sum of the masks, as numbers
        for given in masks:
            added = as_added(given, query.dtype)
            mask = added if mask is None else mask + added
        if not settings.need_weights:
            if mask is not None and is_causal:
                causal = as_added(later(query.shape[-2], key.shape[-2]), query.dtype)
                mask = mask + causal
                is_causal = False
            y = F.scaled_dot_product_attention(query, key, value, mask, settings.dropout, is_causal)
            return self._project_out(self._join_heads(y)), None
        scores = (query * settings.scale) @ key.transpose(-2, -1)
        if is_causal:
            scores = scores + as_added(later(query.shape[-2], key.shape[-2]), query.dtype)
        if mask is not None:
            scores = scores + mask
        weights = F.softmax(scores, -1)
        if settings.dropout > 0:
            weights = F.dropout(weights, settings.dropout)
        return self._project_out(self._join_heads(weights @ value)), weights

    def _call_replaced_function(
        self,
        function: Callable[..., Any],
        inputs: tuple[Tensor, Tensor, Tensor],
        key_padding_mask: Tensor | None,
        need_weights: bool,
        attn_mask: Tensor | None,
        average_attn_weights: bool,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """(y, weights) of a program's `multi_head_attention_forward`, called as PyTorch calls it."""
        query, key, value = inputs
        swaps = self.batch_first and query.ndim == 3  # The function takes (length, N, width).
        if swaps:  # One Tensor stays one Tensor, which the function may look at.
            swapped = {id(x): x.transpose(1, 0) for x in inputs}
            query, key, value = (swapped[id(x)] for x in inputs)
        separate_weights: dict[str, Any] = {}
        if not self._qkv_same_embed_dim:
            separate_weights["use_separate_proj_weight"] = True
            for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                separate_weights[name] = getattr(self, name)
        y, weights = function(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            **separate_weights,
        )
        if swaps:
            y = y.transpose(1, 0)
        return y, weights

    def _attend_to_cache(self, x: Tensor, cache: CacheLayer, fits: bool) -> Tensor:
        """The attention of the tokens x, which follow the tokens of the cache.

        fits: whether the call is one causal sequence, as the error describes it.
        """
        if not fits:
            raise OpError(
                f"[{_NAME}] got a cache with other inputs than one causal sequence; expected query, key and "
                "value to be one Tensor, is_causal=True, need_weights=False, no masks (crop() is for prompts "
                "of different lengths), and no added keys"
            )
        return self._project_out(cache.attend(self._project_packed(x), self.batch_first))

    # The layer of nn/quantized/layers.py overrides `_project_packed`, `_project_out` and `_project_each`.
    def _project_packed(self, x: Tensor) -> Tensor:
        """Queries, keys and values of all heads in one Tensor: (..., 3 embed_dim)."""
        weight: Any = self.in_proj_weight  # The callers have checked that it is not None.
        return F.linear(x, weight, self.in_proj_bias)

    def _project_out(self, y: Tensor) -> Tensor:
        """out_proj without its hooks, as in PyTorch."""
        return F.linear(y, self.out_proj.weight, self.out_proj.bias)

    def _project_to_heads(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Queries, keys and values of all heads: (N, heads, length, D), with the added keys and values."""
        if self.batch_first:
            order = (0, 2, 1, 3)  # from (N, length, heads, D)
        else:
            order = (1, 2, 0, 3)  # from (length, N, heads, D)
        results = []
        for projected in self._project_each(query, key, value):
            heads = ops.reshape(projected, *projected.shape[:2], self.num_heads, self.head_dim)
            results.append(ops.permute(heads, *order))
        queries, keys, values = results
        return [queries, self._append_rows(keys, self.bias_k), self._append_rows(values, self.bias_v)]

    def _project_each(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Queries, keys and values: (..., embed_dim) each."""
        weights: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        if self.in_proj_weight is not None:
            weights = ops.chunk(self.in_proj_weight, 3)
        biases: Any = (None, None, None)
        if self.in_proj_bias is not None:
            biases = ops.chunk(self.in_proj_bias, 3)
        inputs = (query, key, value)
        return [F.linear(x, weight, bias) for x, weight, bias in zip(inputs, weights, biases, strict=True)]

    def _append_rows(self, x: Tensor, row: Parameter | None) -> Tensor:
        """Keys or values (N, heads, S, D) and behind them the rows of add_bias_kv and add_zero_attn.

        row: bias_k or bias_v.
        """
        n, heads, _, width = x.shape
        pieces = [x]
        if row is not None:
            pieces.append(ops.expand(ops.reshape(row, 1, heads, 1, width), n, heads, 1, width))
        if self.add_zero_attn:
            pieces.append(x.new_zeros(n, heads, 1, width))
        if len(pieces) == 1:
            return x
        return ops.cat(pieces, 2)

    def _join_heads(self, y: Tensor) -> Tensor:
        """y (N, heads, L, D) as (N, L, heads * D) with batch_first, or else (L, N, heads * D)."""
        if self.batch_first:
            y = ops.permute(y, 0, 2, 1, 3)
        else:
            y = ops.permute(y, 2, 0, 1, 3)
        return ops.reshape(y, *y.shape[:2], self.embed_dim)

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Raises ValueError for shapes that do not fit the layer or each other."""
        shapes = (tuple(query.shape), tuple(key.shape), tuple(value.shape))
        query_lead = shapes[0][:-1]  # (L, N), (N, L) or (L,)
        key_lead = shapes[1][:-1]
        expected = ((*query_lead, self.embed_dim), (*key_lead, self.kdim), (*key_lead, self.vdim))
        if len(query_lead) == len(key_lead) == 2:
            batch_axis = 0 if self.batch_first else 1
            leads_fit = query_lead[batch_axis] == key_lead[batch_axis]
        else:
            leads_fit = len(query_lead) == len(key_lead) == 1
        if shapes == expected and leads_fit:
            return
        if self.batch_first:
            query_axes = "N, L"
            key_axes = "N, S"
        else:
            query_axes = "L, N"
            key_axes = "S, N"
        raise OpError(
            f"[{_NAME}] got query, key and value of shapes {shapes[0]}, {shapes[1]} and {shapes[2]}; "
            f"expected ({query_axes}, {self.embed_dim}), ({key_axes}, {self.kdim}) and "
            f"({key_axes}, {self.vdim}), or all without N"
        )


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """:class:`MultiheadAttention` as a function of its parameters.

    query, key and value are (length, N, width); for the other arguments see the layer.
    """
    if static_k is not None or static_v is not None:
        raise OpError(f"[{_NAME}_forward] got static_k or static_v; expected None: they are projected here")
    kdim = embed_dim_to_check
    vdim = embed_dim_to_check
    if use_separate_proj_weight:
        in_proj_weight = None
        kdim = k_proj_weight.shape[1]  # type: ignore[union-attr]
        vdim = v_proj_weight.shape[1]  # type: ignore[union-attr]
    # A layer without __init__, whose attributes are the arguments: none of them is registered or copied.
    layer = MultiheadAttention.__new__(MultiheadAttention)
    vars(layer).update(
        embed_dim=embed_dim_to_check,
        kdim=kdim,
        vdim=vdim,
        num_heads=num_heads,
        head_dim=embed_dim_to_check // num_heads,
        dropout=dropout_p,
        training=training,
        batch_first=False,
        add_zero_attn=add_zero_attn,
        in_proj_weight=in_proj_weight,
        q_proj_weight=q_proj_weight,
        k_proj_weight=k_proj_weight,
        v_proj_weight=v_proj_weight,
        in_proj_bias=in_proj_bias,
        bias_k=bias_k,
        bias_v=bias_v,
        out_proj=SimpleNamespace(weight=out_proj_weight, bias=out_proj_bias),
    )
    masks = (key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
    return layer._compute(query, key, value, *masks, cache=None)
