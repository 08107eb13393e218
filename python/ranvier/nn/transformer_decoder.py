"""Transformer decoders, and encoder and decoder together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier.nn.init as init
from ranvier.autograd.memory import keep
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.nn.attention import MultiheadAttention
from ranvier.nn.dropout import Dropout
from ranvier.nn.module import Module
from ranvier.nn.norm import LayerNorm
from ranvier.nn.transformer import (
    TransformerEncoder,
    TransformerEncoderLayer,
    TransformerLayer,
    chosen,
    copies,
)

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer"]


class TransformerDecoderLayer(TransformerLayer):
    """An encoder layer with a second attention between its two parts, to another sequence, memory:

        x = norm1(x + attention(x)),  x = norm2(x + attention(x, memory)),  x = norm3(x + network(x))
        x = x + attention(norm1(x)),  x = x + attention(norm2(x), memory),  x = x + network(norm3(x))

    the second line with norm_first=True. tgt and y (T, N, d_model), memory (S, N, d_model); with
    batch_first=True N comes first. Arguments, errors and sources as :class:`TransformerEncoderLayer`.

    >>> import ranvier as rv
    >>> layer = rv.nn.TransformerDecoderLayer(d_model=16, nhead=2, dim_feedforward=32, batch_first=True)
    >>> layer(rv.randn(4, 10, 16), memory=rv.randn(4, 7, 16), tgt_is_causal=True).shape
    (4, 10, 16)
    """

    _name, _attentions = "transformer_decoder_layer", ("self_attn", "multihead_attn")
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention
    norm3: LayerNorm
    dropout3: Dropout

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Masks and is_causal of either attention: see :meth:`MultiheadAttention.forward`."""
        own = (tgt_key_padding_mask, False, tgt_mask, True, tgt_is_causal)
        other = (memory_key_padding_mask, False, memory_mask, True, memory_is_causal)
        if self.norm_first:
            h = self.norm1(tgt)
            x = tgt + self.dropout1(self.self_attn(h, h, h, *own)[0])
            x = x + self.dropout2(self.multihead_attn(self.norm2(x), memory, memory, *other)[0])
            return x + self.dropout3(self._network(self.norm3(x)))
        x = self.norm1(tgt + self.dropout1(self.self_attn(tgt, tgt, tgt, *own)[0]))
        x = self.norm2(x + self.dropout2(self.multihead_attn(x, memory, memory, *other)[0]))
        return self.norm3(x + self.dropout3(self._network(x)))


class TransformerDecoder(Module):
    """num_layers copies of a decoder layer in sequence, and norm at the end if given.

    tgt, memory, masks and errors as in :class:`TransformerDecoderLayer`; ValueError for num_layers < 0.

    >>> import ranvier as rv
    >>> layer = rv.nn.TransformerDecoderLayer(16, 2, 32, batch_first=True)
    >>> rv.nn.TransformerDecoder(layer, num_layers=2)(rv.randn(4, 10, 16), rv.randn(4, 7, 16)).shape
    (4, 10, 16)
    """

    norm: Module | None

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = copies(self, "decoder_layer", decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Masks and is_causal go to every layer."""
        x = tgt
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        for layer in self.layers:
            x = layer(x, memory, *masks, bool(tgt_is_causal), memory_is_causal)
        return x if self.norm is None else self.norm(x)


class Transformer(Module):
    """An encoder of src and a decoder that continues tgt: y = decoder(tgt, encoder(src)).

    src (S, N, d_model), tgt and y (T, N, d_model); with batch_first=True N comes first. custom_encoder and
    custom_decoder replace those of the other arguments. Matrices start with Glorot's values.
    Errors as :class:`TransformerEncoderLayer`.
    Source: Vaswani et al., "Attention Is All You Need" (2017).

    >>> import ranvier as rv
    >>> model = rv.nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
    >>> model(rv.randn(4, 7, 16), rv.randn(4, 10, 16), tgt_is_causal=True).shape
    (4, 10, 16)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Tensor] = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        chosen(self, "transformer", activation)
        first = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        settings = (*first, batch_first, norm_first, bias, dtype)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*settings), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*settings), num_decoder_layers, norm()
        )
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Masks and is_causal: see :meth:`MultiheadAttention.forward`."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return self.decoder(tgt, memory, *masks, tgt_is_causal, memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The mask (sz, sz) of is_causal as numbers: -inf where a key comes after the query, else 0.

        >>> import ranvier as rv
        >>> rv.nn.Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        later = np.tri(sz, k=0) == 0
        return wrap(keep(np.where(later, -np.inf, 0.0).astype(dtype or np.float32)))
