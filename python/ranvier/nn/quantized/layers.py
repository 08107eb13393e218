"""Linear, Embedding and MultiheadAttention with weights of 8 or 4 bits, which are not trained.

`rv.quantize` (nn/quantized/convert.py) makes them of the layers of ``nn``. A weight (n, k) is stored as bytes
in panels: blocks of PANEL rows, in the order in which the kernel reads them (`QuantizedWeight`, in
ops/matrix/quantized_weight.py). kind is its format, "int8", "q8_0" or "q4_0".
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import ranvier.nn as nn
import ranvier.nn.attention as attention
import ranvier.ops as ops
from ranvier.grad_mode import no_grad
from ranvier.nn.init import skipped
from ranvier.nn.module import Module
from ranvier.nn.quantized.values import Values
from ranvier.nn.registry import BUFFERS, register_value
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import arange, zeros
from ranvier.ops.matrix.quantized import quantized_embedding, quantized_linear
from ranvier.ops.matrix.quantized_blocks import QuantizedBlocks
from ranvier.ops.matrix.quantized_weight import (
    KINDS,
    PANEL,
    QuantizedWeight,
    of_blocks,
    panels_shape,
    quantized,
)
from ranvier.ops.neural.embedding import renormalise
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.errors import count, one_of
from ranvier.tensors.failures import misfit
from ranvier.tensors.memory import HALVES
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = ["Embedding", "Linear", "MultiheadAttention"]


WEIGHT_DTYPES = ("float32", "bfloat16", "float16")


def give_weight_dtype(layer: Module, weight_dtype: str) -> None:
    """Sets the dtype of the weights of all quantized layers inside a layer."""
    name = one_of(type(layer).__name__, "weight_dtype", weight_dtype, WEIGHT_DTYPES)
    for child in layer.children():
        if isinstance(child, Quantized):
            child.weight_dtype = name


def half_or_float32(x: Any) -> str:
    """The ``weight_dtype`` for a weight: "float32", but the dtype's name for Tensors of 16 bits."""
    if isinstance(x, Tensor) and x._array.dtype in HALVES:
        return str(x.dtype.name)
    return "float32"


class Quantized(Module):
    """The base class: a matrix (n, k) in the buffers ``panels`` and ``scale``.

    Attributes:
        kind: "int8", "q8_0" or "q4_0".
        weight_dtype: the dtype of ``weight``, in which the layer was before; ``half()`` and others change it.
    """

    panels: Tensor
    scale: Tensor | None
    weight_dtype: str
    _panel = PANEL  # the number of rows of a panel

    def _make(
        self,
        kind: str,
        n: int,
        k: int,
        weight: QuantizedWeight | None = None,
        weight_dtype: str = "float32",
    ) -> None:
        """Takes a weight (n, k), or makes one of zeros, for the values of a file."""
        name = type(self).__name__
        self.kind = one_of(name, "kind", kind, KINDS)
        self.weight_dtype = one_of(name, "weight_dtype", weight_dtype, WEIGHT_DTYPES)
        if weight is None:
            panels = zeros(*panels_shape(kind, n, k, self._panel), dtype="uint8")
            scale = zeros(n) if kind == "int8" else None  # The other formats have their scales in the panels.
            weight = QuantizedWeight(kind, (n, k), panels, scale)
        self.register_buffer("panels", weight.panels)
        self.register_buffer("scale", weight.scale)
        self._matrix_shape = (n, k)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Takes new memory, and keeps its dtypes: of ``model.half()``, only ``weight_dtype`` follows."""

        def same_dtype(tensor: Tensor) -> Tensor:
            new = fn(tensor)
            if new.dtype == tensor.dtype:
                return new
            return tensor

        with no_grad():
            self.weight_dtype = half_or_float32(fn(zeros(0, dtype=DType(self.weight_dtype))))
        return super()._apply(same_dtype, recurse)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Takes panels of another number of rows, too.

        An Embedding has panels of 1 row, but of PANEL rows if it shares them with a Linear.
        """
        name = f"{prefix}panels"
        n, k = self._matrix_shape
        panels = state_dict.get(name)
        if panels is not None and tuple(panels.shape) != tuple(self.panels.shape):
            for rows, other_rows in ((1, PANEL), (PANEL, 1)):
                if tuple(panels.shape) == panels_shape(self.kind, n, k, rows):
                    tensor = as_tensor("load_state_dict", panels)
                    weight = QuantizedWeight(self.kind, (n, k), tensor, None).in_panels(other_rows)
                    state_dict = {**state_dict, name: weight.panels}
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def quantized_weight(self) -> QuantizedWeight:
        """The matrix, as the core reads it."""
        return QuantizedWeight(self.kind, self._matrix_shape, self.panels, self.scale)

    @property
    def weight(self) -> Tensor:
        """The values of the weight in ``weight_dtype``: a new Tensor, which is not trained. They are made
        when one is read; dtype, shape, device and the like cost nothing.

        Its memory is read-only, as a change of it would not be one of the layer: `from_weight` makes another.
        """
        return Values.of(self.quantized_weight, DType(self.weight_dtype))

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight":
            raise AttributeError(
                "[weight] got a weight for a quantized layer; expected a layer by Linear.from_weight"
            )
        super().__setattr__(name, value)


class Linear(Quantized):
    """y = x W^T + b with W of 8 or 4 bits.

    x (..., in_features) and y (..., out_features) of float32 or 16 bits, b (out_features,) of float32. kind:
    "int8", with a scale for each output; "q8_0" or "q4_0", of 8 and 4 bits, with one for each 32 inputs. When
    the layer is called, x becomes integers of 8 bits, by a scale for each row, or for each 32 numbers. Only x
    gets a gradient: the layer is a frozen base. weight_dtype: "float32", "bfloat16" or "float16", the dtype
    that ``weight`` has.

    Raises ValueError where the last dimension of x is not in_features.

    >>> import ranvier as rv
    >>> rv.nn.quantized.Linear(3, 2).kind
    'int8'
    """

    bias: Tensor | None
    _shown = ("in_features", "out_features", "bias", "kind", "weight_dtype?")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        kind: str = "int8",
        weight_dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.in_features = count("linear", "in_features", in_features, 0)
        self.out_features = count("linear", "out_features", out_features, 0)
        self._make(kind, out_features, in_features, weight_dtype=weight_dtype)
        # Without the check of `register_buffer`, because a program's class may have a property of this name.
        register_value(self, BUFFERS, "bias", zeros(out_features) if bias else None)

    @classmethod
    def from_weight(cls, weight: Any, bias: Any = None, kind: str = "int8") -> Linear:
        """The layer of a weight (n, k): a Tensor, which gets this kind, or one of :func:`rv.load_gguf` or
        ``quantized_weight`` of another layer, which keeps its own. The bias is copied.

        >>> import ranvier as rv
        >>> rv.nn.quantized.Linear.from_weight(rv.ones(2, 64), kind="q4_0")
        Linear(in_features=64, out_features=2, bias=False, kind='q4_0')
        """
        weight_dtype = half_or_float32(weight)
        if isinstance(weight, QuantizedBlocks):
            weight = of_blocks(weight)
        if isinstance(weight, QuantizedWeight):
            weight = weight.in_panels(PANEL)
        if not isinstance(weight, QuantizedWeight):
            weight = quantized(weight, one_of("Linear", "kind", kind, KINDS))
        layer = cls.__new__(cls)
        super(Linear, layer).__init__()  # without Linear's constructor, which would make a weight of zeros
        n, k = weight.shape
        layer.out_features = n
        layer.in_features = k
        layer._make(weight.kind, n, k, weight, weight_dtype)
        if bias is not None:
            bias = as_tensor("Linear", bias).detach().float().clone()
            if bias.shape != (n,):
                raise misfit("Linear", {"bias": bias.shape}, str((n,)))
        register_value(layer, BUFFERS, "bias", bias)
        return layer

    @classmethod
    def from_float(cls, layer: nn.Linear, kind: str = "int8") -> Linear:
        """The layer with its weight in this kind."""
        return cls.from_weight(layer.weight, layer.bias, kind).train(layer.training)

    def forward(self, input: TensorLike) -> Tensor:
        sizes = (self.out_features, self.in_features)
        return product(input, self.panels, self.scale, self.bias, self.kind, *sizes)


def product(
    x: TensorLike, panels: Tensor, scale: Tensor | None, bias: Tensor | None, kind: str, n: int, k: int
) -> Tensor:
    """y = x W^T + b, with W (n, k) in panels.

    The op has no gradient of b; so a bias that is trained is added by another op.
    """
    if bias is not None and bias.requires_grad:
        y = quantized_linear(x, panels, scale, None, kind, n, k)
        return y + bias.to(y.dtype)
    return quantized_linear(x, panels, scale, bias, kind, n, k)


class Embedding(Quantized):
    """y[..., :] = weight[x[...], :], weight (num_embeddings, embedding_dim) of 8 or 4 bits, y of
    weight_dtype.

    See :class:`Linear` for the kinds. tied: the bytes are in the order of :class:`Linear`'s, so that a Linear
    can have the same weight; a row of others is read in less time. Raises IndexError for an x outside 0 ...
    num_embeddings - 1.

    >>> import ranvier as rv
    >>> rv.nn.quantized.Embedding(10, 3)(rv.tensor([[1, 2]])).shape
    (1, 2, 3)
    """

    _shown = ("*num_embeddings", "*embedding_dim", "kind", "weight_dtype?")

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        kind: str = "int8",
        weight_dtype: str = "float32",
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.num_embeddings = count("embedding", "num_embeddings", num_embeddings, 0)
        self.embedding_dim = count("embedding", "embedding_dim", embedding_dim, 0)
        self.tied = tied
        self._make(kind, num_embeddings, embedding_dim, weight_dtype=weight_dtype)

    @property
    def _panel(self) -> int:  # type: ignore[override]
        if self.tied:
            return PANEL
        return 1

    @classmethod
    def from_weight(cls, weight: Any, kind: str = "int8", tied: bool = False) -> Embedding:
        """The layer of a weight (num_embeddings, embedding_dim), as :meth:`Linear.from_weight`."""
        weight_dtype = half_or_float32(weight)
        rows = PANEL if tied else 1
        if isinstance(weight, QuantizedBlocks):
            weight = of_blocks(weight, rows)
        elif isinstance(weight, QuantizedWeight):
            weight = weight.in_panels(rows)
        else:
            weight = quantized(weight, one_of("Embedding", "kind", kind, KINDS), rows)
        layer = cls.__new__(cls)
        super(Embedding, layer).__init__()  # as in Linear.from_weight
        n, k = weight.shape
        layer.num_embeddings = n
        layer.embedding_dim = k
        layer.tied = tied
        layer._make(weight.kind, n, k, weight, weight_dtype)
        return layer

    @classmethod
    def from_float(cls, layer: nn.Embedding, kind: str = "int8") -> Embedding:
        """The layer with its weight in this kind, and its rows no longer than max_norm."""
        weight = layer.weight
        if layer.max_norm is not None:
            weight = weight.detach().clone()
            renormalise(weight, arange(layer.num_embeddings), layer.max_norm, layer.norm_type)
        return cls.from_weight(weight, kind).train(layer.training)

    def forward(self, input: TensorLike) -> Tensor:
        y = quantized_embedding(input, self.quantized_weight)
        if self.weight_dtype == "float32":
            return y
        return y.to(DType(self.weight_dtype))


class MultiheadAttention(attention.MultiheadAttention):
    """:class:`ranvier.nn.MultiheadAttention` whose projections have weights of 8 or 4 bits.

    The projections are :class:`Linear` layers: in_proj (embed_dim, 3 embed_dim), or q_proj, k_proj and v_proj
    where kdim or vdim differs, and out_proj. The arguments are those of the layer, the kind, and
    weight_dtype, the dtype that the weights of the projections have.

    >>> import ranvier as rv
    >>> rv.nn.quantized.MultiheadAttention(8, 2).out_proj.kind
    'int8'
    """

    out_proj: Linear  # type: ignore[assignment]
    in_proj: Linear | None
    q_proj: Linear
    k_proj: Linear
    v_proj: Linear
    _paths: ClassVar[dict[str, str]] = {"bias": "out_proj.bias", "add_bias_kv": "bias_k"}

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
        kind: str = "int8",
        weight_dtype: str = "float32",
    ) -> None:
        with skipped():
            super().__init__(
                embed_dim, num_heads, dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first
            )
        self.kind = one_of("MultiheadAttention", "kind", kind, KINDS)
        packed = self.in_proj_weight is not None
        self.in_proj_weight = None
        self.in_proj_bias = None
        self.q_proj_weight = None
        self.k_proj_weight = None
        self.v_proj_weight = None
        if packed:
            self.in_proj = Linear(embed_dim, 3 * embed_dim, bias, kind)
        else:
            self.in_proj = None
            self.q_proj = Linear(embed_dim, embed_dim, bias, kind)
            self.k_proj = Linear(self.kdim, embed_dim, bias, kind)
            self.v_proj = Linear(self.vdim, embed_dim, bias, kind)
        self.out_proj = Linear(embed_dim, embed_dim, bias, kind)
        give_weight_dtype(self, weight_dtype)

    @property
    def weight_dtype(self) -> str:
        """The dtype of the weights of the projections; ``half()`` and others change it."""
        return getattr(self.out_proj, "weight_dtype", "float32")

    @classmethod
    def from_float(cls, layer: attention.MultiheadAttention, kind: str = "int8") -> MultiheadAttention:
        """The layer with its projections in this kind."""
        result = cls(
            layer.embed_dim,
            layer.num_heads,
            dropout=layer.dropout,
            bias=layer.out_proj.bias is not None,
            add_bias_kv=layer.bias_k is not None,
            add_zero_attn=layer.add_zero_attn,
            kdim=layer.kdim,
            vdim=layer.vdim,
            batch_first=layer.batch_first,
            kind=kind,
        )
        result.bias_k = copy.deepcopy(layer.bias_k)
        result.bias_v = copy.deepcopy(layer.bias_v)
        result.out_proj = Linear.from_float(layer.out_proj, kind)
        if layer.in_proj_weight is not None:
            result.in_proj = Linear.from_weight(layer.in_proj_weight, layer.in_proj_bias, kind)
            return result.train(layer.training)
        biases: Any = (None, None, None)
        if layer.in_proj_bias is not None:
            biases = ops.chunk(layer.in_proj_bias, 3)
        result.q_proj = Linear.from_weight(layer.q_proj_weight, biases[0], kind)
        result.k_proj = Linear.from_weight(layer.k_proj_weight, biases[1], kind)
        result.v_proj = Linear.from_weight(layer.v_proj_weight, biases[2], kind)
        return result.train(layer.training)

    @property
    def _qkv_same_embed_dim(self) -> bool:
        return self.in_proj is not None

    def _project_packed(self, x: Tensor) -> Tensor:
        return self.in_proj(x)  # type: ignore[misc]

    def _project_out(self, y: Tensor) -> Tensor:
        return self.out_proj(y)

    def _project_each(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        in_proj = self.in_proj
        if in_proj is None:
            return [self.q_proj(query), self.k_proj(key), self.v_proj(value)]
        inputs = (query, key, value)
        width = self.embed_dim
        # The weight is cut into three where it can be: not if a panel has rows of two projections, or another
        # layer or hooks are in its place. There each input gets all three projections, of which one is read.
        if width % PANEL or type(in_proj) is not Linear or in_proj._rv_hooks is not None:
            return [ops.narrow(in_proj(x), -1, i * width, width) for i, x in enumerate(inputs)]
        panels = ops.chunk(in_proj.panels, 3)
        scales: Any = (None, None, None)
        if in_proj.scale is not None:
            scales = ops.chunk(in_proj.scale, 3)
        biases: Any = (None, None, None)
        if in_proj.bias is not None:
            biases = ops.chunk(in_proj.bias, 3)
        results = []
        for x, panel, scale, bias in zip(inputs, panels, scales, biases, strict=True):
            results.append(product(x, panel, scale, bias, self.kind, width, width))
        return results
