"""quantized_linear and quantized_embedding: products with a matrix of 8 or 4 bits, and its rows.

The kernels are the core's `quantized_matmul` and `quantized_rows`; forward saves the matrix as it is stored
(`quantized_weight.py` says how), and backward computes its floats again.
"""

from __future__ import annotations

from typing import ClassVar

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.matrix.quantized_weight import QuantizedWeight
from ranvier.tape.function import Dtypes, Function, by_kernel
from ranvier.tensors.memory import F32, HALVES
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike


class QuantizedLinear(Function):
    """y = x W^T + b of a matrix W in panels. The gradient is that of x alone: dx = dy W, with W's values."""

    # saved: only the first gradient reads them
    reads: ClassVar = {"panels": 0, "scale": 0}
    # half floats are computed in float32; autocast changes nothing
    dtypes = Dtypes()

    def __init__(self, kind: str, n: int, k: int) -> None:
        self.settings = kind, n, k

    def forward(self, x: Array, panels: Array, scale: Array | None, bias: Array | None) -> Array:
        self.panels = panels
        self.scale = scale
        return _core.quantized_matmul(x, panels, scale, bias, *self.settings)

    def values(self) -> Array:
        """W as float32 (n, k)."""
        return _core.quantized_rows(self.panels, self.scale, None, *self.settings)

    def backward(self, dy: Array) -> tuple[Array, None, None, None]:
        return _core.matmul(dy, self.values()), None, None, None


# For create_graph: y is linear in x, with the matrix W that the node has saved.
def _product(node: QuantizedLinear, x: Array) -> Array:
    return _core.matmul(x, node.values().T)


def _gradient(node: QuantizedLinear, dy: Array) -> Array:
    return _core.matmul(dy, node.values())


linear_rule(QuantizedLinear, forward=_product, backward=_gradient)


class QuantizedRows(Function):
    """y[..., :] = W[index[...], :] as float32."""

    differentiable = False

    def __init__(self, kind: str, n: int, k: int) -> None:
        self.settings = kind, n, k

    def forward(self, panels: Array, scale: Array | None, index: Array) -> Array:
        return _core.quantized_rows(panels, scale, index, *self.settings)


@by_kernel(
    _core.quantized_matmul, QuantizedLinear, inputs=4, dtypes=QuantizedLinear.dtypes, name="quantized_linear"
)
def quantized_linear(
    x: TensorLike,
    panels: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    kind: str,
    n: int,
    k: int,
) -> Tensor:
    """y = x W^T + b, by integers: x (..., k), W (n, k), b (n,) or None, y (..., n)

    kind, panels and scale are those of a QuantizedWeight. The numbers of a row of x, or of each 32 of a row,
    become integers in -127 ... 127 by a scale of their own when the op runs. The sums of products are exact.
    A row with NaN or infinity is computed in float32. x of 16 bits is computed in float32, and y rounded.
    Raises ValueError where the shapes do not fit.
    """
    x = as_tensor("quantized_linear", x)
    if x._array.dtype in HALVES:
        y = quantized_linear(x.to(F32), panels, scale, bias, kind, n, k)
        return y.to(x.dtype)
    return QuantizedLinear(kind, n, k).apply(x, panels, scale, bias)


@by_kernel(_core.quantized_rows, name="quantized_embedding")
def _rows(panels: Tensor, scale: Tensor | None, index: Tensor, kind: str, n: int, k: int) -> Tensor:
    """The rows of the matrix (n, k) at these indices."""
    return QuantizedRows(kind, n, k).apply(panels, scale, index)


def quantized_embedding(index: TensorLike, weight: QuantizedWeight) -> Tensor:
    """y[..., :] = W[index[...], :] as float32. Raises IndexError where an index is out of range."""
    return _rows(weight.panels, weight.scale, as_tensor("embedding", index), weight.kind, *weight.shape)
