"""Signatures of the compiled core, room by room as in cpp/bindings; `kernels.py` documents the public ones.

Arrays are float32 or float64 unless a comment says otherwise. `out` is an array to write the result into.
What stands before a `/` goes by position only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Number = Array | float  # of the dtype of the arrays beside it
Axes = int | Sequence[int] | None  # None: all
Pair = int | Sequence[int]  # for all axes, or for h and w; of one axis for 1d

# runtime
__version__: str

def supported_isas() -> list[str]: ...
def isa() -> str: ...
def set_isa(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def set_alone(alone: bool) -> None: ...
def get_winograd() -> bool: ...
def set_winograd(enabled: bool) -> None: ...
def memory_stats() -> dict[str, int]: ...
def reset_peak_memory() -> None: ...
def empty_cache() -> None: ...

# matmul
def matmul(
    a: Array,
    b: Array,
    bias: Array | None = None,
    activation: str = "none",
    out: Array | None = None,
    saved: Array | None = None,
) -> Array: ...

# conv2d
def conv1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str = "none",
    out: Array | None = None,
) -> Array: ...
def conv1d_backward(
    dy: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    need_dx: bool = True,
    need_dw: bool = True,
    need_db: bool = True,
) -> tuple[Array | None, Array | None, Array | None]: ...
def conv2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    activation: str = "none",
    out: Array | None = None,
) -> Array: ...
def conv2d_backward(
    dy: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
    need_dx: bool = True,
    need_dw: bool = True,
    need_db: bool = True,
) -> tuple[Array | None, Array | None, Array | None]: ...

# conv2d_pool
def conv2d_pool(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    window: Pair = 2,
    activation: str = "none",
    need_where: bool = True,
) -> tuple[Array, Array | None]: ...
def conv1d_pool_backward(
    dy: Array,
    where: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    window: Pair = 2,
    need_dx: bool = True,
    need_dw: bool = True,
    need_db: bool = True,
    saved: Array | None = None,
) -> tuple[Array | None, Array | None, Array | None]: ...
def conv2d_pool_backward(
    dy: Array,
    where: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    window: Pair = 2,
    need_dx: bool = True,
    need_dw: bool = True,
    need_db: bool = True,
    saved: Array | None = None,
) -> tuple[Array | None, Array | None, Array | None]: ...

# conv_transpose
def conv_transpose1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
    out: Array | None = None,
) -> Array: ...
def conv_transpose1d_backward(
    dy: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
    need_dx: bool = True,
    need_dw: bool = True,
    need_db: bool = True,
) -> tuple[Array | None, Array | None, Array | None]: ...
def conv_transpose2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
    out: Array | None = None,
) -> Array: ...
def conv_transpose2d_backward(
    dy: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
    need_dx: bool = True,
    need_dw: bool = True,
    need_db: bool = True,
) -> tuple[Array | None, Array | None, Array | None]: ...

# interpolate
def interpolate(
    x: Array,
    size: Pair | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Array: ...
def interpolate_backward(
    dy: Array,
    shape: Sequence[int],
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Array: ...

# pad
def pad(x: Array, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Array: ...
def pad_backward(dy: Array, pad: Sequence[int], mode: str = "constant") -> Array: ...

# pooling
def max_pool1d(
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Array, ...]: ...  # y; where in its window each maximum lies, uint8 or int64; indices, int64
def max_pool1d_backward(
    dy: Array,
    where: Array,
    shape: Sequence[int],
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Array: ...
def adaptive_max_pool1d(
    x: Array, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> tuple[Array, ...]: ...
def adaptive_max_pool1d_backward(dy: Array, where: Array, shape: Sequence[int]) -> Array: ...
def avg_pool1d(
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array: ...
def avg_pool1d_backward(
    dy: Array,
    shape: Sequence[int],
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    channels_last: bool = False,
) -> Array: ...
def adaptive_avg_pool1d(x: Array, output_size: int | Sequence[int | None] | None) -> Array: ...
def adaptive_avg_pool1d_backward(dy: Array, shape: Sequence[int], channels_last: bool = False) -> Array: ...
def max_pool2d(
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Array, ...]: ...  # y; where in its window each maximum lies, uint8 or int64; indices, int64
def max_pool2d_backward(
    dy: Array,
    where: Array,
    shape: Sequence[int],
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Array: ...
def adaptive_max_pool2d(
    x: Array, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> tuple[Array, ...]: ...
def adaptive_max_pool2d_backward(dy: Array, where: Array, shape: Sequence[int]) -> Array: ...
def avg_pool2d(
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array: ...
def avg_pool2d_backward(
    dy: Array,
    shape: Sequence[int],
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    channels_last: bool = False,
) -> Array: ...
def adaptive_avg_pool2d(x: Array, output_size: int | Sequence[int | None] | None) -> Array: ...
def adaptive_avg_pool2d_backward(dy: Array, shape: Sequence[int], channels_last: bool = False) -> Array: ...
def pools_over_channels(x: Array, /) -> bool: ...

# optimizer: lists with one array for each parameter; steps, products and settings are float64
def optimizer_step(
    rule: str,
    parameters: list[Array],
    gradients: list[Array],
    steps: list[Array],
    products: list[Array] | None,
    states: list[list[Array] | None],
    settings: Array,
    maximize: bool,
    nesterov: bool,
    decoupled_decay: bool,
    loss: Array | None = None,
    /,
) -> None: ...
def move_parameters(
    parameters: list[Array], values: list[Array], factor: Array, towards: bool, /
) -> None: ...
def average_weight(count: Array, decay: float | None, /) -> Array: ...
def flat_dot(a: Array, b: Array, /) -> Array: ...
def lbfgs_loop(
    direction: Array,
    changes: list[Array],
    steps: list[Array],
    ro: Array,
    alphas: Array,
    scale: Array | None,
    second: bool,
    /,
) -> None: ...
def gradient_norm(gradients: list[Array], p: float, /) -> Array: ...
def clip_gradients(gradients: list[Array], limit: Array, norm: Array | None, /) -> None: ...
def weight_penalty(
    parameters: list[Array], gradients: list[Array] | None, l1: Array, l2: Array, scale: Array, /
) -> Array: ...

# augment: images of float32, float64 or uint8; rows of integers, matrices and weights of float64
def move_images(
    x: Array,
    place: Array,
    height: int | None = None,
    width: int | None = None,
    fill: float = 0.0,
    mode: str = "constant",
    out: Array | None = None,
) -> Array: ...
def affine_images(
    x: Array, matrix: Array, fill: float = 0.0, interpolation: str = "bilinear", out: Array | None = None
) -> Array: ...
def erase_images(
    x: Array, box: Array, partner: Array | None = None, fill: float = 0.0, out: Array | None = None
) -> Array: ...
def mix_images(x: Array, partner: Array, weight: Array, out: Array | None = None) -> Array: ...
def add_noise(
    x: Array, key: Array, mean: float = 0.0, std: float = 0.1, out: Array | None = None
) -> Array: ...

# dropout and random numbers: key is int64 of shape (2,), the key and the number of the call
def next_key(state: Array, /) -> Array: ...  # state: int64 of shape (2,), the seed and the keys given so far
def dropout(x: Array, p: float, key: Array, out: Array | None = None) -> Array: ...
def random_uniform(shape: tuple[int, ...], dtype: str, low: float, high: float, key: Array, /) -> Array: ...
def random_normal(
    shape: tuple[int, ...], dtype: str, mean: float, deviation: float, key: Array, /
) -> Array: ...

# probe: the machine's limits
def probe_fma(dtype: str, repeats: int, /) -> float: ...  # FLOP/s
def probe_bandwidth(bytes: int, repeats: int, kind: str, /) -> float: ...  # bytes/s
def probe_barrier(repeats: int, /) -> float: ...  # seconds

# activation
def relu(x: Array, out: Array | None = None) -> Array: ...
def relu_backward(dy: Array, y: Array, out: Array | None = None) -> Array: ...
def leaky_relu(x: Array, negative_slope: float = 0.01, out: Array | None = None) -> Array: ...
def leaky_relu_backward(
    dy: Array, x: Array, negative_slope: float = 0.01, out: Array | None = None
) -> Array: ...
def elu(x: Array, alpha: float = 1.0, out: Array | None = None) -> Array: ...
def elu_backward(dy: Array, x: Array, alpha: float = 1.0, out: Array | None = None) -> Array: ...
def sigmoid(x: Array, out: Array | None = None) -> Array: ...
def sigmoid_backward(dy: Array, y: Array, out: Array | None = None) -> Array: ...
def tanh(x: Array, out: Array | None = None) -> Array: ...
def tanh_backward(dy: Array, y: Array, out: Array | None = None) -> Array: ...
def gelu(x: Array, out: Array | None = None) -> Array: ...
def gelu_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def gelu_tanh(x: Array, out: Array | None = None) -> Array: ...
def gelu_tanh_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def silu(x: Array, out: Array | None = None) -> Array: ...
def silu_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0, out: Array | None = None) -> Array: ...
def softplus_backward(
    dy: Array, x: Array, beta: float = 1.0, threshold: float = 20.0, out: Array | None = None
) -> Array: ...
def heaviside(x: Array, values: float = 0.0, out: Array | None = None) -> Array: ...
def heaviside_backward(dy: Array, x: Array, values: float = 0.0, out: Array | None = None) -> Array: ...
def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0, out: Array | None = None) -> Array: ...
def hardtanh_backward(
    dy: Array, x: Array, min_val: float = -1.0, max_val: float = 1.0, out: Array | None = None
) -> Array: ...
def selu(x: Array, out: Array | None = None) -> Array: ...
def selu_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def mish(x: Array, out: Array | None = None) -> Array: ...
def mish_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def hardswish(x: Array, out: Array | None = None) -> Array: ...
def hardswish_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def hardsigmoid(x: Array, out: Array | None = None) -> Array: ...
def hardsigmoid_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def logsigmoid(x: Array, out: Array | None = None) -> Array: ...
def logsigmoid_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def softsign(x: Array, out: Array | None = None) -> Array: ...
def softsign_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def tanhshrink(x: Array, out: Array | None = None) -> Array: ...
def tanhshrink_backward(dy: Array, x: Array, out: Array | None = None) -> Array: ...
def celu(x: Array, alpha: float = 1.0, out: Array | None = None) -> Array: ...
def celu_backward(dy: Array, x: Array, alpha: float = 1.0, out: Array | None = None) -> Array: ...
def softshrink(x: Array, lambd: float = 0.5, out: Array | None = None) -> Array: ...
def softshrink_backward(dy: Array, x: Array, lambd: float = 0.5, out: Array | None = None) -> Array: ...
def hardshrink(x: Array, lambd: float = 0.5, out: Array | None = None) -> Array: ...
def hardshrink_backward(dy: Array, x: Array, lambd: float = 0.5, out: Array | None = None) -> Array: ...

# elementwise, one operand
def neg(x: Array, out: Array | None = None) -> Array: ...
def exp(x: Array, out: Array | None = None) -> Array: ...
def expm1(x: Array, out: Array | None = None) -> Array: ...
def log(x: Array, out: Array | None = None) -> Array: ...
def log1p(x: Array, out: Array | None = None) -> Array: ...
def sqrt(x: Array, out: Array | None = None) -> Array: ...
def abs(x: Array, out: Array | None = None) -> Array: ...
def sin(x: Array, out: Array | None = None) -> Array: ...
def cos(x: Array, out: Array | None = None) -> Array: ...
def round(x: Array, out: Array | None = None) -> Array: ...
def sign(x: Array, out: Array | None = None) -> Array: ...
def square(x: Array, out: Array | None = None) -> Array: ...
def reciprocal(x: Array, out: Array | None = None) -> Array: ...
def erf(x: Array, out: Array | None = None) -> Array: ...
def clip(x: Array, low: Number, high: Number, out: Array | None = None) -> Array: ...

# elementwise, two operands that broadcast; at least one is an array
def add(a: Number, b: Number, out: Array | None = None) -> Array: ...
def sub(a: Number, b: Number, out: Array | None = None) -> Array: ...
def mul(a: Number, b: Number, out: Array | None = None) -> Array: ...
def div(a: Number, b: Number, out: Array | None = None) -> Array: ...
def pow(a: Number, b: Number, out: Array | None = None) -> Array: ...
def maximum(a: Number, b: Number, out: Array | None = None) -> Array: ...
def minimum(a: Number, b: Number, out: Array | None = None) -> Array: ...

# elementwise, boolean results and conditions
def eq(a: Number, b: Number, out: Array | None = None) -> Array: ...
def ne(a: Number, b: Number, out: Array | None = None) -> Array: ...
def lt(a: Number, b: Number, out: Array | None = None) -> Array: ...
def le(a: Number, b: Number, out: Array | None = None) -> Array: ...
def gt(a: Number, b: Number, out: Array | None = None) -> Array: ...
def ge(a: Number, b: Number, out: Array | None = None) -> Array: ...
def where(condition: Array, a: Number, b: Number, out: Array | None = None) -> Array: ...

# elementwise, gradients: saved is x, or y for expm1, sqrt and reciprocal
def expm1_backward(dy: Array, saved: Array, out: Array | None = None) -> Array: ...
def log1p_backward(dy: Array, saved: Array, out: Array | None = None) -> Array: ...
def sqrt_backward(dy: Array, saved: Array, out: Array | None = None) -> Array: ...
def abs_backward(dy: Array, saved: Array, out: Array | None = None) -> Array: ...
def sin_backward(dy: Array, saved: Array, out: Array | None = None) -> Array: ...
def cos_backward(dy: Array, saved: Array, out: Array | None = None) -> Array: ...
def square_backward(dy: Array, saved: Array, out: Array | None = None) -> Array: ...
def reciprocal_backward(dy: Array, saved: Array, out: Array | None = None) -> Array: ...
def clip_backward(dy: Array, x: Array, low: Number, high: Number, out: Array | None = None) -> Array: ...
def div_backward(
    dy: Array, y: Array, b: Number, out: Array | None = None
) -> Array: ...  # of the divisor b; y: the quotient
def pow_backward(dy: Array, a: Number, b: Number, out: Array | None = None) -> Array: ...  # of a
def exponent_backward(
    dy: Array, a: Number, y: Array, out: Array | None = None
) -> Array: ...  # of the exponent; y: the power
def maximum_backward(dy: Array, a: Number, b: Number, out: Array | None = None) -> Array: ...  # of a
def minimum_backward(dy: Array, a: Number, b: Number, out: Array | None = None) -> Array: ...  # of a
def where_equal(x: Array, y: Array, dy: Array, out: Array | None = None) -> Array: ...
def glu(a: Number, b: Number, out: Array | None = None) -> Array: ...
def glu_backward(dy: Array, a: Number, b: Number, out: Array | None = None) -> Array: ...  # of b
def prelu(x: Number, weight: Number, out: Array | None = None) -> Array: ...
def prelu_backward(dy: Array, x: Number, weight: Number, out: Array | None = None) -> Array: ...
def prelu_weight_backward(dy: Array, x: Number, out: Array | None = None) -> Array: ...

# softmax
def softmax(x: Array, axis: int = -1, out: Array | None = None) -> Array: ...
def softmax_backward(dy: Array, y: Array, axis: int = -1, out: Array | None = None) -> Array: ...
def log_softmax(x: Array, axis: int = -1, out: Array | None = None) -> Array: ...
def log_softmax_backward(dy: Array, y: Array, axis: int = -1, out: Array | None = None) -> Array: ...

# loss
def mse(x: Array, target: Array, reduction: str = "mean", out: Array | None = None) -> Array: ...
def mse_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    out: Array | None = None,
) -> Array: ...
def l1(x: Array, target: Array, reduction: str = "mean", out: Array | None = None) -> Array: ...
def l1_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    out: Array | None = None,
) -> Array: ...
def smooth_l1(
    x: Array, target: Array, reduction: str = "mean", beta: float = 1.0, out: Array | None = None
) -> Array: ...
def smooth_l1_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    beta: float = 1.0,
    out: Array | None = None,
) -> Array: ...
def huber(
    x: Array, target: Array, reduction: str = "mean", delta: float = 1.0, out: Array | None = None
) -> Array: ...
def huber_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    delta: float = 1.0,
    out: Array | None = None,
) -> Array: ...
def bce(
    x: Array, target: Array, reduction: str = "mean", weight: Array | None = None, out: Array | None = None
) -> Array: ...
def bce_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    weight: Array | None = None,
    out: Array | None = None,
) -> Array: ...
def bce_with_logits(
    x: Array,
    target: Array,
    reduction: str = "mean",
    weight: Array | None = None,
    pos_weight: Array | None = None,
    out: Array | None = None,
) -> Array: ...
def bce_with_logits_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    out: Array | None = None,
) -> Array: ...
def kl_div(
    x: Array, target: Array, reduction: str = "mean", log_target: bool = False, out: Array | None = None
) -> Array: ...
def kl_div_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    log_target: bool = False,
    out: Array | None = None,
) -> Array: ...
def sigmoid_focal(
    x: Array,
    target: Array,
    reduction: str = "mean",
    alpha: float = 0.25,
    gamma: float = 2.0,
    out: Array | None = None,
) -> Array: ...
def sigmoid_focal_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    out: Array | None = None,
) -> Array: ...
def soft_margin(x: Array, target: Array, reduction: str = "mean", out: Array | None = None) -> Array: ...
def soft_margin_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    out: Array | None = None,
) -> Array: ...
def hinge_embedding(
    x: Array, target: Array, reduction: str = "mean", margin: float = 1.0, out: Array | None = None
) -> Array: ...
def hinge_embedding_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    margin: float = 1.0,
    out: Array | None = None,
) -> Array: ...
def cosine_margin(
    x: Array, target: Array, reduction: str = "mean", margin: float = 0.0, out: Array | None = None
) -> Array: ...
def cosine_margin_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    margin: float = 0.0,
    out: Array | None = None,
) -> Array: ...
def margin_ranking(
    x1: Array,
    x2: Array,
    target: Array,
    reduction: str = "mean",
    margin: float = 0.0,
    out: Array | None = None,
) -> Array: ...
def margin_ranking_backward(
    dy: Array,
    x1: Array,
    x2: Array,
    target: Array,
    reduction: str = "mean",
    of: str = "x1",
    margin: float = 0.0,
    out: Array | None = None,
) -> Array: ...
def poisson_nll(
    x: Array,
    target: Array,
    reduction: str = "mean",
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-08,
    out: Array | None = None,
) -> Array: ...
def poisson_nll_backward(
    dy: Array,
    x: Array,
    target: Array,
    reduction: str = "mean",
    of_target: bool = False,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-08,
    out: Array | None = None,
) -> Array: ...
def gaussian_nll(
    x: Array,
    target: Array,
    var: Array,
    reduction: str = "mean",
    full: bool = False,
    eps: float = 1e-06,
    out: Array | None = None,
) -> Array: ...
def gaussian_nll_backward(
    dy: Array,
    x: Array,
    target: Array,
    var: Array,
    reduction: str = "mean",
    of: str = "x",
    full: bool = False,
    eps: float = 1e-06,
    out: Array | None = None,
) -> Array: ...
def cross_entropy(
    x: Array,
    target: Array,
    reduction: str = "mean",
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[Array, Array, Array]: ...  # the loss; divisor and log_sum_exp, for backward
def cross_entropy_backward(
    dy: Array,
    x: Array,
    target: Array,
    divisor: Array,
    log_sum_exp: Array,
    reduction: str = "mean",
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    of_target: bool = False,
    out: Array | None = None,
) -> Array: ...
def nll(
    x: Array, target: Array, reduction: str = "mean", weight: Array | None = None, ignore_index: int = -100
) -> tuple[Array, Array]: ...  # the loss; divisor, for backward
def nll_backward(
    dy: Array,
    x: Array,
    target: Array,
    divisor: Array,
    reduction: str = "mean",
    weight: Array | None = None,
    ignore_index: int = -100,
    out: Array | None = None,
) -> Array: ...
def focal(
    x: Array,
    target: Array,
    reduction: str = "mean",
    gamma: float = 2.0,
    alpha: Array | None = None,
    ignore_index: int = -100,
) -> tuple[Array, Array, Array]: ...  # the loss; divisor and log_sum_exp, for backward
def focal_backward(
    dy: Array,
    x: Array,
    target: Array,
    divisor: Array,
    log_sum_exp: Array,
    reduction: str = "mean",
    gamma: float = 2.0,
    alpha: Array | None = None,
    ignore_index: int = -100,
    out: Array | None = None,
) -> Array: ...
def multi_margin(
    x: Array,
    target: Array,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
    weight: Array | None = None,
) -> tuple[Array, Array]: ...  # the loss; divisor, for backward
def multi_margin_backward(
    dy: Array,
    x: Array,
    target: Array,
    divisor: Array,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
    weight: Array | None = None,
    out: Array | None = None,
) -> Array: ...

# distance
def cosine_similarity(
    x1: Array, x2: Array, axis: int = 1, eps: float = 1e-8, out: Array | None = None
) -> Array: ...
def cosine_similarity_backward(
    dy: Array,
    x1: Array,
    x2: Array,
    axis: int = 1,
    eps: float = 1e-8,
    of_second: bool = False,
    out: Array | None = None,
) -> Array: ...
def pairwise_distance(
    x1: Array, x2: Array, axis: int = -1, p: float = 2.0, eps: float = 1e-6, out: Array | None = None
) -> Array: ...
def pairwise_distance_backward(
    dy: Array,
    x1: Array,
    x2: Array,
    axis: int = -1,
    p: float = 2.0,
    eps: float = 1e-6,
    of_second: bool = False,
    out: Array | None = None,
) -> Array: ...

# reduce: mean and y have the result's shape
def sum(x: Array, axis: Axes = None, keepdims: bool = False, out: Array | None = None) -> Array: ...
def mean(x: Array, axis: Axes = None, keepdims: bool = False, out: Array | None = None) -> Array: ...
def max(x: Array, axis: Axes = None, keepdims: bool = False, out: Array | None = None) -> Array: ...
def min(x: Array, axis: Axes = None, keepdims: bool = False, out: Array | None = None) -> Array: ...
def var(
    x: Array,
    mean: Array,
    axis: Axes = None,
    keepdims: bool = False,
    correction: float = 0.0,
    out: Array | None = None,
) -> Array: ...
def std(
    x: Array,
    mean: Array,
    axis: Axes = None,
    keepdims: bool = False,
    correction: float = 0.0,
    out: Array | None = None,
) -> Array: ...
def count_equal(x: Array, y: Array, axis: Axes = None, keepdims: bool = False) -> Array: ...
def prod(x: Array, axis: Axes = None, keepdims: bool = False, out: Array | None = None) -> Array: ...
def sum_abs(x: Array, axis: Axes = None, keepdims: bool = False, out: Array | None = None) -> Array: ...
def sum_exp(x: Array, y: Array, axis: Axes = None, keepdims: bool = False) -> Array: ...
def norm(x: Array, axis: Axes = None, keepdims: bool = False, out: Array | None = None) -> Array: ...
def argmax(x: Array, axis: Axes, keepdims: bool = False) -> Array: ...  # int64
def argmin(x: Array, axis: Axes, keepdims: bool = False) -> Array: ...  # int64
def expand(dy: Array, shape: tuple[int, ...], axes: Axes, scale: float, channels_last: bool, /) -> Array: ...

# copy
def copy(x: Array, channels_last: bool = False, out: Array | None = None) -> Array: ...
def copy_like(x: Array, like: Array) -> Array: ...
def full(shape: tuple[int, ...], dtype: np.dtype[Any], value: float) -> Array: ...
def fill(y: Array, value: float) -> None: ...
def cast(x: Array, dtype: np.dtype[Any], out: Array | None = None) -> Array: ...
def concatenate(arrays: Sequence[Array], axis: int = 0) -> Array: ...

# index: index holds integers
def gather(x: Array, index: Array, axis: int, out: Array | None = None) -> Array: ...
def scatter_add(dy: Array, index: Array, axis: int, length: int, out: Array | None = None) -> Array: ...
def scatter(
    x: Array, index: Array, src: Array, axis: int, add: bool = False, out: Array | None = None
) -> Array: ...
def scatter_backward(dy: Array, index: Array, axis: int) -> tuple[Array, Array]: ...

# scan
def cumsum(x: Array, axis: int, reverse: bool = False, out: Array | None = None) -> Array: ...
def cumprod(x: Array, axis: int, reverse: bool = False, out: Array | None = None) -> Array: ...
def cumprod_backward(dy: Array, x: Array, axis: int) -> Array: ...

# sort: values and int64 indices
def sort(x: Array, axis: int, descending: bool = False, count: int | None = None) -> tuple[Array, Array]: ...

# norm: x (n, c, ...), or (..., *normalized_shape); mean and rstd are float64, batches is int64
def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    batches: Array | None = None,
    training: bool = True,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]: ...  # y, mean, rstd
def batch_norm_backward(
    dy: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    training: bool = True,
    need_dx: bool = True,
    need_dweight: bool = True,
    need_dbias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]: ...
def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]: ...
def group_norm_backward(
    dy: Array,
    x: Array,
    num_groups: int,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    need_dx: bool = True,
    need_dweight: bool = True,
    need_dbias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]: ...
def layer_norm(
    x: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array, Array]: ...
def layer_norm_backward(
    dy: Array,
    x: Array,
    normalized_shape: Sequence[int],
    weight: Array | None,
    mean: Array,
    rstd: Array,
    need_dx: bool = True,
    need_dweight: bool = True,
    need_dbias: bool = True,
) -> tuple[Array | None, Array | None, Array | None]: ...
def rms_norm(
    x: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array]: ...  # y, rstd
def rms_norm_backward(
    dy: Array,
    x: Array,
    normalized_shape: Sequence[int],
    weight: Array | None,
    rstd: Array,
    need_dx: bool = True,
    need_dweight: bool = True,
) -> tuple[Array | None, Array | None]: ...

# embedding: index holds integers
def recurrent(
    cell: str,
    x: Array,
    h0: Array | None,
    c0: Array | None,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    sizes: Array | None = None,
    reverse: bool = False,
    keep: bool = True,
) -> tuple[Array, Array, Array | None, Array | None, Array | None, Array | None, Array | None]: ...
def recurrent_backward(
    cell: str,
    dy: Array | None,
    dh_n: Array | None,
    dc_n: Array | None,
    x: Array,
    y: Array,
    gates: Array | None,
    candidate: Array | None,
    h_before: Array | None,
    c_before: Array | None,
    w_ih: Array,
    w_hh: Array,
    sizes: Array | None = None,
    reverse: bool = False,
    need_dx: bool = True,
    need_dw_ih: bool = True,
    need_dw_hh: bool = True,
    need_db: bool = True,
) -> tuple[Array | None, ...]: ...
def embedding(index: Array, weight: Array, out: Array | None = None) -> Array: ...
def embedding_backward(
    dy: Array,
    index: Array,
    num_embeddings: int,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
    out: Array | None = None,
) -> Array: ...

# program
class Recording:
    fault: str  # why the calls cannot be replayed, or empty
    place: str  # file and line of the latest call
    def __init__(self, package: str, keeps: bool) -> None: ...
    def begin(self) -> None: ...
    def end(self) -> None: ...
    def add_argument(self, array: Array) -> None: ...
    def keep(self, array: Array) -> None: ...
    def kind_of(self, array: Array) -> str: ...  # persistent, argument, temporary, foreign
    def region_of(self, array: Array) -> int: ...
    def references(self, array: Array) -> int: ...
    def still_referenced(self, arrays: list[Array]) -> str | None: ...

class Snapshot: ...

class Program:
    def __init__(
        self,
        recording: Recording,
        arguments: list[Array],
        outputs: list[Array],
        kept: list[Array],
        watched: list[Any],
    ) -> None: ...
    def __call__(self, arguments: tuple[Array, ...]) -> tuple[Array, ...]: ...
    def set_call(
        self,
        form: list[Any],
        gradients: list[tuple[Any, Any, int]],
        changed: list[Any],
        renew: Callable[[Any], Any],
    ) -> None: ...
    def set_guards(self, guards: list[tuple[int, Any, Any, Any]]) -> None: ...
    def first_changed(self) -> int: ...
    def overlaps(self, arrays: tuple[Array, ...]) -> bool: ...
    def adopt_gradients(self) -> None: ...
    def gradients(self) -> list[tuple[Any, Any]]: ...
    def is_current(self) -> bool: ...
    def call(self, arguments: tuple[Any, ...]) -> tuple[Array, ...] | None: ...
    def set_threads(self, solo: bool) -> None: ...
    def measure(self) -> None: ...
    def snapshot(self) -> Snapshot: ...
    def check(self, before: Snapshot, eager: Recording, arguments: tuple[Array, ...]) -> str: ...
    def other_path(self, eager: Recording) -> str: ...
    def measure_now(self) -> None: ...
    def instructions(self) -> list[dict[str, Any]]: ...
    def buffers(self) -> list[dict[str, Any]]: ...
    def memory(self) -> dict[str, int]: ...
