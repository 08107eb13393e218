"""Layers whose weights have 8 or 4 bits: what `rv.quantize` makes of those of ``nn``."""

from ranvier.nn.quantized.layers import Embedding as Embedding
from ranvier.nn.quantized.layers import Linear as Linear
from ranvier.nn.quantized.layers import MultiheadAttention as MultiheadAttention
from ranvier.nn.quantized.recurrent import GRU as GRU
from ranvier.nn.quantized.recurrent import LSTM as LSTM
from ranvier.nn.quantized.recurrent import RNN as RNN
from ranvier.nn.quantized.recurrent import GRUCell as GRUCell
from ranvier.nn.quantized.recurrent import LSTMCell as LSTMCell
from ranvier.nn.quantized.recurrent import RNNCell as RNNCell

__all__ = [
    *("Embedding", "Linear", "MultiheadAttention"),
    *("GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"),
]
