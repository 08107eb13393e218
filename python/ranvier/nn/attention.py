"""MultiheadAttention: attention in several subspaces at once."""

from __future__ import annotations

import contextlib
import enum
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import ranvier.nn.functional as F
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.nn.key_value_cache import layer_of
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
from ranvier.tensors.types import DtypeLike, TensorLike

__all__ = LAYERS["attention"]


class SDPBackend(enum.IntEnum):
    """PyTorch's names of the ways to compute attention. This library has one way and ignores the choice."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3


@contextlib.contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Iterator[None]:
    """A block without effect: see :class:`SDPBackend`."""
    yield


_NAME = "multihead_attention"
_ATTENTION = "scaled_dot_product_attention"
_FUNCTIONAL = vars(F)
_OWN = F._OWN  # the functions of the library, where a program has replaced those of `nn.functional`


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
        sizes = whole(_NAME, "embed_dim", embed_dim), whole(_NAME, "num_heads", num_heads)
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
        packed = self.kdim == self.vdim == embed_dim
        widths = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
        self.register_parameter("in_proj_weight", _new(packed, dtype, 3 * embed_dim, embed_dim))
        for name, width in widths.items():
            self.register_parameter(f"{name}_proj_weight", _new(not packed, dtype, embed_dim, width))
        self.register_parameter("in_proj_bias", _new(bias, dtype, 3 * embed_dim))
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, _new(add_bias_kv, dtype, 1, 1, embed_dim))
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

        The masks are floats, which are added to the scores; query (N, L, E).
        """
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        n, length, _ = query.shape
        if attn_mask.ndim == 3:
            mask = attn_mask.view(n, -1, length, length)
        else:
            mask = attn_mask.view(1, 1, length, length).expand(n, self.num_heads, -1, -1)
        return mask if key_padding_mask is None else mask + key_padding_mask.view(n, 1, 1, length), 2

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
        value: Any,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        cache: Any = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(y, weights): see the class for y; weights is None without need_weights.

        key_padding_mask (N, S) hides keys, attn_mask (L, S) or (N num_heads, L, S) pairs of query and key.
        Both: bool, True where hidden, or numbers that are added to the scores. is_causal: query i uses only
        keys 0 ... i, in addition to the masks.

        weights (N, L, S), the mean over the heads, or (N, num_heads, L, S) with average_attn_weights=False.

        cache: a :class:`KeyValueCache` of one layer, or ``cache[i]`` of one with more layers. query, key and
        value are then one Tensor with the next tokens, and these also see all tokens in the cache. It needs
        is_causal, and no masks and weights. RuntimeError in training mode and while gradients are recorded.
        """
        function = _FUNCTIONAL.get("multi_head_attention_forward")  # present only if a program replaced it
        masks = key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
        if function is not None:
            return self._by_function(function, (query, key, value), *masks)
        return self._computed(query, key, value, *masks, cache)

    def _computed(
        self,
        query: Tensor,
        key: Tensor,
        value: Any,
        key_padding_mask: Tensor | None,
        need_weights: bool,
        attn_mask: Tensor | None,
        average_attn_weights: bool,
        is_causal: bool,
        cache: Any,
    ) -> tuple[Tensor, Tensor | None]:
        same = query is key and key is value
        query, key, value = (as_tensor(_NAME, x) for x in (query, key, value))
        self._check(query, key, value)
        alone = query.ndim == 2
        axis = 0 if self.batch_first else 1
        if alone:  # An input without a batch is computed as a batch of 1.
            query, key, value = (ops.unsqueeze(x, axis) for x in (query, key, value))
        added = (self.bias_k is not None) + bool(self.add_zero_attn)
        packed = same and not added and self._qkv_same_embed_dim
        if cache is not None:
            plain = is_causal and not need_weights and key_padding_mask is None and attn_mask is None
            y = self._continued(query, layer_of(cache, self, self.num_heads), packed and plain)
            weights = None
        else:
            shape = query.shape[axis], self.num_heads, query.shape[1 - axis], key.shape[1 - axis]
            given = key_padding_mask, attn_mask, bool(is_causal)
            masks, is_causal = of_heads(query, shape, given, added, need_weights)
            p = self.dropout if self.training else 0.0
            settings = (1 / math.sqrt(self.head_dim), is_causal, p, True, need_weights)
            y, weights = self._attended((query, key, value), packed, masks, settings)
        if weights is not None and average_attn_weights:
            weights = ops.mean(weights, 1)
        if alone:
            y = ops.squeeze(y, axis)
            weights = None if weights is None else weights[0]
        return y, weights

    def _attended(
        self, inputs: tuple[Tensor, ...], packed: bool, masks: list[Tensor], settings: tuple[Any, ...]
    ) -> tuple[Tensor, Tensor | None]:
        """(y, weights or None). packed: the inputs are one Tensor, which one product projects."""
        if F.scaled_dot_product_attention is not _OWN[_ATTENTION] or F.softmax is not _OWN["softmax"]:
            return self._by_functions(inputs, masks, settings)
        if packed:
            attention: Attention = PackedAttention(self.num_heads, self.batch_first, *settings)
            y = attention.over(self._in(inputs[0]), *masks)
        else:
            attention = Attention(*settings)
            y = attention.over(*self._projected(*inputs), *masks)
        y, weights = y if attention.with_weights else (y, None)
        return self._out(y if packed else self._joined(y)), weights

    def _by_functions(
        self, inputs: tuple[Tensor, ...], masks: list[Tensor], settings: tuple[Any, ...]
    ) -> tuple[Tensor, Tensor | None]:
        """As `_attended`, by the functions of ``nn.functional``, of which a program has replaced some."""
        scale, is_causal, p, _, need_weights = settings
        query, key, value = self._projected(*inputs)
        mask: Tensor | None = None
        for given in masks:
            added = as_added(given, query.dtype)
            mask = added if mask is None else mask + added
        if not need_weights:
            if mask is not None and is_causal:
                causal = as_added(later(query.shape[-2], key.shape[-2]), query.dtype)
                mask = mask + causal
                is_causal = False
            y = F.scaled_dot_product_attention(query, key, value, mask, p, is_causal)
            return self._out(self._joined(y)), None
        scores = (query * scale) @ key.transpose(-2, -1)
        if is_causal:
            scores = scores + as_added(later(query.shape[-2], key.shape[-2]), query.dtype)
        if mask is not None:
            scores = scores + mask
        weights = F.softmax(scores, -1)
        if p > 0:
            weights = F.dropout(weights, p)
        return self._out(self._joined(weights @ value)), weights

    def _by_function(
        self,
        function: Any,
        inputs: tuple[Any, Any, Any],
        key_padding_mask: TensorLike | None,
        need_weights: bool,
        attn_mask: TensorLike | None,
        average_attn_weights: bool,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """The result of another `multi_head_attention_forward`, with the arguments that PyTorch gives it."""
        query, key, value = inputs
        swaps = self.batch_first and query.ndim == 3
        if swaps:
            swapped = {id(x): x.transpose(1, 0) for x in inputs}
            query, key, value = (swapped[id(x)] for x in inputs)
        apart: dict[str, Any] = {}
        if not self._qkv_same_embed_dim:
            names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
            apart = {"use_separate_proj_weight": True} | {name: getattr(self, name) for name in names}
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
            **apart,
        )
        return (y.transpose(1, 0) if swaps else y), weights

    def _continued(self, x: Tensor, cache: Any, fits: bool) -> Tensor:
        """The attention of the tokens x, which follow the tokens of the cache. fits: see the error."""
        if not fits:
            raise OpError(
                f"[{_NAME}] got a cache with other inputs than one causal sequence; expected query, key and "
                "value to be one Tensor, is_causal=True, need_weights=False, no masks (crop() is for prompts "
                "of different lengths), and no added keys"
            )
        return self._out(cache.attend(self._in(x), self.batch_first))

    def _in(self, x: Tensor) -> Tensor:
        """Queries, keys and values of all heads in one Tensor."""
        weight: Any = self.in_proj_weight  # no cache without it
        return F.linear(x, weight, self.in_proj_bias)

    def _out(self, y: Tensor) -> Tensor:
        """out_proj without its hooks, as in PyTorch."""
        return F.linear(y, self.out_proj.weight, self.out_proj.bias)

    def _projected(self, *inputs: Tensor) -> list[Tensor]:
        """Queries, keys and values of all heads: (N, heads, length, D)."""
        order = (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3)
        of_all = []
        for projected in self._apart(*inputs):
            heads = ops.reshape(projected, *projected.shape[:2], self.num_heads, self.head_dim)
            of_all.append(ops.permute(heads, *order))
        query, key, value = of_all
        return [query, self._longer(key, self.bias_k), self._longer(value, self.bias_v)]

    def _apart(self, *inputs: Tensor) -> list[Tensor]:
        """Queries, keys and values, each of an input of its own: (..., embed_dim)."""
        if self.in_proj_weight is not None:
            weights = ops.chunk(self.in_proj_weight, 3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)  # type: ignore[assignment]
        biases = (None,) * 3 if self.in_proj_bias is None else ops.chunk(self.in_proj_bias, 3)
        return [F.linear(*arguments) for arguments in zip(inputs, weights, biases, strict=True)]

    def _longer(self, x: Tensor, row: Parameter | None) -> Tensor:
        """Keys or values (N, heads, S, D) and behind them the rows of add_bias_kv and add_zero_attn."""
        n, heads, _, size = x.shape
        if row is None:
            rows = []
        else:
            rows = [ops.expand(ops.reshape(row, 1, heads, 1, size), n, heads, 1, size)]
        if self.add_zero_attn:
            rows.append(x.new_zeros(n, heads, 1, size))
        if rows:
            return ops.cat([x, *rows], 2)
        return x

    def _joined(self, y: Tensor) -> Tensor:
        """y (N, heads, L, D) as (N, L, heads * D) with batch_first, or else (L, N, heads * D)."""
        y = ops.permute(y, *((0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3)))
        return ops.reshape(y, *y.shape[:2], self.embed_dim)

    def _check(self, *inputs: Tensor) -> None:
        shapes = [tuple(x.shape) for x in inputs]
        widths = (self.embed_dim, self.kdim, self.vdim)
        of_query = shapes[0][:-1]
        of_keys = shapes[1][:-1]
        wanted = [(*of_query, widths[0]), (*of_keys, widths[1]), (*of_keys, widths[2])]
        batch = slice(0, 1) if self.batch_first else slice(1, 2)
        batched = len(of_query) == len(of_keys) == 2 and of_query[batch] == of_keys[batch]
        if shapes != wanted or not (batched or len(of_query) == len(of_keys) == 1):
            lead = ("N, L", "N, S") if self.batch_first else ("L, N", "S, N")
            raise OpError(
                f"[{_NAME}] got query, key and value of shapes {shapes[0]}, {shapes[1]} and {shapes[2]}; "
                f"expected ({lead[0]}, {widths[0]}), ({lead[1]}, {widths[1]}) and ({lead[1]}, {widths[2]}), "
                "or all without N"
            )


def _new(wanted: bool, dtype: DtypeLike | None, *shape: int) -> Parameter | None:
    if wanted:
        return Parameter(empty(*shape, dtype=dtype))
    return None


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """:class:`MultiheadAttention` as a function of its parameters; query, key and value are (length, N,
    ...)."""
    if static_k is not None or static_v is not None:
        raise OpError(f"[{_NAME}_forward] got static_k or static_v; expected None: they are projected here")
    width = embed_dim_to_check
    apart = use_separate_proj_weight
    layer = MultiheadAttention.__new__(MultiheadAttention)
    vars(layer).update(
        embed_dim=width,
        kdim=k_proj_weight.shape[1] if apart else width,
        vdim=v_proj_weight.shape[1] if apart else width,
        num_heads=num_heads,
        head_dim=width // num_heads,
        dropout=dropout_p,
        training=training,
        batch_first=False,
        add_zero_attn=add_zero_attn,
        in_proj_weight=None if apart else in_proj_weight,
        **{"q_proj_weight": q_proj_weight, "k_proj_weight": k_proj_weight, "v_proj_weight": v_proj_weight},
        **{"in_proj_bias": in_proj_bias, "bias_k": bias_k, "bias_v": bias_v},
        out_proj=SimpleNamespace(weight=out_proj_weight, bias=out_proj_bias),
    )
    masks = (key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
    return layer._computed(query, key, value, *masks, None)
