"""Predictions compute values that depend on parameters alone once, and again when these change.

Such values are packed weights and the scales of norms. A compiled model is called several times, at one and
two threads and after a change of its parameters, and has to have the bits of the model itself.
"""

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, drawn, fused, names, same
from ranvier import _core, nn
from support.strict import strict

S, Conv, Pool, Norm, Linear = nn.Sequential, nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d, nn.Linear
Norm1 = nn.BatchNorm1d


def draw(*shape, dtype="float32"):
    return np.random.default_rng(shape).standard_normal(shape).astype(dtype)


def normed(layer, norm, *rest):
    """In evaluation mode, with statistics and parameters that are not where they began, of both signs."""
    rv.manual_seed(2)
    for name, tensor in norm.state_dict().items():
        if tensor.dtype.kind == "f":
            tensor.copy_(rv.rand(*tensor.shape) + 0.5 if "var" in name else rv.randn(*tensor.shape))
    return S(layer, norm, *rest).eval()


def predicts(fast, model, x, calls=3):
    """Calls that are recorded, checked, replayed: the bits of the model's, and the sign of zeros."""
    expected = bits(model(x))
    for _ in range(calls):
        assert bits(fast(x)) == expected


def compiled(model, x, threads=None):
    """A compiled model after some calls, at each number of threads, and after a change of all parameters."""
    fast = strict(model)
    for count in (1, 2) if threads else (1,):
        if threads:
            threads(count)
        predicts(fast, model, x)
    with rv.no_grad():
        for p in model.parameters():
            p.mul_(2)
    predicts(fast, model, x)
    return fast


class Positive(Linear):
    def forward(self, x):
        return x @ rv.exp(-self.weight).T


class LowRank(Linear):
    def forward(self, x):
        return x @ (self.weight.T @ self.weight @ self.weight.T)


PACK, CONV, POOL = ["matmul_pack"], ["conv2d_pack"], ["conv2d_pool"]
POOLS = POOL * 2


class Row(NamedTuple):
    make: Callable  # the model
    shape: tuple  # the shape of its input
    prepared: Any = None  # the instructions that are prepared; None: they depend on the level
    replayed: Any = None  # the instructions that remain in a replay, where they are compared


PACKED = {
    **{
        f"layers, {n} rows": Row(lambda: S(Linear(50, 33), nn.Tanh(), Linear(33, 7, bias=False)), (n, 50))
        for n in (5, 8, 9, 32, 50)
    },
    "three layers": Row(lambda: S(Linear(500, 130), nn.Tanh(), Linear(130, 77)), (16, 500), PACK * 2),
    "wide": Row(lambda: Linear(1000, 4500), (40, 1000), PACK),
    "small and one row": Row(lambda: Linear(5, 5), (1, 5), PACK),  # no whole vector
    "one row": Row(lambda: Linear(64, 64), (1, 64), PACK),
    "a row by more than L2": Row(lambda: Linear(900, 9000), (1, 900), []),
    "no rows": Row(lambda: Linear(1000, 300), (0, 1000), []),
    "computed from weights": Row(lambda: Positive(8, 3), (2, 8), replayed=["matmul"]),
    "products of weights": Row(lambda: LowRank(8, 3), (2, 8), replayed=["matmul"]),
    "spectral norm": Row(lambda: nn.utils.spectral_norm(Linear(8, 40)), (2, 8), replayed=["matmul"]),
    "a norm": Row(lambda: normed(Conv(3, 8, 3), Norm(8), nn.ReLU(), Pool(2)), (2, 3, 9, 9), replayed=POOL),
    "pools": Row(lambda: S(Conv(3, 8, 3), Pool(2), Conv(8, 5, 3), Pool(2)), (2, 3, 13, 13), replayed=POOLS),
    "direct": Row(lambda: Conv(3, 16, 3), (2, 3, 9, 9), CONV),
    "planes": Row(lambda: Conv(3, 8, 3), (2, 3, 9, 9)),
    "strided": Row(lambda: Conv(6, 40, 5, stride=2, padding=1), (2, 6, 19, 18), CONV),
    "winograd": Row(lambda: Conv(32, 48, 3), (4, 32, 16, 16), CONV),
    "few outputs": Row(lambda: Conv(70, 2, 3), (2, 70, 6, 6), CONV),
    "groups": Row(lambda: Conv(12, 12, 3, groups=4), (2, 12, 7, 7), CONV),
    "depthwise": Row(lambda: Conv(8, 8, 3, groups=8), (2, 8, 9, 9), []),
    "1d": Row(lambda: nn.Conv1d(3, 20, 5), (2, 3, 30), CONV),
    "pooled": Row(lambda: S(Conv(1, 32, 3), nn.ReLU(), Pool(2)), (3, 1, 15, 15), CONV),
    "pooled winograd": Row(lambda: S(Conv(32, 64, 3), nn.ReLU(), Pool(2)), (8, 32, 13, 13), CONV),
    "pooled and small": Row(lambda: S(Conv(32, 48, 3), Pool(2)), (1, 32, 9, 9), CONV),
    "pooled by 3": Row(lambda: S(Conv(32, 64, 3), Pool(3)), (8, 32, 14, 14), CONV),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PACKED)
def test_packed_weights_keep_the_bits(name, dtype, threads):
    make, shape, prepared, replayed = PACKED[name]
    fast = compiled(make().eval().to(dtype), draw(*shape, dtype=dtype), threads)
    if prepared is not None and (prepared or dtype == "float32"):
        assert names(fast, True) == prepared
    if dtype == "float32" and replayed:
        assert names(fast) == replayed
    if name == "three layers":
        assert fast.programs[0].memory.prepared >= 500 * 130 * np.dtype(dtype).itemsize


# Few rows of a packed weight, whose products need no plan: sizes around tiles, vectors and chains.
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 4, 15, 64, 257, 700])
@pytest.mark.parametrize("rows", [1, 2, 5, 8, 9])
def test_few_rows_of_packed_weights_keep_the_bits(rows, k, dtype, isas):
    kind = getattr(rv, dtype)
    layers = [Linear(k, n, bias=n % 2 == 0, dtype=kind) for n in (3, 5, 16, 17, 40, 64, 97, 130)]
    models = [S(layer, after).eval() for layer in layers for after in (nn.Identity(), nn.Tanh(), nn.ReLU())]
    models += [normed(layer, Norm1(layer.out_features, dtype=kind), nn.Tanh()) for layer in layers[4:6]]
    dense = rv.from_numpy(draw(rows, k, dtype=dtype))
    across = rv.from_numpy(draw(k, rows, dtype=dtype)).t()
    for model in models:
        for x in (dense, across):
            predicts(strict(model), model, x)


# Packed weights larger than L2, which come from memory: rows of one panel, of two to six panels and of more.
@pytest.mark.parametrize("k", [384, 900])
@pytest.mark.parametrize("rows", [6, 8, 13, 16, 31, 36, 37])
def test_large_packed_weights_keep_the_bits(rows, k, isas):
    for n in (1200, 1203):
        model = S(Linear(k, n), nn.ReLU()).eval()
        predicts(strict(model), model, rv.from_numpy(draw(rows, k, dtype="float32")))


def test_with_a_tape_nothing_is_prepared():
    layer = Linear(64, 64)
    step = strict(lambda x: layer(x).detach())
    predicts(step, layer, draw(20, 64))
    assert names(step, True) == []


def test_a_model_without_arguments():
    class Scales(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(rv.randn(3, 4))

        def forward(self):
            return rv.exp(self.weight) + 1

    model = Scales().eval()
    fast = strict(model)
    assert [bits(fast()) for _ in range(3)] == [bits(model())] * 3
    assert (names(fast, True), names(fast)) == (["elementwise"], ["elementwise"])


class Decays(nn.Module):
    """It writes to its buffer before it reads that."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", rv.ones(4))

    def forward(self, x):
        self.scale.mul_(0.5)
        return x * rv.exp(self.scale)


def test_what_the_model_changes_is_not_prepared():
    with rv.no_grad():
        step = same(lambda: (model := Decays().eval(), model), drawn((3, 4)))
    assert names(step, True) == []


# --- changes
class Subclass(np.ndarray):
    pass


def shared(make, change=None):
    """A parameter on memory of the caller, and what changes that."""

    def made():
        memory = draw(40, 60)
        given = make(memory)
        return nn.Parameter(given), getattr(given, change) if change else memory.fill

    return made


def by_address(parameter):
    address = ctypes.cast(parameter.data_ptr(), ctypes.POINTER(ctypes.c_float))
    return lambda number: address.__setitem__(0, number)


def addressed():
    parameter = nn.Parameter(rv.tensor(draw(40, 60)))
    return parameter, by_address(parameter)


MEMORY = {
    "an array": shared(lambda a: a),
    "from_numpy": shared(rv.from_numpy),
    "a Tensor": shared(rv.tensor, "fill_"),
    "a subclass": shared(lambda a: a.copy().view(Subclass), "fill"),
    "a memoryview": shared(memoryview),
    "a part of an array": shared(lambda a: rv.from_numpy(np.lib.stride_tricks.as_strided(a, (20, 60)))),
    "a part of a Tensor": shared(lambda a: rv.from_numpy(a)[:20]),
    "an address": addressed,
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory_of_the_caller_is_prepared_each_time(name):
    model, x = Linear(60, 40, bias=False).eval(), draw(16, 60)
    model.weight, change = MEMORY[name]()
    fast = strict(model)
    for number in range(2, 12):
        predicts(fast, model, x, 1)
        change(number)


@pytest.mark.parametrize(("rows", "prepared"), [(80, PACK), (40, [])])
def test_a_parameter_on_a_part_of_a_tensor_is_not_watched(rows, prepared):
    memory, model, x = rv.tensor(draw(80, 60)), Linear(60, rows, bias=False).eval(), draw(16, 60)
    model.weight = nn.Parameter(memory[:rows])
    fast = strict(model)
    predicts(fast, model, x)
    assert names(fast, True) == prepared
    memory.mul_(2)
    predicts(fast, model, x)


def test_without_a_change_nothing_is_prepared_again():
    """Tested with a change that the library cannot notice, and that users must not make."""
    model, x = Linear(60, 40).eval(), draw(16, 60)
    fast = strict(model, verify=100)
    predicts(fast, model, x)
    before = bits(fast(x))
    model.weight._array[...] = 0
    assert bits(fast(x)) == before
    with rv.no_grad():
        model.bias.add_(1)  # which is read as it is
        assert bits(fast(x)) != before
        model.weight.add_(1)
    predicts(fast, model, x)


# --- norms that a layer applies to its results as it stores them: a model, and the shape of its input
NORMED = {
    "conv2d": (lambda: normed(Conv(3, 8, 3), Norm(8)), (2, 3, 9, 9)),
    "wide": (lambda: normed(Conv(3, 70, 3), Norm(70)), (2, 3, 9, 9)),
    "large": (lambda: normed(Conv(2, 64, 1), Norm(64)), (8, 2, 96, 96)),
    "no bias": (lambda: normed(Conv(3, 8, 3, bias=False), Norm(8)), (2, 3, 9, 9)),
    "not affine": (lambda: normed(Conv(3, 8, 3), Norm(8, affine=False)), (2, 3, 9, 9)),
    "few outputs": (lambda: normed(Conv(70, 2, 3), Norm(2)), (2, 70, 6, 6)),
    "depthwise": (lambda: normed(Conv(8, 8, 3, groups=8), Norm(8)), (2, 8, 9, 9)),
    "depthwise, two": (lambda: normed(Conv(21, 21, 3, groups=21, bias=False), Norm(21)), (2, 21, 9, 9)),
    "groups": (lambda: normed(Conv(8, 4, 3, groups=2), Norm(4)), (2, 8, 9, 9)),
    "groups in a vector": (lambda: normed(Conv(24, 24, 3, groups=8), Norm(24)), (2, 24, 9, 9)),
    "1x1": (lambda: normed(Conv(5, 7, 1), Norm(7)), (3, 5, 4, 4)),
    "winograd": (lambda: normed(Conv(32, 48, 3), Norm(48)), (4, 32, 16, 16)),
    "winograd, odd": (lambda: normed(Conv(32, 50, 3, padding=1), Norm(50)), (4, 32, 15, 13)),
    "conv1d": (lambda: normed(nn.Conv1d(3, 8, 5), nn.BatchNorm1d(8)), (2, 3, 20)),
    "linear": (lambda: normed(Linear(50, 20), nn.BatchNorm1d(20)), (16, 50)),
    "linear, many": (lambda: normed(Linear(500, 70), nn.BatchNorm1d(70)), (70, 500)),
    "linear, few rows": (lambda: normed(Linear(900, 1100), nn.BatchNorm1d(1100)), (3, 900)),
    "linear, one row": (lambda: normed(Linear(50, 20, bias=False), nn.BatchNorm1d(20)), (1, 50)),
    "linear, tall": (lambda: normed(Linear(300, 5), nn.BatchNorm1d(5)), (200, 300)),
}
AFTER = {
    "nothing": lambda dims: [],
    "relu": lambda dims: [nn.ReLU()],
    "tanh": lambda dims: [nn.Tanh()],
    "pool": lambda dims: [Pool(2)] if dims == 4 else [nn.MaxPool1d(2)] if dims == 3 else [],
    "relu, pool": lambda dims: [nn.ReLU(), *AFTER["pool"](dims)],
    "pool by 3": lambda dims: [Pool(3), nn.ReLU()] if dims == 4 else [nn.ReLU()],
}
# "large" is for results that are stored past the caches; a pooled convolution stores none
PAIRS = [  # and a number, which chooses the level
    (case, after, i + j)
    for i, case in enumerate(NORMED)
    for j, after in enumerate(AFTER)
    if case != "large" or "pool" not in after
]


def norm_case(case, after, dtype="float32"):
    make, shape = NORMED[case]
    model = S(*make(), *AFTER[after](len(shape))).eval().to(dtype)
    return model, draw(*shape, dtype=dtype)


@pytest.mark.parametrize(("case", "after", "number"), PAIRS)
def test_norms_join_the_layer_to_the_bit(case, after, number, isas, threads):
    """At one of the levels, so that each case and each of AFTER is tested at every level."""
    levels = list(isas)
    _core.set_isa(levels[number % len(levels)])
    model, x = norm_case(case, after, "float64" if after in ("tanh", "pool by 3") else "float32")
    x.flat[:: 7 * x.shape[-1]] = 0
    fast = compiled(model, x, threads)
    assert "batch_norm_scale" in names(fast, True)
    assert "batch_norm_forward" in fused(fast)
    assert "batch_norm_forward" not in names(fast)


@pytest.mark.parametrize("case", ["conv2d", "depthwise", "few outputs", "winograd", "linear"])
@pytest.mark.parametrize("after", ["nothing", "relu", "relu, pool"])
def test_norms_of_values_that_are_not_finite(case, after):
    model, x = norm_case(case, after)
    x.flat[[3, 17, 40]] = np.inf, np.nan, -np.inf
    with rv.no_grad():
        model[1].running_var[0] = np.inf
        model[1].weight[1] = 0.0
        model[1].bias[1] = -0.0
    fast, expected = strict(model), model(x).numpy(force=True)
    number = ~np.isnan(expected)
    for _ in range(3):
        found = fast(x).numpy()
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))


class Twice(nn.Module):
    """The input of its norm is read elsewhere, too."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = Conv(3, 8, 3), Norm(8)

    def forward(self, x):
        z = self.conv(x)
        return self.norm(z) + z


@pytest.mark.parametrize("make", [Twice, lambda: S(Conv(3, 8, 3), Norm(8, track_running_stats=False))])
def test_norms_stay_whose_input_is_read_elsewhere_or_that_measure_their_batch(make):
    assert "batch_norm_forward" in names(compiled(make().eval(), draw(2, 3, 9, 9)))


def test_a_mean_far_larger_than_the_deviation():
    """The mean is 1e6 deviations away: w x + b' with folded weights would cancel out."""
    model = S(Conv(1, 4, 3), Norm(4)).eval()
    with rv.no_grad():
        model[0].bias.fill_(1000.0)
        model[1].running_mean.copy_(model[0].bias)
        model[1].running_var.fill_(1e-6)
        model[0].weight.mul_(1e-3)
    fast, x = strict(model), draw(2, 1, 8, 8)
    predicts(fast, model, x)
    assert names(fast) == ["conv2d_forward"]
