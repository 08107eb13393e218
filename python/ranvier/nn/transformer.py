"""Transformer encoders and decoders: layers of attention and a small network, with residual connections."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import ranvier._core as _core
import ranvier.nn.functional as F
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.extension import belongs_to
from ranvier.nn.attention import MultiheadAttention
from ranvier.nn.container import ModuleList
from ranvier.nn.dropout import Dropout
from ranvier.nn.key_value_cache import cache_arguments
from ranvier.nn.linear import Linear
from ranvier.nn.module import Module
from ranvier.nn.norm import LayerNorm
from ranvier.nn.recurrent import MOST_LAYERS
from ranvier.nn.table import LAYERS
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import zeros
from ranvier.ops.neural.attention_masks import as_added, later
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DeviceLike, DtypeLike, TensorLike

if TYPE_CHECKING:
    from ranvier.nn.key_value_cache import KeyValueCache

__all__ = LAYERS["transformer"]

Activation = Callable[[Any], Tensor]
_ACTIVATIONS: dict[str, Activation] = {"relu": ops.relu, "gelu": ops.gelu}


def activation_function(name: str, activation: str | Activation) -> Activation:
    """The function for the argument ``activation``, a name or a function. name: of the layer, for errors."""
    if isinstance(activation, str) and activation in _ACTIVATIONS:
        function = getattr(F, activation)  # A program may have replaced it.
        if function is F._OWN[activation]:
            return _ACTIVATIONS[activation]
        return function
    if not callable(activation):
        raise ValueError(f"[{name}] got activation {activation!r}; expected 'relu', 'gelu' or a function")
    for function in _ACTIVATIONS.values():
        if function == activation:  # also F.relu, which is equal to ops.relu and another object
            return function
    return activation


def copies(name: str, layer: Module, count: int) -> ModuleList:
    """The copies of a layer of which an encoder or decoder consists."""
    if not isinstance(layer, Module):
        argument = f"{name.removeprefix('transformer_')}_layer"
        raise TypeError(f"[{name}] got {argument} of type {type(layer).__name__}; expected a layer")
    if not 0 <= count <= MOST_LAYERS:
        raise ValueError(f"[{name}] got {count} num_layers; expected 0 to {MOST_LAYERS}")
    # Before the copies take memory: a reader of files may refuse it, see `init.skipped`.
    for _ in range(count):
        init.copied((*layer.parameters(), *layer.buffers()))
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


def mask_as_numbers(mask: Tensor | None, x: Tensor) -> Tensor | None:
    """A mask as numbers, which are added to scores, in the dtype of x; None stays None."""
    if mask is None:
        return None
    return as_added(as_tensor("transformer", mask), x.dtype)


def is_causal_mask(mask: Tensor | None) -> bool:
    """True if a mask of numbers (length, length) hides from each place the later ones, and nothing else."""
    if mask is None or mask.ndim != 2:
        return False
    causal = Transformer.generate_square_subsequent_mask(mask.shape[0], dtype=mask.dtype)
    return bool(mask.shape == causal.shape and (mask == causal).all())


def _attend(
    attention: Callable[..., Any],
    x: TensorLike,
    memory: TensorLike,
    attn_mask: TensorLike | None,
    key_padding_mask: TensorLike | None,
    is_causal: bool,
) -> Any:
    """The attention of x to the memory, called by PyTorch's keywords, as a program's own attention may be."""
    results = attention(
        x,
        memory,
        memory,
        attn_mask=attn_mask,
        key_padding_mask=key_padding_mask,
        need_weights=False,
        is_causal=is_causal,
    )
    return results[0]


class TransformerLayer(Module):
    """Base of encoder and decoder layers: attentions and a network, each with a norm and a dropout."""

    _paths: ClassVar[dict[str, str]] = {
        "d_model": "linear1.in_features",
        "nhead": "self_attn.num_heads",
        "dim_feedforward": "linear1.out_features",
        "dropout": "dropout.p",
        "layer_norm_eps": "norm1.eps",
        "batch_first": "self_attn.batch_first",
        "bias": "linear1.bias",
        "activation": "_activation_name",
    }
    _name: str  # of the layer, for errors
    _attentions: tuple[str, ...]  # the names of the attentions; there is one norm more than attentions
    # PyTorch's encoder layer has `activation_relu_or_gelu`: 1 for relu, 2 for gelu, else 0. Programs read and
    # set it to choose PyTorch's ways of computing.
    _numbers_activation: ClassVar[bool] = False
    self_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    dropout1: Dropout
    dropout2: Dropout

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__()
        settings: dict[str, Any] = {"bias": bias, "dtype": dtype}
        for name in self._attentions:
            attention = MultiheadAttention(d_model, nhead, dropout, batch_first=batch_first, **settings)
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, **settings)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **settings)
        self.norm_first = norm_first
        # Each attention and the network has its norm and dropout: norm1, norm2 ..., dropout1, dropout2 ...
        blocks = range(1, len(self._attentions) + 2)
        for k in blocks:
            setattr(self, f"norm{k}", LayerNorm(d_model, layer_norm_eps, **settings))
        for k in blocks:
            setattr(self, f"dropout{k}", Dropout(dropout))
        self.activation = activation_function(self._name, activation)
        if self._numbers_activation:
            self.activation_relu_or_gelu = {"relu": 1, "gelu": 2}.get(self._activation_name, 0)

    @property
    def _activation_name(self) -> Any:
        """The name of the activation, or the function if it has no name."""
        for name, function in _ACTIVATIONS.items():
            if function == self.activation:
                return name
        return self.activation

    # The parts of the layer have PyTorch's names and arguments, since subclasses override and call them.
    def _sa_block(
        self,
        x: TensorLike,
        attn_mask: TensorLike | None,
        key_padding_mask: TensorLike | None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Any:
        """The attention of x to itself. cache: see the attention; only the library's own takes one."""
        attention: Callable[..., Any] = self.self_attn
        if cache is not None:
            attention = partial(attention, cache=cache)
        y = _attend(attention, x, x, attn_mask, key_padding_mask, is_causal)
        return self.dropout1(y)

    def _hidden(self, x: TensorLike) -> Any:
        """The network of a layer, without its last dropout."""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(TransformerLayer):
    """Attention of a sequence to itself, then a network for each place; each result is added to its input:

        x = norm1(x + attention(x)),  x = norm2(x + linear2(activation(linear1(x))))
        x = x + attention(norm1(x)),  x = x + linear2(activation(linear1(norm2(x))))    with norm_first=True

    src and y (L, N, d_model), with batch_first=True (N, L, d_model), or without N. dim_feedforward: the width
    of the network. dropout: the probability for the attention weights, the hidden layer of the network, and
    the results that are added. activation: "relu", "gelu" or a function.

    Raises ValueError for an unknown activation, and as :class:`MultiheadAttention`.
    Sources: Vaswani et al., "Attention Is All You Need" (2017); norm_first: Xiong et al., "On Layer
    Normalization in the Transformer Architecture" (2020).

    >>> import ranvier as rv
    >>> layer = rv.nn.TransformerEncoderLayer(d_model=16, nhead=2, dim_feedforward=32, batch_first=True)
    >>> layer(rv.randn(4, 10, 16)).shape
    (4, 10, 16)
    """

    _name = "transformer_encoder_layer"
    _attentions = ("self_attn",)
    _numbers_activation = True
    self_attn: MultiheadAttention

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """y. src_mask is attn_mask of the attention and src_key_padding_mask is key_padding_mask; is_causal
        and cache have their names there, too."""
        if cache is None:
            attend = self._sa_block
        else:
            attend = partial(self._sa_block, cache=cache)
        x = src
        has_masks = src_mask is not None or src_key_padding_mask is not None
        if has_masks and not self._has_usual_attention():
            src_mask = mask_as_numbers(src_mask, x)
            src_key_padding_mask = mask_as_numbers(src_key_padding_mask, x)
        if self.norm_first:
            x = x + attend(self.norm1(x), src_mask, src_key_padding_mask, is_causal=is_causal)
            x = x + self._ff_block(self.norm2(x))
        else:
            x = self.norm1(x + attend(x, src_mask, src_key_padding_mask, is_causal=is_causal))
            x = self.norm2(x + self._ff_block(x))
        in_inference = not self.training and not x.requires_grad
        # _autocast(-1) asks for the mode of this thread: true in a block of autocast.
        if _core._autocast(-1) and x.ndim == 3 and in_inference and self._is_one_function_in_pytorch():
            return cast(Tensor, _core._autocast_cast("lower", x))
        return x

    def _ff_block(self, x: TensorLike) -> Any:
        """The network for each place."""
        return self.dropout2(self._hidden(x))

    def _has_usual_attention(self) -> bool:
        """True if only the library's code gets the masks. That of a program gets numbers, as in PyTorch."""
        usual = type(self)._sa_block is TransformerLayer._sa_block
        return usual and belongs_to(type(self.self_attn).__module__, "ranvier.nn")

    def _is_one_function_in_pytorch(self) -> bool:
        """True if PyTorch computes the layer in one function: the result then has the dtype of autocast."""
        attention = self.self_attn
        if not attention.batch_first or attention.num_heads % 2 != 0 or attention.in_proj_bias is None:
            return False
        return self.activation in _ACTIVATIONS.values()


class _Stack(Module):
    """Copies of a layer in sequence, and norm at the end if given."""

    norm: Module | None
    _name: str

    def _fill(self, layer: Module, num_layers: int, norm: Module | None) -> None:
        super().__init__()
        self.layers = copies(self._name, layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def _run_layers(self, x: TensorLike, cache: KeyValueCache | None, *memory: Any, **masks: Any) -> Any:
        """x after all layers. memory: of a decoder. masks: by the names that the layers have for them, since
        the arguments of a layer of a program may have another order."""
        arguments = cache_arguments(cache, self._name, len(self.layers))
        for layer, cache_argument in zip(self.layers, arguments, strict=True):
            x = layer(x, *memory, **masks, **cache_argument)
        if self.norm is None:
            return x
        return self.norm(x)

    def _has_usual_layers(self) -> bool:
        """True if the layers are the library's."""
        return all(belongs_to(type(layer).__module__, "ranvier.nn") for layer in self.layers)


class TransformerEncoder(_Stack):
    """num_layers copies of an encoder layer in sequence, and norm at the end if given.

    The copies start with the same values, as in PyTorch; enable_nested_tensor and mask_check are ignored.
    src, y, masks and errors as in :class:`TransformerEncoderLayer`; ValueError for num_layers < 0.

    >>> import ranvier as rv
    >>> layer = rv.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    >>> encoder = rv.nn.TransformerEncoder(layer, num_layers=3)
    >>> encoder(rv.randn(4, 10, 16), is_causal=True).shape
    (4, 10, 16)
    """

    _name = "transformer_encoder"
    _paths: ClassVar[dict[str, str]] = {"encoder_layer": "layers.0"}

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        self._fill(encoder_layer, num_layers, norm)
        self.enable_nested_tensor = enable_nested_tensor
        self.use_nested_tensor = False
        self.mask_check = mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """y. mask, src_key_padding_mask and is_causal go to every layer; cache: :class:`KeyValueCache`."""
        has_masks = mask is not None or src_key_padding_mask is not None
        if has_masks and not self._has_usual_layers():
            src_key_padding_mask = mask_as_numbers(src_key_padding_mask, src)
            mask = mask_as_numbers(mask, src)
            if is_causal is None:
                is_causal = is_causal_mask(mask)
        y = self._run_layers(
            src,
            cache,
            src_mask=mask,
            is_causal=bool(is_causal),
            src_key_padding_mask=src_key_padding_mask,
        )
        return cast(Tensor, y)


class TransformerDecoderLayer(TransformerLayer):
    """An encoder layer with a second attention between its two parts: to another sequence, called memory.

        x = norm1(x + attention(x)),  x = norm2(x + attention(x, memory)),  x = norm3(x + network(x))
        x = x + attention(norm1(x)),  x = x + attention(norm2(x), memory),  x = x + network(norm3(x))

    The second line is for norm_first=True. tgt and y (T, N, d_model), memory (S, N, d_model); with
    batch_first=True N comes first. Arguments, errors and sources as :class:`TransformerEncoderLayer`.

    >>> import ranvier as rv
    >>> layer = rv.nn.TransformerDecoderLayer(d_model=16, nhead=2, dim_feedforward=32, batch_first=True)
    >>> layer(rv.randn(4, 10, 16), memory=rv.randn(4, 7, 16), tgt_is_causal=True).shape
    (4, 10, 16)
    """

    _name = "transformer_decoder_layer"
    _attentions = ("self_attn", "multihead_attn")
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention
    norm3: LayerNorm
    dropout3: Dropout

    def forward(
        self,
        tgt: TensorLike,
        memory: TensorLike,
        tgt_mask: TensorLike | None = None,
        memory_mask: TensorLike | None = None,
        tgt_key_padding_mask: TensorLike | None = None,
        memory_key_padding_mask: TensorLike | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """y. For the masks and is_causal of both attentions see :meth:`MultiheadAttention.forward`. cache:
        for the tokens of tgt."""
        if cache is None:
            attend = self._sa_block
        else:
            attend = partial(self._sa_block, cache=cache)
        x = tgt
        tgt_masks = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        memory_masks = (memory_mask, memory_key_padding_mask, memory_is_causal)
        if self.norm_first:
            x = x + attend(self.norm1(x), *tgt_masks)
            x = x + self._mha_block(self.norm2(x), memory, *memory_masks)
            x = x + self._ff_block(self.norm3(x))
        else:
            x = self.norm1(x + attend(x, *tgt_masks))
            x = self.norm2(x + self._mha_block(x, memory, *memory_masks))
            x = self.norm3(x + self._ff_block(x))
        return cast(Tensor, x)

    def _mha_block(
        self,
        x: TensorLike,
        mem: TensorLike,
        attn_mask: TensorLike | None,
        key_padding_mask: TensorLike | None,
        is_causal: bool = False,
    ) -> Any:
        """The attention of x to the memory."""
        y = _attend(self.multihead_attn, x, mem, attn_mask, key_padding_mask, is_causal)
        return self.dropout2(y)

    def _ff_block(self, x: TensorLike) -> Any:
        """The network for each place."""
        return self.dropout3(self._hidden(x))


class TransformerDecoder(_Stack):
    """num_layers copies of a decoder layer in sequence, and norm at the end if given.

    tgt, memory, masks and errors as in :class:`TransformerDecoderLayer`; ValueError for num_layers < 0.

    >>> import ranvier as rv
    >>> layer = rv.nn.TransformerDecoderLayer(16, 2, 32, batch_first=True)
    >>> rv.nn.TransformerDecoder(layer, num_layers=2)(rv.randn(4, 10, 16), rv.randn(4, 7, 16)).shape
    (4, 10, 16)
    """

    _name = "transformer_decoder"
    _paths: ClassVar[dict[str, str]] = {"decoder_layer": "layers.0"}

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self._fill(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """y. Masks and is_causal go to every layer; cache: a :class:`KeyValueCache` for the tokens of tgt."""
        if tgt_mask is not None and tgt_is_causal is None and not self._has_usual_layers():
            tgt_is_causal = is_causal_mask(tgt_mask)
        y = self._run_layers(
            tgt,
            cache,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=bool(tgt_is_causal),
            memory_is_causal=memory_is_causal,
        )
        return cast(Tensor, y)


class Transformer(Module):
    """An encoder of src and a decoder that continues tgt: y = decoder(tgt, encoder(src)).

    src (S, N, d_model), tgt and y (T, N, d_model); with batch_first=True N comes first. custom_encoder and
    custom_decoder replace the encoder and decoder that the other arguments describe. Matrices start with
    Glorot's values.
    Errors as :class:`TransformerEncoderLayer`.
    Source: Vaswani et al., "Attention Is All You Need" (2017).

    >>> import ranvier as rv
    >>> model = rv.nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
    >>> model(rv.randn(4, 7, 16), rv.randn(4, 10, 16), tgt_is_causal=True).shape
    (4, 10, 16)
    """

    _paths: ClassVar[dict[str, str]] = {"custom_encoder": "encoder", "custom_decoder": "decoder"}

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__()
        activation_function("transformer", activation)  # So a wrong one is an error of this class.
        sizes = (d_model, nhead, dim_feedforward)
        settings = (*sizes, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype)
        if custom_encoder:
            self.encoder = custom_encoder
        else:
            encoder_layer = TransformerEncoderLayer(*settings)
            encoder_norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            self.encoder = TransformerEncoder(encoder_layer, num_encoder_layers, encoder_norm)
        if custom_decoder:
            self.decoder = custom_decoder
        else:
            decoder_layer = TransformerDecoderLayer(*settings)
            decoder_norm = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
            self.decoder = TransformerDecoder(decoder_layer, num_decoder_layers, decoder_norm)
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draws new starting values for the matrices."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: TensorLike,
        tgt: TensorLike,
        src_mask: TensorLike | None = None,
        tgt_mask: TensorLike | None = None,
        memory_mask: TensorLike | None = None,
        src_key_padding_mask: TensorLike | None = None,
        tgt_key_padding_mask: TensorLike | None = None,
        memory_key_padding_mask: TensorLike | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """y. For masks and is_causal see :meth:`MultiheadAttention.forward`."""
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: DeviceLike | None = None, dtype: DtypeLike | None = None
    ) -> Tensor:
        """The mask (sz, sz) of is_causal as numbers: -inf if the key comes after the query, else 0.

        >>> import ranvier as rv
        >>> rv.nn.Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        mask = zeros(sz, sz, dtype=dtype, device=device)
        return mask.masked_fill(later(sz, sz), -math.inf)
