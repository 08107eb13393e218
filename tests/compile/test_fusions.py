"""Each fusion is applied where it should be and nowhere else, and gives the eager step's numbers.

`same` compiles a step and asserts that each call has the bits of the eager step (beside.py). Of its program,
`names` lists the instructions, and `fused` those that were merged into others.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import ranvier as rv
from compile.beside import drawn, fused, names, same, squares
from ranvier import nn
from ranvier.distributed.exchange import put
from ranvier.nn import functional as F
from ranvier.tensors.views import bump
from support.training import training
from support.unseen import unseen

S, Conv, Pool, Norm, Linear = nn.Sequential, nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d, nn.Linear


class Reads(nn.Module):
    """A function of a layer and its input."""

    def __init__(self, layer, function):
        super().__init__()
        self.layer, self.last, self.function = layer, nn.Linear(6, 3), function

    def forward(self, x):
        return self.function(self, self.layer(x))


class Casts(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.dtype = getattr(rv, dtype)

    def forward(self, x):
        return x.to(self.dtype)


def placed(x):
    y, places = F.max_pool2d(x, 2, return_indices=True)
    return y * places.to(y.dtype)


def dense(size, activation):
    return lambda: S(Linear(size, 6), activation(), Linear(6, 3))


def reads(layer, function):
    return lambda: Reads(layer(), function)


def normed(*rest, channels=8, kernel=3):
    return lambda: S(Conv(3, channels, kernel), Norm(channels), *(make() for make in rest))


def pool(*size):
    return lambda: Pool(*size)


BOTH = ["activation_backward", "activation_forward"]
STAGE = {
    "conv2d_pool": 1,
    "conv2d_pool_backward_weight": 1,
    "conv2d_pool_backward_input": 0,
    "conv2d_forward": 0,
    "max_pool2d": 0,
    "max_pool2d_backward": 0,
}
STAGES = {**STAGE, "conv2d_pool": 2, "conv2d_pool_backward_weight": 2, "conv2d_pool_backward_input": 1}
NOT = {"conv2d_pool": 0}
NORMED = {"max_pool2d": 0, "max_pool2d_backward": 1}
CONV = lambda: Conv(3, 8, 3)  # noqa: E731
LINEAR = lambda: Linear(6, 6)  # noqa: E731
TWO = lambda: S(Conv(3, 8, 3), nn.ReLU(), Pool(2), Conv(8, 5, 3), nn.ReLU(), Pool(2))  # noqa: E731
LONG = (2, 32, 4, 26), (2, 32, 26, 4)
SQUARE = ((4, 3, 13, 13),)
SIZES = (2, 3, 13, 12), (1, 3, 16, 16)


class Row(NamedTuple):
    make: Callable  # the model
    shapes: Sequence  # shapes of its input, one for each step
    counts: Any = None  # how often these instructions are in the program
    joined: Any = None  # the activations that are fused into others; "norm": one, into a norm


ROWS = {
    **{
        f"{kind.__name__} after {size}": Row(dense(size, kind), shapes, joined=BOTH)
        for kind in (nn.ReLU, nn.Tanh, nn.Sigmoid)
        for size, shapes in ((7, [(5, 7), (3, 30, 7)]), (20, [(32, 20), (70, 20)]))
    },
    "GELU, whose backward reads x": Row(dense(7, nn.GELU), [(70, 7)], joined=BOTH[:1]),
    "a product that is read twice": Row(reads(LINEAR, lambda m, y: rv.relu(y) + y), [(5, 6)], joined=[]),
    "conv": Row(lambda: S(CONV(), nn.ReLU(), Conv(8, 4, 3), nn.Sigmoid()), [(2, 3, 9, 9)], joined=BOTH[1:]),
    "another layout": Row(reads(LINEAR, lambda m, y: m.last(y.tanh().T)), [(6, 6)]),
    # pools after convolutions
    "pixels": Row(lambda: S(Conv(16, 4, 1), nn.ReLU(), Pool(2)), [(5, 16, 8, 8)], NOT),
    "pixels to one": Row(lambda: S(Conv(8, 1, 1), nn.ReLU(), Pool(2)), [(5, 8, 8, 8)], NOT),
    "pixels to many": Row(lambda: S(Conv(16, 20, 1), nn.ReLU(), Pool(2)), [(5, 16, 8, 8)], NOT),
    "relu before": Row(lambda: S(Conv(3, 8, 3), nn.ReLU(), Pool(2)), SIZES, STAGE),
    "relu after": Row(lambda: S(Conv(3, 8, 3), Pool(2), nn.ReLU()), SIZES, STAGE),
    "no relu": Row(lambda: S(Conv(3, 8, 3, padding=1), Pool(3)), SIZES, STAGE),
    "oblong": Row(lambda: S(Conv(3, 8, (3, 2)), nn.ReLU(), Pool((2, 3))), SIZES, STAGE),
    "two stages": Row(TWO, SIZES, STAGES),
    "float64": Row(lambda: TWO().double(), SIZES[:1], NOT),
    "flat and tall": Row(lambda: S(Conv(32, 48, 3), Pool(2), nn.ReLU()), LONG, {"conv2d_pool": 1}),
    "transposed": Row(reads(CONV, lambda m, y: F.max_pool2d(y.mT, 2)), SIZES, {"max_pool2d": 1}),
    "overlapping": Row(lambda: S(Conv(3, 8, 3), nn.ReLU(), Pool(3, 2)), [(2, 3, 13, 13)], NOT),
    "read elsewhere": Row(reads(CONV, lambda m, y: F.max_pool2d(y, 2).mean() + y), SIZES, NOT),
    "in ceil_mode": Row(lambda: S(Conv(3, 8, 3), nn.ReLU(), Pool(5, ceil_mode=True)), SIZES),
    # norms
    **{
        f"{dtype} norm of {name}": Row(lambda make=make, dtype=dtype: make().to(dtype), SQUARE, joined="norm")
        for dtype in ("float32", "float64")
        for name, make in {
            "conv": normed(nn.ReLU, lambda: Conv(8, 4, 3)),
            "linear": lambda: S(nn.Flatten(), Linear(507, 9), nn.BatchNorm1d(9), nn.ReLU()),
            "wide": normed(nn.ReLU, lambda: Conv(520, 2, 1), channels=520, kernel=1),
        }.items()
    },
    **{
        f"norm, {name}": Row(make, [(2, 3, 13, 12), (5, 3, 16, 16), (1, 3, 30, 9)], NORMED)
        for name, make in {
            "relu, pool": normed(nn.ReLU, pool(2)),
            "pool": normed(pool(2)),
            "pool, relu": normed(pool(2), nn.ReLU),
            "pool of 3": normed(nn.ReLU, pool(3), channels=5),
            "pool of 2 x 3": normed(nn.ReLU, pool((2, 3)), channels=70),
        }.items()
    },
}


def gradients(make, dtype="float32"):
    """The training step of a model whose parameters are of both signs."""

    def made():
        model = make()
        with rv.no_grad():
            for layer in model.children():
                if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm1d)):
                    layer.weight.copy_(rv.randn(*layer.weight.shape))
        return training(model, rv.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), squares), model

    return made


@pytest.mark.parametrize("name", ROWS)
def test_fused_where_it_should_be(name):
    make, shapes, counts, joined = ROWS[name]
    for shape in shapes:
        step = same(gradients(make), drawn(shape, dtype="float64" if "float64" in name else "float32"), 4)
        code = names(step)
        assert {op: code.count(op) for op in counts or ()} == (counts or {})
        if joined == "norm":
            norms = [i for i in step.programs[0].instructions if i.op == "batch_norm_forward"]
            assert [i.fused for i in norms] == [("activation_forward",)]
        elif joined is not None:
            assert [n for n in fused(step) if n.startswith("activation")] == joined
        if name.startswith("norm, relu"):  # its backward comes before the pool's, on fewer elements
            order = [op for op in code if op in ("activation_backward", "max_pool2d_backward")]
            assert order == ["activation_backward", "max_pool2d_backward"]


def test_a_backward_that_reads_what_a_hook_has_changed_is_not_fused():
    def make():
        first, second = Linear(6, 6), Linear(6, 3)

        def step(x):
            first.zero_grad()
            y = first(x).tanh()
            y.register_hook(lambda g: [y.data.mul_(0.5), None][1])
            second(y).sum().backward()
            return y * 1

        return step, first

    assert "activation_backward" in names(same(make, drawn((5, 6))))


def test_a_gradient_between_the_two_that_is_a_result_is_made():
    conv = Conv(3, 8, 3)

    def step(x):
        z = conv(x)
        y = F.max_pool2d(z, 2)
        return rv.autograd.grad((y * y).sum(), [z])[0]

    same(lambda: step, drawn((2, 3, 8, 8)))


OF_HALVES = {  # the model, what is merged in predictions, and whether its ReLU is in a training step
    "pool": (
        lambda: S(CONV(), nn.ReLU(), Pool(2)),
        ["activation_forward", "conv2d_forward", "max_pool2d"],
        True,
    ),
    "strided": (lambda: S(Conv(3, 8, 5, 2), nn.ReLU(), Pool(3)), None, True),
    "two": (lambda: S(Conv(3, 16, 3), nn.ReLU(), Pool(2), Conv(16, 32, 3), nn.ReLU(), Pool(2)), None, True),
    "of one tap": (lambda: S(Conv(3, 32, 1), nn.ReLU(), Pool(2)), ["activation_forward"], True),
    "offsets": (lambda: Reads(CONV(), lambda m, z: placed(F.relu(z))), ["activation_forward"], True),
    "another reader": (lambda: Reads(CONV(), lambda m, z: F.relu(z) + z), [], False),
    "no ReLU": (lambda: S(CONV(), Pool(2)), [], False),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", OF_HALVES)
def test_convolutions_of_halves(name, dtype):
    make, merged, trains = OF_HALVES[name]
    halves = lambda: make().to(getattr(rv, dtype))  # noqa: E731

    def predicting():
        model = halves().eval()

        def step(x):
            with rv.no_grad():
                return model(x.to(getattr(rv, dtype)))

        return step

    found = fused(same(predicting, drawn((5, 3, 15, 14))))
    assert found == merged or (merged is None and "conv2d_forward" in found)
    step = same(gradients(lambda: S(Casts(dtype), halves())), drawn((5, 3, 15, 14)), 4)
    assert ("activation_forward" in fused(step)) == trains


def changed_after(x):
    z = x.tanh()
    both = rv.cat([z, x])
    both.mul_(2.0)
    return both, z * 3.0


def over_its_operand(x):
    z = x.tanh()
    both = rv.cat([z, x])
    both[:4] = UPPER @ z
    return both


UPPER = rv.ones(4, 4).triu()
FORWARD = {
    "unused results are not computed": (lambda x: (rv.exp(x), x + 1)[1], ["elementwise"]),
    "what is concatenated twice is written in place": (
        lambda x: rv.cat([rv.cat([x.tanh(), x[:1].tanh()]), x[1:].tanh()]).exp(),
        None,
    ),
    "what is read after the concatenation has changed is not": (
        changed_after,
        ["activation_forward", "copy", "copy", "elementwise", "copy", "elementwise"],
    ),
    "no product over its operand": (over_its_operand, ["activation_forward", "copy", "copy", "matmul"]),
}


@pytest.mark.parametrize("name", FORWARD)
def test_forward(name):
    function, expected = FORWARD[name]
    code = names(same(lambda: function, drawn((4,))))
    assert code == expected or (expected is None and "copy" not in code)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(16, 10), (3, 5, 4, 6)])
def test_log_softmax_and_nll_keep_their_bits(shape, reduction, dtype):
    rng = np.random.default_rng(3)
    y = rv.tensor(rng.integers(0, shape[1], (shape[0], *shape[2:])))
    weight = rv.tensor(rng.random(shape[1]).astype(dtype))

    def make():
        model = (Conv(shape[1], shape[1], 1) if len(shape) == 4 else Linear(shape[1], shape[1])).to(dtype)
        loss = lambda z: F.nll_loss(F.log_softmax(z, 1), y, weight, ignore_index=2, reduction=reduction)  # noqa: E731
        return training(model, rv.optim.SGD(model.parameters(), lr=0.1), loss), model

    step = same(make, drawn(shape, dtype=dtype))
    assert {"softmax_forward", "softmax_backward"} <= set(names(step))


# --- products that are written, or added, to memory that outlives the step
add = unseen("put(more._array, total._array, True); bump(total)", "more", "total", put=put, bump=bump)
KEPT = rv.zeros(12, 40)
SUMS = {  # the sizes m, k, n; what is merged into the products; in some rows what the step does between them
    "small": ((12, 16, 40), ["copy", "elementwise"]),
    "thin": ((9, 1, 9), ["copy", "elementwise"]),
    "odd": ((70, 33, 65), ["copy", "elementwise"]),
    "tall": ((300, 16, 17), ["copy", "elementwise"]),
    "may be computed in whole rows": ((8, 16, 40), ["copy"]),
    "several chains": ((12, 1000, 40), ["copy"]),
    "the product is read again": ((12, 16, 40), ["copy"], lambda more, total: KEPT.add_(more)),
    "the sum is read between": ((12, 16, 40), ["copy"], lambda more, total: KEPT.copy_(total)),
    "the sum is written between": ((12, 16, 40), ["copy"], lambda more, total: total.mul_(0.5)),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("at", [0, 3])
def test_products_are_written_and_added_where_they_are_kept(name, at):
    """at: how many numbers of the memory come before the sums, so that they are aligned or not."""
    (m, k, n), expected, *between = SUMS[name]

    def make():
        KEPT.zero_()
        flat = np.zeros(2 * m * n + at, np.float32)
        total, copied = (rv.from_numpy(part.reshape(m, n)) for part in np.split(flat[at:], 2))

        def step(a, b):
            made, more = a @ b, a.sin() @ b
            with rv.no_grad():
                copied.copy_(made)
                for use in between:
                    use(more, total)
                add(more, total)

        return step, flat, KEPT

    assert fused(same(make, drawn((m, k), (k, n)))) == expected


def test_a_normed_network_trains_to_the_eager_bits_on_any_team(threads):
    def make():
        model = S(
            *(Conv(1, 16, 3), Norm(16), nn.ReLU(), Pool(2), Conv(16, 24, 3), Norm(24), nn.ReLU()),
            *(nn.Flatten(), Linear(24 * 25, 4)),
        )
        return training(model, rv.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)), model

    def inputs(number):
        n = (20, 20, 20, 7, 7, 7, 20)[number]
        return drawn((n, 1, 16, 16), 4)(number)

    for count in (1, 2):
        threads(count)
        same(make, inputs, 7)
