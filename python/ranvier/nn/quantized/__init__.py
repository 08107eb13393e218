"""Layers whose weights have 8 or 4 bits: what `rv.quantize` makes of those of ``nn``."""

from ranvier.nn.quantized.layers import Embedding as Embedding
from ranvier.nn.quantized.layers import Linear as Linear
from ranvier.nn.quantized.layers import MultiheadAttention as MultiheadAttention

__all__ = ["Embedding", "Linear", "MultiheadAttention"]
