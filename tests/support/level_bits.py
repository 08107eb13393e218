"""Which kernels give other bits at another ISA level, or on another CPU.

python tests/support/level_bits.py x86-64-v4 x86-64-v3    the cases that differ between two levels of this CPU
python tests/support/level_bits.py LEVEL > FILE           the digests of a level, to compare with diff
"""

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from ranvier import _core, kernels
from ranvier.ops.activation import piecewise, smooth  # noqa: F401  # fill the table
from ranvier.ops.activation.table import TABLE

ROWS = ((3, 7), (5, 33), (64, 40), (9, 300), (40, 1000))
PRODUCTS = (  # m, k, n
    (1, 100, 33),
    (3, 300, 40),
    (4, 1000, 7),
    (8, 20, 32),
    (32, 64, 10),
    (100, 500, 90),
    (150, 7, 260),
)
IMAGES = (  # n, c, h, w, outputs, kernel, stride, groups
    (2, 1, 9, 12, 6, 5, 1, 1),
    (2, 3, 14, 14, 8, 3, 1, 1),
    (2, 16, 12, 12, 2, 3, 1, 1),
    (2, 32, 14, 14, 32, 3, 1, 1),
    (1, 12, 9, 9, 24, 1, 1, 1),
    (2, 24, 10, 10, 24, 3, 2, 24),
    (2, 16, 10, 10, 16, 3, 1, 4),
)
OF_POSITIVE = ("log", "log1p", "sqrt", "rsqrt")
LOSSES = ("mse", "huber", "l1", "bce_with_logits")


def is_of_one_array(name: str) -> bool:
    """True if the kernel has no argument but an array, as its signature says, of any number."""
    text = getattr(_core, name).__doc__ or ""
    return text.startswith(f"{name}(x: Array, out: Array | None = None)") and name != "erfinv"


def cases(dtype: str) -> Iterator[tuple[str, Any]]:
    """(name, results) of every family, at sizes around the widths of vectors."""
    rng = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return (rng.random(shape) * 4 - 2).astype(dtype)

    for m, k, n in PRODUCTS:
        a, b = array(m, k), array(k, n)
        yield "matmul", _core.matmul(a, b)
        yield "matmul, b transposed", _core.matmul(a, np.ascontiguousarray(b.T).T)
        yield "matmul, a transposed", _core.matmul(np.ascontiguousarray(a.T).T, b)
    for n, c, h, w, outputs, kernel, stride, groups in IMAGES:
        x = array(n, h, w, c).transpose(0, 3, 1, 2)
        weight = array(outputs, c // groups, kernel, kernel)
        settings = {"stride": stride, "padding": kernel // 2, "groups": groups}
        y = _core.conv2d(x, weight, **settings)
        name = "conv2d" if groups == 1 else "conv2d, groups" if groups < c else "conv2d, depthwise"
        yield name, y
        yield f"{name}, backward", _core.conv2d_backward(array(*y.shape), x, weight, **settings)
        yield "max_pool2d", _core.max_pool2d(x, 2)[0]
        yield "avg_pool2d", _core.avg_pool2d(x, 2)
        yield "adaptive_avg_pool2d", _core.adaptive_avg_pool2d(x, 1)
        yield "batch_norm", _core.batch_norm(x, array(c), array(c))
        yield "group_norm", _core.group_norm(x, 1, array(c), array(c))
    for shape in ROWS:
        x, dy, positive = array(*shape), array(*shape), np.abs(array(*shape)) + 0.01
        for name in kernels.__all__:
            if is_of_one_array(name) or name in TABLE:
                yield name, getattr(_core, name)(positive if name in OF_POSITIVE else x)
        yield "pow", _core.pow(positive, dy)
        for name in ("sum", "mean", "prod", "norm", "max", "sum_abs"):
            yield f"{name} over rows", getattr(_core, name)(x, 1)
            yield f"{name} over columns", getattr(_core, name)(x, 0)
            yield f"{name} over all", getattr(_core, name)(x)
        yield "var", _core.var(x, _core.mean(x, 1), 1)
        yield "cumsum", [_core.cumsum(x, axis) for axis in (0, 1)]
        for axis in (0, 1):
            yield "softmax", _core.softmax(x, axis)
            yield "log_softmax", _core.log_softmax(x, axis)
            yield "softmax backward", _core.softmax_backward(dy, positive, axis)
        yield "layer_norm", _core.layer_norm(x, shape[1:], array(shape[1]), array(shape[1]))
        for name in LOSSES:
            yield f"loss {name}", getattr(_core, name)(x, positive)
        yield "loss cross_entropy", _core.cross_entropy(x, np.arange(shape[0]) % shape[1])[0]
        yield "pairwise_distance", _core.pairwise_distance(x, dy)
        yield "flat_dot", _core.flat_dot(x.ravel(), dy.ravel())
        yield "gradient_norm", [_core.gradient_norm([x, dy], p) for p in (1.0, 2.0)]
        hidden = 20
        w_ih, w_hh = array(3 * hidden, shape[1]), array(3 * hidden, hidden)
        yield "recurrent gru", _core.recurrent("gru", array(4, 5, shape[1]), None, None, w_ih, w_hh)
    key = np.array([1, 2])
    yield "random_uniform", _core.random_uniform((100,), dtype, 0.0, 1.0, key)
    yield "random_normal", _core.random_normal((100,), dtype, 0.0, 1.0, key)


def update(digest: Any, value: Any) -> None:
    if isinstance(value, (tuple, list)):
        for x in value:
            update(digest, x)
    elif value is not None:
        digest.update(np.ascontiguousarray(value).tobytes())


def digests(level: str) -> dict[str, str]:
    """By case: one digest for each of its sizes."""
    _core.set_isa(level)
    found: dict[str, str] = {}
    for dtype in ("float32", "float64"):
        for name, results in cases(dtype):
            one = hashlib.sha256()
            update(one, results)
            key = f"{dtype} {name}"
            found[key] = found.get(key, "") + " " + one.hexdigest()[:8]
    return found


def main(level: str, other: str | None = None) -> int:
    mine = digests(level)
    if other is None:
        print(*(f"{name}:{found}" for name, found in mine.items()), sep="\n")
        return 0
    others = digests(other)
    equal = []
    for name, found in mine.items():
        pairs = list(zip(found.split(), others[name].split(), strict=True))
        if differing := sum(a != b for a, b in pairs):
            print(f"{name}: {differing} of {len(pairs)} sizes")
        else:
            equal.append(name)
    print("equal:", ", ".join(equal))
    return int(mine != others)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
