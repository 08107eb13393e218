"""The kinds of the sweep: for each, how a shape is drawn, and what ranvier and the peers run on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from ranvier import _core
from support.layouts import in_layout
from support.tolerance import tolerance

from benchmarks.peers.process import Peer

MOST_FLOPS = 1e9  # the largest convolution; a product may take 2048^3
MOST_ELEMENTS = 4 << 20
Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """One drawn shape in one layout."""

    name: str
    adapter: str
    ours: Callable[[], Any]
    inputs: Mapping[str, np.ndarray]
    peers: Mapping[str, Peer]
    tolerance: float
    dtype: str = "float32"


def log_uniform(rng: Rng, low: int, high: int) -> int:
    """An integer whose logarithm is uniform: as many small sizes as large ones."""
    return int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))


def values(rng: Rng, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rng.uniform(-1, 1, shape).astype(dtype)


def drawn(rng: Rng, draw: Callable[[Rng], tuple[int, ...]], most: Callable[..., float], limit: float) -> Any:
    """The first draw whose size is within the limit."""
    while True:
        found = draw(rng)
        if most(*found) <= limit:
            return found


def torch(function: str, channels_last: bool = False, **settings: Any) -> dict[str, Peer]:
    options = {"function": function, "channels_last": channels_last, "settings": settings}
    return {"torch": Peer("torch", options)}


def matmul(rng: Rng, dtype: str = "float32") -> Iterator[Case]:
    m, k, n = (log_uniform(rng, 1, 2048) for _ in range(3))
    a, b = values(rng, m, k, dtype=dtype), values(rng, k, n, dtype=dtype)
    yield Case(
        f"{m}x{k}x{n}",
        "matmul",
        lambda: _core.matmul(a, b, None, "none", None),
        {"a": a, "b": b},
        {"numpy": Peer("numpy"), "torch": Peer("torch")},
        tolerance(dtype, k),
        dtype,
    )


def matmul_float64(rng: Rng) -> Iterator[Case]:
    yield from matmul(rng, "float64")


def product(rng: Rng) -> tuple[str, int, int, int, bool, bool]:
    """A kind of product that programs have, with m, k, n, and whether a and b are transposed."""
    kind = str(rng.choice(PRODUCTS))
    few, some, many = (log_uniform(rng, *limits) for limits in ((4, 24), (20, 600), (500, 12544)))
    if kind == "square":
        return kind, *(3 * [log_uniform(rng, 50, 1000) | 1]), False, False
    if kind == "tall":
        return kind, many, some, log_uniform(rng, 8, 100), False, False
    if kind == "short":
        return kind, log_uniform(rng, 4, 60), some, min(many, 4000), False, False
    if kind == "small k":
        return kind, some, few, log_uniform(rng, 100, 1500), False, False
    if kind == "small n":
        return kind, many, some, few, False, False
    if kind == "im2col":
        return kind, many, 9 * few, log_uniform(rng, 12, 160), False, False
    batch, width = log_uniform(rng, 32, 200), log_uniform(rng, 60, 900)
    if kind == "layer":
        return kind, batch, width, some, False, True
    if kind == "gradient of x":
        return kind, batch, some, width, False, False
    return kind, some, batch, width, True, False


PRODUCTS = (
    *("square", "tall", "short", "small k", "small n", "im2col"),
    *("layer", "gradient of x", "gradient of w"),
)


def products(rng: Rng) -> Iterator[Case]:
    largest = lambda _, m, k, n, *__: max(m * k, k * n, m * n)  # noqa: E731
    kind, m, k, n, a_transposed, b_transposed = drawn(rng, product, largest, MOST_ELEMENTS)
    a = values(rng, k, m).T if a_transposed else values(rng, m, k)
    b = values(rng, n, k).T if b_transposed else values(rng, k, n)
    yield Case(
        f"{kind} {m}x{k}x{n}",
        "matmul",
        lambda: _core.matmul(a, b, None, "none", None),
        {"a": a, "b": b},
        {"numpy": Peer("numpy"), "torch": Peer("torch")},
        tolerance("float32", k),
    )


def layer(rng: Rng) -> tuple[int, ...]:
    """n, c, h, w, k, r, stride, padding, groups; one in six is depthwise, one in six has few channels."""
    n, c, k = log_uniform(rng, 1, 32), log_uniform(rng, 1, 512), log_uniform(rng, 1, 512)
    kind = int(rng.integers(6))
    if kind == 1:
        c = int(rng.integers(1, 5))
    r = int(rng.choice([1, 2, 3, 3, 3, 4, 5, 7]))
    h, w = (max(r, log_uniform(rng, 4, 128)) for _ in range(2))
    stride, padding = int(rng.choice([1, 1, 2, 3])), int(rng.integers(0, r // 2 + 1))
    return n, c, h, w, (c if kind == 0 else k), r, stride, padding, (c if kind == 0 else 1)


def layer_flops(
    n: int, c: int, h: int, w: int, k: int, r: int, stride: int, padding: int, groups: int
) -> float:
    out = prod((size + 2 * padding - r) // stride + 1 for size in (h, w))
    # also within the limit of memory: one that is too large counts as too much work
    within = max(n * c * h * w, n * k * out, k * c // groups * r * r) <= MOST_ELEMENTS
    return 2.0 * n * k * out * c // groups * r * r if within else float("inf")


def in_layouts(*arrays: np.ndarray) -> Iterator[tuple[str, bool, list[np.ndarray]]]:
    for layout in ("nchw", "channels_last"):
        yield layout, layout == "channels_last", [in_layout(a, layout) for a in arrays]


def name_of(shape: tuple[int, ...], layout: str) -> str:
    n, c, h, w, k, r, stride, padding, groups = shape
    return f"{n},{c},{h},{w} to {k}, {r}x{r}, stride {stride}, pad {padding}, groups {groups}, {layout}"


def conv2d(rng: Rng) -> Iterator[Case]:
    shape = drawn(rng, layer, layer_flops, MOST_FLOPS)
    n, c, h, w, k, r, stride, padding, groups = shape
    weight, bias = values(rng, k, c // groups, r, r), values(rng, k)
    for layout, last, (x,) in in_layouts(values(rng, n, c, h, w)):
        yield Case(
            name_of(shape, layout),
            "function_call",
            lambda x=x: _core.conv2d(x, weight, bias, stride, padding, 1, groups),
            {"input": x, "weight": weight, "bias": bias},
            torch("nn.functional.conv2d", last, stride=stride, padding=padding, groups=groups),
            tolerance("float32", weight[0].size + 1),
        )


def conv2d_backward(rng: Rng) -> Iterator[Case]:
    shape = drawn(rng, layer, layer_flops, MOST_FLOPS / 2)
    n, c, h, w, k, r, stride, padding, groups = shape
    weight = values(rng, k, c // groups, r, r)
    sizes = [(size + 2 * padding - r) // stride + 1 for size in (h, w)]
    settings = {"stride": stride, "padding": padding, "groups": groups}
    for layout, last, (x, dy) in in_layouts(values(rng, n, c, h, w), values(rng, n, k, *sizes)):
        yield Case(
            name_of(shape, layout),
            "conv2d_backward",
            lambda x=x, dy=dy: _core.conv2d_backward(dy, x, weight, stride, padding, 1, groups),
            {"dy": dy, "x": x, "w": weight},
            {"torch": Peer("torch", {**settings, "channels_last": last})},
            tolerance("float32", max(weight[:, 0].size, n * prod(sizes))),
        )


def image(rng: Rng) -> tuple[int, ...]:
    return tuple(log_uniform(rng, 1, most) for most in (64, 512)) + tuple(
        log_uniform(rng, 6, 128) for _ in "hw"
    )


def elements(*shape: int) -> float:
    return prod(shape)


def pooling(rng: Rng) -> Iterator[Case]:
    shape = drawn(rng, image, elements, MOST_ELEMENTS)
    kernel = int(rng.choice([2, 2, 3, 3, 4, 5]))
    stride, padding = int(rng.integers(1, kernel + 1)), int(rng.integers(0, kernel // 2 + 1))
    function = str(rng.choice(["max_pool2d", "avg_pool2d"]))
    settings = {"kernel_size": kernel, "stride": stride, "padding": padding}
    compute, words = getattr(_core, function), f"{kernel}x{kernel}, stride {stride}, pad {padding}"
    for layout, last, (x,) in in_layouts(values(rng, *shape)):

        def ours(x: np.ndarray = x) -> Any:
            y = compute(x, kernel, stride, padding)
            return y[0] if isinstance(y, tuple) else y

        yield Case(
            f"{function} {'x'.join(map(str, shape))}, {words}, {layout}",
            "function_call",
            ours,
            {"input": x},
            torch(f"nn.functional.{function}", last, **settings),
            tolerance("float32", kernel * kernel),
        )


def lines(rng: Rng) -> tuple[int, ...]:
    return log_uniform(rng, 1, 8192), log_uniform(rng, 2, 32768)


def softmax(rng: Rng) -> Iterator[Case]:
    function = str(rng.choice(["softmax", "log_softmax"]))
    shape = drawn(rng, lines, elements, MOST_ELEMENTS)
    x, compute = 4 * values(rng, *shape), getattr(_core, function)
    yield Case(
        f"{function} {shape[0]}x{shape[1]}",
        "function_call",
        lambda: compute(x, -1),
        {"input": x},
        torch(function, dim=-1),
        tolerance("float32", shape[1], 16),
    )


UNARY = ("relu", "sigmoid", "tanh", "exp", "log1p", "sqrt", "abs", "sin", "erf")
BINARY = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "maximum": "maximum"}


def elementwise(rng: Rng) -> Iterator[Case]:
    """One or two operands; the second is as large as the first, a row or a column."""
    shape = drawn(rng, lines, elements, MOST_ELEMENTS)
    a = values(rng, *shape) + 1.25
    if rng.integers(2):
        function = str(rng.choice(UNARY))
        inputs, words = {"input": a}, ""
    else:
        function = str(rng.choice(list(BINARY)))
        place = int(rng.integers(3))
        other = [shape, shape[1:], (shape[0], 1)][place]
        inputs = {"input": a, "other": values(rng, *other) + 1.25}
        words = ["", " and a row", " and a column"][place]
    compute, operands = getattr(_core, function), list(inputs.values())
    yield Case(
        f"{function} {shape[0]}x{shape[1]}{words}",
        "function_call",
        lambda: compute(*operands),
        inputs,
        torch(f"special.{function}" if function == "erf" else function),
        tolerance("float32", 2, 16),
    )


def batch_norm(rng: Rng) -> Iterator[Case]:
    shape = drawn(rng, image, elements, MOST_ELEMENTS)
    weight, bias = values(rng, shape[1]), values(rng, shape[1])
    for layout, last, (x,) in in_layouts(values(rng, *shape)):
        yield Case(
            f"{'x'.join(map(str, shape))}, {layout}",
            "batch_norm",
            lambda x=x: _core.batch_norm(x, weight, bias)[0],
            {"x": x, "weight": weight, "bias": bias},
            {"torch": Peer("torch", {"channels_last": last})},
            tolerance("float32", x.size // shape[1], 4),
        )


def layer_norm(rng: Rng) -> Iterator[Case]:
    shape = drawn(rng, lines, elements, MOST_ELEMENTS)
    x, weight, bias = values(rng, *shape), values(rng, shape[1]), values(rng, shape[1])
    yield Case(
        f"{shape[0]}x{shape[1]}",
        "layer_norm",
        lambda: _core.layer_norm(x, shape[1:], weight, bias, 1e-5)[0],
        {"x": x, "weight": weight, "bias": bias},
        {"torch": Peer("torch")},
        tolerance("float32", shape[1], 4),
    )


def reduce(rng: Rng) -> Iterator[Case]:
    shape = drawn(rng, lines, elements, MOST_ELEMENTS)
    function, axes = str(rng.choice(["sum", "max"])), [[0], [1], [0, 1]][int(rng.integers(3))]
    x, compute = values(rng, *shape), getattr(_core, function)
    yield Case(
        f"{function} {shape[0]}x{shape[1]} over {tuple(axes)}",
        "reduce",
        lambda: compute(x, tuple(axes), False, None),
        {"x": x},
        {name: Peer(name, {"function": function, "axes": axes}) for name in ("numpy", "torch")},
        tolerance("float32", x.size),
    )


KINDS: dict[str, Callable[[Rng], Iterator[Case]]] = {
    kind.__name__.replace("_float64", ", float64"): kind
    for kind in (
        *(matmul, matmul_float64, conv2d, conv2d_backward, pooling, softmax, elementwise),
        *(batch_norm, layer_norm, reduce, products),
    )
}
