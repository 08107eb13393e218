"""Layers whose weights have 8 or 4 bits: what `rv.quantize` makes of those of ``nn``."""

from ranvier.nn.quantized.layers import Embedding, Linear, MultiheadAttention
from ranvier.nn.quantized.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell

__all__ = ["Embedding", "Linear", "MultiheadAttention"]
__all__ += ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]
