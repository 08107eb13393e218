"""What the functions of `rv.kernels` compute; their docstrings are signatures, which keeps the core small."""

from __future__ import annotations

import importlib
import re

# Those whose operation on tensors has another name, or no name of its own.
OWN = {
    "affine_images": (
        "y[n, c, i, j] = x[n, c] at row m3 j + m4 i + m5 and column m0 j + m1 i + m2, with matrix (n, "
        "6) in float64. Pixels outside the image are `fill`. Of `rv.data.augment.RandomAffine`."
    ),
    "cdist": "The distances of all pairs of rows of x1 (.., m, d) and x2 (.., n, d): `rv.cdist`; without x2 "
    "those of the pairs i < j of x1: `F.pdist`.",
    "copy": "A dense copy of x in the order of its axes, or with channels (axis 1) last in memory.",
    "ctc_loss": (
        "The loss of each target: `F.ctc_loss`, for x (t, n, c) and the first sizes[i] labels of row i. dx "
        "holds exp(x), and then the gradient, which is at_infinity where no path fits."
    ),
    "erase_images": (
        "x, and inside the box of each image `fill` or the box of image partner[n]. box is int64 of "
        "shape (n, 4): top, left, height, width. Of `rv.data.augment.RandomErasing` and "
        "`rv.data.augment.CutMix`."
    ),
    "exponent_backward": "The gradient of y = a**b by the exponent: dy y log(a). Of `rv.pow`.",
    "gelu_tanh": 'x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3))): `F.gelu` with approximate="tanh".',
    "mix_images": "y[n] = weight[n] x[n] + (1 - weight[n]) x[partner[n]]. Of `rv.data.augment.Mixup`.",
    "move_images": (
        "y[n, c, i, j] = x[n, c, top + i, left + j]. place is int64 of shape (n, 4): top, left, and "
        "whether rows and columns are reversed. `mode` says what is beyond the image. Of "
        "`rv.data.augment.RandomCrop`."
    ),
    "nms": (
        "Whether each box (left, top, right, bottom) stays, the best first: none that stays before it "
        "shares more than threshold of their union with it. Of torchvision's `ops.nms`."
    ),
    "prelu_weight_backward": "The gradient of `F.prelu` by the slope: x dy where x < 0, else 0.",
    "quantized_matmul": (
        "x w^T + bias, by integers, for a matrix w (n, k) in panels of 8 or 4 bits: `rv.nn.quantized.Linear`."
    ),
    "quantized_rows": (
        "Rows of a matrix in panels of 8 or 4 bits as float32, those of index or all: "
        "`rv.nn.quantized.Embedding`."
    ),
    "running_extreme": "The greatest (else the least) element so far along an axis, and its index, the last "
    "of equal ones; NaN counts as both. Floats, int64 or int32. Of `rv.cummax` and `rv.cummin`.",
    "solve_triangular": "a^-1 b for triangles a (.., n, n) and b (.., n, k): `rv.linalg.solve_triangular`.",
    "sum_abs": "The sum of abs(x) along axes. Of `rv.norm`.",
    "sum_exp": "The sum of exp(x - y) along axes. Of `rv.logsumexp`.",
    "trigamma": "The derivative of `rv.digamma`, the second one of log(gamma(x)).",
    "where_finite": "dy where x is finite, else 0. The gradient of `rv.nan_to_num`.",
}


def describe(name: str) -> str:
    """A sentence for a kernel: its formula, or the operation that has the formula."""
    if name in OWN:
        return OWN[name]
    op = name.removesuffix("_backward")
    long = op.replace("bce", "binary_cross_entropy")  # losses have PyTorch's names in F
    whose = OWN.get(op) and f"`rv.kernels.{op}`"
    functional = "ranvier.nn.functional"
    for short, module, public in (
        ("rv", "ranvier", op),
        ("F", functional, long),
        ("F", functional, f"{long}_loss"),
    ):
        if not whose and hasattr(importlib.import_module(module), public):
            whose = f"`{short}.{public}`"
    if not whose:
        raise LookupError(f"docs/extension/kernels.py has no description of rv.kernels.{name}")
    if name == op:
        return f"The operation {whose} on NumPy arrays; its description has the formula, shapes and errors."
    return f"The gradients of {whose} by its inputs, from dy, the gradient of the result."


def process(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    if found := re.fullmatch(r"ranvier\.kernels\.(\w+)", name):
        lines += ["", describe(found[1])]
