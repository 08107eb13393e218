"""torch.ao.nn.quantized.dynamic: `Linear`, as PyTorch's `quantize_dynamic` makes it."""

from __future__ import annotations

from typing import Any

import ranvier as rv
from ranvier.nn.quantized.layers import Linear as _Linear, product
from ranvier.ops.matrix.quantized_weight import unpacked
from ranvier.tensors.types import DtypeLike, TensorLike
from ranvier.torch.installation.absent import absent

__all__ = ["Linear"]


class QuantizedValues:
    """What `Linear.weight()` gives in place of a Tensor of qint8: integers, and a scale for each row."""

    dtype = rv.int8
    is_quantized = True

    def __init__(self, integers: rv.Tensor, scale: rv.Tensor) -> None:
        self.int_repr = integers.clone
        self.q_per_channel_scales = scale.double
        self.size = integers.size
        self.numel = integers.numel
        self.element_size = integers.element_size
        self.shape = integers.shape
        self.dim = integers.dim
        self.ndim = integers.ndim

    def __repr__(self) -> str:
        return f"{self.dequantize()} of {self.int_repr().dtype}, with scales {self.q_per_channel_scales()}"

    def dequantize(self) -> rv.Tensor:
        return self.int_repr() * self.q_per_channel_scales().float()[:, None]

    def qscheme(self) -> Any:
        return absent("per_channel_affine")

    def q_scale(self) -> None:
        raise RuntimeError("[q_scale] got a scale for each row; expected one for all: q_per_channel_scales()")

    def q_per_channel_zero_points(self) -> rv.Tensor:
        return rv.zeros(self.shape[0], dtype=rv.int64)


class Linear(_Linear):
    """:class:`ranvier.nn.quantized.Linear` whose weight and bias are methods, as PyTorch's are."""

    def __init__(
        self, in_features: int, out_features: int, bias_: bool = True, dtype: DtypeLike = rv.int8
    ) -> None:
        super().__init__(in_features, out_features, bias_)

    def weight(self) -> QuantizedValues:  # type: ignore[override]
        codes, _ = unpacked(self.kind, *self._matrix_shape, self.panels.numpy())  # integers + 128
        return QuantizedValues(rv.from_numpy(codes ^ 128).view(rv.int8), self.scale)  # type: ignore[arg-type]

    @property
    def bias(self) -> Any:  # type: ignore[override]
        return lambda: self._buffers["bias"]

    def forward(self, input: TensorLike) -> rv.Tensor:
        sizes = self.out_features, self.in_features
        return product(input, self.panels, self.scale, self._buffers["bias"], self.kind, *sizes)

    def _get_name(self) -> str:
        return "DynamicQuantizedLinear"

    def extra_repr(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, dtype=torch.qint8, qscheme=torch.per_channel_affine"
